"""Root keys lie elsewhere, with several people: what they are to sign goes to them and back as a file."""

import json
import os
import secrets
import shutil
from pathlib import Path

import pytest

from tests.desk.conftest import LAB_A, LAB_B, make_home
from tests.desk.test_rotation import KilledError, die_at
from tests.identity.forging import sign_again
from tests.support.organisations import NOW
from tocsin.desk.ceremony import (
    Authority,
    adopt_draft,
    change_root,
    load_draft,
    load_root,
    load_root_signer,
    make_root_key,
    sign_file,
)
from tocsin.desk.home import open_home
from tocsin.desk.layout import Layout
from tocsin.desk.papers import load_organisation
from tocsin.desk.rotation import renew_document, revoke_key, rotate_key
from tocsin.desk.succession import key_in_use, pending_keys, settle_keys
from tocsin.errors import (
    Conflict,
    HomeDamaged,
    IdentityOutdated,
    MalformedIdentity,
    NotFound,
    Overloaded,
    SignatureMismatch,
    UntrustedIssuer,
)
from tocsin.identity.certificate import DAY
from tocsin.identity.draft import parse_draft
from tocsin.identity.root import parse_identity
from tocsin.identity.version import format_root_key, root_key_id

ROOTS = (1, 2, 3)


@pytest.fixture(scope="module")
def mould(tmp_path_factory):
    """A home with a threshold of two, whose three root keys lie in a folder of their own."""
    root = make_home(tmp_path_factory.mktemp("moulds") / "home", LAB_A, root_keys=3, threshold=2)
    (root.parent / "offline").mkdir()
    for number in ROOTS:
        Layout(root).root_key(number).rename(root.parent / "offline" / f"root-{number}.pem")
    return root.parent


@pytest.fixture
def layout(mould, tmp_path):
    shutil.copytree(mould, tmp_path, dirs_exist_ok=True)
    return Layout(tmp_path / "home")


def offline(layout, *numbers):
    return tuple(layout.root.parent / "offline" / f"root-{number}.pem" for number in numbers)


def by(layout, *numbers, again=False):
    return Authority(offline(layout, *numbers), allow_older=again)


def to_file(layout, name="next.draft"):
    return Authority(draft=layout.root.parent / name)


def sign(path, *keys, now=NOW, again=False):
    for key in keys:
        sign_file(path, key, passphrase_file=None, now=now, expected=load_draft(path), allow_older=again)
    return path


def adopt(layout, path, *, now=NOW):
    return adopt_draft(layout, load_draft(path), now=now)


def rotate(layout, name, **more):
    return rotate_key(layout, name, random=secrets.token_bytes, **{"now": NOW, **more})


def state(layout):
    """Return everything in the home that a draft may change."""
    return {
        path.name: path.read_bytes() for folder in (layout.keys, layout.document.parent) for path in folder.iterdir()
    }


def in_use(layout, name):
    return key_in_use(layout, load_organisation(layout).org, name)


def root_id(layout, number):
    return root_key_id(load_root_signer(*offline(layout, number), passphrase=None).public_key)


DRAFTED = {
    "a key rotated at once": lambda layout, who: rotate(layout, "record", authority=who),
    "a key rotated with an overlap": lambda layout, who: rotate(layout, "tls", overlap=7 * DAY, authority=who),
    "a key of the log": lambda layout, who: rotate(layout, "log", overlap=7 * DAY, authority=who),
    "a stolen key of the witness": lambda layout, who: rotate(layout, "witness", stolen=True, authority=who),
    "a key revoked": lambda layout, who: revoke_key(
        layout, in_use(layout, "record"), now=NOW, random=secrets.token_bytes, authority=who
    ),
    "a document renewed": lambda layout, who: renew_document(layout, now=NOW, authority=who),
    "a root key removed": lambda layout, who: change_root(layout, remove=(root_id(layout, 1),), authority=who, now=NOW),
}


