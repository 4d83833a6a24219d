"""Clocks, crashes, planted links, drafts that say too little: no node is left without a key, and nobody is misled."""

import secrets
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.desk.conftest import copy_home
from tests.support.organisations import NOW
from tocsin.desk import ceremony
from tocsin.desk.ceremony import Authority, adopt_draft, load_draft, load_root_signer, sign_file
from tocsin.desk.home import open_home
from tocsin.desk.layout import Layout
from tocsin.desk.papers import load_organisation
from tocsin.desk.rotation import revoke_key, rotate_key
from tocsin.desk.succession import settle_keys
from tocsin.errors import MalformedIdentity
from tocsin.identity.certificate import DAY, make_certificate
from tocsin.identity.draft import make_draft
from tocsin.identity.keys import load_private_key
from tocsin.identity.root import next_version, update_identity


class Crash(BaseException):
    """The process is gone."""


@pytest.fixture
def layout(tmp_path):
    return Layout(copy_home(tmp_path / "home"))


def rotate(layout, name, **more):
    return rotate_key(layout, name, random=secrets.token_bytes, **{"now": NOW, **more})


def revoke(layout, **more):
    (key,) = load_organisation(layout).record_keys
    return revoke_key(layout, key, random=secrets.token_bytes, **{"now": NOW, **more})


@contextmanager
def dies_at(where, name, *, if_about=lambda *_: True):
    """Let the process die where a function is called."""
    real = getattr(where, name)

    def die(*args, **more):
        if if_about(*args):
            raise Crash
        return real(*args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, name, die)
        with pytest.raises(Crash):
            yield


def test_a_node_that_dies_while_a_file_takes_over_from_a_token_starts_again(layout):
    rotate(layout, "record", overlap=7 * DAY)
    elsewhere, uri = layout.keys / "elsewhere.pem", layout.key("record").with_suffix(".uri")
    layout.key("record").rename(elsewhere)
    uri.touch(0o600)
    uri.write_text(f"file:{elsewhere}\n")
    for where, name in ((Path, "unlink"), (Path, "replace")):
        with dies_at(where, name, if_about=lambda path, *_: path.stem.startswith("record")):
            settle_keys(layout, now=NOW + 8 * DAY)
    open_home(layout.root, now=NOW + 8 * DAY).close()
    assert not uri.exists()


def test_whoever_plants_a_link_has_nothing_overwritten(layout, tmp_path):
    stick = tmp_path / "stick"
    stick.mkdir()
    path, root = stick / "next.draft", layout.root_keys_here()[0]
    rotate(layout, "record", authority=Authority(draft=path))
    before = root.read_bytes()
    (stick / ".next.draft.new").symlink_to(root)
    sign_file(path, root, passphrase_file=None, now=NOW, expected=load_draft(path))
    assert root.read_bytes() == before
    assert not path.is_symlink()


DRAFTED_AHEAD = {
    "a key that was revoked": lambda layout, draft: revoke(layout, now=NOW + 60, authority=draft),
    "a certificate that was stolen": lambda layout, draft: rotate(
        layout, "tls", now=NOW + 60, stolen=True, authority=draft
    ),
}


@pytest.mark.parametrize("make", DRAFTED_AHEAD.values(), ids=DRAFTED_AHEAD)
def test_what_was_drafted_by_a_clock_that_was_ahead_leaves_no_node_without_a_key(layout, tmp_path, make):
    path = tmp_path / "next.draft"
    make(layout, Authority(draft=path))
    root = layout.root_keys_here()[0]
    sign_file(path, root, passphrase_file=None, now=NOW + 60, expected=load_draft(path))
    adopt_draft(layout, load_draft(path), now=NOW)
    open_home(layout.root, now=NOW).close()


def test_nor_does_a_crash_after_which_the_clock_is_put_back(layout):
    with dies_at(ceremony, "_settled"):
        revoke(layout)
    open_home(layout.root, now=NOW - 1).close()


def _same_key_for_long(layout, held):
    key = load_private_key(layout.key("tls"))
    certificate = make_certificate(held.org, private_key=key, now=NOW, random=secrets.token_bytes, days=36_500)
    return replace(held, node_certs=(certificate,)), "valid from 2026-02-28 until 2126-02-05"


def _no_overlap(layout, held):
    return replace(held, log_vkey_from=None), "log_vkey: signs at once, and no more from 2026-03-08 on"


def _another_order(layout, held):
    return replace(held, endpoints=held.endpoints[::-1]), "dialled in the order b.example:2, a.example:1"


WORDED = {"a certificate": _same_key_for_long, "an overlap": _no_overlap, "an order": _another_order}


@pytest.mark.parametrize("change", WORDED.values(), ids=WORDED)
def test_whoever_signs_a_draft_reads_what_it_changes(layout, change):
    rotate(layout, "log", overlap=7 * DAY)
    held = load_organisation(layout)
    root = load_root_signer(layout.root_keys_here()[0], passphrase=None)
    document = next_version(held, replace(held, endpoints=("a.example:1", "b.example:2")), signers=[root], now=NOW)
    held, _ = update_identity(held, document, now=NOW)
    said, expected = change(layout, held)
    changes = make_draft(held, said, now=NOW).changes
    assert any(expected in line for line in changes), changes


def test_a_time_that_has_no_date_is_refused(layout):
    held = load_organisation(layout)
    root = load_root_signer(layout.root_keys_here()[0], passphrase=None)
    keys = {key_id: replace(key, not_after=2**53) for key_id, key in held.record_keys.items()}
    with pytest.raises(MalformedIdentity) as refused:
        next_version(held, replace(held, record_keys=keys), signers=[root], now=NOW)
    assert refused.value.reason == "BAD_IDENTITY"
