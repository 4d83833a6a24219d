"""What every store must do with records; SQLite is the one there is."""

from collections import Counter
from itertools import chain, count

import pytest

from tests.store.making import make_record, organisation, record_id, seen_by_others
from tests.support.organisations import NOW
from tocsin.errors import Conflict, MalformedRequest, NotFound
from tocsin.records.envelope import Downgrade
from tocsin.store import listing, search
from tocsin.store.model import Added, Due, DueKind, RecordFilter, Standing
from tocsin.store.standing import Tombstone, make_room

LAB_B = organisation("lab-b.example")


def titles(records):
    return [record.title for record in records]


def test_a_record_comes_back_as_it_was_put_in(store):
    record = make_record(pap="GREEN", permitted_use=("research", "evaluation"), relay="community", exp=NOW + 10)
    assert store.records.add(record, now=NOW + 5) is Added.NEW
    held = store.records.get(record.digest)
    for name in (
        "digest", "issuer", "record_id", "version", "supersedes", "kind", "status", "tlp", "pap", "permitted_use",
        "relay", "retention_until", "issued_at", "expires_at", "key_id", "token", "content",
    ):  # fmt: skip
        assert getattr(held, name) == getattr(record, name), name
    assert (held.title, held.severity) == (record.content["title"], "high")
    assert held.own
    assert held.stored_at == NOW + 5
    assert held.standing is Standing.CURRENT


def test_the_same_bytes_again_are_a_success_and_change_nothing(store):
    record = make_record()
    store.records.add(record, now=NOW)
    assert store.records.add(record, now=NOW + 1) is Added.UNCHANGED
    assert store.records.get(record.digest).stored_at == NOW
    assert store.records.counts().own == 1


def test_a_holding_grows_and_never_shrinks(store):
    record = make_record(by=LAB_B)
    little = seen_by_others(record, "title", by=LAB_B)
    store.records.add(little, received_from="lab-b.example", now=NOW)
    assert store.records.search("calendar")
    assert not store.records.search("mail")
    assert store.records.add(record, received_from="lab-b.example", now=NOW) is Added.GROWN
    assert store.records.get(record.digest).severity == "high"
    assert store.records.search("mail")
    with pytest.raises(RuntimeError, match="only grows"):
        store.records.add(little, received_from="lab-b.example", now=NOW)


def test_an_absent_record_is_not_found(store):
    for call in (store.records.get, store.records.find):
        with pytest.raises(NotFound) as refused:
            call("nothing")
        assert refused.value.reason == "NOT_FOUND"
    assert store.records.token("nothing") is None
    with pytest.raises(NotFound):
        store.records.find("")


