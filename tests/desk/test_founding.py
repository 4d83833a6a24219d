"""Making a home."""

import stat
from pathlib import Path

import pytest

from tests.desk.conftest import LAB_A, make_home
from tests.support.organisations import NOW, YEAR, seeded
from tests.support.people import colleague, first
from tocsin.audit.log import verify_log
from tocsin.config import load_config
from tocsin.desk.home import open_home
from tocsin.errors import HomeExists, KeyExposed, MalformedConfig, MalformedIdentity, MalformedName
from tocsin.people.person import Role


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_home(tmp_path / "home")


def test_a_new_home_opens_and_speaks_for_its_organisation(root):
    with open_home(root, now=NOW) as home:
        assert home.organisation.org == LAB_A
        assert home.record_signer.key_id in home.organisation.record_keys
        assert home.delivery_signer.key_id in home.organisation.delivery_keys
        assert home.policies.floor is not None
        assert home.policies.problems == ()


def test_a_new_home_has_one_person_who_may_do_everything(root):
    with open_home(root, now=NOW) as home:
        assert home.store.people.list() == (first(LAB_A).person(*Role),)


def test_no_key_of_the_first_person_lies_in_the_home(root):
    person = first(LAB_A)
    held = b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())
    assert person.certificate in held
    assert person.tls.key.splitlines()[1] not in held


def test_the_floor_of_a_new_home_is_in_force_under_the_signature_of_its_first_person(root):
    with open_home(root, now=NOW) as home:
        row = home.store.policies.latest()
        assert (row.person, row.signed, row.replaces) == ("first", {"floor.toml"}, "")
        assert row.files == {"floor.toml": (root / "policies" / "floor.toml").read_text()}


def test_the_decision_log_of_a_new_home_begins_with_its_founding(root):
    with open_home(root, now=NOW) as home:
        assert [(row.act, row.person) for row in home.log.rows()] == [("founded", "first"), ("policy-applied", "first")]
        assert verify_log(home.log.rows(), organisation=home.organisation).entries == 2


def test_nobody_else_can_look_into_a_new_home(root):
    open_to_others = [
        str(path.relative_to(root)) for path in [root, *root.rglob("*")] if stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    assert open_to_others == []


def test_a_new_home_leaves_nothing_beside_it(root):
    assert [path.name for path in root.parent.iterdir()] == [root.name]


def test_each_key_has_its_own_file_and_no_two_are_the_same(root):
    files = sorted(path.name for path in (root / "keys").iterdir())
    assert files == ["delivery.pem", "log.pem", "record.pem", "root-1.pem", "tls.pem", "witness.pem"]
    assert len({(root / "keys" / name).read_bytes() for name in files}) == len(files)


def test_the_identity_document_counts_for_a_year(root):
    with open_home(root, now=NOW) as home:
        assert home.organisation.expires == NOW + YEAR


def test_several_root_keys_are_made_with_a_threshold(tmp_path):
    root = make_home(tmp_path / "home", root_keys=3, threshold=2)
    assert len(list((root / "keys").glob("root-*.pem"))) == 3
    with open_home(root, now=NOW) as home:
        assert b'"threshold":2' in home.organisation.document


def test_the_settings_of_a_new_home_read_back(tmp_path):
    root = make_home(tmp_path / "home", listen="127.0.0.1:9000")
    assert load_config(root).listen == "127.0.0.1:9000"


def test_an_empty_folder_becomes_a_home(tmp_path):
    (tmp_path / "home").mkdir()
    make_home(tmp_path / "home")
    assert (tmp_path / "home" / "node.toml").is_file()


def test_missing_folders_above_a_home_are_made(tmp_path):
    make_home(tmp_path / "srv" / "tocsin" / "home")
    assert (tmp_path / "srv" / "tocsin" / "home" / "node.toml").is_file()


def test_a_home_is_not_made_twice(root):
    before = (root / "keys" / "record.pem").read_bytes()
    with pytest.raises(HomeExists, match="a home already"):
        make_home(root)
    assert (root / "keys" / "record.pem").read_bytes() == before


@pytest.mark.parametrize("stands_there", ["a file", "a folder with something in it", "a symbolic link"])
def test_a_home_is_not_made_over_something_else(tmp_path, stands_there):
    place = tmp_path / "home"
    if stands_there == "a file":
        place.write_text("mine")
    elif stands_there == "a symbolic link":
        (tmp_path / "elsewhere").mkdir()
        place.symlink_to(tmp_path / "elsewhere")
    else:
        place.mkdir()
        (place / "thesis.txt").write_text("mine")
    with pytest.raises(HomeExists) as refused:
        make_home(place)
    assert refused.value.hint


REFUSED = {
    "an organisation id with capitals": ({"org": "Lab-A.example"}, MalformedName, "BAD_NAME"),
    "an organisation id without a dot": ({"org": "lab"}, MalformedName, "BAD_NAME"),
    "an endpoint without a port": ({"endpoints": ("lab-a.example",)}, MalformedName, "BAD_NAME"),
    "a kind that is none": ({"kind": "bank"}, MalformedIdentity, "BAD_IDENTITY"),
    "a name with a control character": ({"name": "Lab\x1b[2J"}, MalformedIdentity, "BAD_IDENTITY"),
    "a threshold above the number of keys": ({"root_keys": 2, "threshold": 3}, MalformedIdentity, "BAD_IDENTITY"),
    "an address that cannot be listened on": ({"listen": "lab-a.example"}, MalformedConfig, "BAD_CONFIG"),
    "a first person without a name": (
        {"founder": colleague("", LAB_A).founder},
        MalformedName,
        "BAD_NAME",
    ),
    "a first person with the certificate of another organisation": (
        {"founder": first("lab-b.example").founder},
        MalformedIdentity,
        "BAD_IDENTITY",
    ),
    "no root key": ({"root_keys": 0, "threshold": 0}, MalformedIdentity, "BAD_IDENTITY"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_an_identity_makes_no_home(tmp_path, case):
    changes, error, reason = REFUSED[case]
    with pytest.raises(error) as refused:
        make_home(tmp_path / "home", **changes)
    assert refused.value.reason == reason
    assert list(tmp_path.iterdir()) == []


def test_keys_with_a_passphrase_are_opened_by_the_file_that_the_settings_name(tmp_path):
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse\n")
    passphrase.chmod(0o600)
    root = make_home(tmp_path / "home", passphrase_file=passphrase)
    assert b"ENCRYPTED" in (root / "keys" / "record.pem").read_bytes()
    with open_home(root, now=NOW) as home:
        assert home.organisation.org == LAB_A
        assert b"BEGIN PRIVATE KEY" in home.tls.key


def test_a_passphrase_that_others_can_read_is_refused(tmp_path):
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse")
    passphrase.chmod(0o644)
    with pytest.raises(KeyExposed):
        make_home(tmp_path / "home", passphrase_file=passphrase)
    assert not (tmp_path / "home").exists()


def test_building_that_is_stopped_halfway_leaves_nothing(tmp_path, monkeypatch):
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tocsin.desk.founding.open_store", stop)
    with pytest.raises(KeyboardInterrupt):
        make_home(tmp_path / "home")
    assert list(tmp_path.iterdir()) == []


def test_whoever_is_slower_finds_the_home_of_the_faster(tmp_path, monkeypatch):
    place: Path = tmp_path / "home"

    def overtaken(*_: object, **__: object) -> None:
        monkeypatch.undo()
        make_home(place, random=seeded("faster"))

    monkeypatch.setattr("tocsin.desk.founding._write", overtaken)
    with pytest.raises(HomeExists):
        make_home(place)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
