"""What waits for a decision: what is shown is what is signed, and nothing is signed that differs."""

import json
from hashlib import sha256

import pytest

from tests.cli.messages import NOON, RECORD_ID
from tests.support.organisations import found as founded
from tests.support.organisations import seeded
from tocsin.encoding import dump_json, encode_base64url
from tocsin.people.act import Act, verify_act
from tocsin.people.card import parse_card
from tocsin.records.record import Draft, issue, sd_hash
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import record_pb2
from tocsin_cli.profile import Profile, default_folder, make_keys, new_profile

ORG = "lab-a.example"
CONTENT = {
    "title": "Tool output redirects an agent",
    "finding_kind": "vulnerability",
    "severity": "high",
    "subjects": [{"kind": "agent", "name": "Example Agent", "version": "3.1"}],
    "summary": "It follows what it reads.",
}
SHARED = frozenset({"title", "severity", "subjects[*].name"})


@pytest.fixture
def counsel(tocsin, monkeypatch, tmp_path):
    """Return the person whose profile is the only one for the home, on the day that the record was signed."""
    monkeypatch.setattr("tocsin_cli.commands.review.now", lambda: NOON)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    keys = make_keys(ORG, now=NOON, random=seeded("counsel"))
    profile = Profile(folder=default_folder("counsel", ORG), name="counsel", org=ORG, home=str(tmp_path / "home"))
    with new_profile(profile, keys) as save_identity:
        save_identity(founded(ORG).document)
    return parse_card(keys.card("counsel"), org=ORG).admit((), now=NOON)


def issued(*, tlp="AMBER", org=ORG, seed="record"):
    draft = Draft(record_id=RECORD_ID, kind="finding", tlp=tlp)
    return issue(draft, CONTENT, issuer=org, signer=founded(org).record, now=NOON, random=seeded(seed))


def proposal(*partners, record=None, seed=0, **changes):
    """Return a proposed release of a record to some partners, and change what the node says of it."""
    record = record or issued()
    token = record.present(SHARED)
    items = [
        {"partner": org, "sd_hash": sd_hash(token), "policy": "0" * 64, "rule": "severe findings", "approvals": 1}
        for org in partners
    ]
    body = dump_json({"digest": record.digest, "recipients": [], "floor": "", "items": items, "nonce": str(seed)})
    made = v1.Review(
        id=encode_base64url(sha256(body).digest()),
        kind=v1.REVIEW_KIND_RELEASE,
        state=v1.REVIEW_STATE_OPEN,
        digest=record.digest,
        record_id=RECORD_ID,
        title=CONTENT["title"],
        tlp=record_pb2.Tlp.Value(f"TLP_{record.tlp}"),
        by=["analyst-1"],
        approvals_needed=1,
        body=body.decode(),
    )
    made.opened_at.FromSeconds(NOON)
    for item in items:
        shown = made.items.add(partner=item["partner"], sd_hash=item["sd_hash"], rule=item["rule"], approvals=1)
        shown.presentation = token
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def decided(review, state=v1.REVIEW_STATE_RELEASED, queued=("aisi.example",)):
    after = v1.Review()
    after.CopyFrom(review)
    after.state = state
    return v1.DecideReviewResponse(review=after, queued_for=queued)


def answers(desk, review, *more):
    return desk(v1.GetReviewResponse(review=review), *more)


def decisions(fake):
    return [asked for asked in fake.asked if isinstance(asked, v1.DecideReviewRequest)]


def test_an_approval_signs_the_proposal_that_was_shown(tocsin, desk, counsel):
    review = proposal("aisi.example")
    fake = answers(desk, review, decided(review))
    shown = tocsin("review", "approve", review.id[:8], stdin=b"y\n")
    assert shown.code == 0, shown.err
    (asked,) = decisions(fake)
    act = verify_act(asked.statement, org=ORG, person=counsel)
    assert (act.act, act.on, asked.approve) == (Act.APPROVE, review.id, True)
    assert "queued for aisi.example" in shown.out


def test_every_field_and_recipient_is_shown_before_anybody_is_asked(tocsin, desk, counsel):
    review = proposal("aisi.example", "lab-b.example")
    answers(desk, review)
    shown = tocsin("review", "approve", review.id, stdin=b"n\n")
    assert shown.out.splitlines()[0] == CONTENT["title"]
    for partner in ("aisi.example", "lab-b.example"):  # three that are shared, and one that is open in every finding
        assert f"{partner} gets 4 fields of a TLP:AMBER finding by the rule severe findings" in shown.out
    assert shown.out.count("Example Agent") == 2
    assert "3.1" not in shown.out
    assert CONTENT["summary"] not in shown.out
    assert "agree to the release to aisi.example, lab-b.example? [y/N]" in shown.err


