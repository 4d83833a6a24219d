"""What two nodes say to one another of logs at every contact, and what a hostile one can make of it."""

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest

from tests.exchange.links import Link, run, side_of
from tests.exchange.parties import OPEN, RELAYED, A, B, C, Party
from tests.store.making import make_record
from tests.support.organisations import NOW, make_details, signer
from tests.watch.branches import Branch, cosigned, entry, founded, junk
from tocsin.encoding import dump_json
from tocsin.errors import (
    CheckpointRefused,
    OriginStopped,
    PeerMisbehaved,
    PeerRefused,
    QuotaExceeded,
    StaleCheckpoint,
    TocsinError,
)
from tocsin.exchange import receive
from tocsin.exchange.client import PEER_REASON
from tocsin.exchange.gossip import compare, read_on
from tocsin.exchange.pull import _pull
from tocsin.exchange.quota import Budget, Inflow
from tocsin.exchange.receive import read_again
from tocsin.identity.root import next_version, parse_identity
from tocsin.identity.vkey import NoteAlgorithm, format_vkey, log_name
from tocsin.policy.clauses import Accept
from tocsin.release.ledger import PUT_BACK, entry_of, note_restored
from tocsin.store.model import PeerState, RecordFilter
from tocsin.store.sqlite import open_store
from tocsin.tlog.checkpoint import CLOCK_SKEW, parse_checkpoint
from tocsin.tlog.evidence import Evidence, Kind, dump_evidence
from tocsin.v1 import log_service_pb2 as v1
from tocsin.watch import comparison as comparing
from tocsin.watch.origins import Watch

FIVE, OTHER = "one two three four five", "one two drei vier fünf sechs"
NEWS = OPEN + RELAYED
EVERYTHING = Accept(frozenset({"finding", "incident", "evaluation"}), 2000, relayed=True)


def hears(one, other, **more):
    """Let a party call another, and return the link that it called by."""
    link = Link(side_of(one, **more), side_of(other))
    run(compare(link, other.org, side=link.ours))
    return link


def pulls(one, other):
    """Let a party fetch what another has for it, as far as the wire goes."""

    async def everything(link):
        async with aclosing(_pull(link, other.org, side=link.ours)) as pages:
            return [page async for page in pages]

    return run(everything(Link(side_of(one), side_of(other))))


def row(party, org):
    return party.store.logs.get(org)


def read(party, branch, size=None, *, at=NOW, note=""):
    """Let a party read a branch, as if somebody had brought it."""
    watch, note = Watch(party.office, party.origin, now=party.now), note or branch.note(size, at=at)
    if watch.look(note):
        start = row(party, branch.org).size
        watch.extend(party.origin(branch.org), branch.growth(start, size, note=note))


def shown(party):
    return sorted(record.title for record in party.store.records.list(RecordFilter()).records)


def kept(party, size):
    rows = [one for one in party.store.logs.checkpoints(party.org) if one.size == size]
    lines = parse_checkpoint(rows[-1].checkpoint).note.signatures[1:] if rows else ()
    return sorted(line.name for line in lines)


def failure(call, *arguments, **more):
    with pytest.raises(TocsinError) as caught:
        call(*arguments, **more)
    return type(caught.value), caught.value.reason


def meanwhile(monkeypatch, act):
    """Let something happen between verifying a page and storing it."""
    check = receive.check_entries

    def checking(*arguments):
        checked = check(*arguments)
        act()
        return checked

    monkeypatch.setattr(receive, "check_entries", checking)


def with_key(whole, **changes):
    """Return an organisation by the next version of its document, in which something has changed."""
    details = replace(make_details(whole.organisation.org), **changes)
    document = next_version(whole.organisation, details, signers=whole.roots, now=NOW)
    return replace(whole, organisation=parse_identity(document, now=NOW))


def stolen(whole):
    """Return an organisation whose log key was stolen, and counts no more."""
    new, name = signer("the next log key"), log_name(whole.organisation.org)
    vkey = format_vkey(name, algorithm=NoteAlgorithm.ED25519, public_key=new.public_key)
    return replace(with_key(whole, log_vkey=vkey), log=new)


@pytest.fixture
def line(a, b, c):
    """Return three parties in a line: a and c exchange nothing, but c holds a's identity; b passes on what it may."""
    c.store.peers.set_state(A, PeerState.KNOWN)
    a.store.peers.set_state(C, PeerState.SUSPENDED)
    b.set_policies(lab_a=NEWS, aisi=NEWS)
    c.accept(B, EVERYTHING)
    return a, b, c


