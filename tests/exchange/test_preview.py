"""Preview is delivery: what the one function makes is what the partner stores, byte for byte, whatever the policy."""

import os
from functools import cache
from random import Random

import pytest

from tests.exchange.parties import A, B, Party, founded
from tests.policy import holdings
from tests.store.making import record_id
from tests.support.organisations import NOW, seeded
from tests.support.shared import ROOT
from tocsin.errors import MalformedContent
from tocsin.policy.model import PolicySet
from tocsin.policy.reach import leaves, secret
from tocsin.records.record import Draft, issue
from tocsin.release.presentation import presentation
from tocsin.schema.contract import KINDS, TLPS, Disclosure
from tocsin.schema.files import parse_content_file

EXAMPLES = sorted((ROOT / "examples" / "records").glob("*.toml"))
PAIRS = 1000 if os.environ.get("TOCSIN_FUZZ") or os.environ.get("TOCSIN_FAULTS") else 333
SOMEWHERE = {
    kind: sorted(leaves(kind)) + sorted({box for leaf in leaves(kind).values() for box in leaf.containers})
    for kind in KINDS
}


@cache
def example(path):
    settings, content = parse_content_file(path.read_bytes(), format="toml", name=path.name)
    return str(settings["kind"]), str(settings["tlp"]), content


def issued(kind, tlp, content, *, seed):
    draft = Draft(record_id=record_id(f"preview {seed}"), kind=kind, tlp=tlp)
    by = founded(A)
    return issue(
        draft, content, issuer=by.organisation.org, signer=by.record, now=NOW, random=seeded(f"preview {seed}")
    )


def draw_record(random, seed):
    """Return an example with some of its fields left out, or the whole of it where it needs them."""
    kind, _, content = example(random.choice(EXAMPLES))
    some = {name: value for name, value in content.items() if random.random() < 0.8}
    try:
        return issued(kind, random.choice(TLPS), some, seed=seed)
    except MalformedContent:
        return issued(kind, random.choice(TLPS), content, seed=seed)


def draw_policies(random, kind):
    """Return policies for the partner as a node reads them from files."""

    def some(most):
        return frozenset(random.sample(SOMEWHERE[kind], random.randint(0, most)))

    shares = [
        holdings.share(
            max_tlp=random.choice(("RED", "RED", *TLPS)),
            classes=random.choice((Disclosure.ALWAYS, Disclosure.COMMUNITY, Disclosure.PARTNER)),
            reveal=some(12),
            withhold=some(6),
            reason="trade_secret",
            name_withheld=random.random() < 0.5,
        )
        for _ in range(random.choice((1, 1, 2)))
    ]
    nevers = [holdings.never(fields=some(6) | {"title"}) for _ in range(random.choice((0, 0, 1)))]
    policy = holdings.policy(*shares, partner=B)
    return PolicySet({B: policy}, holdings.floor(*nevers), ())


def deliver(a, b, record, *, to=()):
    """Post a record and let the partner fetch; return the decision, and what the partner stored."""
    a.publish(record, to=to, partners=(B,))
    decision = a.office.decide(record, partner=B, now=NOW)
    b.pull(a)
    return decision, b.store.records.token(record.digest)


def verify_no_orphans(record, decision):
    """A field goes with the groups around it, and a group with something inside it."""
    contract = leaves(record.kind)
    fields = decision.disclosed & contract.keys()
    assert decision.disclosed - fields == {box for path in fields for box in contract[path].containers}
    assert not fields & secret(record.kind)


@pytest.fixture
def pair(tmp_path):
    made = Party(A, tmp_path), Party(B, tmp_path)
    yield made
    for party in made:
        party.store.close()


def test_random_records_under_random_policies_are_stored_as_previewed(pair):
    a, b = pair
    delivered = 0
    for seed in range(PAIRS):
        random = Random(seed)  # noqa: S311 -- nothing is secret here, and the seed says it all
        record = draw_record(random, seed)
        a.policies = draw_policies(random, record.kind)
        decision, stored = deliver(a, b, record, to=random.choice(((), (), (B,))))
        if not decision.delivered:
            assert stored is None, seed
            continue
        delivered += 1
        assert stored == presentation(record, decision), seed
        verify_no_orphans(record, decision)
        told = {(note.path, note.reason) for note in b.store.intake.withheld(record.digest)}
        assert told == {(item.path, item.reason) for item in decision.told}, seed
    assert PAIRS // 3 < delivered < PAIRS, "some go, and some do not"


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_every_example_is_stored_as_previewed(pair, path):
    a, b = pair
    kind, _, content = example(path)
    record = issued(kind, "AMBER", content, seed=path.stem)
    decision, stored = deliver(a, b, record, to=(B,))  # named: some of the examples are under embargo
    assert decision.delivered
    assert stored == presentation(record, decision)


def test_what_was_revealed_later_is_the_same_as_if_it_had_gone_at_once(pair):
    a, b = pair
    record = a.post()
    b.pull(a)
    a.reveal(record, "prompts")
    b.pull(a)
    decision = a.office.decide(record, partner=B, now=NOW)
    grown = b.store.records.token(record.digest)
    assert sorted(grown.split("~")) == sorted(presentation(record, decision).split("~"))
    assert b.store.records.get(record.digest).content["prompts"] == record.content["prompts"]
