"""This module reads drafts: what somebody wants the organisation to say, before anything is checked by the contract.

Everything wrong with the plain claims of a draft is told at once, one line a
problem; what is wrong with its content is for the contract to say.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tocsin.desk.lookup import find_peer
from tocsin.encoding import JSON, parse_json
from tocsin.errors import MalformedEncoding, MalformedName, MalformedRequest
from tocsin.identity.names import OrgId, new_record_id
from tocsin.records.envelope import Downgrade
from tocsin.records.record import Draft
from tocsin.release.lint import RULES
from tocsin.schema.contract import enum_claim
from tocsin.store.protocol import Store
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import record_pb2

LONGEST_KEY = 200
"""Characters of an idempotency key: room for a format's name and a hash, or a URL."""

# What a draft may say; where it need not say anything, 0 is among it.
_KINDS = frozenset(record_pb2.RecordKind.values()) - {0}
_TLPS = frozenset(record_pb2.Tlp.values()) - {0}
_USES = frozenset(record_pb2.PermittedUse.values()) - {0}
_PAPS = frozenset(record_pb2.Pap.values())
_RELAYS = frozenset(record_pb2.Relay.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A draft that can be signed, and whom it is for."""

    draft: Draft
    content: dict[str, JSON]
    recipients: frozenset[OrgId]


def parse_draft(message: v1.Draft, *, store: Store, ours: OrgId, random: Callable[[int], bytes]) -> Order:
    """Read a draft.

    Raises MalformedRequest for its plain claims, MalformedEncoding for content
    that is no JSON, MalformedName and NotFound for its recipients.
    """
    problems = tuple(_problems(message))
    if problems:
        raise MalformedRequest("the draft cannot be signed as it is", details=problems)
    recipients = frozenset(_recipient(org, store=store, ours=ours) for org in message.recipients)
    return Order(
        draft=Draft(
            record_id=new_record_id(random),
            kind=enum_claim("RecordKind", message.kind),
            tlp=enum_claim("Tlp", message.tlp),
            pap=enum_claim("Pap", message.pap),
            permitted_use=tuple(enum_claim("PermittedUse", use) for use in message.permitted_use),
            relay=enum_claim("Relay", message.relay) or "none",
            retention_until=message.retention_until,
            downgrade_at=tuple(Downgrade(step.at, enum_claim("Tlp", step.tlp)) for step in message.downgrade_at),
        ),
        content=_content(message.content_json),
        recipients=recipients,
    )


def _problems(message: v1.Draft) -> Iterator[str]:
    if message.kind not in _KINDS:
        yield "kind: say whether it is a finding, an incident or an evaluation"
    if message.tlp not in _TLPS:
        yield "tlp: a record carries exactly one marking"
    if message.pap not in _PAPS:
        yield "pap: not a marking of the contract"
    if not _USES.issuperset(message.permitted_use):
        yield "permitted_use: not a use of the contract"
    if message.relay not in _RELAYS:
        yield "relay: not a value of the contract"
    if any(step.tlp not in _TLPS for step in message.downgrade_at):
        yield "downgrade_at: each step has a time and a marking of the contract"
    yield from _unknown_overrides(message.overrides)
    if len(message.idempotency_key) > LONGEST_KEY:
        yield f"idempotency_key: longer than {LONGEST_KEY} characters"


def _unknown_overrides(overrides: Iterable[str]) -> Iterator[str]:
    for name in overrides:
        rule = name.partition("@")[0]
        if rule not in RULES:
            yield f"overrides: {rule[:40]!r} is no rule of the linter; it has {', '.join(RULES)}"


def _recipient(name: str, *, store: Store, ours: OrgId) -> OrgId:
    if name == ours:
        raise MalformedName(f"{ours} is this organisation itself", hint="name other organisations as recipients")
    return find_peer(store, name).org


def _content(text: str) -> dict[str, JSON]:
    try:
        content = parse_json(text.encode())
    except MalformedEncoding as error:
        raise MalformedEncoding(f"the content is no JSON: {error.message}", reason=error.reason) from None
    if not isinstance(content, dict):
        raise MalformedRequest("the content is not a JSON object")
    return content
