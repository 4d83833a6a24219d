"""This module works out for itself what an approval would be signed on, instead of believing the node.

An approval signs the id of a proposed release. By these steps it covers what
is shown, and nothing else:

1. the id is the SHA-256 of the body, base64url
2. the body names the record, and each partner once, with the hash of what it would get
3. there is one presentation for each of them, and its hash is that one
4. the presentation is of the record that the body names, under the organisation's own signature

What people are shown is read from the presentations themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import cast

from tocsin.encoding import encode_base64url, parse_json
from tocsin.errors import Conflict, Malformed, RecordRefused
from tocsin.identity.root import Organisation
from tocsin.records.record import VerifiedRecord, parse_record, sd_hash
from tocsin.v1 import desk_service_pb2 as v1


@dataclass(frozen=True, slots=True)
class Proposed:
    """What one partner would get, as it would be sent."""

    partner: str
    item: v1.ReviewItem
    record: VerifiedRecord


def verify_review(review: v1.Review, organisation: Organisation, *, now: int) -> tuple[Proposed, ...]:
    """Verify by the steps above that a proposed release is what its id stands for, and return what would go.

    The caller MUST show what is returned, and not what the node says beside it.

    Raises Conflict where it is not.
    """
    if encode_base64url(sha256(review.body.encode()).digest()) != review.id:  # 1
        raise _differs("its id is not the hash of its body")
    digest, hashes = _read(review.body)  # 2
    if sorted(item.partner for item in review.items) != sorted(hashes):  # 3
        raise _differs("it shows other recipients than it names")
    found = []
    for item in review.items:
        if not item.presentation:
            hint = "look at what is proposed now: tocsin review list"
            raise Conflict("what was proposed is not what would go today", reason="CONFLICT", hint=hint)
        if sd_hash(item.presentation) != hashes[item.partner]:  # 3
            raise _differs(f"what it shows for {item.partner} is not what would be sent")
        try:
            record = parse_record(item.presentation).verify(organisation, now=now)  # 4
        except (RecordRefused, Malformed) as error:
            raise _differs(f"what would be sent to {item.partner} does not verify: {error.message}") from None
        if record.digest != digest:  # 4
            raise _differs("it shows another record than it names")
        found.append(Proposed(item.partner, item, record))
    return tuple(found)


def _read(body: str) -> tuple[str, Mapping[str, str]]:
    """Return the digest of the record that a proposal names, and by partner the hash of what it would get."""
    try:
        claims = cast("dict[str, object]", parse_json(body.encode()))
        items = cast("list[dict[str, str]]", claims["items"])
        hashes = {item["partner"]: item["sd_hash"] for item in items}
        digest = str(claims["digest"])
    except (Malformed, KeyError, TypeError):
        raise _differs("its body is no proposal") from None
    if not hashes or len(hashes) != len(items):
        raise _differs("it names nobody, or somebody twice")
    return digest, hashes


def _differs(problem: str) -> Conflict:
    hint = "do not agree to it; let whoever runs the node look at it"
    return Conflict(f"the review is not what its id stands for: {problem}", reason="CONFLICT", hint=hint)
