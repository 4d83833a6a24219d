"""A root key remembers what it signed last, and signs nothing older, whoever hands it out with whatever chain."""

import json
import secrets
import shutil
import stat
from pathlib import Path

import pytest

from tests.desk.conftest import LAB_B, copy_home
from tests.support.organisations import NOW
from tocsin.desk.ceremony import Authority, adopt_draft, load_draft, sign_file
from tocsin.desk.layout import Layout
from tocsin.desk.papers import load_organisation
from tocsin.desk.rotation import renew_document, rotate_key
from tocsin.desk.signings import remember, signed_path
from tocsin.errors import HomeDamaged, IdentityOutdated


@pytest.fixture
def layout(tmp_path):
    return Layout(copy_home(tmp_path / "home"))


@pytest.fixture
def key(layout, tmp_path):
    """The root key, with somebody who has no home."""
    (tmp_path / "offline").mkdir()
    return layout.root_key(1).rename(tmp_path / "offline" / "root-1.pem")


def draft(layout, name, *, now=NOW):
    """Return a draft that rotates a key."""
    path = layout.root.parent / f"{name}.{secrets.token_hex(4)}.draft"
    rotate_key(layout, name, now=now, random=secrets.token_bytes, authority=Authority(draft=path))
    return path


def sign(path, key, **more):
    return sign_file(path, key, passphrase_file=None, now=NOW, expected=load_draft(path), **more)


def adopt(layout, path):
    return adopt_draft(layout, load_draft(path), now=NOW)


def twin(layout, tmp_path):
    """Return a copy of the home as it is now: a backup, or what a thief has."""
    return Layout(Path(shutil.copytree(layout.root, tmp_path / f"twin-{secrets.token_hex(4)}" / "home")))


def test_a_root_key_signs_one_version_after_another(layout, key):
    for number, name in enumerate(("record", "log", "tls"), start=2):
        path = draft(layout, name)
        sign(path, key)
        assert adopt(layout, path).version == number
    kept = signed_path(key)
    assert (kept.name, stat.S_IMODE(kept.stat().st_mode)) == ("root-1.pem.signed", 0o600)
    (said,) = json.loads(kept.read_bytes())["signed"].values()
    assert said["version"] == 4
    assert sorted(path.name for path in key.parent.iterdir()) == ["root-1.pem", "root-1.pem.signed"]


@pytest.mark.parametrize("later", [1, 2])
def test_a_draft_on_an_old_chain_is_refused_and_nothing_is_signed(layout, key, tmp_path, later):
    old = twin(layout, tmp_path)
    for name in ("record", "log")[:later]:
        path = draft(layout, name)
        sign(path, key)
        adopt(layout, path)
    handed = draft(old, "witness")
    before = handed.read_bytes()
    with pytest.raises(IdentityOutdated) as refused:
        sign(handed, key)
    assert refused.value.reason == "IDENTITY_OUTDATED"
    said = "another draft of that version already" if later == 1 else "version 3 already"
    assert refused.value.message.endswith(f"this root key has signed {said}")
    assert "telephone" in refused.value.hint
    assert "--allow-older" in refused.value.hint
    assert handed.read_bytes() == before


def test_what_was_signed_is_known_though_it_never_came_in_force(layout, key):
    sign(draft(layout, "record"), key)
    with pytest.raises(IdentityOutdated) as refused:
        sign(draft(layout, "record"), key)
    assert refused.value.reason == "IDENTITY_OUTDATED"


def test_the_same_draft_may_be_signed_again(layout, key):
    path = draft(layout, "record")
    unsigned = path.read_bytes()
    signed = sign(path, key).content
    path.write_bytes(unsigned)  # the signed file was lost on its way
    assert sign(path, key).content == signed
    assert sign(path, key).content == signed