@pytest.mark.parametrize("make", DRAFTED.values(), ids=DRAFTED)
def test_a_draft_changes_nothing_until_enough_have_signed_it(layout, make):
    before = load_organisation(layout)
    who = to_file(layout)
    drafted = make(layout, who).draft
    assert drafted.version.number == 2
    assert load_organisation(layout) == before
    open_home(layout.root, now=NOW).close()  # and the home goes on, with the keys of the draft left alone
    names = {name: in_use(layout, name) for name in ("record", "delivery", "tls", "log", "witness")}
    sign(who.draft, *offline(layout, 3))
    with pytest.raises(MalformedIdentity, match="not signed by enough") as refused:
        adopt(layout, who.draft)
    assert refused.value.reason == "BAD_IDENTITY"
    assert any("missing: 1 of the root keys of" in line for line in refused.value.details)
    assert load_organisation(layout) == before
    adopted = adopt(layout, sign(who.draft, *offline(layout, 2)))
    assert adopted.version == 2
    assert not (layout.document.parent / "draft.tocsin").exists()
    open_home(layout.root, now=NOW).close()
    changed = {name for name, key in names.items() if in_use(layout, name) != key} | pending_keys(
        layout, adopted
    ).keys()
    assert changed == set(drafted_names(drafted))
    open_home(layout.root, now=NOW + 7 * DAY).close()
    assert {name for name, key in names.items() if in_use(layout, name) != key} == changed
    assert pending_keys(layout, adopted) == {}


def drafted_names(draft):
    told = "\n".join(draft.changes)
    marks = {"record": "record key", "tls": "node certificate", "log": "log_vkey", "witness": "witness_vkey"}
    return [name for name, mark in marks.items() if mark in told]


def test_two_drafts_do_not_both_come_true(layout):
    first, second = to_file(layout, "first.draft"), to_file(layout, "second.draft")
    rotate(layout, "record", authority=first)
    rotate(layout, "delivery", authority=second)
    sign(first.draft, *offline(layout, 1, 2))
    before = state(layout)
    with pytest.raises(Conflict, match="not the draft that was made here last") as refused:
        adopt(layout, first.draft)
    assert refused.value.reason == "CONFLICT"
    assert state(layout) == before
    adopt(layout, sign(second.draft, *offline(layout, 1, 2), again=True))
    assert not (layout.keys / "record-draft.pem").exists()


def test_a_draft_is_of_no_use_when_another_version_was_signed_meanwhile(layout):
    who = to_file(layout)
    rotate(layout, "record", authority=who)
    sign(who.draft, *offline(layout, 1, 2))
    rotate(layout, "log", authority=by(layout, 1, 2, again=True))
    before = state(layout)
    assert "record-draft.pem" not in before
    with pytest.raises(IdentityOutdated, match="version 2 is in force") as refused:
        adopt(layout, who.draft)
    assert refused.value.reason == "IDENTITY_OUTDATED"
    assert state(layout) == before


def test_a_draft_for_another_organisation_is_refused(layout, tmp_path):
    other = Layout(make_home(tmp_path / "other", LAB_B))
    renew_document(other, now=NOW, authority=Authority(draft=tmp_path / "other.draft"))
    sign(tmp_path / "other.draft", other.root_key(1))
    with pytest.raises(MalformedIdentity, match="the draft is of lab-b") as refused:
        adopt(layout, tmp_path / "other.draft")
    assert refused.value.reason == "BAD_IDENTITY"


def test_a_draft_of_a_copy_of_the_home_that_went_its_own_way_is_refused(layout, tmp_path):
    twin = Layout(Path(shutil.copytree(layout.root, tmp_path / "twin")))
    renew_document(twin, now=NOW + 5, authority=by(layout, 1, 2))
    renew_document(layout, now=NOW, authority=by(layout, 1, 2, again=True))
    renew_document(twin, now=NOW, authority=to_file(layout))
    with pytest.raises(MalformedIdentity, match="does not go on from version 2") as refused:
        adopt(layout, sign(to_file(layout).draft, *offline(layout, 1, 2)))
    assert refused.value.reason == "BAD_IDENTITY"


def test_a_change_that_nobody_drafted_is_refused_however_well_it_is_signed(layout):
    who = to_file(layout)
    renew_document(layout, now=NOW, authority=who)
    value = json.loads(who.draft.read_bytes())
    value["next"]["signed"]["x-tocsin"]["name"] = "Lab X"
    signers = [load_root_signer(path, passphrase=None) for path in offline(layout, 1, 2)]
    value["next"] = sign_again(value["next"]["signed"], signers)
    before = state(layout)
    with pytest.raises(Conflict, match="not the draft that was made here") as refused:
        adopt_draft(layout, parse_draft(json.dumps(value).encode()), now=NOW)
    assert refused.value.reason == "CONFLICT"
    assert state(layout) == before


def test_a_draft_that_was_altered_after_a_signature_is_signed_by_nobody_else(layout):
    who = to_file(layout)
    renew_document(layout, now=NOW, authority=who)
    sign(who.draft, *offline(layout, 1))
    before, _, after = who.draft.read_bytes().rpartition(b"Lab-A")
    who.draft.write_bytes(before + b"Lab-X" + after)
    altered = who.draft.read_bytes()
    with pytest.raises(SignatureMismatch) as refused:
        sign(who.draft, *offline(layout, 2))
    assert refused.value.reason == "BAD_SIGNATURE"
    assert who.draft.read_bytes() == altered