class TestComparing:
    def test_whoever_calls_reads_on_and_the_cosignature_goes_back_at_the_next_contact(self, a, b):
        a.post()
        hears(b, a)
        assert (row(b, A).signed, row(b, A).cosigned) == (1, 1)
        assert kept(a, 1) == []
        hears(b, a)
        assert kept(a, 1) == [f"{B}/witness"]

    def test_it_goes_back_also_where_the_other_calls(self, a, b):
        a.post()
        hears(b, a)
        hears(a, b)
        assert kept(a, 1) == [f"{B}/witness"]

    def test_cosignatures_of_others_go_on(self, a, b, c):
        a.post()
        hears(b, a)
        hears(c, a)
        hears(b, c)
        names = [one.name for one in parse_checkpoint(row(b, A).checkpoint).note.signatures]
        assert names == [f"{A}/tocsin", f"{A}/witness", f"{B}/witness", f"{C}/witness"]

    def test_a_second_contact_moves_nothing(self, a, b):
        a.post()
        hears(b, a)
        hears(b, a)
        before = row(b, A)
        assert hears(b, a).heard == ["compare"]
        assert row(b, A) == before

    def test_a_log_comes_in_parts(self, a, b, monkeypatch):
        monkeypatch.setattr("tocsin.watch.growth.grow.__kwdefaults__", {"limit": 2})
        for number in range(5):
            a.post({"title": f"n{number}"})
        assert hears(b, a).heard == ["compare", *["get_entries"] * 3]
        assert row(b, A).signed == 5

    def test_who_cannot_be_called_hands_over_what_the_other_lacks(self, a, b, c):
        """None of these has an endpoint; c has never met a."""
        a.post()
        hears(b, a)
        link = hears(b, c)
        assert "add_entries" in link.heard
        assert row(c, A).signed == 1

    def test_who_was_shown_another_history_finds_out_whoever_calls(self, a, b):
        read(a, Branch(C, FIVE))
        read(b, Branch(C, OTHER))
        hears(a, b)
        for party in (a, b):
            assert [one.kind for one in party.store.logs.evidence(C)] == ["fork"]
            assert row(party, C).stopped

    def test_evidence_goes_on_to_those_who_name_the_origin(self, a, b, c):
        read(a, Branch(C, FIVE))
        read(b, Branch(C, FIVE))
        with pytest.raises(OriginStopped):
            read(a, Branch(C, OTHER))
        hears(b, a)
        assert row(b, C).stopped

    def test_whoever_was_caught_is_told_at_the_end(self, a, b):
        read(b, Branch(A, FIVE))
        link = Link(side_of(b), side_of(a))

        async def another(held):
            return v1.CompareResponse(checkpoints=[Branch(A, OTHER).note(5)])

        link.compare = another
        assert failure(run, compare(link, A, side=link.ours)) == (OriginStopped, "ORIGIN_STOPPED")
        assert [one.kind for one in b.store.logs.evidence(A)] == ["fork"]


