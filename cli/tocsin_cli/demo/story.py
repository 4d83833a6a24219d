"""This module tells the demo: each step has a heading, one plain sentence, and what really happened.

Nothing is acted: every line printed is the answer of a running node, and a
step whose promise is not kept ends the demo with an error.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tocsin.errors import PeerMisbehaved
from tocsin.identity.root import parse_identity
from tocsin.records.record import VerifiedRecord, parse_record
from tocsin.v1 import desk_service_pb2 as v1

from tocsin_cli import output
from tocsin_cli.commands.draft import read_draft, refusal
from tocsin_cli.commands.source import Imported, post_all, read_sources
from tocsin_cli.demo.compare import print_views, richness
from tocsin_cli.demo.network import AISI, LAB_A, LAB_B, MEMBERS, Member, Network
from tocsin_cli.demo.reader import try_to_publish
from tocsin_cli.demo.records import demo_records
from tocsin_cli.output import Cell, Column
from tocsin_cli.session import now
from tocsin_cli.view import kind_of, short_id

IMPORT_TLP = "GREEN"
"""Marking of what the demo imports: for the community."""
ARRIVAL_SECONDS = 45.0
"""Longest wait for records to arrive; 1,250 of them take a few seconds on a laptop."""
POLL_SECONDS = 0.1
Row = tuple[Cell | str, ...]
REVEALED = ("prompts", "steps")
"""Fields that may be revealed to the institute later: its policy has a `reveal` line for them."""


@dataclass(slots=True)
class Story:
    """What has happened so far."""

    network: Network
    step: int = 0
    posted: list[v1.PostedRecord] = field(default_factory=list)
    expected: dict[str, int] = field(default_factory=lambda: dict.fromkeys((LAB_B.org, AISI.org), 0))

    def tell(self, title: str, sentence: str) -> None:
        """Print the heading of the next step, and what it is about."""
        self.step += 1
        output.data()
        output.styled(f"{self.step}. {title}", "bold cyan")
        output.styled(sentence)
        output.data()


def tell_story(network: Network, imports: Sequence[tuple[str, Path]]) -> None:
    """Tell the whole demo on a network that has not started."""
    story = Story(network)
    meet(story)
    post(story, imports)
    travel(story)
    record_id = compare(story)
    verify(story, record_id)
    refuse_reader(story)
    sync_again(story)
    reveal(story, record_id)


def meet(story: Story) -> None:
    """Introduce the three, and start their nodes."""
    story.network.introduce()
    story.network.start()
    story.tell(
        "Three organisations meet",
        "Each runs its own node, with its own keys and its own store, and knows the other two by a "
        "fingerprint that their people confirmed.",
    )
    columns = (Column("organisation"), Column("what it is"), Column("may"), Column("node"), Column("fingerprint", True))
    rows: list[Row] = []
    for member in MEMBERS:
        node = story.network[member]
        may = "only read" if member.role == "reader" else "read and publish"
        rows.append((Cell(member.org, "bold"), member.kind, may, node.endpoint, node.fingerprint))
    output.table(columns, rows)


def post(story: Story, imports: Sequence[tuple[str, Path]]) -> None:
    """Post the demo's records, and what is to be imported, at lab-a."""
    session = story.network[LAB_A].session
    files = demo_records()
    drafts = [read_draft(file, kind=None, tlp=None, recipients=()).draft for file in files]
    answer = session.call(v1.PostRecordsRequest(drafts=drafts), v1.PostRecordsResponse)
    for file, result in zip(files, answer.results, strict=True):
        if result.error_reason:
            raise refusal(result, where=str(file))
    story.posted = list(answer.results)
    _expect(story, story.posted)
    story.tell(
        "lab-a.example posts what it knows",
        "It signs each record once; a policy file for each partner decides who gets which record, and which of its fields.",
    )
    _print_posted(story.posted)
    for form, file in imports:
        _import(story, form, file)


def _print_posted(posted: Sequence[v1.PostedRecord]) -> None:
    columns = (
        Column("id"),
        Column("kind"),
        Column("title", flexible=True),
        *(Column(org) for org in (LAB_B.org, AISI.org)),
    )
    rows: list[Row] = []
    for result in posted:
        gets = [_mark(org in result.queued_for) for org in (LAB_B.org, AISI.org)]
        record = result.record
        rows.append((Cell(short_id(record), "bold"), kind_of(record), record.title, *gets))
    output.table(columns, rows)


def _mark(gets: bool) -> Cell:
    return Cell("in part", "green") if gets else Cell("nothing", "red")


def _import(story: Story, form: str, file: Path) -> None:
    sources, problems = read_sources(form, (file,), tlp=IMPORT_TLP)
    outcome = Imported(form, dry_run=False, problems=problems)
    post_all(story.network[LAB_A].session, sources, outcome)
    _expect(story, outcome.results)
    output.data(
        f"imported {len(outcome.posted):,} records from {file.name}, {len(outcome.problems):,} could not be mapped"
    )
    for where, reason in outcome.problems:
        output.talk(f"  {where}: {reason}")


def _expect(story: Story, results: Sequence[v1.PostedRecord]) -> None:
    for result in results:
        for org in result.queued_for:
            if not result.existed:
                story.expected[org] += 1


def travel(story: Story) -> None:
    """Wait until everything has arrived, and count."""
    started = time.monotonic()
    for member in (LAB_B, AISI):
        _wait_until(story, member)
    seconds = time.monotonic() - started
    story.tell(
        "The records travel",
        "Partners follow lab-a's feed over mutual TLS; each record was checked against lab-a's key before it was stored.",
    )
    columns = (
        Column("organisation"),
        Column("records held", right=True),
        Column("own", right=True),
        Column("refused", right=True),
    )
    rows: list[Row] = []
    for member in MEMBERS:
        status = story.network[member].session.call(v1.GetStatusRequest(), v1.GetStatusResponse)
        refused = sum(peer.entries_refused for peer in status.peers)
        held = status.own_records + status.received_records
        rows.append((Cell(member.org, "bold"), f"{held:,}", f"{status.own_records:,}", f"{refused:,}"))
    output.table(columns, rows)
    output.data(f"\nthe last one arrived {seconds:.1f} seconds after it was posted")


