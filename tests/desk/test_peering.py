"""Registering organisations, and beginning, stopping and ending the exchange with them."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.desk.conftest import AISI, LAB_A, LAB_B, SHARING, put_policy
from tests.support.organisations import NOW, YEAR, Founded, found
from tocsin.errors import (
    Conflict,
    HomeDamaged,
    IdentityOutdated,
    MalformedIdentity,
    MalformedName,
    MalformedRequest,
    NotFound,
    NotPermitted,
    TocsinError,
)
from tocsin.exchange.circuit import Contact, Contacts, Happened
from tocsin.identity.root import next_version, parse_identity
from tocsin.store.model import AuditFilter, PeerState
from tocsin.v1 import desk_service_pb2 as v1

PENDING, ACTIVE = v1.PEER_STATE_PENDING, v1.PEER_STATE_ACTIVE
SUSPENDED, REMOVED = v1.PEER_STATE_SUSPENDED, v1.PEER_STATE_REMOVED
KNOWN = v1.PEER_STATE_KNOWN


def renewed(peer: Founded, **changes: object) -> bytes:
    """Return the next version of an organisation's document."""
    details = replace(peer.organisation, **changes)
    return next_version(peer.organisation, details, signers=peer.roots, now=NOW + 1)


@pytest.fixture
def desk(office):
    return office.desk


def test_a_confirmed_peer_is_active_at_once(office):
    peer = office.add_peer(AISI)
    assert peer.state == ACTIVE
    assert peer.role == v1.PEER_ROLE_MEMBER
    assert peer.organisation.org == AISI
    assert peer.policy_file == f"policies/{AISI}.toml"
    assert office.events.changed == [AISI]


def test_a_removal_is_told_when_everybody_can_read_it(office, monkeypatch):
    office.add_peer(AISI)
    with ThreadPoolExecutor() as others:

        def changed(org):
            assert others.submit(office.home.store.peers.get, org).result().state is PeerState.REMOVED
            office.events.changed.append(org)

        monkeypatch.setattr(office.events, "peer_changed", changed)
        CALLS["remove"](office, AISI)
    assert office.events.changed == [AISI, AISI]


def test_a_peer_without_a_fingerprint_waits_for_one(office):
    assert office.add_peer(AISI, confirmed=False).state == PENDING
    assert office.add_peer(AISI).state == ACTIVE
    assert office.events.changed == [AISI, AISI]


def test_the_fingerprint_is_compared_whatever_its_case_spaces_and_dashes(office):
    peer = found(AISI)
    typed = peer.organisation.fingerprint.lower().replace("-", " ")
    answer = office.desk.add_peer(v1.AddPeerRequest(document=peer.document, fingerprint=typed), office.me)
    assert answer.peer.state == ACTIVE


@pytest.mark.parametrize("known", [False, True], ids=["unknown", "pending"])
@pytest.mark.parametrize("typed", ["of another organisation", "mistyped", "something else"])
def test_a_wrong_fingerprint_changes_nothing(office, known, typed):
    if known:
        office.add_peer(AISI, confirmed=False)
    peer = found(AISI)
    right = peer.organisation.fingerprint
    wrong = {
        "of another organisation": found("lab-c.example").organisation.fingerprint,
        "mistyped": right[:-1] + ("A" if right[-1] != "A" else "B"),
        "something else": "yes",
    }[typed]
    before = office.desk.list_peers(v1.ListPeersRequest(), office.me)
    with pytest.raises(MalformedIdentity) as refused:
        office.desk.add_peer(v1.AddPeerRequest(document=peer.document, fingerprint=wrong), office.me)
    assert refused.value.reason == "FINGERPRINT_MISMATCH"
    assert office.desk.list_peers(v1.ListPeersRequest(), office.me) == before


def test_a_reader_is_registered_as_one_and_can_become_a_member(office):
    assert office.add_peer(AISI, role=v1.PEER_ROLE_READER).role == v1.PEER_ROLE_READER
    assert office.add_peer(AISI).role == v1.PEER_ROLE_READER
    assert office.add_peer(AISI, role=v1.PEER_ROLE_MEMBER).role == v1.PEER_ROLE_MEMBER


def test_a_role_of_a_later_contract_is_refused(office):
    with pytest.raises(MalformedRequest):
        office.add_peer(AISI, role=99)
    assert len(office.desk.list_peers(v1.ListPeersRequest(), office.me).peers) == 1