class TestOriginsThatWeNeverMet:
    def test_their_logs_are_read_from_whoever_passes_on_their_records(self, line):
        a, b, c = line
        a.post({"title": "of a"}, relay="community", partners=[B])
        pulls(b, a)
        pulls(c, b)
        assert shown(c) == ["of a"]
        assert (row(c, A).signed, row(c, A).cosigned) == (1, 1)
        a.post({"title": "more"}, relay="community", partners=[B])
        pulls(b, a)
        pulls(c, b)
        assert shown(c) == ["more", "of a"]

    def test_of_several_in_one_page_each_is_read(self, line, tmp_path):
        a, b, c = line
        d = Party("university.example", tmp_path)
        try:
            for one, other in ((b, d), (c, d), (d, b)):
                state = PeerState.KNOWN if one is c else PeerState.ACTIVE
                if other.org not in {peer.org for peer in one.store.peers.list()}:
                    one.store.peers.add(
                        other.org, document=founded(other.org).document, role="member", state=state, now=NOW
                    )
            b.shares[d.org] = d.shares[b.org] = NEWS + '[accept]\nkinds = ["*"]\nrelayed = true\nmax_per_hour = 99\n'
            b.set_policies()
            d.set_policies()
            for party in (a, d):
                party.post({"title": str(party.org)}, relay="community", partners=[B])
                pulls(b, party)
            pulls(c, b)
            assert shown(c) == [A, "university.example"]
        finally:
            d.store.close()

    def test_who_does_not_show_the_log_is_told_so_once(self, line):
        a, b, c = line
        a.post(relay="community", partners=[B])
        pulls(b, a)
        link = Link(side_of(c), side_of(b))

        async def nothing(origin, start):
            link.heard.append("nothing")
            return v1.GetEntriesResponse()

        link.get_entries = nothing

        async def everything():
            async with aclosing(_pull(link, B, side=link.ours)) as pages:
                return [page async for page in pages]

        assert failure(run, everything()) == (PeerMisbehaved, "PEER_MISBEHAVED")
        assert link.heard.count("nothing") == 1

    def test_a_relay_sends_nothing_of_a_log_that_it_reads_anew(self, line):
        """Without its proof a record is refused for good, and so is that it was retracted."""
        a, b, c = line
        record = a.post({"title": "of a"}, relay="community", partners=[B])
        pulls(b, a)
        first = b.page_for(C)
        assert len(first.entries) == 1
        with b.store.transaction():
            b.store.logs.resume(A, now=NOW)
            b.store.logs.cut(A, 0)
        assert pulls(c, b) == []
        a.now = b.now = c.now = NOW + 5
        a.retract(record)
        pulls(b, a)
        pulls(c, b)
        assert [refusal.reason for refusal in c.store.intake.refusals(B)] == []


