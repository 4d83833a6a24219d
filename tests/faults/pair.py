"""This module is two organisations on one disk, and what they do there: what the kill points are put into.

    operation    what is done, once it is prepared; `say` tells the outside what is durable now

Every operation may be done again after it was stopped anywhere, as the people
and nodes behind it would do: posts carry idempotency keys, and pages and
receipts that were lost are made again.
"""

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.support.organisations import NOW, seeded
from tests.support.people import FIRST, first
from tests.support.policies import apply
from tocsin.desk.amending import Amending
from tocsin.desk.founding import create_home
from tocsin.desk.home import Home, open_home
from tocsin.desk.layout import Layout
from tocsin.desk.posting import Posting
from tocsin.desk.retracting import Retracting
from tocsin.desk.room import NO_EVENTS, Room, open_office
from tocsin.desk.rotation import rotate_key
from tocsin.exchange.directory import Directory
from tocsin.exchange.publish import queue_partners, weigh_queued
from tocsin.exchange.quota import Budget
from tocsin.exchange.side import Side
from tocsin.identity.names import OrgId
from tocsin.store.model import PeerRole, PeerState
from tocsin.v1 import desk_service_pb2 as desk_v1
from tocsin.v1 import record_pb2

A, B = OrgId("lab-a.example"), OrgId("lab-b.example")
CANARY = "a canary that nobody may find once it is purged"
LONG = 40_000
SMALL_PAGE = 3

SHARES = """
partner = "{partner}"

[[share]]
name = "all"
kinds = ["*"]
max_tlp = "AMBER"
classes = "PARTNER"

[accept]
kinds = ["*"]
max_per_hour = 2000
"""

Say = Callable[[str], None]


