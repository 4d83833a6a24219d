"""This module has the commands for what waits for somebody's decision: review list, show, approve, reject.

What is approved is read from the very bytes that would be sent, and worked out
by `tocsin_cli.proposed` to be what the signature covers.
"""

import re
from collections.abc import Sequence

import click

from tocsin.errors import Conflict
from tocsin.people.act import Act
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import output
from tocsin_cli.ask import ask, is_agreed
from tocsin_cli.command import Command, Entry, Section, UsageProblem, group, json_option
from tocsin_cli.docket import COLUMNS, print_release, print_request, reveal_command, review_row, state_of
from tocsin_cli.document import document
from tocsin_cli.proposed import Proposed, verify_review
from tocsin_cli.session import Session, now
from tocsin_cli.view import ID_LENGTH

_HERE = "tocsin_cli.commands.review"
GRAVE = "RED"
"""Marking for which people type the name of each partner."""
# An id is base64url, and one of 64 begins with a dash: it is an argument all the same. No option is that long.
_DASHED_ID = re.compile(r"-[A-Za-z0-9_-]{7,42}")


class ReviewCommand(Command):
    """A command whose argument is the id of a review."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take what looks like an id for one."""
        ids = [arg for arg in args if _DASHED_ID.fullmatch(arg)]
        return super().parse_args(ctx, [*(arg for arg in args if arg not in ids), "--", *ids] if ids else args)


review = group(
    name="review",
    examples=(
        "tocsin review list",
        "tocsin review show Xk4mT0aB",
        "tocsin review approve Xk4mT0aB",
    ),
    sections=(
        Section(
            "Commands",
            (
                Entry("list", f"{_HERE}:list_reviews", "List what waits for somebody's decision."),
                Entry("show", f"{_HERE}:show", "Show what would go to whom, or what a partner asks for."),
                Entry("approve", f"{_HERE}:approve", "Agree to a proposed release, under your signature."),
                Entry("reject", f"{_HERE}:reject", "Say no to a proposed release, or to what a partner asks for."),
            ),
        ),
    ),
    summary="Decide about proposed releases, and what partners ask for.",
)

_review_argument = click.argument("review_id", metavar="ID")
_yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


@click.command("list", cls=Command, examples=("tocsin review list", "tocsin review list --all --json"))
@click.option("--all", "everything", is_flag=True, help="Those that are decided, too.")
@json_option
@click.pass_obj
def list_reviews(session: Session, *, everything: bool, as_json: bool) -> None:
    """List what waits for somebody's decision.

    Releases that policy wants further people to agree to, and fields that
    partners ask for.
    """
    found = session.call(v1.ListReviewsRequest(all=everything), v1.ListReviewsResponse)
    if as_json:
        output.document(document(found))
    elif found.reviews:
        output.table(COLUMNS, [review_row(one) for one in found.reviews])
    else:
        output.talk("nothing waits for a decision")


@click.command(cls=ReviewCommand, examples=("tocsin review show Xk4mT0aB",))
@_review_argument
@json_option
@click.pass_obj
def show(session: Session, *, review_id: str, as_json: bool) -> None:
    """Show what would go to whom, or what a partner asks for.

    What would go is read from the exact bytes that would be sent.
    """
    found = _get(session, review_id)
    if as_json:
        output.document(document(found))
    elif found.kind == v1.REVIEW_KIND_RELEASE:
        is_whole = all(item.presentation for item in found.items)
        print_release(found, _verified(session, found) if is_whole else ())
    else:
        print_request(found)


@click.command(cls=ReviewCommand, examples=("tocsin review approve Xk4mT0aB", "tocsin review approve Xk4mT0aB --yes"))
@_review_argument
@_yes_option
@json_option
@click.pass_obj
def approve(session: Session, *, review_id: str, yes: bool, as_json: bool) -> None:
    """Agree to a proposed release, under your signature.

    Shows every field that would go, and to whom, before it asks. For TLP:RED
    it asks for the name of each partner. The signature covers exactly what is
    shown: where the record, a policy or the recipients change, it counts no
    more.
    """
    if as_json and not yes:
        raise UsageProblem("--json answers a script, and a script is not asked", "give --yes too")
    found = _get(session, review_id)
    if found.kind != v1.REVIEW_KIND_RELEASE:
        raise UsageProblem(
            f"{', '.join(found.by)} asks for fields: that is answered with a reveal", reveal_command(found)
        )
    _refuse_decided(found)
    proposed = _verified(session, found)
    if not as_json:
        print_release(found, proposed)
    if not yes and not _is_agreed(proposed):
        output.talk("nothing was signed")
        return
    statement = session.sign(Act.APPROVE, on=found.id)
    _decide(session, v1.DecideReviewRequest(id=found.id, approve=True, statement=statement), as_json=as_json)


@click.command(cls=ReviewCommand, examples=("tocsin review reject Xk4mT0aB",))
@_review_argument
@json_option
@click.pass_obj
def reject(session: Session, *, review_id: str, as_json: bool) -> None:
    """Say no to a proposed release, or to what a partner asks for.

    A release is rejected under your signature, and is not proposed again until
    the record, a policy or the recipients change.
    """
    found = _get(session, review_id)
    _refuse_decided(found)
    is_release = found.kind == v1.REVIEW_KIND_RELEASE
    statement = session.sign(Act.REJECT, on=found.id) if is_release else ""
    _decide(session, v1.DecideReviewRequest(id=found.id, statement=statement), as_json=as_json)


def _get(session: Session, review_id: str) -> v1.Review:
    found = session.call(v1.GetReviewRequest(id=review_id), v1.GetReviewResponse).review
    if not found.id.startswith(review_id):
        raise Conflict("the node answers with another review than was asked for", reason="CONFLICT")
    return found


def _refuse_decided(found: v1.Review) -> None:
    """Raise Conflict where nobody is asked any more."""
    if found.state != v1.REVIEW_STATE_OPEN:
        raise Conflict(
            f"{found.id[:ID_LENGTH]} is {state_of(found)} already",
            reason="CONFLICT",
            hint="see what waits for a decision: tocsin review list",
        )


def _verified(session: Session, found: v1.Review) -> tuple[Proposed, ...]:
    return verify_review(found, session.profile.load_organisation(), now=now())


def _is_agreed(proposed: Sequence[Proposed]) -> bool:
    """Ask whether all of it may go; for TLP:RED by the name of each partner."""
    grave = [one.partner for one in proposed if one.record.marking_at(now()) == GRAVE]
    for partner in grave:
        if ask(f"TLP:{GRAVE} goes to {partner}; type its name to agree: ") != partner:
            raise UsageProblem(f"that is not {partner}: nothing was signed", "type the name as it stands there")
    return bool(grave) or is_agreed(f"agree to the release to {', '.join(one.partner for one in proposed)}?")


def _decide(session: Session, request: v1.DecideReviewRequest, *, as_json: bool) -> None:
    answer = session.call(request, v1.DecideReviewResponse)
    if as_json:
        output.document(document(answer))
        return
    found = answer.review
    output.data(f"{found.id[:ID_LENGTH]} is {state_of(found)}")
    missing = found.approvals_needed - len(found.approved_by)
    if answer.queued_for:
        output.data(f"  queued for {', '.join(answer.queued_for)}")
    elif found.state == v1.REVIEW_STATE_OPEN and missing > 0:
        output.data(f"  {missing} more {'person has' if missing == 1 else 'people have'} to agree")
