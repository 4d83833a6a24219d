"""This module tells how more goes later: a second person agrees, a policy is loosened, a field is revealed."""

from collections.abc import Collection
from difflib import unified_diff
from functools import partial

from tocsin.errors import NotFound, NotPermitted, PeerMisbehaved
from tocsin.people.act import Act
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import output
from tocsin_cli.commands.plan import make_plan, print_plan, sign_and_apply
from tocsin_cli.commands.policy import Named
from tocsin_cli.demo.compare import print_views, values_at
from tocsin_cli.demo.network import AISI, FIRST, LAB_A, LAB_B, add_person, policy_text
from tocsin_cli.demo.promises import REVEALABLE
from tocsin_cli.demo.story import Story, view, wait_until
from tocsin_cli.docket import COLUMNS, review_row
from tocsin_cli.document import content_of
from tocsin_cli.proposed import verify_review
from tocsin_cli.session import Session, now
from tocsin_cli.view import ID_LENGTH, disclosed_fields, short_id

SECOND = "counsel"
CHANGES_SHOWN = 6
REVEAL_SHOWN = ("title", "subjects[*].checkpoint", "steps[*].description", "prompts")


def approve(story: Story) -> None:
    """Let a second person agree to the release of what is TLP:RED."""
    story.tell(
        "What is TLP:RED waits for a second person",
        "The floor that every organisation starts with wants one further person to agree before a TLP:RED record "
        "goes to anybody. It signs the hash of the exact bytes that would go: whatever changes, it has to agree anew.",
    )
    node = story.network[LAB_A]
    found = node.session.call(v1.ListReviewsRequest(), v1.ListReviewsResponse).reviews
    output.table(COLUMNS, [review_row(one) for one in found])
    review = node.session.call(v1.GetReviewRequest(id=found[0].id), v1.GetReviewResponse).review
    command = f"tocsin review approve {review.id[:ID_LENGTH]}"
    output.data(f"\n{FIRST}, who posted it  $ {command}")
    try:
        _agree(node.session, review)
    except NotPermitted as refused:
        output.styled(f"PERMISSION_DENIED ({refused.reason}): {refused.message}")
    else:
        raise PeerMisbehaved("who posted a record could agree to its release")
    second = add_person(node, SECOND, v1.PERSON_ROLE_RELEASER)
    output.data(f"\n{SECOND}, a releaser  $ {command}")
    fields, queued = _agree(second, review)
    second.close()
    output.data(f"released: {fields} fields go to {', '.join(queued)}")
    aisi = story.network[AISI].session
    wait_until(partial(_holds, aisi, review.record_id), otherwise=f"the released record has not arrived at {AISI.org}")
    output.data(f"{AISI.org} holds it: {view(story, AISI, record_id=review.record_id).title}")


def _agree(session: Session, review: v1.Review) -> tuple[int, list[str]]:
    """Agree as `tocsin review approve` does, and return how many fields go, and to whom."""
    proposed = verify_review(review, session.profile.load_organisation(), now=now())
    statement = session.sign(Act.APPROVE, on=review.id)
    request = v1.DecideReviewRequest(id=review.id, approve=True, statement=statement)
    answer = session.call(request, v1.DecideReviewResponse)
    return sum(len(disclosed_fields(one.record.paths)) for one in proposed), list(answer.queued_for)


def _holds(session: Session, record_id: str, paths: Collection[str] = ()) -> bool:
    """Say whether a node holds a record, with something in each of these fields."""
    try:
        record = session.call(v1.GetRecordRequest(id=record_id), v1.GetRecordResponse).record
    except NotFound:
        return False
    content = content_of(record.content)
    return all(any(True for _ in values_at(content, path)) for path in paths)


def loosen(story: Story) -> None:
    """Loosen a policy: first what it would do, and then the deed."""
    story.tell(
        "A policy is loosened, and the plan says first what that would do",
        "lab-a trusts lab-b with more. Before anything goes, the plan asks both versions of the policy about every "
        "record; nothing counts until a policy-admin has signed it.",
    )
    before, after = (policy_text(LAB_A.org, LAB_B.org, variant=variant) for variant in ("", "-loosened"))
    for line in unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm=""):
        if line[:1] in "-+" and line[:3] not in ("---", "+++") and not line[1:].startswith("#"):
            output.paint(line, "green" if line[0] == "+" else "red")
    node = story.network[LAB_A]
    named = [Named(LAB_B.org, v1.PolicyFile(name=f"{LAB_B.org}.toml", text=after))]
    output.data("\n$ tocsin policy plan\n")
    plan = make_plan(node.session, named)
    print_plan(plan, limit=CHANGES_SHOWN)
    output.data("\n$ tocsin policy apply\n")
    for queued in sign_and_apply(node.session, plan, named).queued:
        output.data(f"in force; {queued.records:,} records are queued for {queued.partner}")
    lab_b = story.network[LAB_B].session
    for change in plan.changes:
        wait_until(
            partial(_holds, lab_b, change.record_id, paths=disclosed_fields(change.released)),
            otherwise=f"what the policy releases has not arrived at {LAB_B.org}",
        )
    new = sum(change.whole for change in plan.changes)
    output.data(f"{LAB_B.org} holds the {new} new records, and the further fields of {len(plan.changes) - new} others")


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