class Member:
    """An open home, with its desk and its side, and no network."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.org = home.organisation.org
        self.store = home.store
        self.office = open_office(home, strict=False, random=secrets.token_bytes)
        self.room = Room(home, lambda: NOW, secrets.token_bytes, NO_EVENTS, self.office)
        self.me = home.store.people.get(FIRST)
        self.side = Side(
            office=self.office,
            delivery_signer=home.delivery_signer,
            directory=Directory(home.store, own_certificate=home.tls.certificate),
            clock=lambda: NOW,
            dial=_nobody,
            budget=Budget(1e9),
        )

    def post(self, *titles: str, long: bool = False) -> list[str]:
        """Post findings, each under an idempotency key of its own, and return their digests."""
        drafts = [_draft(title, long=long) for title in titles]
        results = Posting(self.room).post_records(desk_v1.PostRecordsRequest(drafts=drafts), self.me).results
        assert not any(result.error_reason for result in results), results
        return [result.record.digest for result in results]

    def amend(self, title: str, into: str) -> str:
        """Issue the next version of a record under a key of its own, and return its digest."""
        draft = _draft(into)
        draft.ClearField("kind")
        request = desk_v1.AmendRecordRequest(id=self.titled(title), draft=draft)
        result = Amending(self.room).amend_record(request, self.me).result
        assert not result.error_reason, result
        return result.record.digest

    def retract(self, record_id: str, action: "record_pb2.RetractionAction.ValueType") -> None:
        """Take a record back."""
        Retracting(self.room).retract_record(desk_v1.RetractRecordRequest(id=record_id, action=action), self.me)

    def titled(self, title: str) -> str:
        """Return the id of the own record that was posted under a title, whatever became of it."""
        digest = self.store.records.by_key(title)
        assert digest is not None, title
        return self.store.records.get(digest).record_id


@dataclass
class Pair:
    """Two members, as one process holds them."""

    a: Member
    b: Member

    def hand_over(self, sender: Member, receiver: Member, *, entries: int = 0) -> Iterator[str]:
        """Move everything from one to the other; yields what is durable by then."""
        yield f"read {self.read_log(receiver, sender)}"
        while True:
            cursor = receiver.side.stored(sender.org)
            page = sender.side.next_page(receiver.org, cursor, max_entries=entries)
            if page is None:
                break
            yield f"made {page.cursor}"
            received = receiver.side.accept(sender.org, page)
            yield f"stored {received.cursor}"
            self.give_receipts(receiver, sender)
            yield f"signed {received.cursor}"
        self.give_receipts(receiver, sender)

    def read_log(self, reader: Member, origin: Member) -> int:
        """Compare logs, as one who calls does, and return how much is read of the log of who is called."""
        ours, theirs = reader.side, origin.side
        heard = ours.hear(origin.org, theirs.compare(reader.org, ours.comparison().ask(origin.org)))
        for org in heard.wanted:
            while growth := theirs.comparison().growth(org, ours.comparison().size(org)):
                ours.extend(origin.org, org, growth)
        return ours.comparison().size(origin.org)

    def give_receipts(self, giver: Member, taker: Member) -> None:
        """Hand over the receipts that the other one may not have."""
        receipts = giver.side.receipts(taker.org)
        if receipts:
            taker.side.acknowledge(giver.org, receipts)
            giver.side.handed_over(taker.org, receipts)

    def exchange(self) -> None:
        """Move everything in both directions."""
        for sender, receiver in ((self.a, self.b), (self.b, self.a)):
            for _ in self.hand_over(sender, receiver):
                pass


@contextmanager
def open_pair(folder: Path) -> Iterator[Pair]:
    """Open both homes, as a start of both nodes does."""
    with ExitStack() as homes:
        yield Pair(*(Member(homes.enter_context(open_home(folder / org, now=NOW))) for org in (A, B)))


def make_pair(folder: Path) -> None:
    """Make two homes that know each other and share everything."""
    for org in (A, B):
        create_home(
            folder / org,
            org=org,
            name=org,
            kind="lab",
            listen="",
            endpoints=(),
            contact=f"mailto:security@{org}",
            founder=first(org).founder,
            now=NOW,
            random=seeded(org),
        )
    with ExitStack() as homes:
        a, b = (homes.enter_context(open_home(folder / org, now=NOW)) for org in (A, B))
        for home, other in ((a, b), (b, a)):
            introduce(home, other)
            text = SHARES.format(partner=other.organisation.org)
            apply(home, {f"{other.organisation.org}.toml": text}, by=first(home.organisation.org))


def introduce(home: Home, other: Home) -> None:
    """Let one know the other, by its document of today."""
    home.store.peers.add(
        other.organisation.org,
        document=other.organisation.document,
        role=PeerRole.MEMBER,
        state=PeerState.ACTIVE,
        now=NOW,
    )


@dataclass(frozen=True)
class Operation:
    """Something that is done and may be stopped anywhere; `unclean`: what is found was not closed."""

    prepare: Callable[[Pair], None]
    run: Callable[[Path, Say], None]
    unclean: bool = False


def _draft(title: str, *, long: bool = False) -> desk_v1.Draft:
    content = {
        "title": title,
        "finding_kind": "vulnerability",
        "severity": "high",
        "summary": CANARY,
        "subjects": [{"kind": "model", "name": "Example-LM 3"}],
    }
    if long:
        content["details"] = " ".join(f"{CANARY} {number}" for number in range(LONG // len(CANARY)))
    return desk_v1.Draft(
        kind=record_pb2.RECORD_KIND_FINDING,
        tlp=record_pb2.TLP_AMBER,
        content_json=json.dumps(content),
        idempotency_key=title,
    )


def _nobody(organisation: object) -> None:  # type: ignore[misc]
    raise AssertionError("nobody is dialled here")


# -- operations


def _with_pair(work: Callable[[Pair, Say], None]) -> Callable[[Path, Say], None]:
    def run(folder: Path, say: Say) -> None:
        with open_pair(folder) as pair:
            work(pair, say)

    return run


def _nothing(pair: Pair) -> None:
    """Prepare nothing."""


def _post(pair: Pair, say: Say, *, long: bool = False) -> None:
    for number in range(3):
        say(f"posted {pair.a.post(f'posted {number}', long=long)[0]}")


def _publish(pair: Pair, say: Say) -> None:
    """Queue everything anew, and weigh it, as an apply does."""
    weigh_queued(pair.a.office, queue_partners(pair.a.office, (B,), now=NOW), now=NOW)
    say("weighed")


def _posted(pair: Pair, *, count: int = 7, long: bool = False) -> None:
    pair.a.post(*(f"before {number}" for number in range(count)), long=long)


def _exchanged(pair: Pair, *, count: int = 7, long: bool = False) -> None:
    _posted(pair, count=count, long=long)
    pair.exchange()


def _deliver(pair: Pair, say: Say) -> None:
    while (page := pair.a.side.next_page(B, pair.a.side.acknowledged(B), max_entries=SMALL_PAGE)) is not None:
        say(f"made {page.cursor}")
        if page.cursor.split(".")[1] != str(SMALL_PAGE):
            break
        for moved in pair.hand_over(pair.a, pair.b, entries=SMALL_PAGE):
            say(moved)


def _receive(pair: Pair, say: Say, *, entries: int = SMALL_PAGE) -> None:
    for moved in pair.hand_over(pair.a, pair.b, entries=entries):
        say(moved)


def _unacknowledged(pair: Pair) -> None:
    """Let everything be stored, and no receipt be taken."""
    _posted(pair)
    pair.read_log(pair.b, pair.a)
    while (page := pair.a.side.next_page(B, pair.b.side.stored(A), max_entries=SMALL_PAGE)) is not None:
        pair.b.side.accept(A, page)


def _acknowledge(pair: Pair, say: Say) -> None:
    pair.give_receipts(pair.b, pair.a)
    say(f"signed {pair.a.side.acknowledged(B)}")


def _take_back(pair: Pair, say: Say, *, action: "record_pb2.RetractionAction.ValueType") -> None:
    for title in ("before 0", "before 1"):
        pair.a.retract(pair.a.titled(title), action)
        say(f"retracted {pair.a.titled(title)}")
    for moved in pair.hand_over(pair.a, pair.b):
        say(moved)


def _amend(pair: Pair, say: Say) -> None:
    say(f"posted {pair.a.amend('before 0', 'amended 0')}")
    for moved in pair.hand_over(pair.a, pair.b):
        say(moved)


def _rotate(folder: Path, say: Say, *, name: str) -> None:
    """Replace a key while the node is down, and go on with the new one."""
    with open_home(folder / A, now=NOW):
        pass
    rotate_key(Layout(folder / A), name, now=NOW, random=secrets.token_bytes)
    say(f"rotated {name}")
    with open_pair(folder) as pair:
        say(f"posted {pair.a.post('after')[0]}")


def _restart(folder: Path, say: Say) -> None:
    with open_pair(folder):
        say("opened")
    with open_pair(folder):
        say("opened")


WITHDRAW, PURGE = record_pb2.RETRACTION_ACTION_WITHDRAW, record_pb2.RETRACTION_ACTION_PURGE
OPERATIONS: dict[str, Operation] = {
    "post": Operation(_nothing, _with_pair(_post)),
    "post long": Operation(_nothing, _with_pair(partial(_post, long=True))),
    "publish": Operation(partial(_exchanged, count=40), _with_pair(_publish)),
    "deliver": Operation(_posted, _with_pair(_deliver)),
    "receive": Operation(partial(_posted, count=12), _with_pair(_receive)),
    "receive long": Operation(partial(_posted, count=5, long=True), _with_pair(partial(_receive, entries=2))),
    "acknowledge": Operation(_unacknowledged, _with_pair(_acknowledge)),
    "amend": Operation(_exchanged, _with_pair(_amend)),
    "retract": Operation(_exchanged, _with_pair(partial(_take_back, action=WITHDRAW))),
    "purge": Operation(_exchanged, _with_pair(partial(_take_back, action=PURGE))),
    "purge long": Operation(partial(_exchanged, long=True), _with_pair(partial(_take_back, action=PURGE))),
    "rotate record": Operation(_exchanged, partial(_rotate, name="record")),
    "rotate delivery": Operation(_exchanged, partial(_rotate, name="delivery")),
    "rotate tls": Operation(_exchanged, partial(_rotate, name="tls")),
    "restart": Operation(partial(_exchanged, long=True), _restart, unclean=True),
}
