"""Whatever happens, in whatever order: nobody gets more than policy allows, or sooner, and everybody gets that.

A state machine drives an organisation and its two partners: records are
posted, revealed and replaced, policies are applied, time passes, people agree,
refuse and leave, pages get lost, come twice, and partners forget how far they
were. The reference that says what is allowed is policy's own and shares no
code with what it judges; what people agreed to is kept here a second time.
"""

import tempfile
from pathlib import Path
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from tests.exchange.parties import AUTHOR, FIRST_RELEASER, HOUR, SECOND_RELEASER, A, B, C, Party, someone
from tests.policy import holdings, reference
from tests.store.making import make_record
from tests.support.people import colleague
from tocsin.errors import NotPermitted
from tocsin.exchange.outbox import Limits
from tocsin.exchange.publish import queue_partners
from tocsin.people.act import Act
from tocsin.people.person import Role
from tocsin.policy.clauses import Floor
from tocsin.policy.model import PolicySet
from tocsin.policy.reach import leaves
from tocsin.records.record import extend, parse_record
from tocsin.release.gate import wait_of
from tocsin.release.presentation import presentation
from tocsin.release.proposal import refresh_all
from tocsin.release.review import decide_review
from tocsin.release.terms import read_terms
from tocsin.schema.contract import TLPS, Disclosure
from tocsin.store.model import ReviewState
from tocsin.v1 import exchange_service_pb2 as v1

OPTIONAL = {
    "summary": "what happened",
    "details": "at length",
    "hazard_category": ["cyber", "cbrn"],
    "prompts": ["one", "two"],
    "poc": "print()",
    "evidence": [{"name": "log.txt", "media_type": "text/plain"}],
    "infohazard_detail": "never",
    "discoverers": [{"name": "nobody"}],
    "subjects": [{"kind": "model", "name": "M", "version": "3"}, {"kind": "agent", "name": "N", "vendor": "V"}],
}
NAMED = ("prompts", "poc", "evidence")
PARTNERS = st.sampled_from([B, C])
RULES = st.fixed_dictionaries(
    {
        "max_tlp": st.sampled_from(["RED", "AMBER"]),
        "classes": st.sampled_from([Disclosure.PARTNER, Disclosure.COMMUNITY, Disclosure.ALWAYS]),
        "reveal": st.sampled_from([frozenset(NAMED), frozenset(), frozenset({"poc"})]),
        "withhold": st.frozensets(
            st.sampled_from(["summary", "subjects", "subjects[*].version", "severity", "prompts"])
        ),
        "name_withheld": st.booleans(),
        "hold": st.sampled_from([0, 0, 24 * HOUR, 72 * HOUR]),
        "approvals": st.sampled_from([0, 0, 1, 2]),
    }
)
OPEN = {
    "max_tlp": "RED",
    "classes": Disclosure.PARTNER,
    "reveal": frozenset(NAMED),
    "withhold": frozenset(),
    "name_withheld": True,
    "hold": 0,
    "approvals": 0,
}
APPROVED, HELD = OPEN | {"approvals": 1}, OPEN | {"hold": 24 * HOUR}
# What a file may say, the usual first: everything, something, nothing.
TEXTS = st.one_of(
    st.sampled_from([[OPEN], [APPROVED], [APPROVED], [HELD]]), st.lists(RULES, min_size=1, max_size=2), st.just([])
)
NEVERS = st.lists(
    st.fixed_dictionaries(
        {"min_tlp": st.sampled_from(TLPS), "fields": st.frozensets(st.sampled_from(["details", "subjects", "poc"]))}
    ),
    max_size=1,
)
REQUIRES = st.lists(
    st.fixed_dictionaries({"min_tlp": st.sampled_from(TLPS), "approvals": st.sampled_from([1, 2])}), max_size=1
)
RELEASERS = (AUTHOR, FIRST_RELEASER, SECOND_RELEASER)


class Agreed(NamedTuple):
    """What somebody agreed to: by which files, and which fields of which record for whom."""

    person: str
    keys: str
    digest: str
    partner: str
    file: int
    floor: int
    paths: frozenset[str]


def always(content, tlp):
    return True


