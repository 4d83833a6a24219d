"""This module measures what it takes to verify one record strictly, and to issue one.

OpenSSL verifies and signs the very bytes that the record's issuer signed, through
`cryptography`; the reference implementation of RFC 9901, `sd-jwt`, verifies and
issues the same content, laid out as ours is.
"""

import time
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tests.support.organisations import found

from benchmarks.figures import Figure, Scale, ratio_of, take_turns
from benchmarks.progress import Steps
from benchmarks.world import make_record, shape
from tocsin.records.record import parse_record

TITLE = "Verify and issue one record"
ABOUT = "One core, in one process; a record is parsed from its text, and everything in it is checked, each time."
RECORDS = 200


def measure(scale: Scale, steps: Steps) -> Iterator[Figure]:
    lab, now = found("lab-a.example"), int(time.time())
    issuer, signer = lab.organisation, lab.record
    records = [make_record(number, issuer=issuer.org, signer=signer, now=now) for number in range(RECORDS)]
    unverified = [parse_record(record.token) for record in records]
    key = Ed25519PublicKey.from_public_bytes(issuer.record_keys[records[0].key_id].public_key)
    signed = [(one._jws.signature, one._jws.signing_input) for one in unverified]

    def raw() -> None:
        for signature, message in signed:
            key.verify(signature, message)

    def ours() -> None:
        for record in records:
            parse_record(record.token).verify(issuer, now=now)

    with steps.counting("verify", 2 * scale.runs) as count:
        times = take_turns(scale.runs, {"raw": raw, "ours": ours}, step=count)
    what = shape(records[0], unverified[0]._claims)
    yield Figure(
        f"verify a record, strictly ({what.disclosures} disclosures, {what.digests} digests, {what.size:,} bytes)",
        ratio_of(times, "raw", "ours"),
        of="OpenSSL's rate of raw verifying",
        at_least=0.7,
        plain=f"{RECORDS / min(times['ours']):,.0f} a second",
    )
