"""This module shows that the promises are kept: who sees what, signatures, roles, nothing twice."""

from tocsin.errors import PeerMisbehaved
from tocsin.identity.root import parse_identity
from tocsin.records.record import VerifiedRecord, parse_record
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import output
from tocsin_cli.demo.compare import print_views, richness
from tocsin_cli.demo.network import AISI, LAB_A, LAB_B, MEMBERS, Member
from tocsin_cli.demo.reader import try_to_publish
from tocsin_cli.demo.story import Row, Story, view
from tocsin_cli.grid import Cell, Column
from tocsin_cli.session import now
from tocsin_cli.view import disclosed_fields

REVEALABLE = ("prompts", "steps")
"""Fields that may be revealed to the institute later: its policy has a `reveal` line for them."""


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
    counts = (f"{len(disclosed_fields(record.paths)):,}", f"{len(record.token):,}")
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