class TestJunk:
    """What a peer says of others must not stop us from exchanging with it."""

    def answering(self, one, other, *texts, evidence=(), entries=None):
        link = Link(side_of(one), side_of(other))
        true = link.compare

        async def lying(held):
            answer = await true(held)
            answer.checkpoints.extend(texts)
            answer.evidence.extend(evidence)
            return answer

        link.compare = lying
        if entries is not None:

            async def get_entries(origin, start):
                if origin != C:
                    return await Link.get_entries(link, origin, start)
                link.heard.append("get_entries of a third")
                return entries(start)

            link.get_entries = get_entries
        return link

    JUNK = {  # noqa: RUF012
        "nothing": "",
        "no note": "junk",
        "a note that is no checkpoint": "x\n\n— x AAAAAAAA\n",
        "unsigned": Branch(C, FIVE).note(signer=signer("a thief")),
        "from the future": Branch(C, FIVE).note(at=NOW + CLOCK_SKEW + 1),
        "of a log that nobody knows": Branch("nobody.example", FIVE).note(),
        "with further lines": Branch(C, FIVE).note().replace("\n\n", "\nmore\n\n", 1),
        "of a size that nobody can have": Branch(C, FIVE).note().replace("\n5\n", "\n9223372036854775807\n"),
        "full of lines": Branch(C).bare() + junk(63),
        "ours, and not signed by us": Branch(A, FIVE).note(signer=signer("a thief")),
        "ours, larger, and not signed by us": Branch(A, " ".join("abcdefghij")).note(signer=signer("a thief")),
    }

    @pytest.mark.parametrize("text", JUNK.values(), ids=JUNK)
    def test_a_checkpoint_that_says_nothing_is_passed_over(self, a, b, text):
        a.post()
        b.post()
        before = row(a, A)
        run(compare(self.answering(a, b, text), B, side=side_of(a)))
        assert row(a, B).signed == 1
        assert row(a, A).stopped == ""
        assert row(a, A).checkpoint == before.checkpoint
        assert row(a, C).stopped == ""
        hears(a, b)

    @pytest.mark.parametrize("text", JUNK.values(), ids=JUNK)
    def test_so_is_one_in_a_question(self, a, b, text):
        a.post()
        answer = side_of(a).compare(B, v1.CompareRequest(checkpoints=[text]))
        assert answer.checkpoints, "our own"
        assert row(a, A).stopped == ""

    @pytest.mark.parametrize(
        "bundle",
        [
            b"",
            b"{}",
            dump_json({"format": "tocsin-evidence/v1"}),
            dump_evidence(
                Evidence(
                    kind=Kind.ROLLBACK,
                    identity=founded(C).document,
                    checkpoints=(Branch(C, FIVE).note(), Branch(C, "x").note(at=NOW + 5, witness=founded(B).witness)),
                )
            ),
        ],
        ids=["nothing", "no evidence", "no kind", "forged"],
    )
    def test_evidence_that_proves_nothing_is_passed_over(self, a, b, bundle):
        b.post()
        run(compare(self.answering(a, b, evidence=[bundle]), B, side=side_of(a)))
        assert row(a, B).signed == 1
        assert a.store.logs.evidence() == ()

    def good(self, start):
        return Branch(C, FIVE).growth(start).to_message()

    ENTRIES = {  # noqa: RUF012
        "none": lambda good: v1.LogGrowth(),
        "cut": lambda good: v1.LogGrowth(checkpoint=good.checkpoint, entries=good.entries[:-1]),
        "others": lambda good: v1.LogGrowth(checkpoint=good.checkpoint, entries=bytes(320), start_root=bytes(32)),
        "with a hash that is none": lambda good: v1.LogGrowth(
            checkpoint=good.checkpoint, entries=good.entries, start_root=b"x"
        ),
        "with proofs without end": lambda good: v1.LogGrowth(
            checkpoint=good.checkpoint, entries=good.entries, start_root=bytes(32), start_proof=[bytes(32)] * 99
        ),
        "with another checkpoint": lambda good: v1.LogGrowth(
            checkpoint=Branch(B, FIVE).note(), entries=good.entries, start_root=bytes(32)
        ),
        "with none": lambda good: v1.LogGrowth(checkpoint="", entries=good.entries, start_root=bytes(32)),
    }

    @pytest.mark.parametrize("make", ENTRIES.values(), ids=ENTRIES)
    def test_entries_that_are_none_are_passed_over(self, a, b, make):
        b.post()
        growth = make(self.good(0))
        link = self.answering(a, b, Branch(C, FIVE).note(), entries=lambda start: v1.GetEntriesResponse(growth=growth))
        run(compare(link, B, side=link.ours))
        assert (row(a, C).size, row(a, B).signed) == (0, 1)

    def test_the_same_entries_again_and_again_are_not_fetched_for_ever(self, a, b):
        b.post()
        same = v1.GetEntriesResponse(growth=Branch(C, FIVE).growth(0, 3).to_message())
        link = self.answering(a, b, Branch(C, FIVE).note(), entries=lambda start: same)
        run(compare(link, B, side=link.ours))
        assert link.heard.count("get_entries of a third") == 3
        assert (row(a, C).size, row(a, B).signed) == (3, 1)

    @pytest.mark.parametrize("reason", ["NOT_FOUND", "INTERNAL", "QUOTA_EXCEEDED"])
    def test_a_peer_that_shows_a_log_and_gives_none_of_it_is_spoken_with(self, a, b, reason):
        b.post()

        def refuse(start):
            raise PeerRefused("no", metadata={PEER_REASON: reason})

        link = self.answering(a, b, Branch(C, FIVE).note(), entries=refuse)
        run(compare(link, B, side=link.ours))
        assert row(a, B).signed == 1

    def test_what_is_wrong_with_its_own_log_is_said(self, a, b):
        b.post()
        link = Link(side_of(a), side_of(b))

        async def future(held):
            return v1.CompareResponse(checkpoints=[Branch(B, FIVE).note(at=NOW + CLOCK_SKEW + 1)])

        link.compare = future
        assert failure(run, compare(link, B, side=link.ours)) == (CheckpointRefused, "FUTURE_COSIGNATURE")

    def test_a_peer_cannot_fill_a_checkpoint_of_a_third_for_the_others(self, a, b):
        branch = Branch(C, FIVE)
        entries = lambda start: v1.GetEntriesResponse(  # noqa: E731
            growth=branch.growth(start, note=branch.bare() + junk(62)).to_message()
        )
        link = self.answering(a, b, branch.bare() + junk(62), entries=entries)
        run(compare(link, B, side=link.ours))
        read(a, branch, note=cosigned(branch.note(), B))
        names = [one.name for one in parse_checkpoint(row(a, C).checkpoint).note.signatures]
        assert names == [f"{C}/tocsin", f"{C}/witness", f"{A}/witness", f"{B}/witness"]


