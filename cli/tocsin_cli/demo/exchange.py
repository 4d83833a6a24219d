"""This module tells how the three meet, what lab-a posts, and what arrives."""

import time
from collections.abc import Sequence
from pathlib import Path

from tocsin.release.lint import RULES
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import output
from tocsin_cli.commands.draft import read_draft, refusal
from tocsin_cli.commands.source import Imported, post_all, read_sources
from tocsin_cli.demo.network import AISI, LAB_A, LAB_B, MEMBERS, Member, Node
from tocsin_cli.demo.records import demo_records
from tocsin_cli.demo.story import Row, Story, wait_until
from tocsin_cli.document import timestamp_text
from tocsin_cli.grid import Cell, Column
from tocsin_cli.view import kind_of, tlp_of

IMPORT_TLP = "GREEN"
"""Marking of what the demo imports: for the community."""
SHOWN_GROUPS = 4
"""Groups of a fingerprint in a table; people compare all of them."""


def meet(story: Story) -> None:
    """Introduce the three, and start their nodes."""
    story.tell(
        "Three organisations meet",
        "Each runs its own node, with its own keys and its own store, and knows the other two by a "
        "fingerprint that their people confirmed.",
    )
    story.network.start()
    story.network.introduce()
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
    drafts = [read_draft(file).draft for file in files]
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
    later = found.HasField("waiting")
    if not found.delivered:
        until = timestamp_text(found.waiting.not_before)[:10]
        return Cell(f"nothing before {until}", "yellow") if later else Cell("nothing", "red")
    fields = f"{sum(field.shared for field in found.fields)} of {len(found.fields)} fields{', later' * later}"
    return Cell(fields, "yellow" if later else "green")


def _import(story: Story, form: str, *, file: Path) -> None:
    # What is imported is public already: whatever the linter would find in it has been published.
    sources, problems = read_sources(form, (file,), tlp=IMPORT_TLP, overrides=RULES)
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
