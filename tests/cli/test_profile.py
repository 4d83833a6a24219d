"""A person's profile: where it is, whose it is, and what becomes of one that is in the way."""

import stat
from pathlib import Path

import pytest

from tests.support.organisations import found, seeded
from tocsin.errors import KeyExposed, ProfileExists, ProfileMissing
from tocsin.people.card import parse_card
from tocsin_cli.command import UsageProblem
from tocsin_cli.profile import (
    Profile,
    default_folder,
    find_profile,
    load_profile,
    load_profiles,
    make_keys,
    new_profile,
    profiles_folder,
)

ORG = "lab-a.example"
NOW = 1_790_000_000


@pytest.fixture(autouse=True)
def own_profiles(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def described(name="analyst-1", *, folder=None, home="", desk=""):
    return Profile(folder=folder or default_folder(name, ORG), name=name, org=ORG, home=str(home), desk=desk)


def keys_of(seed="keys"):
    return make_keys(ORG, now=NOW, random=seeded(seed))


def make(name="analyst-1", *, replaces=False, seed="keys", **more):
    profile = described(name, **more)
    with new_profile(profile, keys_of(seed), replaces=replaces) as save_identity:
        save_identity(found(ORG).document)
    return profile


def test_a_profile_reads_as_it_was_made(tmp_path):
    made = make(home=tmp_path / "home", desk="lab-a.example:7471")
    read = load_profile(made.folder)
    assert read == made
    assert read.load_signer().key_id == keys_of().key_id
    assert read.load_tls().key.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert read.load_organisation().fingerprint == found(ORG).organisation.fingerprint


def test_a_profile_is_in_the_configuration_of_whoever_made_it(tmp_path, monkeypatch):
    assert make().folder == tmp_path / "config" / "tocsin" / "profiles" / "analyst-1@lab-a.example"
    monkeypatch.setenv("XDG_CONFIG_HOME", "not/absolute")
    assert profiles_folder() == Path.home() / ".config" / "tocsin" / "profiles"


def test_the_keys_are_for_their_owner_alone():
    folder = make().folder
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (modes["signing.pem"], modes["tls.pem"]) == (0o600, 0o600)
    assert sorted(modes) == ["identity.tocsin", "person.toml", "signing.pem", "tls.der", "tls.pem"]


def test_a_key_that_others_can_read_is_not_used():
    profile = make()
    (profile.folder / "signing.pem").chmod(0o644)
    with pytest.raises(KeyExposed) as caught:
        profile.load_signer()
    assert caught.value.reason == "KEY_EXPOSED"


def test_the_card_introduces_the_keys():
    read = parse_card(keys_of().card("analyst-1"), org=ORG)
    assert (read.name, read.key_id, read.certificate) == ("analyst-1", keys_of().key_id, keys_of().certificate)


DAMAGE = [
    pytest.param("person.toml", b"name = ", id="settings that are no TOML"),
    pytest.param("person.toml", b'name = "analyst-1"\n', id="settings with a part missing"),
    pytest.param("person.toml", b'name = "../x"\norg = "lab-a.example"\nhome = ""\ndesk = ""\n', id="no name"),
    pytest.param("person.toml", b'name = "a"\norg = "lab-a.example"\nhome = ""\ndesk = "7471"\n', id="no endpoint"),
    pytest.param("signing.pem", b"no key", id="a key file that is no key"),
    pytest.param("tls.pem", None, id="a key that is missing"),
    pytest.param("tls.der", b"", id="a certificate that is none"),
    pytest.param("identity.tocsin", b"{}", id="an identity document that is none"),
]


def use(folder):
    profile = load_profile(folder)
    profile.load_tls()
    profile.load_signer()
    profile.load_organisation()


@pytest.mark.parametrize(("file", "content"), DAMAGE)
def test_a_damaged_profile_says_so(file, content):
    folder = make().folder
    (folder / file).unlink() if content is None else (folder / file).write_bytes(content)
    with pytest.raises(ProfileMissing) as caught:
        use(folder)
    assert caught.value.reason == "PROFILE_MISSING"
    assert caught.value.where == str(folder)


def test_the_only_profile_for_a_home_needs_no_name(tmp_path):
    make("elsewhere", desk="lab-a.example:7471")
    make("other", home=tmp_path / "other")
    mine = make("mine", home=tmp_path / "home")
    assert find_profile("", home=tmp_path / "home") == mine
    (tmp_path / "link").symlink_to(tmp_path / "home")
    assert find_profile("", home=tmp_path / "link") == mine


def test_of_several_profiles_for_a_home_one_must_be_named(tmp_path):
    first, second = (make(name, home=tmp_path / "home") for name in ("first", "second"))
    with pytest.raises(UsageProblem, match=r"first@lab-a\.example, second@lab-a\.example"):
        find_profile("", home=tmp_path / "home")
    assert find_profile("second", home=tmp_path / "home") == second
    assert find_profile("first@lab-a.example", home=None) == first
    assert find_profile(str(first.folder), home=tmp_path / "home") == first


def test_a_name_that_several_have_is_the_one_for_the_home(tmp_path):
    here = make("analyst-1", home=tmp_path / "home")
    there = Profile(folder=default_folder("analyst-1", "lab-b.example"), name="analyst-1", org="lab-b.example")
    with new_profile(there, keys_of()):
        pass
    assert find_profile("analyst-1", home=tmp_path / "home") == here
    with pytest.raises(UsageProblem, match="several profiles"):
        find_profile("analyst-1", home=None)


@pytest.mark.parametrize("named", ["", "nobody", "/nowhere/at-all"])
def test_no_profile_is_said_with_what_to_do(tmp_path, named):
    with pytest.raises(ProfileMissing) as caught:
        find_profile(named, home=tmp_path / "home")
    assert caught.value.reason == "PROFILE_MISSING"
    assert caught.value.hint


def test_a_profile_that_stands_there_is_not_overwritten(tmp_path):
    before = make(home=tmp_path / "home")
    for more in ({"home": tmp_path / "home"}, {"home": tmp_path / "other", "replaces": True}, {"replaces": True}):
        with pytest.raises(ProfileExists) as caught:
            make(seed="others", **more)
        assert caught.value.reason == "PROFILE_EXISTS"
    assert load_profile(before.folder).load_signer().key_id == keys_of().key_id


def test_a_profile_of_the_same_home_is_moved_aside_where_that_is_meant(tmp_path):
    for seed in ("one", "two", "three"):
        profile = make(home=tmp_path / "home", replaces=True, seed=seed)
    beside = sorted(path.name for path in profile.folder.parent.iterdir())
    assert beside == [profile.label, f"{profile.label}.replaced", f"{profile.label}.replaced-2"]
    assert load_profiles() == (profile,)
    assert profile.load_signer().key_id == keys_of("three").key_id


def test_a_profile_is_made_whole_or_not_at_all(tmp_path):
    before = make(home=tmp_path / "home")
    with (
        pytest.raises(KeyboardInterrupt),
        new_profile(described(home=tmp_path / "home"), keys_of("others"), replaces=True),
    ):
        raise KeyboardInterrupt
    assert [path.name for path in before.folder.parent.iterdir()] == [before.label]
    assert before.load_signer().key_id == keys_of().key_id


def test_no_profile_is_made_in_a_home(tmp_path):
    with pytest.raises(UsageProblem, match="in the home of the node"):
        make(home=tmp_path / "home", folder=tmp_path / "home" / "people" / "first")
    assert not (tmp_path / "home").exists()


def test_a_profile_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ProfileMissing, match="cannot be written"):
        make(folder=tmp_path / "file" / "profile")
