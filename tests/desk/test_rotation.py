"""Keys are replaced in steps, each of which may be the last before a crash."""

import json
import os
import secrets
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.desk.conftest import LAB_A, copy_home, make_home
from tests.support.organisations import NOW
from tocsin.audit.entry import Event
from tocsin.audit.log import verify_log
from tocsin.desk.ceremony import Authority
from tocsin.desk.home import open_home
from tocsin.desk.layout import Layout
from tocsin.desk.papers import load_organisation, load_papers
from tocsin.desk.rotation import _Place, renew_document, revoke_key, rotate_key
from tocsin.desk.succession import ROTATED, pending_keys, settle_keys
from tocsin.errors import Conflict, IdentityExpired, MalformedIdentity, MalformedRequest, NotFound, Overloaded
from tocsin.identity.certificate import DAY, spki_pin
from tocsin.identity.root import update_identity


@pytest.fixture
def layout(tmp_path):
    return Layout(copy_home(tmp_path / "home"))


def rotate(layout, name, **more):
    return rotate_key(layout, name, random=secrets.token_bytes, **{"now": NOW, **more})


def shown(layout, name, *, now=NOW):
    """Return what names the key that the home works with today."""
    if name in ("log", "witness"):
        return _Place(layout, load_organisation(layout), name).in_use
    papers = load_papers(layout, now=now)
    return papers.tls.certificate if name == "tls" else getattr(papers, f"{name}_signer").key_id


@pytest.mark.parametrize("name", ROTATED)
def test_a_key_is_replaced_and_partners_can_follow_by_the_document(layout, name):
    before, held = shown(layout, name), load_organisation(layout)
    rotated = rotate(layout, name)
    assert shown(layout, name) != before
    assert not list(layout.keys.glob("*next*"))
    _, changes = update_identity(held, rotated.organisation.document, now=NOW)
    assert any(line.endswith(": new") for line in changes)
    open_home(layout.root, now=NOW).close()


@pytest.mark.parametrize("name", ["record", "delivery"])
def test_what_a_retired_key_signed_stands_and_it_ends_a_day_later(layout, name):
    before = shown(layout, name)
    keys = getattr(rotate(layout, name).organisation, f"{name}_keys")
    assert keys[before].status == "retired"
    assert keys[before].is_valid_at(NOW)
    assert not keys[before].is_valid_at(NOW + DAY + 1)
    assert keys[shown(layout, name)].is_valid_at(NOW)


@pytest.mark.parametrize("name", ROTATED)
def test_with_an_overlap_the_new_key_waits_until_partners_have_the_document(layout, name):
    before = shown(layout, name)
    rotated = rotate(layout, name, overlap=7 * DAY)
    assert rotated.takes_over_at == NOW + 7 * DAY
    assert pending_keys(layout, rotated.organisation) == {name: NOW + 7 * DAY}
    open_home(layout.root, now=NOW + 6 * DAY).close()
    assert shown(layout, name, now=NOW + 6 * DAY) == before
    open_home(layout.root, now=NOW + 7 * DAY).close()
    assert shown(layout, name, now=NOW + 7 * DAY) != before
    assert pending_keys(layout, load_organisation(layout)) == {}


def test_two_new_keys_of_one_kind_do_not_wait_at_once(layout):
    rotate(layout, "record", overlap=DAY)
    with pytest.raises(Conflict) as refused:
        rotate(layout, "record", overlap=DAY)
    assert refused.value.reason == "CONFLICT"
    rotate(layout, "delivery", overlap=DAY)
    assert pending_keys(layout, load_organisation(layout)).keys() == {"record", "delivery"}


def test_of_certificates_the_one_in_use_and_the_next_are_named(layout):
    first = shown(layout, "tls")
    rotate(layout, "tls")
    rotated = rotate(layout, "tls")
    assert len(rotated.organisation.node_certs) == 2
    assert first not in map(spki_pin, rotated.organisation.node_certs)


@pytest.mark.parametrize("name", ["log", "witness"])
def test_what_a_former_key_of_log_or_witness_signs_verifies_without_an_end(layout, name):
    first = shown(layout, name)
    second = getattr(rotate(layout, name, overlap=7 * DAY).organisation, f"{name}_vkey")
    organisation = load_organisation(layout)
    assert vkeys(organisation, name) == (second, first)
    assert getattr(organisation, f"{name}_vkey_from") == NOW + 7 * DAY
    open_home(layout.root, now=NOW + 7 * DAY).close()
    assert shown(layout, name) == second
    organisation = rotate(layout, name, now=NOW + 8 * DAY).organisation
    assert vkeys(organisation, name)[1:] == (second, first)
    assert getattr(organisation, f"{name}_vkey_from") is None