def test_what_is_shown_is_read_from_the_bytes_and_not_from_what_the_node_says_beside_them(tocsin, desk, counsel):
    review = proposal("aisi.example")
    review.title = "something harmless"
    review.items[0].record.content.update({"severity": "low"})
    answers(desk, review)
    shown = tocsin("review", "show", review.id)
    lines = [line.split(maxsplit=1) for line in shown.out.splitlines()]
    assert ["title", CONTENT["title"]] in lines
    assert ["severity", "high"] in lines


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        pytest.param(b"n\n", 0, "nothing was signed", id="no"),
        pytest.param(b"\n", 0, "nothing was signed", id="nothing typed"),
        pytest.param(b"", 2, "--yes agrees without being asked", id="nobody there"),
    ],
)
def test_nothing_is_signed_without_a_yes(tocsin, desk, counsel, answer, code, said):
    review = proposal("aisi.example")
    fake = answers(desk, review)
    shown = tocsin("review", "approve", review.id, stdin=answer)
    assert (shown.code, decisions(fake)) == (code, [])
    assert said in shown.err


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        pytest.param(b"aisi.example\nlab-b.example\ny\n", 0, id="the name of each partner"),
        pytest.param(b"aisi.example\naisi.example\ny\n", 2, id="the name of one of them twice"),
        pytest.param(b"y\ny\ny\n", 2, id="a yes instead"),
    ],
)
def test_for_red_people_type_the_name_of_each_partner(tocsin, desk, counsel, typed, code):
    review = proposal("aisi.example", "lab-b.example", record=issued(tlp="RED"))
    fake = answers(desk, review, decided(review))
    shown = tocsin("review", "approve", review.id, stdin=typed)
    assert shown.code == code, shown.err
    assert len(decisions(fake)) == (code == 0)


def test_a_script_agrees_without_being_asked(tocsin, desk, counsel):
    review = proposal("aisi.example", record=issued(tlp="RED"))
    answers(desk, review, decided(review))
    shown = tocsin("review", "approve", review.id, "--yes", "--json")
    assert shown.code == 0, shown.err
    assert json.loads(shown.out)["queued_for"] == ["aisi.example"]
    assert tocsin("review", "approve", review.id, "--json").code == 2


def swapped(review):
    review.items[0].presentation = issued().present(SHARED | {"summary"})


def another_record(review):
    review.CopyFrom(proposal("aisi.example", record=issued(seed="other"), digest=review.digest))
    review.body = review.body.replace(issued(seed="other").digest, review.digest)
    review.id = encode_base64url(sha256(review.body.encode()).digest())


def another_organisation(review):
    review.CopyFrom(proposal("aisi.example", record=issued(org="lab-b.example")))


def hidden_recipient(review):
    del review.items[1]


def gone(review):
    review.items[0].presentation = ""


def other_body(review):
    review.body = review.body.replace("severe findings", "anything")


def garbage(review):
    review.body = "[]"
    review.id = encode_base64url(sha256(b"[]").digest())


@pytest.mark.parametrize(
    ("tamper", "problem"),
    [
        pytest.param(other_body, "its id is not the hash of its body", id="another body"),
        pytest.param(garbage, "its body is no proposal", id="a body that is none"),
        pytest.param(hidden_recipient, "it shows other recipients than it names", id="a recipient is not shown"),
        pytest.param(swapped, "what it shows for aisi.example is not what would be sent", id="other bytes"),
        pytest.param(another_record, "it shows another record than it names", id="another record"),
        pytest.param(another_organisation, "does not verify", id="a record of another organisation"),
        pytest.param(gone, "what was proposed is not what would go today", id="no bytes"),
    ],
)
def test_nothing_is_signed_where_the_node_shows_something_else(tocsin, desk, counsel, tamper, problem):
    review = proposal("aisi.example", "lab-b.example")
    tamper(review)
    fake = answers(desk, review)
    shown = tocsin("review", "approve", review.id, "--yes")
    assert (shown.code, decisions(fake)) == (6, [])
    assert problem in shown.err
    assert "[CONFLICT]" in shown.err


def test_another_review_than_was_asked_for_is_refused(tocsin, desk, counsel):
    fake = answers(desk, proposal("aisi.example"))
    shown = tocsin("review", "reject", "00000000")
    assert (shown.code, decisions(fake)) == (6, [])


@pytest.mark.parametrize("verb", ["approve", "reject"])
@pytest.mark.parametrize("state", ["RELEASED", "REJECTED", "VOID"])
def test_nobody_is_asked_about_what_is_decided(tocsin, desk, counsel, verb, state):
    review = proposal("aisi.example", state=v1.ReviewState.Value(f"REVIEW_STATE_{state}"))
    fake = answers(desk, review)
    shown = tocsin("review", verb, review.id)
    assert (shown.code, shown.out, decisions(fake)) == (6, "", [])
    assert f"{review.id[:8]} is {state.lower()} already [CONFLICT]" in shown.err
    assert "see what waits for a decision: tocsin review list" in shown.err


