"""Somebody has a key of ours: it is revoked and replaced in one step, and partners follow by the document."""

import json
import secrets
from dataclasses import replace
from pathlib import Path

import pytest

from tests.desk.conftest import FINDING, LAB_A, LAB_B, copy_home, make_home, put_policy
from tests.desk.federation import deliver, introduce
from tests.support.organisations import NOW
from tocsin.audit.log import verify_log
from tocsin.desk.ceremony import Authority, adopt_draft, change_root, load_draft, load_root, load_root_signer, sign_file
from tocsin.desk.layout import Layout
from tocsin.desk.papers import load_papers
from tocsin.desk.rotation import revoke_key, rotate_key
from tocsin.errors import IdentityOutdated, MalformedIdentity, NotFound, SignatureMismatch, UntrustedIssuer
from tocsin.identity.draft import parse_draft, sign_draft
from tocsin.identity.root import next_version, parse_identity, update_identity
from tocsin.identity.version import root_key_id
from tocsin.records.record import parse_record
from tocsin.v1 import desk_service_pb2 as v1


@pytest.fixture
def partner(tmp_path, office, open_office):
    """A partner that gets what the office posts."""
    opened = open_office(copy_home(tmp_path / "lab-b", LAB_B))
    office.desk.remove_peer(v1.RemovePeerRequest(org=LAB_B), office.me)
    introduce(office, opened)
    put_policy(opened, LAB_A)
    return opened


def go_on(office):
    """Let a running node read its document and keys anew."""
    now = office.clock()
    office.home.renew(load_papers(office.home.layout, now=now), now=now)


def hand_over(office, partner):
    """Take the newer document to a partner, as `peer add FILE` does; return what it was told."""
    request = v1.AddPeerRequest(document=office.home.organisation.document)
    return list(partner.desk.add_peer(request, partner.me).changes)


def holds(office, digest):
    try:
        return bool(office.desk.get_record(v1.GetRecordRequest(id=digest), office.me).record.digest)
    except NotFound:
        return False


def posted(office, title):
    return office.post(FINDING | {"title": title}).record.digest


def test_a_stolen_record_key_is_revoked_and_partners_refuse_what_the_thief_signs(office, partner):
    before = posted(office, "before the theft")
    deliver(office, partner)
    assert holds(partner, before)
    thief = office.home.record_signer
    forged = posted(office, "what the thief has signed")  # under the key that somebody else has as well
    record = office.desk.get_record(v1.GetRecordRequest(id=forged, with_token=True), office.me).record
    revoked = revoke_key(office.home.layout, thief.key_id, now=NOW, at=NOW - 60, random=secrets.token_bytes)
    assert revoked.is_replaced
    go_on(office)
    changes = hand_over(office, partner)
    assert f"record key {thief.key_id}: active, now revoked" in changes
    assert f"record key {office.home.record_signer.key_id}: new" in changes
    with pytest.raises(UntrustedIssuer) as refused:
        parse_record(record.token).verify(office.home.organisation, now=NOW)
    assert refused.value.reason == "KEY_NOT_VALID"
    after = posted(office, "under the new key")
    deliver(office, partner)
    assert (holds(partner, after), holds(partner, forged)) == (True, False)


def test_until_a_partner_takes_the_document_it_does_not_know_the_new_key(office, partner):
    revoke_key(office.home.layout, office.home.record_signer.key_id, now=NOW, random=secrets.token_bytes)
    go_on(office)
    digest = posted(office, "under a key that the partner has not heard of")
    with pytest.raises(IdentityOutdated) as refused:
        deliver(office, partner)
    assert (refused.value.reason, holds(partner, digest)) == ("IDENTITY_OUTDATED", False)
    hand_over(office, partner)
    deliver(office, partner)
    assert holds(partner, digest)


def test_what_a_thief_sends_as_ours_is_refused_by_its_reason(office, partner):
    """The thief has the record key and a place in the middle: its entry goes in a page of ours."""
    thief = office.home.record_signer
    papers = office.home.papers
    revoke_key(office.home.layout, thief.key_id, now=NOW, random=secrets.token_bytes)
    go_on(office)
    hand_over(office, partner)
    office.home.papers = replace(office.home.papers, record_signer=thief, organisation=papers.organisation)
    digest = posted(office, "new, and under the old key")
    received = deliver(office, partner, answer=False)
    assert (received.refused, holds(partner, digest)) == (1, False)
    (refusal,) = partner.desk.get_peer(v1.GetPeerRequest(org=LAB_A), partner.me).peer.refusals
    assert refusal.reason == "QUARANTINED"