class TestVersions:
    @pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)], ids=str)
    def test_the_newest_is_current_whatever_the_order_of_arrival(self, store, order):
        name = record_id("versions")
        made = {number: make_record({"title": f"v{number}"}, record_id=name, version=number) for number in order}
        for number in order:
            store.records.add(made[number], now=NOW)
        assert titles(store.records.list(RecordFilter()).records) == ["v3"]
        assert store.records.versions("lab-a.example", name) == (1, 2, 3)
        assert store.records.find(name).version == 3
        assert store.records.find(name, version=2).standing is Standing.REPLACED
        assert list(store.records.own_current()) == [made[3].digest]
        with pytest.raises(NotFound, match="no version 4"):
            store.records.find(name, version=4)

    def test_what_others_let_us_pass_on_is_told_from_what_is_ours_and_from_what_they_keep(self, store):
        own = make_record(record_id=record_id("own"), relay="community")
        open_, kept = (make_record(record_id=record_id(relay), relay=relay) for relay in ("community", "none"))
        store.records.add(own, now=NOW)
        for record in (open_, kept):
            store.records.add(record, received_from="lab-a.example", now=NOW)
        assert list(store.records.own_current()) == [own.digest]
        assert list(store.records.relayable()) == [open_.digest]
        store.feeds.queue_all("lab-b.example", now=NOW)
        store.feeds.queue_all("aisi.example", now=NOW, relayed=True)
        assert store.feeds.candidates("lab-b.example", limit=9) == (own.digest,)
        assert store.feeds.candidates("aisi.example", limit=9) == (own.digest, open_.digest)

    def test_two_records_under_one_version_are_kept_as_evidence_and_neither_is_current(self, store):
        name = record_id("twice")
        pair = [make_record({"title": title}, record_id=name) for title in ("one", "other")]
        assert [store.records.add(record, now=NOW) for record in pair] == [Added.NEW, Added.EQUIVOCATION]
        assert store.records.list(RecordFilter()).total == 0
        assert store.records.search("Mockingbird") == ()
        assert {store.records.get(record.digest).standing for record in pair} == {Standing.EQUIVOCAL}
        ((issuer, found_name, version, digests),) = store.records.equivocations()
        assert (issuer, found_name, version) == ("lab-a.example", name, 1)
        assert set(digests) == {record.digest for record in pair}
        with pytest.raises(Conflict) as refused:
            store.records.find(name)
        assert refused.value.reason == "EQUIVOCATION"
        assert all(record.digest in refused.value.hint for record in pair)
        assert store.records.add(pair[0], now=NOW) is Added.UNCHANGED

    def test_a_version_that_is_signed_very_often_costs_no_more_each_time(self, store):
        name = record_id("often")

        def steps_of(number):
            """Return how many steps SQLite takes to settle some more records under one id and version."""
            records = [make_record({"title": "t"}, record_id=name) for _ in range(number)]
            taken = count()
            with store.transaction():
                store._db._writer().set_progress_handler(lambda: next(taken) < 0, 1)
                for record in records:
                    make_room(store._db, record, Tombstone())
                store._db._writer().set_progress_handler(None, 0)
                for record in records:
                    store.records.add(record, now=NOW)
            return next(taken) / number

        steps_of(10)
        few = steps_of(40)
        assert steps_of(40) < 2 * few
        with pytest.raises(Conflict) as refused:
            store.records.find(name)
        assert refused.value.hint.endswith(" and more")
        assert len(refused.value.hint) < 500

    def test_an_id_that_another_organisation_takes_as_well_still_means_ours(self, store):
        name = record_id("taken")
        own, theirs = make_record(record_id=name), make_record(by=organisation("lab-b.example"), record_id=name)
        for record, sender in ((theirs, "lab-b.example"), (own, "")):
            store.records.add(record, received_from=sender, now=NOW)
        assert store.records.find(name).digest == own.digest
        with pytest.raises(Conflict) as refused:
            store.records.find(name[:8])
        assert refused.value.reason == "CONFLICT"

    def test_an_id_that_two_others_share_is_told_apart_by_digest(self, store):
        name = record_id("shared")
        pair = [make_record(by=organisation(by), record_id=name) for by in ("lab-b.example", "aisi.example")]
        for record in pair:
            store.records.add(record, received_from=record.issuer, now=NOW)
        with pytest.raises(Conflict) as refused:
            store.records.find(name)
        assert refused.value.reason == "CONFLICT"
        for record in pair:
            assert f"{record.digest} of {record.issuer}" in refused.value.hint
            assert store.records.find(record.digest).issuer == record.issuer

    def test_while_the_newest_version_stands_twice_none_is_current(self, store):
        name = record_id("twice")
        for version, title in ((1, "first"), (2, "one"), (2, "other")):
            store.records.add(make_record({"title": title}, record_id=name, version=version), now=NOW)
        assert store.records.list(RecordFilter()).total == 0
        assert store.records.find(name, version=1).standing is Standing.REPLACED
        store.records.add(make_record({"title": "third"}, record_id=name, version=3), now=NOW)
        assert titles(store.records.list(RecordFilter()).records) == ["third"]

    def test_the_same_record_id_of_another_organisation_is_another_record(self, store):
        name = record_id("shared")
        store.records.add(make_record({"title": "ours"}, record_id=name), now=NOW)
        theirs = make_record({"title": "theirs"}, record_id=name, by=LAB_B)
        assert store.records.add(theirs, received_from="lab-b.example", now=NOW) is Added.NEW
        with pytest.raises(Conflict, match="several records") as refused:
            store.records.find(name[:8])
        assert refused.value.reason == "CONFLICT"
        assert store.records.find(theirs.digest).title == "theirs"


