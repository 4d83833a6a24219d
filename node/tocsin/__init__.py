"""This package is Tocsin: signed, redactable records, and the node that exchanges them under policy.

Verify a record with nothing but the identity document of the organisation that signed it:

    from tocsin import parse_identity, parse_record

    lab = parse_identity(Path("lab-a.tocsin").read_bytes(), now=now)
    record = parse_record(Path("record.sdjwt").read_text().strip()).verify(lab, now=now)
    print(record.tlp, record.content)

Packages, from the ground up; each imports only from those above it in this list:

    errors      every exception, its reason code, status and exit code
    v1          the contract, generated from proto/
    encoding    strict base64url and strict JSON
    schema      the contract read back: kinds, fields, vocabularies, checks, templates
    identity    who says it: names, keys, certificates, identity documents
    records     what is said: issue, redact and verify (RFC 9901)
    people      who of us does something: persons, roles, what they sign
    policy      who may see what: parse, decide, explain, plan
    tlog        what was issued, provably: trees, checkpoints, proofs, witnesses, evidence (C2SP)
    store       where it rests: SQLite
    audit       what was decided: the decision log
    release     when it may go: proposals, approvals, dates, the linter; the bytes that go
    watch       what others show of their logs: read, compared, cosigned, stopped
    exchange    how it travels: publish, outbox, receive, peer, worker
    interchange other people's formats: AVID, ATLAS, Inspect
    config      node.toml
    desk        what our own people do: post, read, explain, plan, review, reveal, peer
    services    the wire's front desk: exchange, desk, health, figures
    reload      what a running node reads anew: settings, identity, keys
    node        assemble, start, reload, drain, stop
    logs        how the log is written
    process     run a node until it is told to stop

`schema`, `identity`, `records`, `policy`, `tlog` and `interchange` are pure: bytes and values in, values or
errors out; time and randomness are arguments. The names below are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tocsin.errors import TocsinError as TocsinError
    from tocsin.identity.root import Organisation as Organisation
    from tocsin.identity.root import parse_identity as parse_identity
    from tocsin.identity.signer import Signer as Signer
    from tocsin.identity.signer import load_signer as load_signer
    from tocsin.policy.decide import decide as decide
    from tocsin.policy.parse import parse_policies as parse_policies
    from tocsin.records.record import Draft as Draft
    from tocsin.records.record import UnverifiedRecord as UnverifiedRecord
    from tocsin.records.record import VerifiedRecord as VerifiedRecord
    from tocsin.records.record import issue as issue
    from tocsin.records.record import parse_record as parse_record
    from tocsin.records.sdjwt import verify_sdjwt as verify_sdjwt

__version__ = "0.1.0"

_HOMES = {
    "TocsinError": "tocsin.errors",
    "Organisation": "tocsin.identity.root",
    "parse_identity": "tocsin.identity.root",
    "Signer": "tocsin.identity.signer",
    "load_signer": "tocsin.identity.signer",
    "decide": "tocsin.policy.decide",
    "parse_policies": "tocsin.policy.parse",
    "Draft": "tocsin.records.record",
    "UnverifiedRecord": "tocsin.records.record",
    "VerifiedRecord": "tocsin.records.record",
    "issue": "tocsin.records.record",
    "parse_record": "tocsin.records.record",
    "verify_sdjwt": "tocsin.records.sdjwt",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> object:
    """Import a name of the front door from the room where it lives (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tocsin' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