def test_a_review_of_what_is_gone_is_shown_without_it(tocsin, desk, counsel):
    review = proposal("aisi.example", state=v1.REVIEW_STATE_VOID)
    gone(review)
    answers(desk, review)
    shown = tocsin("review", "show", review.id)
    assert shown.code == 0, shown.err
    assert "void" in shown.out
    assert "it was about aisi.example, and is not what would go today" in shown.err


def test_a_rejection_is_signed(tocsin, desk, counsel):
    review = proposal("aisi.example")
    fake = answers(desk, review, decided(review, v1.REVIEW_STATE_REJECTED, ()))
    shown = tocsin("review", "reject", review.id)
    (asked,) = decisions(fake)
    act = verify_act(asked.statement, org=ORG, person=counsel)
    assert (act.act, act.on, asked.approve) == (Act.REJECT, review.id, False)
    assert shown.out == f"{review.id[:8]} is rejected\n"


def asked_for():
    made = v1.Review(
        id="Rq5mT0aBzz",
        kind=v1.REVIEW_KIND_REQUEST,
        state=v1.REVIEW_STATE_OPEN,
        record_id=RECORD_ID,
        title=CONTENT["title"],
        tlp=record_pb2.TLP_GREEN,
        by=["aisi.example"],
        paths=["steps", "subjects[*].version"],
        why="to \x1b[2Jreproduce it\nagreed            2 of 2",
    )
    made.opened_at.FromSeconds(NOON)
    return made


def test_what_a_partner_asks_for_is_answered_by_a_reveal_or_declined(tocsin, desk, counsel):
    reveal = "tocsin reveal 3f2b8c1e steps 'subjects[*].version' --to aisi.example"
    answers(desk, asked_for())
    shown = tocsin("review", "show", "Rq5mT0aB")
    assert reveal in shown.err
    assert "\x1b" not in shown.out
    assert not [line for line in shown.out.splitlines() if line.startswith("agreed")], "one line, whatever is in it"
    fake = answers(desk, asked_for())
    refused = tocsin("review", "approve", "Rq5mT0aB", "--yes")
    assert (refused.code, decisions(fake)) == (2, [])
    assert reveal in refused.err
    fake = answers(desk, asked_for(), decided(asked_for(), v1.REVIEW_STATE_REJECTED, ()))
    assert tocsin("review", "reject", "Rq5mT0aB").code == 0
    assert decisions(fake) == [v1.DecideReviewRequest(id="Rq5mT0aBzz")]


def test_an_approval_that_is_not_the_last_one_says_how_many_more_it_takes(tocsin, desk, counsel):
    review = proposal("aisi.example", approvals_needed=2)
    after = decided(review, v1.REVIEW_STATE_OPEN, ())
    after.review.approved_by.append("counsel")
    answers(desk, review, after)
    shown = tocsin("review", "approve", review.id, "--yes")
    assert shown.out.endswith(f"{review.id[:8]} is open\n  1 more person has to agree\n")


@pytest.mark.parametrize(("state", "word"), [("RELEASED", "granted"), ("REJECTED", "declined")])
def test_what_was_asked_for_is_granted_or_declined(tocsin, desk, state, word):
    found = asked_for()
    found.state = v1.ReviewState.Value(f"REVIEW_STATE_{state}")
    desk(v1.ListReviewsResponse(reviews=[found]))
    assert tocsin("review", "list", "--all").out.splitlines()[1].split()[2] == word


def test_reviews_are_listed_with_what_they_need(tocsin, desk):
    fake = desk(v1.ListReviewsResponse(reviews=[proposal("aisi.example", "lab-b.example"), asked_for()]))
    heading, release, asked = tocsin("review", "list", "--all").out.splitlines()
    assert fake.asked == [v1.ListReviewsRequest(all=True)]
    assert heading.split()[0] == "ID"
    assert release.split()[1:3] == ["release", "open"]
    assert release.endswith("aisi.example, lab-b.example  0 of 1")
    assert asked.split()[:3] == ["Rq5mT0aB", "request", "open"]
    desk(v1.ListReviewsResponse())
    assert tocsin("review", "list").err == "nothing waits for a decision\n"


def test_an_id_that_begins_with_a_dash_is_an_id(tocsin, desk, counsel):
    review = next(made for made in (proposal("aisi.example", seed=n) for n in range(9999)) if made.id[0] == "-")
    fake = answers(desk, review, decided(review))
    assert tocsin("review", "approve", review.id[:8], "--yes").code == 0
    assert fake.asked[0] == v1.GetReviewRequest(id=review.id[:8])
