"""Keys that are found stolen late, and keys that are gone: the document says which they were, and goes on without."""

import secrets

import pytest

from tests.desk.conftest import LAB_A, copy_home, make_home
from tests.support.organisations import NOW
from tocsin.desk.ceremony import Authority, adopt_draft, load_draft, sign_file
from tocsin.desk.home import open_home
from tocsin.desk.layout import Layout
from tocsin.desk.papers import load_organisation
from tocsin.desk.rotation import revoke_key, rotate_key
from tocsin.desk.succession import ROTATED, find_in_use, pending_keys
from tocsin.errors import HomeDamaged, KeyExposed, MalformedRequest, NotFound
from tocsin.identity.certificate import DAY, spki_pin
from tocsin.identity.root import update_identity

NOTES = ("log", "witness")
SIGNING = ("record", "delivery")


@pytest.fixture
def layout(tmp_path):
    return Layout(copy_home(tmp_path / "home"))


def rotate(layout, name, **more):
    return rotate_key(layout, name, random=secrets.token_bytes, **{"now": NOW, **more}).organisation


def revoke(layout, key_id, **more):
    return revoke_key(layout, key_id, random=secrets.token_bytes, **{"now": NOW, **more})


def in_use(layout, name):
    return find_in_use(layout, load_organisation(layout), name)


def vkeys(layout, name):
    organisation = load_organisation(layout)
    return organisation.log_vkeys if name == "log" else organisation.witness_vkeys


def listed(layout, name):
    organisation = load_organisation(layout)
    return organisation.record_keys if name == "record" else organisation.delivery_keys


def lose(layout, *names):
    for name in names:
        layout.key(name).unlink()


@pytest.mark.parametrize("name", NOTES)
def test_a_former_key_that_was_stolen_is_dropped_and_the_one_in_use_stays(layout, name):
    for later in range(3):
        rotate(layout, name, now=NOW + later)
    third, second, first, founded = vkeys(layout, name)
    held = load_organisation(layout)
    revoked = revoke(layout, first)
    assert (revoked.name, revoked.keys, revoked.is_replaced) == (name, (first,), False)
    assert vkeys(layout, name) == (third, second, founded)
    assert in_use(layout, name) == third
    _, changes = update_identity(held, revoked.organisation.document, now=NOW)
    assert f"former {name} key {first}: gone" in changes
    open_home(layout.root, now=NOW + 3).close()


@pytest.mark.parametrize("name", NOTES)
@pytest.mark.parametrize("waits", [False, True], ids=["alone", "with one that waits"])
def test_the_key_in_use_is_dropped_with_what_waited_and_a_new_one_is_used_at_once(layout, name, waits):
    (first,) = vkeys(layout, name)
    if waits:
        rotate(layout, name, overlap=7 * DAY)
    old = set(vkeys(layout, name))
    revoked = revoke(layout, first.partition("+")[2][:8])
    assert (set(revoked.keys), revoked.is_replaced) == (old, True)
    assert vkeys(layout, name) == (in_use(layout, name),)
    assert in_use(layout, name) not in old
    assert pending_keys(layout, revoked.organisation) == {}
    open_home(layout.root, now=NOW).close()


@pytest.mark.parametrize("name", NOTES)
def test_a_key_that_waits_is_dropped_and_the_one_in_use_is_a_former_one(layout, name):
    rotate(layout, name, overlap=7 * DAY)
    waiting, first = vkeys(layout, name)
    revoked = revoke(layout, waiting)
    assert (revoked.keys, revoked.is_replaced) == ((waiting,), True)
    assert vkeys(layout, name) == (in_use(layout, name), first)
    assert in_use(layout, name) not in (waiting, first)
    open_home(layout.root, now=NOW + 9 * DAY).close()


def test_a_former_key_is_dropped_while_another_waits_and_that_one_keeps_its_day(layout):
    rotate(layout, "log")
    rotate(layout, "log", overlap=7 * DAY)
    waiting, second, first = vkeys(layout, "log")
    organisation = revoke(layout, first).organisation
    assert (organisation.log_vkeys, organisation.log_vkey_from) == ((waiting, second), NOW + 7 * DAY)
    assert pending_keys(layout, organisation) == {"log": NOW + 7 * DAY}
    open_home(layout.root, now=NOW + 7 * DAY).close()
    assert in_use(layout, "log") == waiting


@pytest.mark.parametrize("name", NOTES)
def test_since_when_a_key_of_log_or_witness_was_stolen_has_no_place_in_the_document(layout, name):
    (first,) = vkeys(layout, name)
    with pytest.raises(MalformedRequest) as refused:
        revoke(layout, first, at=NOW - DAY)
    assert (refused.value.reason, refused.value.hint) == ("BAD_REQUEST", "leave --at out")
    assert load_organisation(layout).version == 1


@pytest.mark.parametrize("text", ["lab-a.example", "lab-a.example/tocsin", "lab-a.example/tocsin+1234567", ""])
def test_what_every_key_of_the_log_is_called_names_none(layout, text):
    with pytest.raises(NotFound) as refused:
        revoke(layout, text)
    assert refused.value.reason == "NOT_FOUND"