def test_a_draft_that_is_exchanged_while_somebody_reads_it_is_not_signed(layout):
    who = to_file(layout)
    renew_document(layout, now=NOW, authority=who)
    read = load_draft(who.draft)
    renew_document(layout, now=NOW + 5, authority=to_file(layout, "other.draft"))
    to_file(layout, "other.draft").draft.replace(who.draft)
    with pytest.raises(Conflict, match="another one than was shown") as refused:
        sign_file(who.draft, *offline(layout, 1), passphrase_file=None, now=NOW, expected=read)
    assert refused.value.reason == "CONFLICT"


def test_a_draft_comes_too_late_when_it_would_end_a_key_in_the_past(layout):
    who = to_file(layout)
    rotate(layout, "record", overlap=7 * DAY, authority=who)
    sign(who.draft, *offline(layout, 1, 2))
    before = state(layout)
    with pytest.raises(IdentityOutdated, match="comes too late") as refused:
        adopt(layout, who.draft, now=NOW + 9 * DAY)
    assert refused.value.reason == "IDENTITY_OUTDATED"
    assert state(layout) == before
    adopt(layout, who.draft, now=NOW + 7 * DAY)
    open_home(layout.root, now=NOW + 7 * DAY).close()


def test_a_draft_whose_keys_are_not_here_any_more_is_refused(layout):
    who = to_file(layout)
    rotate(layout, "record", authority=who)
    sign(who.draft, *offline(layout, 1, 2))
    (layout.keys / "record-draft.pem").unlink()
    with pytest.raises(Conflict, match="new record key that the draft names is not in this home") as refused:
        adopt(layout, who.draft)
    assert refused.value.reason == "CONFLICT"
    assert load_organisation(layout).version == 1


def test_a_draft_is_not_written_over_a_file(layout):
    who = to_file(layout)
    who.draft.write_text("mine")
    before = state(layout)
    with pytest.raises(Conflict) as refused:
        rotate(layout, "record", authority=who)
    assert refused.value.reason == "CONFLICT"
    assert (who.draft.read_text(), state(layout)) == ("mine", before)


def test_a_draft_that_cannot_be_read_or_written_says_so(layout, tmp_path):
    with pytest.raises(HomeDamaged) as refused:
        load_draft(tmp_path / "nowhere.draft")
    assert refused.value.reason == "HOME_DAMAGED"
    with pytest.raises(HomeDamaged) as refused:
        renew_document(layout, now=NOW, authority=Authority(draft=tmp_path / "no" / "where.draft"))
    assert refused.value.reason == "HOME_DAMAGED"


def test_a_crash_at_any_step_of_drafting_and_adopting_undoes_nothing(layout, tmp_path, monkeypatch):
    name, step, done = "record", 0, False
    while not done:
        step += 1
        copy = Layout(Path(shutil.copytree(layout.root, tmp_path / f"{step}" / "home")))
        shutil.copytree(tmp_path / "offline", tmp_path / f"{step}" / "offline")
        before = in_use(copy, name)
        try:
            with monkeypatch.context() as patch:
                die_at(patch, step)
                rotate(copy, name, authority=to_file(copy))
                sign(to_file(copy).draft, *offline(copy, 1, 2))
                adopt(copy, to_file(copy).draft)
                done = True
        except KilledError:
            pass
        version = load_organisation(copy).version
        open_home(copy.root, now=NOW).close()
        assert (in_use(copy, name) == before) == (version == 1)
        if version == 1:
            again = Authority(draft=tmp_path / f"{step}.draft")
            rotate(copy, name, authority=again)
            assert adopt(copy, sign(again.draft, *offline(copy, 1, 2), again=True)).version == 2
        assert [path.name for path in copy.keys.iterdir() if "draft" in path.name] == []
    assert step > 10


def test_a_full_disk_drafts_nothing(layout, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Overloaded) as refused:
            rotate(layout, "record", authority=to_file(layout))
    assert refused.value.reason == "NO_SPACE"
    settle_keys(layout, now=NOW)
    assert [path.name for path in layout.keys.iterdir() if "draft" in path.name] == []


# Root keys


