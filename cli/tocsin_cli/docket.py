"""This module prints what waits for somebody's decision: the list, a proposed release, what a partner asks for."""

import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tocsin.desk.title import one_line
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1.record_pb2 import Tlp
from tocsin_cli import output
from tocsin_cli.commands.record import print_lines
from tocsin_cli.document import claim, timestamp_text
from tocsin_cli.grid import Cell, Column
from tocsin_cli.session import now
from tocsin_cli.view import ID_LENGTH, disclosed_fields, kind_of, marking_text, record_lines

if TYPE_CHECKING:
    from tocsin_cli.proposed import Proposed

ANSWERS = {"released": "granted", "rejected": "declined"}
"""States of what a partner asks for, in its own words."""
STATE_STYLES = {
    "open": "yellow",
    "released": "green",
    "granted": "green",
    "rejected": "red",
    "declined": "red",
    "void": "dim",
}

COLUMNS = (
    Column("id"),
    Column("what"),
    Column("state"),
    Column("tlp", spare=True),
    Column("record"),
    Column("title", flexible=True),
    Column("for"),
    Column("agreed", right=True),
)


def review_row(found: v1.Review) -> list[Cell | str]:
    """Return the cells of a review for `COLUMNS`."""
    state, tlp, is_release = state_of(found), claim(Tlp.DESCRIPTOR, found.tlp), found.kind == v1.REVIEW_KIND_RELEASE
    return [
        Cell(found.id[:ID_LENGTH], "bold"),
        "release" if is_release else "request",
        Cell(state, STATE_STYLES.get(state, "")),
        Cell(tlp, output.TLP_STYLES.get(tlp, "")),
        found.record_id[:ID_LENGTH],
        found.title,
        ", ".join(item.partner for item in found.items) if is_release else ", ".join(found.by),
        f"{len(found.approved_by)} of {found.approvals_needed}" if is_release else "",
    ]


def print_review_hint(waiting: Iterable[v1.Waiting]) -> None:
    """Say how somebody agrees to the first release that waits for it, if one does."""
    reviews = [one.review for one in waiting if one.review and one.approvals_needed]
    if reviews:
        output.hint(f"somebody else has to agree: tocsin review show {reviews[0][:ID_LENGTH]}")


def print_release(found: v1.Review, proposed: "Sequence[Proposed]") -> None:
    """Print every field that would go, and to whom, read from the bytes themselves."""
    from tocsin.desk.messages import seen_message  # and the node's rooms: `tocsin post` only hints at a docket

    agreed = f" ({', '.join(found.approved_by)})" if found.approved_by else ""
    _print_heading(found, "release")
    output.pairs(
        [
            ("proposed by", ", ".join(found.by)),
            ("agreed", f"{len(found.approved_by)} of {found.approvals_needed}{agreed}"),
            ("rejected by", found.rejected_by),
        ]
    )
    if not proposed:
        output.talk(f"it was about {', '.join(item.partner for item in found.items)}, and is not what would go today")
    for one in proposed:
        seen = seen_message(one.record, now=now())
        seen.withheld.extend(one.item.record.withheld)
        what = f"{len(disclosed_fields(one.record.paths))} fields of a {marking_text(seen)} {kind_of(seen)}"
        earliest = f", not before {timestamp_text(one.item.not_before)}" if one.item.HasField("not_before") else ""
        output.data()
        output.styled(f"{one.partner} gets {what} by the rule {one.item.rule}{earliest}", "bold")
        output.data()
        print_lines(record_lines(seen))


def print_request(found: v1.Review) -> None:
    """Print what a partner asks for, and how it is answered."""
    _print_heading(found, "request")
    output.pairs([("partner", ", ".join(found.by)), ("fields", ", ".join(found.paths)), ("why", one_line(found.why))])
    if found.state == v1.REVIEW_STATE_OPEN:
        output.hint(f"answer it: {reveal_command(found)}")
        output.hint(f"or say no: tocsin review reject {found.id[:ID_LENGTH]}")


def _print_heading(found: v1.Review, what: str) -> None:
    tlp = claim(Tlp.DESCRIPTOR, found.tlp)
    about = f"{what} {found.id[:ID_LENGTH]} about record {found.record_id[:ID_LENGTH]}"
    output.styled(found.title or found.record_id, "bold")
    output.styled(
        f"TLP:{tlp}  {about}, {timestamp_text(found.opened_at)}, {state_of(found)}", output.TLP_STYLES.get(tlp, "")
    )
    output.data()


def reveal_command(found: v1.Review) -> str:
    """Return the command that gives a partner what it asks for."""
    paths = " ".join(shlex.quote(path) for path in found.paths)
    return f"tocsin reveal {found.record_id[:ID_LENGTH]} {paths} --to {', '.join(found.by)}"


def state_of(found: v1.Review) -> str:
    """Return where a review stands, in words."""
    state = claim(v1.ReviewState.DESCRIPTOR, found.state)
    return state if found.kind == v1.REVIEW_KIND_RELEASE else ANSWERS.get(state, state)