def test_who_knows_better_says_so_and_the_newest_version_stays_known(layout, key, tmp_path):
    old = twin(layout, tmp_path)
    for name in ("record", "log"):
        path = draft(layout, name)
        sign(path, key)
        adopt(layout, path)
    kept = signed_path(key).read_bytes()
    assert sign(draft(old, "witness"), key, allow_older=True).missing == ()
    assert signed_path(key).read_bytes() == kept
    with pytest.raises(IdentityOutdated):
        sign(draft(old, "tls"), key)


def test_another_draft_of_the_last_version_takes_its_place_where_somebody_says_so(layout, key):
    sign(draft(layout, "record"), key)
    second = draft(layout, "record")
    sign(second, key, allow_older=True)
    assert sign(second, key).missing == ()


def test_a_root_key_in_a_home_that_was_put_back_is_refused_too(layout, key, tmp_path):
    old = twin(layout, tmp_path)
    renew_document(layout, now=NOW, authority=Authority((key,)))
    with pytest.raises(IdentityOutdated) as refused:
        renew_document(old, now=NOW + 60, authority=Authority((key,)))
    assert refused.value.reason == "IDENTITY_OUTDATED"
    assert load_organisation(old).version == 1
    assert renew_document(old, now=NOW + 60, authority=Authority((key,), allow_older=True)).organisation.version == 2


def test_in_a_home_nothing_is_known_before_it_is_in_force(layout, key, monkeypatch):
    def full(*_arguments, **_more):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("tocsin.desk.ceremony.save_whole", full)
        with pytest.raises(Exception, match="the disk is full"):
            renew_document(layout, now=NOW, authority=Authority((key,)))
    assert not signed_path(key).exists()
    assert renew_document(layout, now=NOW + 5, authority=Authority((key,))).organisation.version == 2


def test_one_key_of_two_organisations_counts_for_each(layout, key, tmp_path):
    path = draft(layout, "record")
    sign(path, key)
    other = Layout(copy_home(tmp_path / "lab-b", LAB_B))
    theirs = draft(other, "record")
    remember(key, load_draft(theirs))
    kept = json.loads(signed_path(key).read_bytes())["signed"]
    assert set(kept) == {load_organisation(layout).fingerprint, load_organisation(other).fingerprint}


UNREADABLE = {
    "no JSON": b"{",
    "another format": b'{"format": "tocsin-signed/v2", "signed": {}}',
    "a list": b"[]",
    "no versions": b'{"format": "tocsin-signed/v1", "signed": []}',
    "a version that is no number": b'{"format": "tocsin-signed/v1", "signed": {"F": {"version": "1", "payload": ""}}}',
    "a version that is true": b'{"format": "tocsin-signed/v1", "signed": {"F": {"version": true, "payload": ""}}}',
    "too long": b" " * (64 * 1024 + 1),
    "nothing": b"",
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_where_nobody_can_read_what_was_signed_nothing_is_signed(layout, key, content):
    signed_path(key).write_bytes(content)
    path = draft(layout, "record")
    with pytest.raises(HomeDamaged) as refused:
        sign(path, key)
    assert refused.value.reason == "HOME_DAMAGED"
    assert refused.value.where == str(signed_path(key))
    assert sign(path, key, allow_older=True).missing == ()
    assert sign(path, key).missing == ()


def test_a_link_in_its_place_is_not_followed(layout, key, tmp_path):
    signed_path(key).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HomeDamaged) as refused:
        sign(draft(layout, "record"), key)
    assert refused.value.reason == "HOME_DAMAGED"
    assert not (tmp_path / "elsewhere").exists()


def test_where_it_cannot_be_written_down_nothing_is_signed_unless_somebody_says_so(layout, key, monkeypatch):
    def refused(*_arguments, **_more):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tocsin.desk.signings.save_file", refused)
    path = draft(layout, "record")
    before = path.read_bytes()
    with pytest.raises(HomeDamaged, match="read-only file system") as told:
        sign(path, key)
    assert told.value.reason == "HOME_DAMAGED"
    assert path.read_bytes() == before
    assert sign(path, key, allow_older=True).missing == ()
