"""Opening a home, and every way in which that fails."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.desk.conftest import LAB_A, LAB_B, copy_home, make_home
from tests.support.organisations import NOW, YEAR
from tests.support.people import colleague
from tests.support.shared import ROOT
from tocsin.desk.home import open_home
from tocsin.errors import (
    HomeDamaged,
    HomeLocked,
    HomeMissing,
    IdentityExpired,
    KeyExposed,
    MalformedConfig,
    StoreCorrupt,
    TocsinError,
)
from tocsin.people.person import Role

DAY = 86_400


def remove(*names: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        for name in names:
            path = root / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def write(name: str, data: bytes) -> Callable[[Path], None]:
    return lambda root: (root / name).write_bytes(data) and None


def swap(name: str, other: str) -> Callable[[Path], None]:
    return lambda root: shutil.copy(root / other, root / name) and None


def corrupt_pages(root: Path) -> None:
    data = bytearray((root / "tocsin.db").read_bytes())
    data[len(data) // 3 : len(data) // 3 + 20_000] = b"\xa5" * 20_000
    (root / "tocsin.db").write_bytes(bytes(data))


def another_identity(root: Path) -> None:
    other = copy_home(root.with_name("other"), LAB_B)
    shutil.copy(other / "identity" / "document.tocsin", root / "identity" / "document.tocsin")


def another_format(root: Path) -> None:
    path = root / "identity" / "document.tocsin"
    path.write_bytes(path.read_bytes().replace(b"tocsin-identity/v1", b"tocsin-identity/v9"))


def cut(name: str) -> Callable[[Path], None]:
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:-40]) and None


DAMAGED: dict[str, tuple[Callable[[Path], None], type[TocsinError], str]] = {
    "no store": (remove("tocsin.db"), HomeDamaged, "tocsin.db"),
    "no settings": (remove("node.toml"), HomeDamaged, "node.toml"),
    "no identity": (remove("identity"), HomeDamaged, "identity"),
    "no record key": (remove("keys/record.pem"), HomeDamaged, "keys/record.pem"),
    "no keys at all": (remove("keys"), HomeDamaged, "keys"),
    "no policies folder": (remove("policies"), HomeDamaged, "policies"),
    "half of a key": (cut("keys/delivery.pem"), HomeDamaged, "keys/delivery.pem"),
    "an empty key": (write("keys/record.pem", b""), HomeDamaged, "keys/record.pem"),
    "half of the identity": (cut("identity/document.tocsin"), HomeDamaged, "document.tocsin"),
    "another organisation's identity": (another_identity, HomeDamaged, "keys/record.pem"),
    "an identity of a later format": (another_format, HomeDamaged, "document.tocsin"),
    "the record key for both purposes": (
        swap("keys/delivery.pem", "keys/record.pem"),
        HomeDamaged,
        "keys/delivery.pem",
    ),
    "a signing key where the TLS key belongs": (swap("keys/tls.pem", "keys/log.pem"), HomeDamaged, "keys/tls.pem"),
    "a store of another program": (write("tocsin.db", b"not a database at all" * 1000), TocsinError, "tocsin.db"),
    "a store with damaged pages": (corrupt_pages, StoreCorrupt, "tocsin.db"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_home_says_which_part_to_mend(root, case):
    damage, error, part = DAMAGED[case]
    damage(root)
    with pytest.raises(error) as refused:
        open_home(root, now=NOW)
    assert part in str(refused.value)
    assert refused.value.hint
    assert refused.value.exit_code in (8, 9)


def test_every_missing_part_is_named(root):
    remove("tocsin.db", "keys/log.pem", "node.toml")(root)
    with pytest.raises(HomeDamaged) as refused:
        open_home(root, now=NOW)
    assert refused.value.details == ("missing: node.toml", "missing: keys/log.pem", "missing: tocsin.db")


@pytest.mark.parametrize("stands_there", ["nothing", "an empty folder", "somebody's files"])
def test_what_is_no_home_is_not_called_a_damaged_one(tmp_path, stands_there):
    place = tmp_path / "home"
    if stands_there != "nothing":
        place.mkdir()
    if stands_there == "somebody's files":
        (place / "thesis.txt").write_text("mine")
    with pytest.raises(HomeMissing) as refused:
        open_home(place, now=NOW)
    assert "tocsin init" in refused.value.hint
    assert not (place / "lock").exists()


def test_a_folder_that_cannot_even_be_looked_at_is_an_error_like_any_other(tmp_path):
    with pytest.raises(HomeDamaged, match="cannot be read: file name too long"):
        open_home(tmp_path / ("x" * 300), now=NOW)


def test_a_home_whose_keys_do_not_count_today_is_damaged(root):
    with pytest.raises(HomeDamaged, match="does not name this key for today"):
        open_home(root, now=NOW - 7 * DAY)


def test_a_file_and_a_circle_of_links_are_no_homes(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for name in ("file", "circle"):
        with pytest.raises(HomeMissing):
            open_home(tmp_path / name, now=NOW)


@pytest.mark.parametrize("name", ["record", "delivery", "tls"])
def test_a_key_that_others_can_read_is_not_used(root, name):
    (root / "keys" / f"{name}.pem").chmod(0o640)
    with pytest.raises(KeyExposed) as refused:
        open_home(root, now=NOW)
    assert "chmod 600" in refused.value.hint


def test_an_expired_identity_speaks_for_nobody(root):
    with pytest.raises(IdentityExpired, match="expired on 2027-03-01"):
        open_home(root, now=NOW + YEAR)


def test_a_home_whose_root_key_was_moved_offline_opens(root):
    (root / "keys" / "root-1.pem").unlink()
    open_home(root, now=NOW).close()


def test_a_home_is_held_by_one_at_a_time(root):
    with open_home(root, now=NOW), pytest.raises(HomeLocked) as refused:
        open_home(root, now=NOW)
    assert str(os.getpid()) in refused.value.message
    open_home(root, now=NOW).close()


def test_a_home_that_failed_to_open_is_not_held(root):
    (root / "keys" / "record.pem").chmod(0o644)
    with pytest.raises(KeyExposed):
        open_home(root, now=NOW)
    (root / "keys" / "record.pem").chmod(0o600)
    open_home(root, now=NOW).close()


HOLD = """
import sys
from pathlib import Path
from tocsin.desk.home import open_home
with open_home(Path(sys.argv[1]), now=int(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_lock_of_a_killed_process_is_free_again(root):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, root, str(NOW)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "node")},
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(HomeLocked, match=f"process {holder.pid} holds"):
            open_home(root, now=NOW)
        holder.kill()
    open_home(root, now=NOW).close()