def test_a_starter_policy_is_written_that_accepts_and_shares_nothing(root, office):
    office.add_peer(AISI)
    assert (root / "policies" / f"{AISI}.toml").stat().st_mode & 0o077 == 0
    policy = office.home.policies.policies[AISI]
    assert policy.shares == ()
    assert policy.accept is not None
    assert office.desk.check_policies(v1.CheckPoliciesRequest(), office.me) == v1.CheckPoliciesResponse(
        partners=[AISI, LAB_B]
    )


def test_a_policy_that_is_there_is_never_overwritten(root, office):
    path = root / "policies" / f"{AISI}.toml"
    path.write_text(SHARING.format(partner=AISI))
    office.add_peer(AISI)
    assert path.read_text() == SHARING.format(partner=AISI)


@pytest.mark.parametrize("shares", [True, False])
def test_whoever_adds_a_peer_is_told_whether_what_is_in_force_shares_with_it_already(office, shares):
    if shares:
        put_policy(office, AISI)
    given = found(AISI)
    request = v1.AddPeerRequest(document=given.document, fingerprint=given.organisation.fingerprint)
    assert office.desk.add_peer(request, office.me).shares is shares


def test_a_file_that_waits_in_the_folder_shares_nothing_with_a_new_peer(root, office):
    (root / "policies" / f"{AISI}.toml").write_text(SHARING.format(partner=AISI))
    office.add_peer(AISI)
    assert office.home.policies.policies[AISI].shares == ()
    assert list(office.post().queued_for) == [LAB_B]


def test_what_becomes_of_a_peer_is_in_the_decision_log_with_who_did_it(office):
    for event in ("suspend", "suspend", "resume", "remove"):
        CALLS[event](office, LAB_B)
    rows = office.home.store.audit.list(AuditFilter(partner=LAB_B), limit=9)
    told = [(row.act, row.person, json.loads(row.body)["details"]["state"]) for row in rows]
    assert told == [
        ("peer-added", "first", "active"),
        ("peer-changed", "first", "suspended"),
        ("peer-changed", "first", "active"),
        ("peer-changed", "first", "removed"),
    ]


def test_a_peer_whose_policy_file_cannot_be_written_is_not_registered(root, office):
    (root / "policies").rename(root / "elsewhere")
    with pytest.raises(HomeDamaged, match=f"policies/{AISI}.toml"):
        office.add_peer(AISI)
    assert [peer.organisation.org for peer in office.desk.list_peers(v1.ListPeersRequest(), office.me).peers] == [LAB_B]


def test_nobody_is_a_peer_of_itself(office):
    with pytest.raises(MalformedRequest):
        office.desk.add_peer(v1.AddPeerRequest(document=office.home.organisation.document), office.me)


def test_what_was_posted_while_a_peer_was_pending_waits_for_it_once_it_is_confirmed(root, open_office):
    office = open_office(root)
    put_policy(office, LAB_B)
    office.add_peer(LAB_B, confirmed=False)
    assert list(office.post().queued_for) == []
    assert office.add_peer(LAB_B).waiting == 1
    assert office.events.queued_for == [{LAB_B}]


def test_a_newer_document_of_a_peer_is_taken_and_its_changes_are_told(office):
    peer = found(LAB_B)
    answer = office.desk.add_peer(
        v1.AddPeerRequest(document=renewed(peer, endpoints=("lab-b.example:7443",))), office.me
    )
    assert answer.peer.organisation.version == 2
    assert list(answer.changes) == ["endpoint lab-b.example:7443: new"]
    assert answer.peer.state == ACTIVE
    stored = office.desk.get_peer(v1.GetPeerRequest(org=LAB_B), office.me).peer.organisation
    assert list(stored.endpoints) == ["lab-b.example:7443"]


def test_the_same_document_again_changes_nothing(office):
    assert list(office.desk.add_peer(v1.AddPeerRequest(document=found(LAB_B).document), office.me).changes) == []


def test_an_older_document_is_refused(office):
    peer = found(LAB_B)
    office.desk.add_peer(v1.AddPeerRequest(document=renewed(peer)), office.me)
    with pytest.raises(IdentityOutdated):
        office.desk.add_peer(v1.AddPeerRequest(document=peer.document), office.me)