def _wait_until(story: Story, member: Member) -> None:
    give_up = time.monotonic() + ARRIVAL_SECONDS
    session = story.network[member].session
    request = v1.ListRecordsRequest(page_size=1)
    setattr(request, "from", LAB_A.org)
    while (held := session.call(request, v1.ListRecordsResponse).total) < story.expected[member.org]:
        if time.monotonic() > give_up:
            raise PeerMisbehaved(
                f"{member.org} holds {held:,} of {story.expected[member.org]:,} records after {ARRIVAL_SECONDS:.0f} seconds",
                hint="is the machine very busy? --keep DIR keeps the logs of the nodes",
            )
        time.sleep(POLL_SECONDS)


def compare(story: Story) -> str:
    """Show one record as each of the three sees it, and return its id."""
    shared = [result.record for result in story.posted if len(result.queued_for) == len(story.expected)]
    views = [_view(story, LAB_A, record.envelope.record_id) for record in shared]
    chosen = max(views, key=lambda record: (_has_revealable(record), richness(record)))
    record_id = chosen.envelope.record_id
    story.tell(
        "One record, three views",
        "The same record in each store: a bar is a field that lab-a withholds and says so, with the reason from "
        "its policy; a dash is a field of which nothing shows at all.",
    )
    print_views({member.org: _view(story, member, record_id) for member in MEMBERS})
    return record_id


def _has_revealable(record: v1.Record) -> bool:
    return any(name in record.content for name in REVEALED)


def _view(story: Story, member: Member, record_id: str) -> v1.Record:
    request = v1.GetRecordRequest(id=record_id, with_token=True)
    return story.network[member].session.call(request, v1.GetRecordResponse).record


def verify(story: Story, record_id: str) -> None:
    """Verify in each store what is left of the record, by the origin's identity document alone."""
    document = story.network[LAB_A].session.call(v1.GetIdentityRequest(), v1.GetIdentityResponse).document
    origin = parse_identity(document, now=now())
    held = {member: parse_record(_view(story, member, record_id).token).verify(origin, now=now()) for member in MEMBERS}
    story.tell(
        "lab-a's signature verifies in all of them",
        "Withholding leaves parts out and signs nothing again: what is left still carries the origin's own signature.",
    )
    columns = (
        Column("organisation"),
        Column("fields", right=True),
        Column("bytes", right=True),
        Column("signature of lab-a"),
        Column("digest", True),
    )
    output.table(columns, [_verified(member, record) for member, record in held.items()])
    if len({record.digest for record in held.values()}) != 1:
        raise PeerMisbehaved("one record has several digests")


def _verified(member: Member, record: VerifiedRecord) -> Row:
    return (
        Cell(member.org, "bold"),
        str(len(record.paths)),
        f"{len(record.token):,}",
        Cell("verified", "green"),
        record.digest,
    )


def refuse_reader(story: Story) -> None:
    """Let the reader try to publish at lab-a, which must refuse."""
    answer = try_to_publish(story.network[AISI], at=story.network[LAB_A])
    story.tell(
        "A reader cannot publish",
        "aisi.example may only read; its node tried to deliver a page to lab-a, and was turned away before the page was looked at.",
    )
    output.data(f"aisi.example → lab-a.example  Deliver  {answer}")


def sync_again(story: Story) -> None:
    """Sync once more, which must move nothing."""
    moved = {member: _sync(story, member) for member in (LAB_B, AISI)}
    story.tell(
        "A second sync moves nothing", "Each partner resumes where it stopped; nothing is lost and nothing comes twice."
    )
    for member, (records, fields) in moved.items():
        output.data(f"{member.org}  {records} new records, {fields} with further fields")
    if any(records or fields for records, fields in moved.values()):
        raise PeerMisbehaved("a second sync moved records")


def _sync(story: Story, member: Member) -> tuple[int, int]:
    request = v1.SyncPeersRequest(peers=[LAB_A.org])
    last = list(story.network[member].session.stream(request, v1.SyncPeersResponse))[-1]
    if last.error_reason:
        raise PeerMisbehaved(f"{member.org} cannot sync: {last.error_message}")
    return last.records, last.disclosures


def reveal(story: Story, record_id: str) -> None:
    """Reveal one field to the institute, and show what it sees before and after."""
    before = _view(story, AISI, record_id)
    path = next(name for name in REVEALED if name in _view(story, LAB_A, record_id).content)
    request = v1.RevealFieldsRequest(id=record_id, paths=[path], partner=AISI.org)
    story.network[LAB_A].session.call(request, v1.RevealFieldsResponse)
    give_up = time.monotonic() + ARRIVAL_SECONDS
    while path not in (after := _view(story, AISI, record_id)).content:
        if time.monotonic() > give_up:
            raise PeerMisbehaved(f"the revealed {path} did not arrive")
        time.sleep(POLL_SECONDS)
    story.tell(
        "lab-a reveals one field later",
        f"It sends aisi the parts that were left out; the record, its digest and its signature stay the same: "
        f"tocsin reveal {short_id(before)} {path} --to {AISI.org}",
    )
    shown = ("title", "subjects[*].name", "prompts", "steps[*].description", "success_rate.k")
    print_views({"before": before, "after": after, "lab-a.example": _view(story, LAB_A, record_id)}, shown)
