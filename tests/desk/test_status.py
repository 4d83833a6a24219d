"""The state of the node at a glance, and what needs somebody's attention."""

from dataclasses import replace

import pytest

from tests.desk.conftest import AISI, LAB_A, LAB_B, copy_home, draft
from tests.desk.federation import deliver, introduce
from tests.support.organisations import NOW, YEAR, found, seeded
from tocsin import __version__
from tocsin.audit.entry import Entry, Event
from tocsin.exchange.circuit import Contacts
from tocsin.identity.names import new_record_id
from tocsin.people.person import Role
from tocsin.records.record import Draft, issue
from tocsin.store.model import Outcome, Position, Verdict
from tocsin.v1 import desk_service_pb2 as v1

DAY = 86_400
CONTENT = {
    "title": "Seen twice",
    "finding_kind": "hazard",
    "severity": "low",
    "subjects": [{"kind": "model", "name": "Example-LM 3"}],
}


def status(office) -> v1.GetStatusResponse:
    return office.desk.get_status(v1.GetStatusRequest(), office.me)


@pytest.fixture
def calm(root, office):
    """Return a desk that has nothing to warn of."""
    (root / "keys" / "root-1.pem").unlink()
    return office


def test_a_calm_node_warns_of_nothing(calm):
    assert list(status(calm).warnings) == []


def test_whoever_asks_is_told_who_it_is(calm):
    caller = status(calm).caller
    assert (caller.name, caller.key_id) == ("first", calm.first.signer.key_id)
    assert len(caller.roles) == len(Role)


def test_a_desk_without_a_node_says_that_none_is_running(calm):
    answer = status(calm)
    assert answer.organisation.org == LAB_A
    assert answer.version == __version__
    assert not answer.serving
    assert not answer.HasField("started_at")
    assert answer.store_bytes > 0


def test_a_running_node_says_where_it_listens_and_since_when(root, open_office):
    answer = status(open_office(root, listen="127.0.0.1:7470", started_at=NOW - 5))
    assert answer.serving
    assert answer.listen == "127.0.0.1:7470"
    assert answer.started_at.ToSeconds() == NOW - 5


def test_records_and_deliveries_are_counted(tmp_path, office, open_office):
    lab_b = open_office(copy_home(tmp_path / "lab-b", LAB_B))
    office.desk.remove_peer(v1.RemovePeerRequest(org=LAB_B), office.me)
    introduce(office, lab_b)
    office.post_all([draft(), draft()])
    assert status(office).peers[0].waiting == 2
    deliver(office, lab_b)
    answer = status(office)
    assert (answer.own_records, answer.received_records) == (2, 0)
    assert (answer.peers[0].waiting, answer.peers[0].entries_sent) == (0, 2)
    answer = status(lab_b)
    assert (answer.own_records, answer.received_records) == (0, 2)
    assert answer.peers[0].records_received == 2


def test_what_went_wrong_with_a_peer_is_told_with_its_reason(calm):
    calm.home.store.peers.note_error(LAB_B, reason="PEER_UNREACHABLE", message="no connection", now=NOW)
    assert status(calm).peers[0].last_error == "PEER_UNREACHABLE: no connection"


def expires_soon(office) -> None:
    office.clock.now = NOW + YEAR - 59 * DAY


def expired(office) -> None:
    office.desk.remove_peer(v1.RemovePeerRequest(org=LAB_B), office.me)
    office.clock.now = NOW + YEAR + 1


def expired_there(office) -> None:
    office.desk.remove_peer(v1.RemovePeerRequest(org=LAB_B), office.me)
    document = found(AISI, now=NOW - 300 * DAY).document
    request = v1.AddPeerRequest(document=document, fingerprint=found(AISI).organisation.fingerprint)
    office.desk.add_peer(request, office.me)
    office.clock.now = NOW + 100 * DAY


def pending(office) -> None:
    office.add_peer(AISI, confirmed=False)


def refused(office) -> None:
    verdict = Verdict(1, Outcome.REFUSED, "d" * 43, "BAD_SIGNATURE")
    office.home.store.intake.move(LAB_B, Position("f" * 22, 1), [verdict], now=NOW)


def changed(office) -> None:
    (office.home.layout.policies / f"{LAB_B}.toml").write_text("# nothing")


def open_to_others(office) -> None:
    office.home.layout.root.chmod(0o755)


def disbelieved(office) -> None:
    row = office.home.store.policies.latest()
    office.home.store.policies.put(replace(row, statement=office.first.card))


def equivocation(office, name="twice") -> None:
    record_id = new_record_id(seeded(name))
    for number, signer in enumerate([office.home.record_signer] * 2):
        twin = issue(
            Draft(record_id=record_id, kind="finding", tlp="AMBER"),
            CONTENT,
            issuer=office.home.organisation.org,
            signer=signer,
            now=NOW,
            random=seeded(f"twin {name} {number}"),
        )
        office.home.store.records.add(twin, received_from=LAB_B, now=NOW)