def vkeys(organisation, name):
    return organisation.log_vkeys if name == "log" else organisation.witness_vkeys


STOLEN = ("tls", "log", "witness")


@pytest.mark.parametrize("name", STOLEN)
@pytest.mark.parametrize("waits", [False, True], ids=["alone", "with one that waits"])
def test_a_stolen_key_is_named_no_more_and_nor_is_what_waited_beside_it(layout, name, waits):
    rotate(layout, name)
    kept = shown(layout, name) if name == "tls" else load_organisation(layout).to_member()[f"former_{name}_vkeys"]
    if waits:
        rotate(layout, name, overlap=DAY)
    rotated = rotate(layout, name, stolen=True, now=NOW + 10)
    assert pending_keys(layout, rotated.organisation) == {}
    assert not waiting_files(layout)
    if name == "tls":
        assert rotated.organisation.pins == {_Place(layout, rotated.organisation, name).in_use}
        assert kept != shown(layout, name)
    else:
        assert vkeys(rotated.organisation, name) == (shown(layout, name), *kept)
    open_home(layout.root, now=NOW + 10).close()


def waiting_files(layout):
    """Return what lies beside the keys in use; what a root key has signed is kept beside that."""
    return [path.name for path in layout.keys.iterdir() if path.stem not in ROTATED and "root-1" not in path.name]


@pytest.mark.parametrize("name", ["record", "delivery"])
def test_revoking_the_key_in_use_brings_a_new_one_in_the_same_version(layout, name):
    before = shown(layout, name)
    revoked = revoke(layout, before, at=NOW - 5)
    keys = listed(revoked.organisation, name)
    assert (revoked.name, revoked.keys, revoked.is_replaced) == (name, (before,), True)
    assert (keys[before].status, keys[before].revoked_at) == ("revoked", NOW - 5)
    assert keys[shown(layout, name)].is_valid_at(NOW)
    assert revoked.organisation.version == 2
    open_home(layout.root, now=NOW).close()


def revoke(layout, key_id, **more):
    return revoke_key(layout, key_id, random=secrets.token_bytes, **{"now": NOW, **more})


def listed(organisation, name):
    return organisation.record_keys if name == "record" else organisation.delivery_keys


def test_what_waits_goes_with_the_key_that_was_stolen_beside_it(layout):
    first = shown(layout, "record")
    rotate(layout, "record", overlap=DAY)
    (waiting,) = load_organisation(layout).record_keys.keys() - {first}
    revoked = revoke(layout, first)
    assert revoked.keys == tuple(sorted((first, waiting)))
    states = {key.key_id: key.status for key in revoked.organisation.record_keys.values()}
    assert states == {first: "revoked", waiting: "revoked", shown(layout, "record"): "active"}
    assert not waiting_files(layout)
    open_home(layout.root, now=NOW + 2 * DAY).close()


def test_a_key_that_waits_is_revoked_and_another_is_used_at_once(layout):
    first = shown(layout, "record")
    rotate(layout, "record", overlap=DAY)
    (waiting,) = load_organisation(layout).record_keys.keys() - {first}
    revoked = revoke(layout, waiting)
    assert (revoked.keys, revoked.is_replaced) == ((waiting,), True)
    assert revoked.organisation.record_keys[first].status == "retired"
    assert shown(layout, "record") not in (first, waiting)
    open_home(layout.root, now=NOW + 9 * DAY).close()


def test_a_retired_key_is_revoked_and_the_one_in_use_stays(layout):
    first = shown(layout, "delivery")
    rotate(layout, "delivery")
    in_use = shown(layout, "delivery")
    revoked = revoke(layout, first[:8], at=NOW)
    assert (revoked.keys, revoked.is_replaced) == ((first,), False)
    assert shown(layout, "delivery") == in_use
    assert revoke(layout, first, at=NOW - DAY).organisation.delivery_keys[first].revoked_at == NOW - DAY


