"""This module tells the demo: each step has a heading, one plain sentence, and what really happened.

Nothing is acted: every line printed is the answer of a running node, and a
step whose promise is not kept ends the demo with an error.
"""

import time
from collections.abc import Callable, Sequence
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
from tocsin_cli.demo.network import AISI, LAB_A, LAB_B, MEMBERS, Member, Network, Node
from tocsin_cli.demo.reader import try_to_publish
from tocsin_cli.demo.records import demo_records
from tocsin_cli.output import Cell, Column
from tocsin_cli.session import now
from tocsin_cli.view import kind_of, short_id, tlp_of

IMPORT_TLP = "GREEN"
"""Marking of what the demo imports: for the community."""
ARRIVAL_SECONDS = 45.0
"""Longest wait for records to arrive; 1,250 of them take a few seconds on a laptop."""
POLL_SECONDS = 0.1
Row = tuple[Cell | str, ...]
REVEALABLE = ("prompts", "steps")
"""Fields that may be revealed to the institute later: its policy has a `reveal` line for them."""

REVEAL_SHOWN = ("title", "subjects[*].checkpoint", "steps[*].description", "prompts")
SHOWN_GROUPS = 4
"""Groups of a fingerprint in a table; people compare all of them."""


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

    def expect(self, results: Sequence[v1.PostedRecord]) -> None:
        """Count who has to get how many of these."""
        for org in (org for result in results for org in result.queued_for):
            self.expected[org] += 1


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
    story.tell(
        "Three organisations meet",
        "Each runs its own node, with its own keys and its own store, and knows the other two by a "
        "fingerprint that their people confirmed.",
    )
    story.network.introduce()
    story.network.start()
    columns = (Column("organisation"), Column("what it is"), Column("may"), Column("node"), Column("fingerprint"))
    output.table(columns, [_introduced(story.network[member]) for member in MEMBERS])


def _introduced(node: Node) -> Row:
    member = node.member
    may = "only read" if member.role == "reader" else "read and publish"
    begins = "-".join(node.fingerprint.split("-")[:SHOWN_GROUPS])
    return Cell(member.org, "bold"), member.kind, may, node.endpoint, f"{begins}-…"


def post(story: Story, imports: Sequence[tuple[str, Path]]) -> None:
    """Post the demo's records, and what is to be imported, at lab-a."""
    story.tell(
        "lab-a.example posts what it knows",
        "It signs each record once; a policy file for each partner decides who gets which record, and how many of "
        "its fields.",
    )
    session = story.network[LAB_A].session
    files = demo_records()
    drafts = [read_draft(file, kind=None, tlp=None, recipients=()).draft for file in files]
    answer = session.call(v1.PostRecordsRequest(drafts=drafts), v1.PostRecordsResponse)
    for file, result in zip(files, answer.results, strict=True):
        if result.error_reason:
            raise refusal(result, where=str(file))
    story.posted = list(answer.results)
    story.expect(story.posted)
    gets = (Column(f"{partner.org} gets") for partner in (LAB_B, AISI))
    columns = (Column("kind"), Column("tlp"), Column("title", flexible=True), *gets)
    output.table(columns, [_posted(story, result.record) for result in story.posted])
    if imports:
        output.data()
    for form, file in imports:
        _import(story, form, file=file)


def _posted(story: Story, record: v1.Record) -> Row:
    tlp = tlp_of(record)
    gets = (_share(story, record, partner=partner) for partner in (LAB_B, AISI))
    return kind_of(record), Cell(tlp, output.TLP_STYLES.get(tlp, "")), record.title, *gets


def _share(story: Story, record: v1.Record, *, partner: Member) -> Cell:
    request = v1.ExplainRecordRequest(id=record.envelope.record_id, partner=partner.org)
    found = story.network[LAB_A].session.call(request, v1.ExplainRecordResponse)
    if not found.delivered:
        return Cell("nothing", "red")
    return Cell(f"{sum(field.shared for field in found.fields)} of {len(found.fields)} fields", "green")


def _import(story: Story, form: str, *, file: Path) -> None:
    sources, problems = read_sources(form, (file,), tlp=IMPORT_TLP)
    outcome = Imported(form, dry_run=False, problems=problems)
    post_all(story.network[LAB_A].session, sources, outcome=outcome)
    story.expect(outcome.posted)
    unmapped = f", {len(problems):,} could not be mapped" if problems else ""
    output.data(f"imported {len(outcome.posted):,} records from {file.name}{unmapped}")
    for where, reason in problems:
        output.talk(f"  {where}: {reason}")


def travel(story: Story) -> None:
    """Wait until everything has arrived, and count."""
    story.tell(
        "The records travel",
        "Partners follow lab-a's feed over mutual TLS, and check each record against lab-a's key before they store it.",
    )
    started = time.monotonic()
    for member in (LAB_B, AISI):
        _wait_for_records(story, member)
    seconds = time.monotonic() - started
    columns = (
        Column("organisation"),
        Column("records held", right=True),
        Column("own", right=True),
        Column("received", right=True),
        Column("refused", right=True),
    )
    output.table(columns, [_held(story, member) for member in MEMBERS])
    output.data(f"\neverything had arrived {seconds:.1f} seconds after the last post")


def _held(story: Story, member: Member) -> Row:
    status = story.network[member].session.call(v1.GetStatusRequest(), v1.GetStatusResponse)
    held, refused = status.own_records + status.received_records, sum(peer.entries_refused for peer in status.peers)
    counts = (held, status.own_records, status.received_records, refused)
    return Cell(member.org, "bold"), *(f"{count:,}" for count in counts)


