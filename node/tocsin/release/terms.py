"""This module holds what an approval is about: one record, its recipients, and the exact bytes for each partner.

    {
      "digest": "<record>", "recipients": ["aisi.example"], "floor": "<SHA-256 of floor.toml, hex>",
      "items": [{"partner": "aisi.example", "sd_hash": "<of the presentation>", "policy": "<SHA-256, hex>",
                 "rule": "severe findings", "approvals": 1}],
      "nonce": "<16 random bytes, base64url>"
    }

The id of a proposal is the SHA-256 of this text, and an approval signs the id.
So nothing that the partner would get, and nothing that it rests on, can change
behind an approval. The nonce sees to it that terms which were void once stay
void, although everything has become again what it was.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple, cast

from tocsin.encoding import JSON, dump_json, encode_base64url, parse_json
from tocsin.errors import StoreCorrupt
from tocsin.identity.names import OrgId
from tocsin.policy.decide import Decision
from tocsin.policy.model import PolicySet
from tocsin.records.record import VerifiedRecord, sd_hash
from tocsin.release.presentation import presentation
from tocsin.store.model import Proposal


class Item(NamedTuple):
    """What one partner would get: `sd_hash` covers the presentation, `policy` is the digest of the partner's file."""

    partner: OrgId
    sd_hash: str
    policy: str
    rule: str
    approvals: int


@dataclass(frozen=True, slots=True)
class Terms:
    """What is proposed; recipients and items are in order."""

    digest: str
    recipients: tuple[str, ...]
    floor: str
    items: tuple[Item, ...]

    def item_for(self, partner: OrgId) -> Item | None:
        """Return what a partner would get; None where the terms do not speak of it."""
        return next((item for item in self.items if item.partner == partner), None)


def item_of(record: VerifiedRecord, decision: Decision, *, partner: OrgId, policies: PolicySet) -> Item:
    """Return what a partner would get by a decision that delivers."""
    return Item(
        partner=partner,
        sd_hash=sd_hash(presentation(record, decision)),
        policy=policies.policies[partner].digest,
        rule=decision.rule,
        approvals=decision.approvals,
    )


def dump_terms(terms: Terms, *, nonce: bytes) -> str:
    """Return the text that an approval is about."""
    body = {
        "digest": terms.digest,
        "recipients": list(terms.recipients),
        "floor": terms.floor,
        "items": [item._asdict() for item in terms.items],
        "nonce": encode_base64url(nonce),
    }
    return dump_json(body).decode()


def review_id(body: str) -> str:
    """Return the name of a proposal, which is the hash of its text."""
    return encode_base64url(sha256(body.encode()).digest())


def read_terms(proposal: Proposal) -> Terms:
    """Return the terms of a proposal as the store holds it. Raises StoreCorrupt where they are not those it names."""
    if review_id(proposal.body) != proposal.id:
        raise StoreCorrupt("a proposed release is not the one that its id names", where=proposal.id)
    body = cast("Mapping[str, JSON]", parse_json(proposal.body.encode()))
    items = cast("list[dict[str, JSON]]", body["items"])
    return Terms(
        digest=cast("str", body["digest"]),
        recipients=tuple(cast("list[str]", body["recipients"])),
        floor=cast("str", body["floor"]),
        items=tuple(Item(**item) for item in items),  # type: ignore[arg-type]
    )
