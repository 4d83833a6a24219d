"""This module makes what the chapters measure with: the record they all use, homes that know each other, full stores.

The record is a finding of about 3 KiB with twelve disclosures, as long as its
decoys are not counted; as it is signed, padded so that nothing tells how many
fields it has, it is 8 KiB with 12 disclosures and 96 digests (`shape`).
"""

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.nodes import SHARES_EVERYTHING, Place, make_place
from tests.support.processes import introduce

from benchmarks.progress import Counter, batches
from tocsin.desk.home import Home, open_home
from tocsin.desk.room import open_office
from tocsin.exchange.directory import Directory
from tocsin.exchange.publish import publish
from tocsin.exchange.quota import Budget
from tocsin.exchange.side import Side
from tocsin.identity.names import OrgId, new_record_id
from tocsin.identity.signer import Signer
from tocsin.records.disclosure import ELLIPSIS, SD
from tocsin.records.record import Draft, VerifiedRecord, issue
from tocsin.services.desk import side_of

KIND, TLP = "finding", "AMBER"
SUMMARY = "The model follows instructions that stand in what a tool returns, as if its user had written them. "
BATCH = 100  # records posted in one transaction

POLICY = SHARES_EVERYTHING.replace("max_per_hour = 2000", "max_per_hour = 1000000\nmax_mb_per_hour = 100000")
"""Everything goes, and as much is taken as a policy can allow."""

UNLIMITED = {"verify_seconds_per_minute": 60.0, "calls_per_minute": 1_000_000}
"""Settings of a node that lets a peer take all the time there is; by default a peer gets a third of a core."""


class Shape(NamedTuple):
    """What a record comes to: bytes of its text, disclosures, digests with and without its decoys."""

    size: int
    disclosures: int
    digests: int
    decoys: int


def content(number: int) -> dict[str, object]:
    """Return the content that all chapters use, under another title for each number."""
    return {
        "title": f"Injection through tool output, case {number}",
        "finding_kind": "vulnerability",
        "severity": "high",
        "summary": SUMMARY * 6 + f"Case {number}.",
        "harm_types": ["psychological", "other"],
        "detection_method": "testing",
        "subjects": [{"kind": "model", "name": "Example-LM 3", "vendor": "Example"}],
    }


def make_record(number: int, *, issuer: OrgId, signer: Signer, now: int) -> VerifiedRecord:
    """Issue the record of a number."""
    draft = Draft(record_id=new_record_id(secrets.token_bytes), kind=KIND, tlp=TLP)
    return issue(draft, content(number), issuer=issuer, signer=signer, now=now, random=secrets.token_bytes)


def shape(record: VerifiedRecord, claims: object) -> Shape:
    """Return what a record comes to; `claims` is its payload as it was signed."""
    digests = _digests(claims) + sum(_digests(held.value) for held in record.disclosures)
    return Shape(len(record.token), len(record.disclosures), digests, digests - len(record.disclosures))


def _digests(value: object) -> int:
    if isinstance(value, dict):
        own = len(value.get(SD, ())) + (ELLIPSIS in value)
        return own + sum(_digests(inner) for name, inner in value.items() if name != SD)
    return sum(_digests(inner) for inner in value) if isinstance(value, list) else 0


def found(folder: Path, *orgs: str, policy: str = POLICY) -> list[Place]:
    """Make homes that are confirmed peers of one another, each with a policy for the others."""
    places = [make_place(folder, org) for org in orgs]
    introduce(places, policy=policy)
    return places


@contextmanager
def opened(place: Place) -> Iterator[tuple[Home, Side]]:
    """Open a home, with our side of every exchange, for work in this process."""
    with open_home(place.root, now=int(time.time())) as home:
        office = open_office(home, strict=False, random=secrets.token_bytes)
        directory = Directory(home.store, own_certificate=home.tls.certificate)
        yield (
            home,
            side_of(home, office=office, directory=directory, budget=Budget(1e9), clock=lambda: int(time.time())),
        )


def fill(
    home: Home, side: Side, records: int, *, partners: Sequence[OrgId] = (), first: int = 0, count: Counter
) -> None:
    """Post so many records, for partners, in transactions of a hundred."""
    for batch in batches(records, BATCH):
        now = side.clock()
        with home.store.transaction():
            for number in batch:
                record = make_record(first + number, issuer=side.organisation.org, signer=home.record_signer, now=now)
                publish(side.office, record, author="bench", partners=partners, now=now)
        count(len(batch))