class TestFinding:
    def test_any_unique_prefix_finds_a_record(self, store):
        record = make_record()
        store.records.add(record, now=NOW)
        for name in (record.record_id, record.record_id[:1], record.digest):
            assert store.records.find(name).digest == record.digest

    def test_an_ambiguous_prefix_lists_what_it_may_be(self, store):
        made = [make_record() for _ in range(17)]  # two of them begin with one of the sixteen digits
        for record in made:
            store.records.add(record, now=NOW)
        ((first, _),) = Counter(record.record_id[0] for record in made).most_common(1)
        with pytest.raises(Conflict, match="several records") as refused:
            store.records.find(first)
        assert " of lab-a.example" in refused.value.hint

    @pytest.mark.parametrize("name", ["%", "_", "*", "0' OR '1'='1", "~", "\0"], ids=repr)
    def test_a_name_is_never_a_pattern(self, store, name):
        store.records.add(make_record(), now=NOW)
        with pytest.raises(NotFound):
            store.records.find(name)


class TestListing:
    @pytest.fixture
    def many(self, store):
        for number in range(23):
            record = make_record(
                {"title": f"n{number}", "severity": "low" if number % 2 else "critical"},
                now=NOW + number // 4,
                tlp="RED" if number % 5 == 0 else "CLEAR",
            )
            store.records.add(record, now=NOW)
        store.records.add(make_record({"title": "theirs"}, by=LAB_B, now=NOW), received_from="lab-b.example", now=NOW)

    def pages(self, store, where, size):
        token, seen = "", []
        while True:
            page = store.records.list(where, page_size=size, page_token=token)
            seen.append(titles(page.records))
            token = page.next_page_token
            if not token:
                return seen, page.total

    @pytest.mark.usefixtures("many")
    def test_pages_are_the_whole_listing_newest_first(self, store):
        whole = titles(store.records.list(RecordFilter(), page_size=500).records)
        pages, total = self.pages(store, RecordFilter(), 5)
        assert [len(page) for page in pages] == [5, 5, 5, 5, 4]
        assert list(chain.from_iterable(pages)) == whole
        assert total == len(whole) == 24
        assert whole[0] == "n22"

    @pytest.mark.usefixtures("many")
    @pytest.mark.parametrize(
        ("where", "total"),
        [
            (RecordFilter(kind="finding"), 24),
            (RecordFilter(kind="incident"), 0),
            (RecordFilter(issuer="lab-b.example"), 1),
            (RecordFilter(since=NOW + 5), 3),
            (RecordFilter(tlp="RED"), 5),
            (RecordFilter(severity="critical", tlp="RED"), 3),
            (RecordFilter(tlp="' OR 1=1 --"), 0),
        ],
        ids=str,
    )
    def test_filters_narrow_records_and_total_alike(self, store, where, total):
        page = store.records.list(where, page_size=500)
        assert page.total == len(page.records) == total

    @pytest.mark.usefixtures("many")
    @pytest.mark.parametrize(("most", "told"), [(23, (23, True)), (24, (24, False))], ids=str)
    def test_what_matches_is_counted_up_to_a_number(self, store, monkeypatch, most, told):
        monkeypatch.setattr(listing, "MOST_COUNTED", most)
        page = store.records.list(RecordFilter(), page_size=5)
        assert (page.total, page.more_than_total) == told

    @pytest.mark.usefixtures("many")
    def test_records_that_arrive_meanwhile_neither_repeat_nor_hide_others(self, store):
        page = store.records.list(RecordFilter(), page_size=10)
        store.records.add(make_record({"title": "late"}, now=NOW + 100), now=NOW)
        rest = store.records.list(RecordFilter(), page_size=500, page_token=page.next_page_token)
        assert len(rest.records) == 14
        assert not set(titles(page.records)) & set(titles(rest.records))

    @pytest.mark.usefixtures("many")
    def test_a_token_of_another_filter_or_of_nobodys_making_is_refused(self, store):
        token = store.records.list(RecordFilter(), page_size=5).next_page_token
        cases = [
            (RecordFilter(tlp="RED"), token),
            (RecordFilter(), "bm9uc2Vuc2U"),
            (RecordFilter(), "WzEsMl0"),
            (RecordFilter(), "ü"),
        ]
        for where, bad in cases:
            with pytest.raises(MalformedRequest) as refused:
                store.records.list(where, page_token=bad)
            assert refused.value.reason == "BAD_REQUEST"

    @pytest.mark.usefixtures("many")
    def test_page_sizes_are_cut_and_negative_ones_refused(self, store):
        assert len(store.records.list(RecordFilter(), page_size=10_000).records) == 24
        with pytest.raises(MalformedRequest):
            store.records.list(RecordFilter(), page_size=-1)

    @pytest.mark.usefixtures("many")
    def test_counts_tell_ours_from_theirs(self, store):
        counts = store.records.counts()
        assert (counts.own, counts.received) == (23, 1)