def test_a_root_key_is_made_away_from_any_home_and_added(layout, tmp_path):
    public = make_root_key(tmp_path / "root-4.pem", random=secrets.token_bytes, passphrase_file=None)
    assert (tmp_path / "root-4.pem").stat().st_mode & 0o777 == 0o600
    fingerprint = load_organisation(layout).fingerprint
    outcome = change_root(layout, add=(format_root_key(public),), threshold=3, authority=to_file(layout), now=NOW)
    assert "root keys: now 3 of 4 must sign" in outcome.draft.changes
    sign(to_file(layout).draft, tmp_path / "root-4.pem", *offline(layout, 1, 2))
    assert adopt(layout, to_file(layout).draft).fingerprint == fingerprint
    with pytest.raises(MalformedIdentity):
        renew_document(layout, now=NOW, authority=by(layout, 1, 2))
    assert renew_document(layout, now=NOW, authority=by(layout, 1, 2, 3)).organisation.version == 3


def test_a_root_key_that_was_stolen_is_removed_by_a_threshold_of_the_others(layout):
    stolen = root_id(layout, 1)
    change_root(layout, remove=(stolen[:8],), authority=by(layout, 2, 3), now=NOW)
    assert stolen not in load_root(layout).root_key_ids
    with pytest.raises(UntrustedIssuer) as refused:
        renew_document(layout, now=NOW, authority=by(layout, 1, 2))
    assert refused.value.reason == "KEY_NOT_OF_ISSUER"
    assert renew_document(layout, now=NOW, authority=by(layout, 2, 3)).organisation.version == 3


def test_a_removed_root_key_that_still_lies_in_the_home_signs_no_more(tmp_path):
    layout = Layout(make_home(tmp_path / "home", LAB_A, root_keys=3, threshold=1))
    gone = root_key_id(load_root_signer(layout.root_key(1), passphrase=None).public_key)
    change_root(layout, remove=(gone,), authority=Authority(), now=NOW)
    organisation = renew_document(layout, now=NOW, authority=Authority()).organisation
    chain = json.loads(organisation.document)["chain"]
    assert gone not in [signature["keyid"] for signature in chain[-1]["signatures"]]
    assert parse_identity(organisation.document, now=NOW).version == 3


ROOT_CHANGES = {
    "nothing": ({}, Conflict, "CONFLICT"),
    "the threshold that there is": ({"threshold": 2}, Conflict, "CONFLICT"),
    "a threshold that cannot be met": ({"threshold": 4}, MalformedIdentity, "BAD_IDENTITY"),
    "an unknown key removed": ({"remove": ("00" * 32,)}, NotFound, "NOT_FOUND"),
    "every key removed": ({"remove": ROOTS}, MalformedIdentity, "BAD_IDENTITY"),
    "a key that is one already": ({"add": (1,)}, Conflict, "CONFLICT"),
    "a key that is none": ({"add": ("root:AAAA",)}, MalformedIdentity, "WEAK_KEY"),
}


@pytest.mark.parametrize(("change", "error", "reason"), ROOT_CHANGES.values(), ids=ROOT_CHANGES)
def test_a_change_of_root_keys_that_cannot_be_is_refused(layout, change, error, reason):
    publics = {n: load_root_signer(*offline(layout, n), passphrase=None).public_key for n in ROOTS}
    asked = dict(change)
    if "add" in asked:
        asked["add"] = [format_root_key(publics[each]) if each in publics else each for each in asked["add"]]
    if "remove" in asked:
        asked["remove"] = [root_key_id(publics[each]) if each in publics else each for each in asked["remove"]]
    with pytest.raises(error) as refused:
        change_root(layout, **asked, authority=by(layout, 1, 2, 3), now=NOW)
    assert refused.value.reason == reason
    assert load_organisation(layout).version == 1


def test_root_keys_have_a_passphrase_of_their_own(layout, tmp_path):
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse")
    passphrase.chmod(0o600)
    path = tmp_path / "root-4.pem"
    public = make_root_key(path, random=secrets.token_bytes, passphrase_file=passphrase)
    change_root(layout, add=(format_root_key(public),), authority=by(layout, 1, 2), now=NOW)
    with pytest.raises(HomeDamaged) as refused:
        renew_document(layout, now=NOW, authority=Authority((path, *offline(layout, 1))))
    assert "--root-passphrase-file" in refused.value.hint
    who = Authority((path, *offline(layout, 1)), passphrase_file=passphrase)
    assert renew_document(layout, now=NOW, authority=who).organisation.version == 3


def test_a_root_key_is_not_written_over_another(layout):
    (path,) = offline(layout, 1)
    before = path.read_bytes()
    with pytest.raises(Conflict) as refused:
        make_root_key(path, random=secrets.token_bytes, passphrase_file=None)
    assert (refused.value.reason, path.read_bytes()) == ("CONFLICT", before)