class TestPrice:
    def test_who_has_used_up_its_time_is_told_when_to_come_back(self, a, b):
        a.post()
        budget = Budget(1.0, spent=iter(range(0, 1000, 10)).__next__)
        side = side_of(a, budget=budget)
        assert side.growth(B, A, 0)
        for call in (
            lambda: side.growth(B, A, 0),
            lambda: side.look_up(B, lambda library: library.checkpoint(A)),
            lambda: side.compare(B, v1.CompareRequest()),
            lambda: side.extend(B, C, Branch(C, FIVE).growth(0)),
            lambda: side.witness(B, ""),
        ):
            assert failure(call) == (QuotaExceeded, "QUOTA_EXCEEDED")
        assert side.growth(C, A, 0), "each peer has its own"

    def test_an_endless_log_ends_when_its_hour_is_full(self, a):
        side = replace(side_of(a), inflow=Inflow(3, monotonic=lambda: 0.0))
        branch = Branch(C, " ".join(map(str, range(9))))
        for start in (0, 2):
            assert side.extend(B, C, branch.growth(start, limit=2)) == start + 2
        assert failure(side.extend, B, C, branch.growth(4)) == (QuotaExceeded, "QUOTA_EXCEEDED")
        assert side.extend(A, C, branch.growth(4)) == 9

    def test_what_changes_nothing_costs_nothing_of_it(self, a):
        side = replace(side_of(a), inflow=Inflow(6, monotonic=lambda: 0.0))
        branch = Branch(C, FIVE)
        for _ in range(9):
            side.extend(B, C, branch.growth(0))
        assert row(a, C).signed == 5

    def test_an_hour_that_was_full_comes_back(self):
        hour = [0.0]
        inflow = Inflow(100, monotonic=lambda: hour[0])
        inflow.count(B, 150)
        with pytest.raises(QuotaExceeded) as full:
            inflow.verify(B)
        assert full.value.metadata
        hour[0] = 1801.0
        inflow.verify(B)

    def test_what_we_have_lost_of_our_own_log_has_no_price(self, a):
        for number in range(5):
            a.post({"title": f"n{number}"})
        whole = Branch(A).add(*a.store.logs.entries(A, start=0, limit=9)).add(entry("x"), entry("y"))
        side = replace(side_of(a), inflow=Inflow(0))
        assert side.extend(B, A, whole.growth(5)) == 7

    def test_a_peer_that_takes_one_entry_at_a_time_is_not_handed_all_of_them(self, a, b):
        """It would be a megabyte for each."""
        read(a, Branch(C, " ".join(map(str, range(200)))))
        link = Link(side_of(a), side_of(b))

        async def slowly(origin, growth):
            link.heard.append("add_entries")
            return growth.start + 1

        link.add_entries = slowly
        run(compare(link, B, side=link.ours))
        assert link.heard.count("add_entries") <= 3

    def test_what_does_not_fit_into_a_message_is_left_out_and_the_peers_own_log_never(self, a, b, monkeypatch):
        b.post()
        hears(a, b)
        read(a, Branch(C, FIVE))
        monkeypatch.setattr(comparing, "MOST_BYTES", len(row(a, B).checkpoint))
        request = side_of(a).comparison().ask(B)
        assert [*request.checkpoints] == [row(a, B).checkpoint]
        request = side_of(a).comparison().ask(C)
        assert len(request.checkpoints) == 1
        assert request.checkpoints[0].startswith(f"{C}/")


class TestSilence:
    """What is compared says nothing of what nobody may know."""

    @pytest.mark.parametrize("state", [PeerState.PENDING, PeerState.REMOVED])
    def test_the_log_of_somebody_who_is_no_peer_any_more_is_not_told(self, a, b, state):
        read(a, Branch(C, FIVE))
        a.store.peers.set_state(C, state)
        side = side_of(a)
        assert [*side.comparison().ask(B).checkpoints] == []
        answer = side.compare(B, v1.CompareRequest(checkpoints=[Branch(C, FIVE).note(), f"{C}/tocsin\n0\n"]))
        assert not any(text.startswith(C) for text in answer.checkpoints)
        assert side.growth(B, C, 0) is None

    def test_what_is_held_is_told_to_those_who_name_it(self, a):
        read(a, Branch(C, FIVE))
        side = side_of(a)
        assert len(side.compare(B, v1.CompareRequest()).checkpoints) == 1
        named = side.compare(B, v1.CompareRequest(checkpoints=[Branch(C, FIVE).note()])).checkpoints
        assert [text.partition("/")[0] for text in named] == [A, C]

    def test_of_records_nothing_is_told(self, a, b):
        record = a.post({"title": "a secret title"})
        hears(b, a)
        everything = [
            side_of(a).comparison().ask(B),
            side_of(a).compare(B, v1.CompareRequest()),
            side_of(a).growth(B, A, 0).to_message(),
        ]
        text = b"".join(message.SerializeToString() for message in everything)
        assert record.record_id.encode() not in text
        assert b"secret" not in text

    def test_the_evidence_of_a_record_is_told_to_nobody(self, a):
        record = make_record({"title": "one"}, by=founded(C))
        other = make_record({"title": "two"}, by=founded(C), record_id=record.record_id)
        branch = Branch(C).add(entry_of(other))
        read(a, branch)
        bare = f"{record.token.partition('~')[0]}~"
        with pytest.raises(OriginStopped):
            Watch(a.office, a.origin, now=NOW).verify_logged(
                a.origin(C), branch.proof(0), entry_of(record), record=bare
            )
        assert [one.kind for one in a.store.logs.evidence()] == ["record"]
        side = side_of(a)
        assert [*side.comparison().ask(B).evidence] == []
        assert [*side.compare(B, v1.CompareRequest(checkpoints=[branch.note()])).evidence] == []