def test_another_organisation_under_the_same_name_is_refused(office):
    impostor = found(LAB_B, root_keys=2)
    with pytest.raises(MalformedIdentity) as refused:
        office.desk.add_peer(v1.AddPeerRequest(document=impostor.document), office.me)
    assert refused.value.reason == "BAD_IDENTITY"


def test_a_pending_identity_that_nobody_confirmed_gives_way_to_another(office):
    office.add_peer(AISI, confirmed=False)
    other = found(AISI, root_keys=2)
    request = v1.AddPeerRequest(document=other.document, fingerprint=other.organisation.fingerprint)
    answer = office.desk.add_peer(request, office.me)
    assert answer.peer.state == ACTIVE
    assert answer.peer.organisation.fingerprint == other.organisation.fingerprint
    assert "never confirmed" in answer.changes[0]


DOCUMENTS = {
    "nothing": (b"", MalformedIdentity),
    "no JSON": (b"{", MalformedIdentity),
    "another document": (b'{"format": "tocsin-identity/v2", "chain": []}', MalformedIdentity),
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_what_is_no_identity_document_registers_nobody(office, case):
    document, error = DOCUMENTS[case]
    with pytest.raises(error):
        office.desk.add_peer(v1.AddPeerRequest(document=document), office.me)
    assert len(office.desk.list_peers(v1.ListPeersRequest(), office.me).peers) == 1


def test_an_expired_identity_document_registers_nobody(office):
    office.clock.now = NOW + YEAR
    with pytest.raises(IdentityOutdated):
        office.add_peer(AISI)


CALLS = {
    "suspend": lambda office, org: office.desk.suspend_peer(v1.SuspendPeerRequest(org=org), office.me).peer,
    "resume": lambda office, org: office.desk.resume_peer(v1.ResumePeerRequest(org=org), office.me).peer,
    "remove": lambda office, org: office.desk.remove_peer(v1.RemovePeerRequest(org=org), office.me).peer,
}

LIVES = {
    "suspended": (["suspend"], SUSPENDED),
    "suspended twice": (["suspend", "suspend"], SUSPENDED),
    "suspended and resumed": (["suspend", "resume"], ACTIVE),
    "resumed while active": (["resume"], ACTIVE),
    "removed": (["remove"], REMOVED),
    "suspended and removed": (["suspend", "remove"], REMOVED),
}


@pytest.mark.parametrize("case", LIVES)
def test_an_active_peer_can_be(office, case):
    events, state = LIVES[case]
    peers = [CALLS[event](office, LAB_B) for event in events]
    assert peers[-1].state == state
    assert office.events.changed == [LAB_B] * len(events)


@pytest.mark.parametrize("event", ["suspend", "resume"])
def test_a_pending_peer_can_only_be_confirmed_or_removed(office, event):
    office.add_peer(AISI, confirmed=False)
    with pytest.raises(Conflict) as refused:
        CALLS[event](office, AISI)
    assert refused.value.reason == "CONFLICT"
    assert "fingerprint" in refused.value.hint
    assert office.desk.get_peer(v1.GetPeerRequest(org=AISI), office.me).peer.state == PENDING
    assert CALLS["remove"](office, AISI).state == REMOVED


def test_confirming_again_does_not_resume(office):
    CALLS["suspend"](office, LAB_B)
    assert office.add_peer(LAB_B).state == SUSPENDED


def test_a_removed_peer_is_unknown_until_it_is_added_again(office):
    CALLS["remove"](office, LAB_B)
    assert list(office.desk.list_peers(v1.ListPeersRequest(), office.me).peers) == []
    with pytest.raises(NotFound):
        office.desk.get_peer(v1.GetPeerRequest(org=LAB_B), office.me)
    assert office.add_peer(LAB_B).state == ACTIVE


def test_resuming_queues_what_was_posted_meanwhile(office):
    CALLS["suspend"](office, LAB_B)
    assert list(office.post().queued_for) == []
    assert CALLS["resume"](office, LAB_B).waiting == 1
    assert office.events.queued_for == [{LAB_B}]


UNKNOWN: dict[str, tuple[str, type[TocsinError], str]] = {
    "nearly right": ("lab-c.example", NotFound, "did you mean lab-b.example?"),
    "only its last part is right": ("nobody.example", NotFound, "the peers are: lab-b.example"),
    "far off": ("university.test", NotFound, "the peers are: lab-b.example"),
    "ourselves": (LAB_A, NotFound, "did you mean"),
    "no name": ("LAB B", MalformedName, "DNS name"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("case", UNKNOWN)
def test_an_unknown_peer_is_said_to_be_unknown(office, case, call):
    org, error, hint = UNKNOWN[case]
    with pytest.raises(error) as refused:
        CALLS[call](office, org)
    assert hint in refused.value.hint


def test_our_own_identity_is_what_others_add(office):
    answer = office.desk.get_identity(v1.GetIdentityRequest(), office.me)
    assert parse_identity(answer.document, now=NOW).fingerprint == answer.organisation.fingerprint
    assert answer.organisation.org == LAB_A
    assert answer.organisation.kind == v1.ORGANISATION_KIND_LAB
    assert [key.status for key in answer.organisation.record_keys] == ["active"]


def know(office, org=AISI, *, compared=True):
    """Register an organisation whose keys alone are of use."""
    peer = found(org)
    fingerprint = peer.organisation.fingerprint if compared else ""
    request = v1.AddPeerRequest(document=peer.document, fingerprint=fingerprint, known=True)
    return office.desk.add_peer(request, office.me).peer


def test_an_organisation_can_be_known_without_anything_being_exchanged_with_it(root, office):
    assert know(office).state == KNOWN
    assert know(office).state == KNOWN
    assert not (root / "policies" / f"{AISI}.toml").exists()
    assert f"{AISI}.toml" not in office.home.store.policies.latest().files
    office.post()
    assert office.home.store.feeds.waiting(AISI) == 0
    with pytest.raises(NotPermitted):
        asyncio.run(anext(office.desk.sync_peers(v1.SyncPeersRequest(peers=[AISI]), office.me)))


def test_the_exchange_with_a_known_organisation_begins_when_it_is_added_again(root, office):
    know(office)
    assert office.add_peer(AISI).state == ACTIVE
    assert (root / "policies" / f"{AISI}.toml").exists()
    assert f"{AISI}.toml" in office.home.store.policies.latest().files


def test_a_newer_document_of_a_known_organisation_is_taken_and_it_stays_known(office):
    know(office)
    document = renewed(found(AISI), name="AI Safety Institute")
    assert office.desk.add_peer(v1.AddPeerRequest(document=document), office.me).peer.state == KNOWN


def test_a_pending_peer_can_become_known(office):
    office.add_peer(AISI, confirmed=False)
    assert know(office).state == KNOWN


def test_a_known_organisation_can_be_removed(office):
    know(office)
    assert office.desk.remove_peer(v1.RemovePeerRequest(org=AISI), office.me).peer.state == REMOVED


@pytest.mark.parametrize("pending", [False, True], ids=["a new one", "a pending one"])
def test_nobody_is_known_whose_fingerprint_was_not_compared(office, pending):
    if pending:
        office.add_peer(AISI, confirmed=False)
    with pytest.raises(MalformedRequest) as caught:
        know(office, compared=False)
    assert caught.value.reason == "BAD_REQUEST"


@pytest.mark.parametrize("compared", [True, False])
def test_a_partner_does_not_become_known_only_by_a_slip(office, compared):
    with pytest.raises(Conflict) as caught:
        know(office, LAB_B, compared=compared)
    assert (caught.value.reason, "remove" in caught.value.hint) == ("CONFLICT", True)


def test_how_the_contact_with_a_peer_goes_is_shown(root, open_office):
    contacts = Contacts()
    office = open_office(root, contacts=contacts)
    put_policy(office, LAB_B)
    office.add_peer(LAB_B)
    (peer,) = office.desk.list_peers(v1.ListPeersRequest(), office.me).peers
    assert (peer.contact, peer.HasField("clock_ahead")) == (v1.CONTACT_STATE_UNSPECIFIED, False)
    contacts.note(LAB_B, "follow", Contact().after(Happened.FAILED, next_attempt_at=NOW + 7))
    contacts.note_clock(LAB_B, theirs=NOW - 3, ours=NOW)
    office.post()
    office.clock.now += 60
    (peer,) = office.desk.list_peers(v1.ListPeersRequest(), office.me).peers
    assert (peer.contact, peer.failures, peer.clock_ahead) == (v1.CONTACT_STATE_WAITING, 1, -3)
    assert peer.next_attempt_at.ToSeconds() == NOW + 7
    assert peer.oldest_waiting_at.ToSeconds() == NOW
    assert not peer.HasField("last_acknowledged_at")
