"""This module measures what it takes to verify one record strictly, and to issue one.

OpenSSL verifies the very bytes that the record's issuer signed, through
`cryptography`. The reference implementation of RFC 9901, `sd-jwt`, verifies the
very records, and issues the same content laid out alike.
"""

import time
from collections.abc import Iterator
from functools import partial

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tests.support.organisations import found

from benchmarks.figures import Figure, Found, Scale, ratio_of, take_turns
from benchmarks.progress import Steps
from benchmarks.reference import issuing, verifying
from benchmarks.world import make_record, shape
from tocsin.records.record import parse_record

TITLE = "Verify and issue one record"
ABOUT = """
One core, in one process; a record is parsed from its text, and everything in it is checked, each time.

The reference, `sd-jwt` 0.10.4, verifies the same records under the same key, which it is handed; ours also holds the
content against its contract, and looks at times. Ed25519 is verified by libsodium here and by OpenSSL there.

It issues the same content with the same disclosures and as many digests, and signs with OpenSSL as ours does. Its
decoys stand in objects alone, where ours fill up lists too; and ours is read back as its recipients will read it.
"""
RECORDS = 200


def measure(scale: Scale, steps: Steps) -> Iterator[Figure]:
    lab, now = found("lab-a.example"), int(time.time())
    make = partial(make_record, issuer=lab.organisation.org, signer=lab.record, now=now)
    records = [make(number) for number in range(RECORDS)]
    unverified = [parse_record(record.token) for record in records]
    what = shape(records[0], unverified[0]._claims)
    raw = Ed25519PublicKey.from_public_bytes(lab.record.public_key)

    def verify_raw() -> None:
        for one in unverified:
            raw.verify(one._jws.signature, one._jws.signing_input)

    def verify_ours() -> None:
        for record in records:
            parse_record(record.token).verify(lab.organisation, now=now)

    def issue_ours() -> None:
        for number in range(RECORDS):
            make(number)

    verify = {"raw": verify_raw, "ours": verify_ours, "reference": verifying(records, lab.record.public_key)}
    issue = {"ours": issue_ours, "reference": issuing(records, unverified, what)}
    with steps.counting("verify and issue", (len(verify) + len(issue)) * scale.runs) as count:
        verified = take_turns(scale.runs, verify, step=count)
        issued = take_turns(scale.runs, issue, step=count)
    size = f"({what.disclosures} disclosures, {what.digests} digests, {what.size:,} bytes)"
    yield Figure(
        f"verify a record, strictly {size}",
        ratio_of(verified, "raw", "ours"),
        of="OpenSSL's rate of raw verifying",
        at_least=0.7,
        plain=_rates(verified),
    )
    yield Figure("verify a record", ratio_of(verified, "reference", "ours"), of="the reference", at_least=2.5)
    yield Figure(
        "issue a record", ratio_of(issued, "reference", "ours"), of="the reference", at_least=3.0, plain=_rates(issued)
    )


def _rates(times: Found) -> str:
    return ", ".join(f"{name} {RECORDS / min(took):,.0f} a second" for name, took in times.items())