class TestKeys:
    def test_a_log_whose_key_was_stolen_goes_on_with_those_who_have_read_it(self, a, b):
        """b holds our log under the key that counts no more: that must not keep the two from speaking."""
        a.post()
        hears(b, a)
        a.founded = stolen(a.founded)
        b.store.peers.set_document(A, a.founded.organisation.document)
        hears(a, b)
        hears(b, a)
        hears(b, a)
        assert row(b, A).stopped == ""
        assert kept(a, 1) == [f"{B}/witness"]
        a.post()
        pulls(b, a)
        assert row(b, A).signed == 2

    def test_a_relay_that_holds_a_third_under_its_old_key_is_spoken_with(self, a, b):
        branch = Branch(C, FIVE)
        read(b, branch)
        a.store.peers.set_document(C, stolen(founded(C)).organisation.document)
        b.post()
        hears(a, b)
        hears(b, a)
        assert (row(a, C).size, row(a, B).signed) == (0, 1)

    def test_what_was_refused_for_want_of_a_key_is_read_again_when_the_document_comes(self, line):
        a, b, c = line
        a.founded = stolen(a.founded)
        b.store.peers.set_document(A, a.founded.organisation.document)
        a.post({"title": "of a"}, relay="community", partners=[B])
        pulls(b, a)
        pulls(c, b)
        assert [one.reason for one in c.store.intake.refusals(B)] == ["UNSIGNED_CHECKPOINT"]
        c.store.peers.set_document(A, a.founded.organisation.document)
        assert read_again(c.store, B)
        pulls(c, b)
        assert shown(c) == ["of a"]