class TestSearch:
    @pytest.fixture
    def held(self, store):
        record = make_record({"title": "Crème brûlée", "summary": 'NEAR the "body" title: prompt*'})
        store.records.add(record, now=NOW)
        store.records.add(make_record({"title": "prompt in the title"}), now=NOW)
        return record

    @pytest.mark.usefixtures("held")
    @pytest.mark.parametrize(
        ("text", "hits"),
        [
            ("prompt", 2),
            ("PROMPT title", 2),
            ("creme BRULEE", 1),
            ("prompt absent", 0),
            ("Mockingbird", 2),
            ("lab-a.example", 2),
            ("body OR absent", 0),
            ("NEAR(the body)", 1),
            ("body NOT title", 0),
            ("title:prompt", 1),
            ("title : prompt", 2),
            ("names:lab", 0),
            ('"body" "title"', 1),
            ('"', 0),
            ("* ^ - + ( )", 0),
            ("prom*", 0),
            ("x' OR '1'='1", 0),
            ("bo\0dy", 0),
            ("", 0),
        ],
        ids=repr,
    )
    def test_every_word_is_looked_for_literally(self, store, text, hits):
        assert len(store.records.search(text)) == hits

    def test_names_are_found(self, store, held):
        for name in (held.record_id, held.digest):
            assert [record.digest for record in store.records.search(name)] == [held.digest]

    @pytest.mark.usefixtures("held")
    def test_a_word_in_the_title_counts_more(self, store):
        assert titles(store.records.search("prompt"))[0] == "prompt in the title"

    @pytest.mark.usefixtures("held")
    def test_of_a_frequent_word_those_are_ranked_that_were_stored_last(self, store, monkeypatch):
        for number in range(2):
            store.records.add(make_record({"title": "another", "summary": f"a prompt {number}"}), now=NOW)
        monkeypatch.setattr(search, "MOST_RANKED", 3)
        assert sorted(titles(store.records.search("prompt"))) == ["another", "another", "prompt in the title"]
        assert titles(store.records.search("prompt", limit=1)) == ["prompt in the title"]

    def test_what_is_nested_is_found(self, store, held):
        assert len(store.records.search("forward inbox left home")) == 2

    @pytest.mark.parametrize("text", ["x " * 33, "x" * 1001], ids=["words", "characters"])
    def test_too_long_a_text_is_refused(self, store, text):
        with pytest.raises(MalformedRequest) as refused:
            store.records.search(text)
        assert refused.value.reason == "BAD_REQUEST"


def test_recipients_are_kept_with_the_record(store):
    record = make_record()
    store.records.add(record, now=NOW)
    assert store.records.recipients(record.digest) == frozenset()
    store.records.narrow(record.digest, ["lab-b.example"])
    store.records.narrow(record.digest, ["lab-b.example", "aisi.example"])
    assert store.records.recipients(record.digest) == {"lab-b.example", "aisi.example"}


def test_an_idempotency_key_stands_for_one_record(store):
    one, other = make_record(), make_record()
    for record in (one, other):
        store.records.add(record, now=NOW)
    assert store.records.by_key("avid:1") is None
    store.records.remember_key("avid:1", one.digest, now=NOW)
    store.records.remember_key("avid:1", one.digest, now=NOW)
    assert store.records.by_key("avid:1") == one.digest
    with pytest.raises(Conflict) as refused:
        store.records.remember_key("avid:1", other.digest, now=NOW)
    assert refused.value.reason == "CONFLICT"