def _wait_for_records(story: Story, member: Member) -> None:
    session, expected = story.network[member].session, story.expected[member.org]
    request = v1.ListRecordsRequest(page_size=1)

    def arrived() -> bool:
        held = session.call(request, v1.ListRecordsResponse).total
        output.progress(f"{member.org} holds {held:,} of {expected:,} records")
        return held >= expected

    wait_until(arrived, otherwise=f"{member.org} has not got all {expected:,} records")


def compare(story: Story) -> str:
    """Show one record as each of the three sees it, and return its id."""
    story.tell(
        "One record, three views",
        "The same record in each store: a bar is a field that lab-a withholds and says so, with the reason from "
        "its policy; a dash is a field of which nothing shows at all.",
    )
    shared = [result.record for result in story.posted if len(result.queued_for) == len(story.expected)]
    views = [view(story, LAB_A, record_id=record.envelope.record_id) for record in shared]
    chosen = max(views, key=lambda record: (any(name in record.content for name in REVEALABLE), richness(record)))
    record_id = chosen.envelope.record_id
    print_views({member.org: view(story, member, record_id=record_id) for member in MEMBERS})
    return record_id


def view(story: Story, member: Member, *, record_id: str) -> v1.Record:
    """Return a record as one organisation holds it."""
    request = v1.GetRecordRequest(id=record_id, with_token=True)
    return story.network[member].session.call(request, v1.GetRecordResponse).record


def verify(story: Story, record_id: str) -> None:
    """Verify in each store what is left of the record, by the origin's identity document alone."""
    story.tell(
        "lab-a's signature verifies in all of them",
        "Withholding leaves parts out and signs nothing again: what is left still carries the origin's own signature.",
    )
    document = story.network[LAB_A].session.call(v1.GetIdentityRequest(), v1.GetIdentityResponse).document
    origin = parse_identity(document, now=now())
    held = {
        member: parse_record(view(story, member, record_id=record_id).token).verify(origin, now=now())
        for member in MEMBERS
    }
    columns = (
        Column("organisation"),
        Column("fields", right=True),
        Column("bytes", right=True),
        Column("signature of lab-a"),
        Column("digest", flexible=True),
    )
    output.table(columns, [_verified(member, record) for member, record in held.items()])
    if len({record.digest for record in held.values()}) != 1:
        raise PeerMisbehaved("one record has several digests")


def _verified(member: Member, record: VerifiedRecord) -> Row:
    fields = [
        path for path in record.paths if not any(other.startswith((f"{path}.", f"{path}[*]")) for other in record.paths)
    ]
    counts = (f"{len(fields):,}", f"{len(record.token):,}")
    return Cell(member.org, "bold"), *counts, Cell("verified", "green"), record.digest


def refuse_reader(story: Story) -> None:
    """Let the reader try to publish at lab-a, which must refuse."""
    story.tell(
        "A reader cannot publish",
        "aisi.example may only read: when its node tries to deliver a page, lab-a turns it away before it looks at "
        "the page.",
    )
    answer = try_to_publish(story.network[AISI], at=story.network[LAB_A])
    output.data(f"aisi.example → lab-a.example  Deliver  {answer}")


def sync_again(story: Story) -> None:
    """Sync once more, which must move nothing."""
    story.tell(
        "A second sync moves nothing", "Each partner resumes where it stopped: nothing is lost, nothing comes twice."
    )
    columns = (Column("organisation"), Column("new records", right=True), Column("new fields", right=True))
    output.table(columns, [_synced(story, member) for member in (LAB_B, AISI)])


def _synced(story: Story, member: Member) -> Row:
    request = v1.SyncPeersRequest(peers=[LAB_A.org])
    *_, last = story.network[member].session.stream(request, v1.SyncPeersResponse)
    if last.error_reason or last.records or last.disclosures:
        raise PeerMisbehaved(f"the second sync of {member.org} moved {last.records} records: {last.error_message}")
    return Cell(member.org, "bold"), str(last.records), str(last.disclosures)


def reveal(story: Story, record_id: str) -> None:
    """Reveal one field to the institute, and show what it sees before and after."""
    before, origin = view(story, AISI, record_id=record_id), view(story, LAB_A, record_id=record_id)
    path = next(name for name in REVEALABLE if name in origin.content)
    story.tell(
        "lab-a reveals one field later",
        "It sends aisi the part that was left out. The record, its digest and its signature stay the same: "
        "nothing is signed again.",
    )
    output.data(f"$ tocsin reveal {short_id(before)} {path} --to {AISI.org}\n")
    request = v1.RevealFieldsRequest(id=record_id, paths=[path], partner=AISI.org)
    story.network[LAB_A].session.call(request, v1.RevealFieldsResponse)
    wait_until(
        lambda: path in view(story, AISI, record_id=record_id).content,
        otherwise=f"{path} has not arrived at {AISI.org}",
    )
    after = view(story, AISI, record_id=record_id)
    print_views({LAB_A.org: origin, "aisi before": before, "aisi after": after}, REVEAL_SHOWN)


def wait_until(arrived: Callable[[], bool], *, otherwise: str) -> None:
    """Ask again and again until something has arrived.

    Raises PeerMisbehaved where it does not in time.
    """
    give_up = time.monotonic() + ARRIVAL_SECONDS
    while not arrived():
        if time.monotonic() > give_up:
            raise PeerMisbehaved(
                f"{otherwise} after {ARRIVAL_SECONDS:.0f} seconds",
                hint="is the machine very busy? --keep DIR keeps the logs of the nodes",
            )
        time.sleep(POLL_SECONDS)
    output.progress("")