REFUSED = {
    "an id that is none": ("x" * 43, None, NotFound, "NOT_FOUND"),
    "seven characters of one": (7, None, NotFound, "NOT_FOUND"),
    "a time that lies ahead": (43, NOW + 1, MalformedRequest, "BAD_REQUEST"),
    "a time before all times": (43, -1, MalformedRequest, "BAD_REQUEST"),
}


@pytest.mark.parametrize(("key", "at", "error", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_revoked_is_refused_and_nothing_changes(layout, key, at, error, reason):
    key_id = key if isinstance(key, str) else shown(layout, "record")[:key]
    with pytest.raises(error) as refused:
        revoke(layout, key_id, at=at)
    assert refused.value.reason == reason
    assert load_organisation(layout).version == 1


def test_a_key_is_revoked_once_unless_it_was_stolen_earlier(layout):
    first = shown(layout, "record")
    revoke(layout, first)
    with pytest.raises(Conflict) as refused:
        revoke(layout, first)
    assert refused.value.reason == "CONFLICT"
    assert load_organisation(layout).version == 2


def test_a_stolen_key_that_signs_records_is_not_rotated(layout):
    with pytest.raises(RuntimeError):
        rotate(layout, "record", stolen=True)


class KilledError(BaseException):
    """The process ends here, and nothing that stands behind runs."""


def die_at(monkeypatch, step):
    """Let the process die before the call of this number that changes the disk."""
    count = 0

    def watched(original):
        def call(*arguments, **more):
            nonlocal count
            count += 1
            if count == step:
                raise KilledError
            return original(*arguments, **more)

        return call

    monkeypatch.setattr(os, "fsync", watched(os.fsync))
    for method in ("replace", "unlink"):
        monkeypatch.setattr(Path, method, watched(getattr(Path, method)))


@pytest.mark.parametrize("name", ROTATED)
def test_a_crash_at_any_step_leaves_the_old_key_or_the_new_one_and_the_document_that_names_it(
    tmp_path, monkeypatch, name
):
    step, done = 0, False
    while not done:
        step += 1
        layout = Layout(copy_home(tmp_path / str(step)))
        before = shown(layout, name)
        with monkeypatch.context() as patch:
            die_at(patch, step)
            try:
                rotate(layout, name)
                done = True
            except KilledError:
                pass
        version = load_organisation(layout).version
        open_home(layout.root, now=NOW).close()
        assert (shown(layout, name) == before) == (version == 1)
        assert not list(layout.keys.glob("*next*"))
    assert step > 5


def steal(layout, name):
    """Replace what is in use, and what waits, because somebody has both."""
    if name in STOLEN:
        rotate(layout, name, stolen=True)
    else:
        revoke(layout, shown(layout, name))


@pytest.mark.parametrize("name", ["record", "tls", "log"])
def test_a_crash_after_a_theft_leaves_both_keys_as_they_were_or_neither(tmp_path, monkeypatch, name):
    mould = Layout(copy_home(tmp_path / "mould"))
    rotate(mould, name, overlap=DAY)
    before, waiting = shown(mould, name), pending_keys(mould, load_organisation(mould))
    step, done = 0, False
    while not done:
        step += 1
        layout = Layout(Path(shutil.copytree(mould.root, tmp_path / str(step))))
        with monkeypatch.context() as patch:
            die_at(patch, step)
            try:
                steal(layout, name)
                done = True
            except KilledError:
                pass
        organisation = load_organisation(layout)
        open_home(layout.root, now=NOW).close()
        is_old = organisation.version == 2
        assert (shown(layout, name) == before) == is_old
        assert pending_keys(layout, organisation) == (waiting if is_old else {})
        assert [name for name in waiting_files(layout) if "next" not in name] == []
    assert step > 5


def test_a_crash_while_it_is_settled_is_settled_again(layout, monkeypatch):
    rotate(layout, "record", overlap=DAY)
    with monkeypatch.context() as patch:
        die_at(patch, 2)
        with pytest.raises(KilledError):
            settle_keys(layout, now=NOW + DAY)
    settle_keys(layout, now=NOW + DAY)
    open_home(layout.root, now=NOW + DAY).close()


def test_a_full_disk_is_told_and_leaves_the_home_as_it_was(layout, monkeypatch):
    before = shown(layout, "record")

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Overloaded, match="the disk is full") as refused:
            rotate(layout, "record")
    assert refused.value.reason == "NO_SPACE"
    open_home(layout.root, now=NOW).close()
    assert shown(layout, "record") == before


def test_without_the_root_key_nothing_begins(layout, tmp_path):
    root = layout.root_key(1).rename(tmp_path / "root-1.pem")
    with pytest.raises(MalformedIdentity) as refused:
        rotate(layout, "record")
    assert "--root-key" in refused.value.hint
    assert not list(layout.keys.glob("*next*"))
    assert rotate(layout, "record", authority=Authority((root,))).organisation.version == 2


def test_too_few_root_keys_are_refused(tmp_path):
    layout = Layout(make_home(tmp_path / "home", LAB_A, root_keys=3, threshold=2))
    with pytest.raises(MalformedIdentity) as refused:
        rotate(layout, "record", authority=Authority((layout.root_key(2),)))
    assert refused.value.reason == "BAD_IDENTITY"
    assert not list(layout.keys.glob("*next*"))
    assert rotate(layout, "record").organisation.version == 2


def test_keys_with_a_passphrase_stay_so(tmp_path):
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse")
    passphrase.chmod(0o600)
    layout = Layout(make_home(tmp_path / "home", LAB_A, passphrase_file=passphrase))
    for name in ROTATED:
        rotate(layout, name)
        assert b"ENCRYPTED" in layout.key(name).read_bytes()
    open_home(layout.root, now=NOW).close()


def test_a_new_key_takes_over_from_one_that_lies_elsewhere(layout, tmp_path):
    before = layout.key("record").rename(tmp_path / "record.pem")
    uri = layout.key("record").with_suffix(".uri")
    uri.write_text(f"file:{before}\n")
    uri.chmod(0o600)
    rotate(layout, "record", overlap=DAY)
    open_home(layout.root, now=NOW).close()
    assert uri.exists()
    open_home(layout.root, now=NOW + DAY).close()
    assert (uri.exists(), layout.key("record").exists()) == (False, True)


def test_a_document_that_has_expired_is_renewed(layout):
    later = NOW + 400 * DAY
    with pytest.raises(IdentityExpired) as refused:
        open_home(layout.root, now=later)
    assert "tocsin keys renew" in refused.value.hint
    held = load_organisation(layout)
    renewed = renew_document(layout, now=later).organisation
    assert renewed.version == 2
    assert replace(renewed, version=1, expires=held.expires, document=held.document) == held
    open_home(layout.root, now=later).close()


def rotations(home) -> list[dict[str, object]]:
    rows = [row for row in home.log.rows() if row.act == Event.KEY_ROTATED]
    return [json.loads(row.body)["details"] for row in rows]


def test_the_decision_log_says_once_which_keys_count_from_when_on(layout):
    with open_home(layout.root, now=NOW) as home:
        assert rotations(home) == []
    rotate(layout, "record", overlap=DAY)
    for moment in (NOW, NOW, NOW + DAY, NOW + DAY):
        with open_home(layout.root, now=moment) as home:
            told = rotations(home)
    assert [entry["version"] for entry in told] == [2, 2]
    assert told[0]["record_key"] != told[1]["record_key"] == home.record_signer.key_id
    assert told[0]["pin"] == told[1]["pin"]


@pytest.mark.parametrize("name", ["log", "witness"])
def test_the_decision_log_says_from_when_on_the_log_and_the_witness_have_another_key(layout, name):
    rotate(layout, name, overlap=DAY)
    for moment in (NOW, NOW + DAY):
        with open_home(layout.root, now=moment) as home:
            told = rotations(home)
            assert told[-1][f"{name}_key"] == getattr(home.papers, f"{name}_signer").key_id
    changed = {member for member in told[0] if told[0][member] != told[1][member]}
    assert (len(told), changed) == (2, {f"{name}_key"})


@pytest.mark.parametrize("change", ["rotated", "revoked"])
def test_the_decision_log_goes_on_under_a_new_delivery_key(layout, change):
    if change == "rotated":
        rotate(layout, "delivery")
    else:
        revoke(layout, shown(layout, "delivery"))
    with open_home(layout.root, now=NOW) as home:
        (_, *_, last) = home.log.rows()
        assert last.act == Event.KEY_ROTATED
        assert verify_log(home.log.rows(), organisation=home.organisation).entries == last.sequence