def test_a_passphrase_that_nobody_can_find_is_said_to_be_missing(tmp_path):
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse")
    passphrase.chmod(0o600)
    root = make_home(tmp_path / "home", passphrase_file=passphrase)
    passphrase.unlink()
    with pytest.raises(HomeDamaged, match="passphrase"):
        open_home(root, now=NOW)
    (root / "node.toml").write_text("")
    with pytest.raises(HomeDamaged, match="passphrase") as refused:
        open_home(root, now=NOW)
    assert "passphrase_file" in refused.value.hint
    (root / "node.toml").write_text("pasphrase_file = 'x'")
    with pytest.raises(MalformedConfig):
        open_home(root, now=NOW)


def test_a_wrong_passphrase_is_told_from_a_broken_key(tmp_path):
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse")
    passphrase.chmod(0o600)
    root = make_home(tmp_path / "home", passphrase_file=passphrase)
    passphrase.write_text("battery staple")
    with pytest.raises(HomeDamaged, match="passphrase is wrong"):
        open_home(root, now=NOW)


BROKEN_DRAFTS = {
    "not TOML": b"partner = ",
    "not UTF-8": b'partner = "lab-b.example"\n# caf\xe9\n',
    "an unknown key": b'partner = "lab-b.example"\nshaer = 1\n',
}


@pytest.mark.parametrize("case", BROKEN_DRAFTS)
def test_what_somebody_writes_into_the_policies_folder_changes_nothing_that_is_in_force(root, case):
    (root / "policies" / "lab-b.example.toml").write_bytes(BROKEN_DRAFTS[case])
    (root / "policies" / "floor.toml").unlink()
    with open_home(root, now=NOW) as home:
        assert home.policies.problems == ()
        assert home.policies.floor is not None
        assert not home.policies.policies


def test_policies_whose_signer_has_other_keys_now_are_not_in_force_any_more(root):
    renewed = colleague("first", LAB_A, keys="renewed").person(*Role)
    with open_home(root, now=NOW) as home:
        assert home.policies.floor is not None
        home.store.people.replace(renewed)
        assert home.policies.floor is None
        (problem,) = home.policies.problems
        assert "not believed" in problem.message
    open_home(root, now=NOW).close()


def test_a_policy_that_was_changed_in_the_store_is_not_in_force_any_more(root):
    with open_home(root, now=NOW) as home:
        row = home.store.policies.latest()
        home.store.policies.put(replace(row, files={"floor.toml": ""}))
        assert home.policies.floor is None