class TestMarkings:
    def test_a_record_has_the_marking_that_its_schedule_gives_it_today(self, store):
        steps = (Downgrade("2026-03-02T00:00:00Z", "AMBER"), Downgrade("2026-04-01T00:00:00Z", "GREEN"))
        early, late = (make_record(tlp="RED", downgrade_at=steps) for _ in range(2))
        store.records.add(early, now=NOW)
        store.records.add(late, now=NOW + 86_400)
        assert [store.records.get(record.digest).marking for record in (early, late)] == ["RED", "AMBER"]
        assert {store.records.get(record.digest).tlp for record in (early, late)} == {"RED"}

    def test_a_listing_finds_what_a_marking_has_become(self, store):
        record, other = make_record(tlp="AMBER"), make_record(tlp="AMBER")
        for each in (record, other):
            store.records.add(each, now=NOW)
        store.records.remark(record.digest, "GREEN")
        found = {tlp: store.records.list(RecordFilter(tlp=tlp)).records for tlp in ("AMBER", "GREEN")}
        assert {tlp: [each.digest for each in records] for tlp, records in found.items()} == {
            "AMBER": [other.digest],
            "GREEN": [record.digest],
        }
        assert found["GREEN"][0].tlp == "AMBER"

    def test_an_absent_record_has_no_marking_and_is_not_erased(self, store):
        for call in (lambda: store.records.remark("nothing", "GREEN"), lambda: store.records.erase("nothing")):
            with pytest.raises(NotFound):
                call()


class TestErasing:
    def test_a_record_keeps_who_posted_it(self, store):
        record = make_record()
        store.records.add(record, author="analyst-1", now=NOW)
        assert store.records.get(record.digest).author == "analyst-1"

    def test_what_is_erased_is_gone_and_its_row_says_that_there_was_something(self, store):
        record, other = make_record(), make_record()
        for each in (record, other):
            store.records.add(each, now=NOW)
        store.records.erase(record.digest)
        erased = store.records.get(record.digest)
        assert (erased.token, erased.content, erased.title, erased.severity) == ("", {}, "", "")
        assert (erased.record_id, erased.tlp, erased.kind) == (record.record_id, "GREEN", "finding")
        assert store.records.token(record.digest) is None
        assert [found.digest for found in store.records.search("calendar")] == [other.digest]
        assert list(store.records.own_current()) == [other.digest]
        assert store.records.list(RecordFilter()).total == 2
        assert store.records.find(record.record_id).digest == record.digest

    def test_what_is_erased_waits_for_nobody_and_nothing_about_it_is_due(self, store):
        record, other = make_record(), make_record()
        for each in (record, other):
            store.records.add(each, now=NOW)
            store.feeds.queue("lab-b.example", each.digest, now=NOW)
            store.dues.add(Due(DueKind.HOLD, each.digest, "lab-b.example", NOW))
        store.records.erase(record.digest)
        assert store.feeds.candidates("lab-b.example", limit=9) == (other.digest,)
        assert [due.digest for due in store.dues.until(NOW, limit=9)] == [other.digest]

    def test_what_is_erased_does_not_come_back(self, store):
        record = make_record(by=LAB_B)
        store.records.add(record, received_from="lab-b.example", now=NOW)
        store.records.erase(record.digest)
        store.records.erase(record.digest)
        assert store.records.add(record, received_from="lab-b.example", now=NOW) is Added.UNCHANGED
        assert store.records.token(record.digest) is None

    def test_a_later_version_of_what_is_erased_is_kept(self, store):
        first = make_record(record_id=record_id("erased"))
        second = make_record(record_id=record_id("erased"), version=2)
        store.records.add(first, now=NOW)
        store.records.erase(first.digest)
        assert store.records.add(second, now=NOW) is Added.NEW
        assert store.records.get(first.digest).standing is Standing.REPLACED

    def test_no_byte_of_what_is_erased_is_left_on_the_disk(self, store, path):
        kept = make_record({"summary": "quokkas are kept"})
        record = make_record({"title": "wombat", "summary": "platypus and echidna"})
        store.records.add(kept, now=NOW)
        store.records.add(record, now=NOW)
        traces = [b"wombat", b"platypus", b"echidna", record.token.split("~")[1].encode()]
        assert all(trace in on_disk(path) for trace in traces)
        store.records.erase(record.digest)
        store.scrub()
        assert [trace for trace in traces if trace in on_disk(path)] == []
        assert b"quokkas" in on_disk(path)
        assert store.records.search("quokkas")


def on_disk(path):
    """Return every byte of a store that is open."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.iterdir()))