def note(office, event, **of) -> None:
    office.home.log.append(Entry(event, **of), now=office.clock() - 6 * DAY)


def put_back(office) -> None:
    note(office, Event.ROLLED_BACK)


def restored(office) -> None:
    note(office, Event.RESTORED)


def to_be_asked(office) -> None:
    office.home.store.recoveries.begin(LAB_B, now=NOW)


def receipt_refused(office) -> None:
    note(office, Event.RECEIPT_REFUSED, partner=LAB_B)
    note(office, Event.RECEIPT_REFUSED, partner=LAB_B)


def stopped(office) -> None:
    office.home.store.logs.stop(AISI, "it signed two different histories of its log", now=NOW)


def own_log_waits(office) -> None:
    office.home.store.logs.stop(LAB_A, "this home was put back", now=NOW)
    office.home.store.logs.await_word([LAB_B])


def own_log_forked(office) -> None:
    office.home.store.logs.stop(LAB_A, "another history of it is held by others", now=NOW)


def log_policy_broken(office) -> None:
    office.home.layout.witnesses.write_text("quorum nobody\n")


WARNINGS = {
    "an identity that expires within 60 days": (expires_soon, "expires on 2027-03-01, in 59 days"),
    "an identity that has expired": (expired, "has expired"),
    "a peer whose identity has expired": (expired_there, f"of {AISI} has expired"),
    "a pending peer": (pending, f"{AISI} is pending"),
    "a refused entry": (refused, f"1 entry of {LAB_B} was refused"),
    "a policy file that changed": (changed, f"policies/{LAB_B}.toml is not what is in force"),
    "a home that others can look into": (open_to_others, "chmod 700"),
    "policies that are not believed": (disbelieved, "policies: the policies in force are not believed"),
    "two records under one name": (equivocation, "signed 2 different records"),
    "a store that was put back": (put_back, "an earlier state of itself, on 2026-02-23"),
    "a home from a backup": (restored, "built from a backup, on 2026-02-23"),
    "a peer that is still to be asked": (to_be_asked, f"{LAB_B} is still to be asked"),
    "a receipt that was refused": (receipt_refused, f"{LAB_B} gave a receipt that was refused"),
    "an origin that is stopped": (stopped, f"see tocsin log evidence {AISI}, talk to its people and to other peers"),
    "a log of our own that waits": (own_log_waits, f"still for the word of {LAB_B}: tocsin log show"),
    "a log of our own that forked": (own_log_forked, "is held by others: tocsin log show"),
    "a log policy with a mistake": (log_policy_broken, "policies/witnesses.tlog has a mistake"),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_status_warns_of(calm, case):
    happen, words = WARNINGS[case]
    happen(calm)
    (warning,) = status(calm).warnings
    assert words in warning


def test_an_origin_that_signs_everything_twice_hides_no_other_warning(calm):
    for number in range(20):
        equivocation(calm, name=f"twin {number}")
    told = status(calm).warnings
    assert len(told) == 4
    assert told[-1].endswith("signed different records as one, 17 times more")


def test_what_happened_once_is_told_for_a_week(calm):
    put_back(calm)
    restored(calm)
    receipt_refused(calm)
    assert len(status(calm).warnings) == 3
    calm.clock.now += DAY + 1
    assert list(status(calm).warnings) == []


@pytest.mark.parametrize(("ahead", "told"), [(0, False), (-300, False), (301, True), (-301, True)])
def test_a_clock_that_differs_by_more_than_records_may_is_warned_of(root, open_office, ahead, told):
    (root / "keys" / "root-1.pem").unlink()
    contacts = Contacts()
    office = open_office(root, contacts=contacts)
    office.add_peer(LAB_B)
    contacts.note_clock(LAB_B, theirs=NOW + ahead, ours=NOW)
    assert [f"the clock of {LAB_B}" in warning for warning in status(office).warnings] == [True] * told


def test_a_root_key_that_is_still_here_is_warned_of(office):
    assert list(status(office).warnings) == ["keys/root-1.pem is still on this machine: move it offline"]


def test_with_strict_whoever_holds_too_much_is_named(root, open_office):
    (root / "keys" / "root-1.pem").unlink()
    (warning,) = status(open_office(root, strict=True)).warnings
    assert warning == "first holds release, policy and keys at once, and so acts as an operator alone"


def test_a_peer_is_shown_with_the_entries_of_it_that_were_refused(office):
    refused(office)
    (refusal,) = office.desk.get_peer(v1.GetPeerRequest(org=LAB_B), office.me).peer.refusals
    assert refusal.reason == "BAD_SIGNATURE"
    assert refusal.sequence == 1
    assert refusal.refused_at.ToSeconds() == NOW
    assert all(not peer.refusals for peer in office.desk.list_peers(v1.ListPeersRequest(), office.me).peers)
