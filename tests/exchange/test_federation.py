"""Whatever happens, in whatever order: nobody gets more than policy allows, and everybody gets that.

A state machine drives an organisation and its two partners: records are
posted, revealed and replaced, policies change, pages get lost, come twice, and
partners forget how far they were. The reference that says what is allowed is
policy's own, of thirty lines, and shares no code with what it judges.
"""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from tests.exchange.parties import A, B, C, Party
from tests.policy import holdings, reference
from tests.store.making import make_record
from tests.support.organisations import NOW
from tocsin.errors import NotPermitted
from tocsin.exchange.outbox import Limits
from tocsin.exchange.publish import publish, queue_changed_policies
from tocsin.exchange.reveal import reveal
from tocsin.policy.clauses import Floor
from tocsin.policy.model import PolicySet
from tocsin.policy.reach import leaves
from tocsin.records.record import extend, parse_record
from tocsin.release.presentation import decide_today, presentation
from tocsin.schema.contract import TLPS, Disclosure
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
    }
)
OPEN = {
    "max_tlp": "RED",
    "classes": Disclosure.PARTNER,
    "reveal": frozenset(NAMED),
    "withhold": frozenset(),
    "name_withheld": True,
}
# What a file may say, the usual first: everything, something, nothing.
TEXTS = st.one_of(st.just([OPEN]), st.lists(RULES, min_size=1, max_size=2), st.just([]))
NEVERS = st.lists(
    st.fixed_dictionaries(
        {"min_tlp": st.sampled_from(TLPS), "fields": st.frozensets(st.sampled_from(["details", "subjects", "poc"]))}
    ),
    max_size=1,
)


def always(content):
    return True


class Federation(RuleBasedStateMachine):
    records = Bundle("records")

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.parties = {org: Party(org, Path(self.folder.name)) for org in (A, B, C)}
        self.a = self.parties[A]
        self.texts = {B: [OPEN], C: [OPEN]}
        self.floor = []
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

    def put_policies(self):
        """Give the organisation its policies as files that were read, and evaluate them as a node does at start."""
        made = {
            org: holdings.policy(
                *(holdings.share(reason="privilege", **text) for text in texts),
                partner=org,
                file=f"{org}.toml",
                digest=repr(texts),
            )
            for org, texts in self.texts.items()
        }
        floor = Floor(tuple(holdings.never(**text) for text in self.floor), "floor.toml", repr(self.floor))
        digests = {file.file: file.digest for file in (floor, *made.values())}
        self.a.policies = PolicySet(made, floor, (), digests)
        queue_changed_policies(self.a.store, self.a.policies, organisation=self.a.founded.organisation, now=NOW)

    def allowed(self, record, partner):
        """Return what the reference says that a partner may have today."""
        every = {"kinds": holdings.EVERYTHING, "when": always}
        return reference.allowed(
            record,
            partner=partner,
            policy={"partner": partner, "expires": None, "shares": [text | every for text in self.texts[partner]]},
            floor=[text | every for text in self.floor],
            recipients=self.a.store.records.recipients(record.digest),
            granted=self.a.store.feeds.granted(partner, record.digest),
            now=NOW,
            own=True,
        )

    @rule(partner=PARTNERS, texts=TEXTS)
    def policy_changes(self, partner, texts):
        self.texts[partner] = texts
        self.put_policies()

    @rule(nevers=NEVERS)
    def floor_changes(self, nevers):
        self.floor = nevers
        self.put_policies()

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
        newest = max(self.a.store.records.versions(A, record.record_id)) + 1
        return self.publish({"title": f"v{newest}"}, tlp=tlp, record_id=record.record_id, version=newest)

    def publish(self, content, *, to=(), **draft):
        absent = dict.fromkeys(OPTIONAL.keys() - {"subjects"})
        record = make_record(absent | content, by=self.a.founded, **draft)
        publish(self.a.store, record, policies=self.a.policies, partners=[B, C], recipients=to, now=NOW)
        self.made[record.digest] = record
        return record

    @rule(record=records, partner=PARTNERS, name=st.sampled_from(NAMED))
    def reveal(self, record, partner, name):
        if name in record.paths:
            try:
                reveal(self.a.store, record, partner=partner, paths=[name], policies=self.a.policies, now=NOW)
            except NotPermitted:
                assert name not in self.allowed(record, partner)

    @rule(partner=PARTNERS, entries=st.integers(1, 4), arrives=st.booleans())
    def page(self, partner, entries, arrives):
        self.move(partner, entries=entries, arrives=arrives)

    @rule(partner=PARTNERS, data=st.data())
    def page_comes_again(self, partner, data):
        held = self.parties[partner].store.intake.cursor(A)
        old = [page for page in self.pages[partner] if held and page.entries[-1].sequence <= held.sequence]
        if old:
            before = self.parties[partner].state()
            received = self.parties[partner].take(data.draw(st.sampled_from(old)))
            assert (received.records, received.disclosures, received.refused) == (0, 0, 0)
            assert self.parties[partner].state() == before

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
        seen = parse_record(text).verify(self.a.founded.organisation, now=NOW)
        contract, allowed = leaves("finding"), self.allowed(whole, partner)
        assert allowed, "a record that is denied went"
        assert seen.paths & contract.keys() <= allowed
        assert seen.paths - contract.keys() == {
            box for path in seen.paths & contract.keys() for box in contract[path].containers
        }
        decision = decide_today(self.a.store, whole, partner=partner, policies=self.a.policies, now=NOW)
        preview = presentation(whole, decision)
        assert set(text.split("~")) <= set(preview.split("~"))
        if entry.kind == v1.ENTRY_KIND_RECORD and seen.paths == decision.disclosed:
            assert text == preview, "preview is delivery, byte for byte"

    def settle(self):
        """In the end everybody holds what policy allows today, and nothing is left to send."""
        for partner, party in self.parties.items():
            if partner == A:
                continue
            while self.move(partner, entries=256):
                pass
            assert self.a.store.feeds.waiting(partner) == 0
            for digest in self.a.store.records.own_current():
                record = self.made[digest]
                decision = decide_today(self.a.store, record, partner=partner, policies=self.a.policies, now=NOW)
                if decision.delivered:
                    held = party.store.records.token(digest)
                    assert held is not None, "what is allowed has arrived"
                    assert set(presentation(record, decision).split("~")) <= set(held.split("~"))

    @invariant()
    def local_fields_never_leave(self):
        for partner in (B, C):
            for digest in self.made:
                held = self.parties[partner].store.records.token(digest)
                if held is not None:
                    assert "infohazard_detail" not in self.parties[partner].store.records.get(digest).content
                    assert "discoverers" not in self.parties[partner].store.records.get(digest).content


Federation.TestCase.settings = settings(max_examples=30, stateful_step_count=30)
TestFederation = Federation.TestCase