class TestPutBack:
    @pytest.fixture
    def lost(self, a, b, tmp_path):
        """Return a party that was put back to three entries, after another had read five of its log."""
        a.store.peers.set_state(C, PeerState.SUSPENDED)
        for number in range(3):
            a.post({"title": f"n{number}"})
        a.store._db.copy_to(tmp_path / "backup.db")
        for number in range(3, 5):
            a.post({"title": f"n{number}"})
        hears(b, a)
        a.store.close()
        a.store = open_store(tmp_path / "backup.db")
        note_restored(a.store, A, now=NOW)
        return a, b

    def test_we_go_on_behind_what_a_peer_has_seen_whoever_calls(self, lost):
        a, b = lost
        hears(a, b)
        assert (row(a, A).stopped, row(a, A).size) == ("", 5)
        a.post({"title": "behind it"})
        hears(b, a)
        assert (row(b, A).stopped, row(b, A).size) == ("", 6)

    def test_a_peer_that_calls_gives_back_what_we_have_lost(self, lost):
        a, b = lost
        assert "add_entries" in hears(b, a).heard
        assert (row(a, A).stopped, row(a, A).size) == ("", 5)
        hears(b, a)
        assert row(b, A).stopped == ""

    def test_a_peer_that_shows_more_than_it_gives_has_not_said_it(self, lost):
        """To go on without would be to show two histories."""
        a, b = lost
        link = Link(side_of(a), side_of(b))

        async def nothing(origin, start):
            return v1.GetEntriesResponse()

        link.get_entries = nothing
        run(compare(link, B, side=link.ours))
        assert (row(a, A).stopped, a.store.logs.awaited()) == (PUT_BACK, (B,))

    def test_nor_has_one_that_gives_some_of_it(self, lost):
        a, b = lost
        whole = Branch(A).add(*b.store.logs.entries(A, start=0, limit=9))
        link = Link(side_of(a), side_of(b))

        async def some(origin, start):
            return v1.GetEntriesResponse(growth=whole.growth(start, 4).to_message() if start < 4 else None)

        link.get_entries = some
        run(compare(link, B, side=link.ours))
        assert (row(a, A).stopped, row(a, A).size, a.store.logs.awaited()) == (PUT_BACK, 4, (B,))
        hears(a, b)
        assert (row(a, A).stopped, row(a, A).size) == ("", 5)

    def test_nor_has_one_that_shows_what_nobody_can_read(self, lost):
        a, _ = lost
        thief = Branch(A, " ".join("abcdefghij")).note(signer=signer("a thief"))
        for text in (thief, "junk"):
            side_of(a).compare(B, v1.CompareRequest(checkpoints=[text]))
            assert a.store.logs.awaited() == (B,)
        side_of(a).compare(B, v1.CompareRequest())
        assert row(a, A).stopped == ""

    def test_who_was_quicker_makes_no_other_guilty(self, lost):
        """Two give back at once: what the second brings is not wanted any more, and that is no misdeed."""
        a, b = lost
        whole = Branch(A).add(*b.store.logs.entries(A, start=0, limit=9))
        link = Link(side_of(a), side_of(b))
        true = link.get_entries

        async def slowly(origin, start):
            answer = await true(origin, start)
            side = side_of(a)
            await asyncio.to_thread(side.extend, B, A, whole.growth(3), given=True)
            return answer

        link.get_entries = slowly
        run(compare(link, B, side=link.ours))
        assert (row(a, A).stopped, row(a, A).size) == ("", 5)

    def test_a_comparison_that_shows_nothing_of_our_log_is_a_word(self, lost):
        a, _ = lost
        side_of(a).compare(B, v1.CompareRequest(checkpoints=[Branch(C, FIVE).note()]))
        assert row(a, A).stopped == ""


class TestFetching:
    def test_a_log_that_the_peer_does_not_hold_is_none(self, a, b):
        link = Link(side_of(a), side_of(b))
        run(read_on(link, B, C, side=link.ours))
        assert link.heard == ["get_entries"]
        assert row(a, C).size == 0

    def test_a_huge_size_is_read_as_far_as_there_is_anything(self, a, b):
        b.post()
        link = Link(side_of(a), side_of(b))
        run(read_on(link, B, B, side=link.ours, size=2**63 - 1))
        assert link.heard == ["get_entries"] * 2
        assert row(a, B).signed == 1

    def test_our_own_log_is_never_asked_about(self, a, b):
        a.post()
        hears(b, a)
        assert not any(text.startswith(A) for text in side_of(a).comparison().ask(B).checkpoints)

    def test_a_page_of_whom_was_caught_meanwhile_is_not_stored(self, a, b, monkeypatch):
        a.post()
        hears(b, a)
        meanwhile(monkeypatch, lambda: b.store.logs.stop(A, "it was caught", now=NOW))
        before = b.state()
        assert failure(side_of(b).accept, A, a.page_for(B)) == (OriginStopped, "ORIGIN_STOPPED")
        assert b.state() == before

    def test_a_page_is_not_stored_by_a_log_of_which_nothing_is_read_any_more(self, a, b, monkeypatch):
        """People have gone on with an origin meanwhile: what was read of it before says nothing."""
        a.post()
        hears(b, a)
        meanwhile(monkeypatch, lambda: b.store.logs.cut(A, 0))
        before = b.state()
        assert failure(side_of(b).accept, A, a.page_for(B)) == (StaleCheckpoint, "STALE_CHECKPOINT")
        assert b.state() == before

    def test_what_is_passed_on_of_whom_was_caught_meanwhile_is_refused(self, a, b, c, monkeypatch):
        a.post(relay="community", partners=[B])
        c.store.peers.set_state(A, PeerState.KNOWN)
        b.set_policies(aisi=OPEN + RELAYED)
        c.accept(B, Accept(frozenset({"finding"}), 100, relayed=True))
        b.pull(a)
        page = b.page_for(C)
        hears(c, b)
        hears(c, a)
        meanwhile(monkeypatch, lambda: c.store.logs.stop(A, "it was caught", now=NOW))
        side_of(c).accept(B, page)
        assert [refusal.reason for refusal in c.store.intake.refusals(B)] == ["ORIGIN_STOPPED"]
