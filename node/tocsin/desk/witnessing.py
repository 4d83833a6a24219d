"""This module knows whose cosignatures count for this home, and who has cosigned a log.

`policies/witnesses.tlog` says who must have cosigned a checkpoint (C2SP
tlog-policy, read by `tocsin.tlog.quorum`). A home need not have one: then its
own witness key is all that counts. Of a file with a problem nobody counts.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from tocsin.desk.home import Home
from tocsin.desk.layout import Layout, cause
from tocsin.errors import CheckpointRefused, MalformedLog, SignatureMismatch
from tocsin.exchange.directory import known_organisation
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.identity.vkey import NoteAlgorithm, log_name
from tocsin.store.model import PeerState
from tocsin.store.protocol import Store
from tocsin.tlog.checkpoint import SignedCheckpoint, cosignatures, parse_checkpoint
from tocsin.tlog.judgement import quorum_of
from tocsin.tlog.log import TransparencyLog
from tocsin.tlog.note import MAX_SIGNATURES, Note, Verifier, format_note, parse_verifier
from tocsin.tlog.quorum import MAX_LINES, MAX_POLICY, Quorum, parse_quorum

MOST_LOOKED_AT: Final = 200
"""Checkpoints of a log in which a cosignature is looked for: one is kept of each minute."""

_HEAD: Final = """\
# Whose cosignatures make a checkpoint good (C2SP tlog-policy): policies/witnesses.tlog
# Made of the peers that this node exchanges with. More than half of them must have cosigned.
"""

_NOBODY: Final = quorum_of(())


@dataclass(frozen=True, slots=True)
class LogPolicy:
    """The file as it is, and what it says; `problem` is empty where nothing is wrong with it.

    `quorum` is None where there is no file, and one that nobody can meet where there is a problem.
    """

    found: bool
    text: str = ""
    quorum: Quorum | None = None
    where: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """The largest tree that a witness is known to have cosigned, and when it did."""

    verifier: Verifier
    size: int
    at: int


def load_log_policy(layout: Layout) -> LogPolicy:
    """Read the file of a home; what is wrong with it is told, never raised."""
    try:
        with layout.witnesses.open("rb") as file:
            data = file.read(MAX_POLICY + 1)
    except FileNotFoundError:
        return LogPolicy(found=False)
    except OSError as error:
        return LogPolicy(found=True, quorum=_NOBODY, problem=f"cannot be read: {cause(error)}")
    text = data.decode("utf-8", "replace")
    if not text.strip():  # as a shell makes it before `tocsin log policy > FILE` has run
        return LogPolicy(found=False)
    try:
        return LogPolicy(found=True, text=text, quorum=parse_quorum(data))
    except MalformedLog as error:
        return LogPolicy(found=True, text=text, quorum=_NOBODY, where=error.where, problem=error.message)


def propose_log_policy(home: Home) -> str:
    """Return a file of our log and of the witness keys of all peers with whom we exchange: a beginning for people.

    Where there is nobody else, our own witness key stands alone.
    """
    ours = home.organisation
    peers = [known_organisation(row.document) for row in home.store.peers.list() if row.state is PeerState.ACTIVE]
    witnesses = (peers or [ours])[:MAX_LINES]
    lines = [f"log {vkey}" for vkey in ours.log_vkeys]
    lines += [f"witness {each.org} {each.witness_vkey}" for each in witnesses]
    if len(witnesses) == 1:
        return "\n".join([_HEAD + lines[0], *lines[1:], f"quorum {witnesses[0].org}", ""])
    names = " ".join(each.org for each in witnesses)
    lines += [f"group peers {len(witnesses) // 2 + 1} {names}", "quorum peers"]
    return "\n".join([_HEAD + lines[0], *lines[1:], ""])


def known_witnesses(home: Home) -> Mapping[Verifier, OrgId]:
    """Return the witness keys of everybody whose identity was confirmed here, our own among them."""
    peers = [row for row in home.store.peers.list() if row.state is not PeerState.PENDING]
    organisations = [home.organisation, *(known_organisation(row.document) for row in peers)]
    return {verifier: each.org for each in organisations for verifier in _verifiers(each)}


def who_cosigned(store: Store, org: str, *, verifiers: Iterable[Verifier], now: int) -> tuple[Seen, ...]:
    """Return for each witness the largest tree of a log that it has cosigned, of the checkpoints that are kept.

    What does not verify is passed over: whoever brought it was refused, or the
    witness has another key since. So is another tree than is held, of an
    origin that has forked.
    """
    found: dict[Verifier, Seen] = {}
    missing = dict.fromkeys(verifiers)
    for text in _kept(store, org):
        signed = parse_checkpoint(text)
        lines = {line: each for line in signed.note.signatures for each in missing if each.is_signer_of(line)}
        if not lines or not _is_held(store, org, signed):
            continue
        for line, verifier in lines.items():
            with suppress(SignatureMismatch, CheckpointRefused):
                (one,) = cosignatures(Note(signed.note.text, (line,)), verifiers=(verifier,), now=now)
                found[verifier] = Seen(verifier, signed.checkpoint.size, one.at)
                missing.pop(verifier, None)
        if not missing:
            break
    return tuple(found.values())


def newest_with_cosignatures(store: Store, org: str) -> str:
    """Return the newest checkpoint of a log, with the cosignatures that are kept of that tree; empty: there is none."""
    row = store.logs.get(org)
    if not row.checkpoint:
        return ""
    note, own = parse_checkpoint(row.checkpoint).note, log_name(OrgId(org))
    lines = {(line.name, line.key_hash): line for line in note.signatures}
    for each in store.logs.checkpoints(org, least=row.signed):
        kept = parse_checkpoint(each.checkpoint).note
        if kept.text == note.text:  # what the log itself signed there may be by a key that counts no more
            lines |= {(line.name, line.key_hash): line for line in kept.signatures if line.name != own}
    return format_note(Note(note.text, tuple(lines.values())[:MAX_SIGNATURES]))


def _is_held(store: Store, org: str, signed: SignedCheckpoint) -> bool:
    """Say whether a checkpoint is of the tree that is held of a log, or of one that it began with."""
    log = TransparencyLog(store.logs, OrgId(org))
    return signed.checkpoint.size <= log.size and log.root(signed.checkpoint.size) == signed.checkpoint.root


def _kept(store: Store, org: str) -> Iterator[str]:
    """Yield the checkpoints of a log, largest first."""
    newest = store.logs.get(org).checkpoint
    yield from [newest] if newest else []
    yield from (row.checkpoint for row in store.logs.newest_checkpoints(org, limit=MOST_LOOKED_AT))


def _verifiers(organisation: Organisation) -> Iterator[Verifier]:
    for vkey in organisation.witness_vkeys:
        yield parse_verifier(vkey, algorithm=NoteAlgorithm.COSIGNATURE_V1)