@pytest.mark.parametrize("name", ROTATED)
def test_a_key_that_is_gone_is_replaced_at_once_and_not_with_an_overlap(layout, name):
    old = in_use(layout, name)
    lose(layout, name)
    assert in_use(layout, name) == old
    with pytest.raises(HomeDamaged) as refused:
        rotate(layout, name, overlap=DAY)
    assert "--overlap 0" in refused.value.hint
    assert load_organisation(layout).version == 1
    rotate(layout, name)
    assert in_use(layout, name) != old
    open_home(layout.root, now=NOW).close()


@pytest.mark.parametrize("name", SIGNING)
def test_what_a_key_signed_that_is_gone_stands_where_it_is_replaced_and_not_where_it_is_revoked(layout, name):
    first = in_use(layout, name)
    lose(layout, name)
    rotate(layout, name)
    assert listed(layout, name)[first].status == "retired"
    second = in_use(layout, name)
    lose(layout, name)
    assert in_use(layout, name) == second
    revoked = revoke(layout, second)
    assert (revoked.keys, revoked.is_replaced) == ((second,), True)
    assert {key: each.status for key, each in listed(layout, name).items()} == {
        first: "retired",
        second: "revoked",
        in_use(layout, name): "active",
    }
    open_home(layout.root, now=NOW).close()


@pytest.mark.parametrize("name", NOTES)
def test_a_key_of_log_or_witness_that_is_gone_becomes_a_former_one_or_none(layout, name):
    (first,) = vkeys(layout, name)
    lose(layout, name)
    rotate(layout, name)
    second = in_use(layout, name)
    assert vkeys(layout, name) == (second, first)
    lose(layout, name)
    assert revoke(layout, second).is_replaced
    assert vkeys(layout, name) == (in_use(layout, name), first)
    open_home(layout.root, now=NOW).close()


def test_a_certificate_whose_key_is_gone_stays_named_with_the_new_one_unless_it_was_stolen(layout):
    first = in_use(layout, "tls")
    lose(layout, "tls")
    assert first in rotate(layout, "tls").pins
    second = in_use(layout, "tls")
    lose(layout, "tls")
    assert [spki_pin(der) for der in rotate(layout, "tls", stolen=True).node_certs] == [in_use(layout, "tls")]
    assert in_use(layout, "tls") not in (first, second)
    open_home(layout.root, now=NOW).close()


def test_keys_that_have_a_passphrase_are_replaced_under_it_where_that_of_the_certificate_is_gone(tmp_path):
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse")
    passphrase.chmod(0o600)
    layout = Layout(make_home(tmp_path / "home", LAB_A, passphrase_file=passphrase))
    lose(layout, "tls")
    rotate(layout, "tls")
    assert b"ENCRYPTED" in layout.key("tls").read_bytes()
    open_home(layout.root, now=NOW).close()


@pytest.mark.parametrize("name", ROTATED)
def test_while_a_new_key_waits_the_one_in_use_is_found_by_the_document_too(layout, name):
    rotate(layout, name)
    before = in_use(layout, name)
    rotate(layout, name, overlap=7 * DAY)
    lose(layout, name)
    assert in_use(layout, name) == before


def test_a_key_whose_token_is_gone_is_replaced_by_one_in_a_file(layout):
    old, pem = in_use(layout, "record"), layout.key("record")
    pem.unlink()
    uri = pem.with_suffix(".uri")
    uri.write_text("pkcs11:token=t;object=record?module-path=/nowhere.so&pin-source=file:/nowhere\n")
    uri.chmod(0o600)
    assert revoke(layout, old).is_replaced
    assert (uri.exists(), pem.exists()) == (False, True)
    open_home(layout.root, now=NOW).close()


def test_a_key_that_is_there_and_cannot_be_read_is_not_gone(layout):
    layout.key("record").write_bytes(b"half of a key")
    with pytest.raises(HomeDamaged) as refused:
        rotate(layout, "record")
    assert refused.value.reason == "HOME_DAMAGED"
    layout.key("delivery").chmod(0o640)
    with pytest.raises(KeyExposed) as exposed:
        rotate(layout, "delivery")
    assert exposed.value.reason == "KEY_EXPOSED"
    assert load_organisation(layout).version == 1


def test_a_key_that_is_gone_is_replaced_by_a_draft_that_others_sign(layout, tmp_path):
    root = layout.root_key(1).rename(tmp_path / "root-1.pem")
    path = tmp_path / "next.draft"
    lose(layout, "log")
    rotate(layout, "log", authority=Authority(draft=path))
    sign_file(path, root, passphrase_file=None, now=NOW, expected=load_draft(path))
    adopt_draft(layout, load_draft(path), now=NOW)
    open_home(layout.root, now=NOW).close()


def test_who_opens_a_home_without_a_key_is_told_that_it_can_be_replaced(layout):
    lose(layout, "record")
    with pytest.raises(HomeDamaged) as refused:
        open_home(layout.root, now=NOW)
    assert "keys/record.pem" in refused.value.message
    assert refused.value.hint.endswith("replace the key: tocsin keys rotate NAME --overlap 0")