def test_a_stolen_delivery_key_is_revoked_and_the_exchange_and_the_decision_log_go_on(office, partner):
    revoke_key(office.home.layout, office.home.delivery_signer.key_id, now=NOW, random=secrets.token_bytes)
    go_on(office)
    hand_over(office, partner)
    digest = posted(office, "in a page under the new key")
    deliver(office, partner)
    assert holds(partner, digest)
    assert verify_log(office.home.log.rows(), organisation=office.home.organisation).entries > 2


def test_everything_but_the_root_keys_is_stolen_and_replaced(office, partner):
    layout, old = office.home.layout, office.home.organisation
    for key_id in (office.home.record_signer.key_id, office.home.delivery_signer.key_id):
        revoke_key(layout, key_id, now=NOW, random=secrets.token_bytes)
    for name in ("tls", "log", "witness"):
        rotate_key(layout, name, now=NOW, random=secrets.token_bytes, stolen=True)
    go_on(office)
    hand_over(office, partner)
    new = office.home.organisation
    assert new.fingerprint == old.fingerprint
    assert not new.pins & old.pins
    assert not {*new.log_vkeys, *new.witness_vkeys} & {*old.log_vkeys, *old.witness_vkeys}
    assert [key.is_valid_at(NOW) for key in new.record_keys.values()] == [False, True]
    digest = posted(office, "after all of it")
    deliver(office, partner)
    assert holds(partner, digest)


@pytest.fixture
def lab(tmp_path):
    """A home with three root keys of which two must sign; each lies with somebody else."""
    layout = Layout(make_home(tmp_path / "home", LAB_A, root_keys=3, threshold=2))
    people = tmp_path / "people"
    people.mkdir()
    for number in (1, 2, 3):
        layout.root_key(number).rename(people / f"{number}.pem")
    return layout, people


def test_a_threshold_of_the_others_removes_a_root_key_that_was_stolen(lab, tmp_path):
    layout, people = lab
    held = parse_identity(layout.document.read_bytes(), now=NOW)
    thief = load_root_signer(people / "1.pem", passphrase=None)
    stolen = root_key_id(thief.public_key)
    with pytest.raises(MalformedIdentity) as refused:  # alone, the thief removes nobody
        next_version(held, held, signers=[thief], root_keys=[thief.public_key], threshold=1, now=NOW)
    assert refused.value.reason == "BAD_IDENTITY"
    path = tmp_path / "remove.draft"
    change_root(layout, remove=(stolen,), authority=Authority(draft=path), now=NOW)
    for number in (2, 3):
        sign_file(path, people / f"{number}.pem", passphrase_file=None, now=NOW, expected=load_draft(path))
    adopted = adopt_draft(layout, load_draft(path), now=NOW)
    newer, changes = update_identity(held, adopted.document, now=NOW)
    assert (newer.version, newer.fingerprint) == (2, held.fingerprint)
    assert f"root key {stolen}: gone" in changes
    assert (load_root(layout).threshold, len(load_root(layout).root_keys)) == (2, 2)
    second = load_root_signer(people / "2.pem", passphrase=None)
    with pytest.raises(MalformedIdentity) as refused:
        next_version(newer, newer, signers=[thief, second], now=NOW)
    assert refused.value.reason == "BAD_IDENTITY"


def test_a_thief_of_one_root_key_cannot_slip_its_own_change_between_the_signatures(lab, tmp_path):
    layout, people = lab
    path = tmp_path / "next.draft"
    rotate_key(layout, "record", now=NOW, random=secrets.token_bytes, authority=Authority(draft=path))
    sign_file(path, people / "2.pem", passphrase_file=None, now=NOW, expected=load_draft(path))
    value = json.loads(path.read_bytes())
    value["next"]["signed"]["roles"]["root"]["threshold"] = 1
    with pytest.raises(SignatureMismatch) as refused:
        sign_draft(
            parse_draft(json.dumps(value).encode()),
            signer=load_root_signer(people / "1.pem", passphrase=None),
            now=NOW,
        )
    assert refused.value.reason == "BAD_SIGNATURE"
    assert Path(path).exists()