class Federation(RuleBasedStateMachine):
    records = Bundle("records")

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.parties = {org: Party(org, Path(self.folder.name)) for org in (A, B, C)}
        self.a = self.parties[A]
        self.texts = {B: [APPROVED], C: [HELD]}
        self.floor, self.requires = [], []
        # Each text that was ever in force has a number of its own, also where the same words come again.
        self.editions = {B: 0, C: 0, "floor": 0}
        self.keys = dict.fromkeys(RELEASERS, "")
        self.agreed = []
        self.made = {}
        self.pages = {B: [], C: []}
        self.put_policies()

    def teardown(self):
        try:
            self.settle()
        finally:
            for party in self.parties.values():
                party.store.close()
            self.folder.cleanup()

    def put_policies(self, *changed):
        """Put the policies in force as files that were read, and weigh what they change."""
        for name in changed:
            self.editions[name] += 1
        made = {
            org: holdings.policy(
                *(holdings.share(reason="privilege", **text) for text in texts),
                partner=org,
                file=f"{org}.toml",
                digest=repr(texts),
            )
            for org, texts in self.texts.items()
        }
        floor = Floor(
            tuple(holdings.never(**text) for text in self.floor),
            "floor.toml",
            repr((self.floor, self.requires)),
            tuple(holdings.require(**text) for text in self.requires),
        )
        self.a.policies = PolicySet(made, floor, ())
        queue_partners(self.a.office, [B, C], now=self.a.now)
        refresh_all(self.a.office, now=self.a.now)

    def verdict(self, record, partner):
        """Return what the reference says that a partner may have today, when, and how many must agree; or None."""
        every = {"kinds": holdings.EVERYTHING, "when": always}
        shares = [text | every | {"withhold_until": 0, "relayed": False} for text in self.texts[partner]]
        floor = [text | every | {"partners": (), "until": 0} for text in (*self.floor, *self.requires)]
        return reference.allowed(
            record,
            partner=partner,
            policy={"partner": partner, "expires": None, "shares": shares},
            floor=floor,
            recipients=self.a.store.records.recipients(record.digest),
            granted=self.a.store.feeds.granted(partner, record.digest),
            now=self.a.now,
            own=True,
        )

    def allowed(self, record, partner):
        """Return the fields of it."""
        verdict = self.verdict(record, partner)
        return frozenset() if verdict is None else frozenset(verdict[0])

    def agreeing(self, record, partner, paths):
        """Return who agrees today that a partner gets these fields."""
        people = {person.name for person in self.a.store.people.list() if person.active}
        return {
            one.person
            for one in self.agreed
            if (one.digest, one.partner) == (record.digest, partner)
            and (one.file, one.floor) == (self.editions[partner], self.editions["floor"])
            and one.keys == self.keys[one.person]
            and one.person in people
            and paths <= one.paths
        }

    @rule(partner=PARTNERS, texts=TEXTS)
    def policy_is_applied(self, partner, texts):
        changed = [partner] if texts != self.texts[partner] else []
        self.texts[partner] = texts
        self.put_policies(*changed)

    @rule(nevers=NEVERS, requires=REQUIRES)
    def floor_is_applied(self, nevers, requires):
        changed = ["floor"] if (nevers, requires) != (self.floor, self.requires) else []
        self.floor, self.requires = nevers, requires
        self.put_policies(*changed)

    @rule(hours=st.sampled_from([1, 25, 80]), is_kept=st.booleans())
    def time_passes(self, hours, is_kept):
        """The timekeeper may be late."""
        for party in self.parties.values():
            party.now += hours * HOUR
        if is_kept:
            self.a.keep_time()

    @rule(data=st.data(), name=st.sampled_from(RELEASERS), approve=st.sampled_from([True, True, True, False]))
    def somebody_decides(self, data, name, approve):
        proposals = self.a.proposals()
        if not proposals:
            return
        proposal = data.draw(st.sampled_from(proposals))
        person = self.a.store.people.get(name)
        signs = colleague(name, A, keys=self.keys[name]) if self.keys[name] else someone(name, A)
        statement = signs.sign(Act.APPROVE if approve else Act.REJECT, proposal.id, now=self.a.now)
        may = person.active and not (approve and name in {AUTHOR, *proposal.proposed_by})
        try:
            decide_review(
                self.a.office, proposal.id, person=person, approve=approve, statement=statement, now=self.a.now
            )
        except NotPermitted:
            assert not may
            return
        assert may
        if approve:
            self.remember(proposal, name)

    def remember(self, proposal, name):
        """Keep what somebody agreed to."""
        record = self.made[proposal.digest]
        for item in read_terms(proposal).items:
            paths = self.allowed(record, item.partner)
            editions = self.editions[item.partner], self.editions["floor"]
            self.agreed.append(Agreed(name, self.keys[name], record.digest, item.partner, *editions, paths))

    @rule(name=st.sampled_from(RELEASERS), is_told=st.booleans())
    def somebody_leaves(self, name, is_told):
        """What was proposed is looked at anew at once, or when a page is made."""
        self.a.store.people.remove(name)
        if is_told:
            refresh_all(self.a.office, now=self.a.now)

    @rule(name=st.sampled_from(RELEASERS))
    def somebody_comes_back(self, name):
        self.keys[name] += "again "
        self.a.store.people.replace(colleague(name, A, keys=self.keys[name]).person(Role.ANALYST, Role.RELEASER))

    @rule(
        target=records,
        contents=st.lists(st.sets(st.sampled_from(sorted(OPTIONAL)), min_size=3), min_size=1, max_size=3),
        tlp=st.sampled_from(["GREEN", "AMBER+STRICT"]),
        to=st.sampled_from([(), (), (B,), (C,)]),
    )
    def post(self, contents, tlp, to):
        posted = [self.publish({name: OPTIONAL[name] for name in names}, to=to, tlp=tlp) for names in contents]
        return multiple(*posted)

    @rule(target=records, record=records, tlp=st.sampled_from(TLPS))
    def replace(self, record, tlp):
        held = self.a.store.records.find(record.record_id)
        return self.publish(
            {"title": f"v{held.version + 1}"},
            tlp=tlp,
            record_id=record.record_id,
            version=held.version + 1,
            supersedes=held.digest,
        )

    def publish(self, content, *, to=(), **draft):
        absent = dict.fromkeys(OPTIONAL.keys() - {"subjects"})
        record = make_record(absent | content, by=self.a.founded, now=self.a.now, **draft)
        self.a.publish(record, to=to)
        self.made[record.digest] = record
        return record

    @rule(record=records, partner=PARTNERS, name=st.sampled_from(NAMED), person=st.sampled_from(RELEASERS))
    def reveal(self, record, partner, name, person):
        if name in record.paths:
            try:
                self.a.reveal(record, name, partner=partner, person=person)
            except NotPermitted:
                is_sent = self.a.office.load(record.digest, now=self.a.now) is not None
                assert not is_sent or name not in self.allowed(record, partner)

    @rule(partner=PARTNERS, entries=st.integers(1, 4), arrives=st.booleans())
    def page(self, partner, entries, arrives):
        self.move(partner, entries=entries, arrives=arrives)

    @rule(partner=PARTNERS, data=st.data())
    def page_comes_again(self, partner, data):
        held = self.parties[partner].store.intake.cursor(A)
        old = [page for page in self.pages[partner] if held and page.entries[-1].sequence <= held.sequence]
        if old:
            before = self.parties[partner].state(but={"peers"})  # when a peer was heard last
            received = self.parties[partner].take(data.draw(st.sampled_from(old)))
            assert (received.records, received.disclosures, received.refused) == (0, 0, 0)
            assert self.parties[partner].state(but={"peers"}) == before

    @rule(partner=PARTNERS)
    def partner_forgets_how_far_it_was(self, partner):
        self.parties[partner].store.intake.forget(A)

    def move(self, partner, *, entries, arrives=True):
        party = self.parties[partner]
        cursor = party.cursor_of(A)
        page = self.a.page_for(partner, cursor, limits=Limits(entries=entries))
        if page is None:
            return False
        after = party.store.intake.cursor(A)
        assert page.entries[0].sequence == (after.sequence + 1 if after else 1), "no gap"
        for entry in page.entries:
            self.check(entry, partner)
        self.pages[partner].append(page)
        if arrives:
            assert party.take(page).refused == 0
        return True

    def check(self, entry, partner):
        """What an entry carries is allowed today."""
        if entry.kind == v1.ENTRY_KIND_VOID:
            return
        whole = self.made[entry.digest]
        text = entry.presentation or extend(whole.present(frozenset()), entry.disclosures)
        seen = parse_record(text).verify(self.a.founded.organisation, now=self.a.now)
        contract, verdict = leaves("finding"), self.verdict(whole, partner)
        assert verdict, "a record that is denied went"
        allowed, not_before, needed = verdict
        assert seen.paths & contract.keys() <= allowed
        assert seen.paths - contract.keys() == {
            box for path in seen.paths & contract.keys() for box in contract[path].containers
        }
        known = frozenset(seen.paths & contract.keys())
        assert not_before <= self.a.now, "what is held went"
        assert len(self.agreeing(whole, partner, known)) >= needed, "nobody agreed to it"
        preview = presentation(whole, self.a.office.decide(whole, partner=partner, now=self.a.now))
        assert set(text.split("~")) <= set(preview.split("~"))
        if entry.kind == v1.ENTRY_KIND_RECORD and text.count("~") == preview.count("~"):
            assert text == preview, "preview is delivery, byte for byte"

    def settle(self):
        """In the end everybody holds what policy and people allow today, and nothing is left to send."""
        self.a.keep_time()
        for partner, party in self.parties.items():
            if partner == A:
                continue
            while self.move(partner, entries=256):
                pass
            assert self.a.store.feeds.waiting(partner) == 0
            for digest in self.a.store.records.own_current():
                self.check_end(self.made[digest], partner, party)

    def check_end(self, record, partner, party):
        decision = self.a.office.decide(record, partner=partner, now=self.a.now)
        if not decision.delivered:
            return
        wait = wait_of(self.a.office, record, decision, partner=partner, now=self.a.now)
        held = party.store.records.token(record.digest)
        if wait is None:
            assert held is not None, "what is allowed has arrived"
            assert set(presentation(record, decision).split("~")) <= set(held.split("~"))
        elif wait.needed and not set(presentation(record, decision).split("~")) <= set((held or "").split("~")):
            states = {one.state for one in self.a.store.reviews.of(record.digest)}
            assert states & {ReviewState.OPEN, ReviewState.REJECTED}, "what waits for people is proposed to them"

    @invariant()
    def local_fields_never_leave(self):
        for partner in (B, C):
            for digest in self.made:
                held = self.parties[partner].store.records.token(digest)
                if held is not None:
                    assert "infohazard_detail" not in self.parties[partner].store.records.get(digest).content
                    assert "discoverers" not in self.parties[partner].store.records.get(digest).content


Federation.TestCase.settings = settings(max_examples=20, stateful_step_count=40)
TestFederation = Federation.TestCase
