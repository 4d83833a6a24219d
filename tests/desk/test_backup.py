"""A backup holds a whole home of one moment for whoever has the key, and nothing of it lies about in the clear."""

import io
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tarfile

import pyrage
import pytest

from tests.desk.conftest import LAB_A, LAB_B
from tests.support.organisations import NOW, seeded
from tests.support.shared import ROOT
from tocsin.audit.entry import Event
from tocsin.desk.backup import MANIFEST, write_backup
from tocsin.desk.home import open_home
from tocsin.desk.layout import Layout
from tocsin.desk.restore import restore_home, verify_backup
from tocsin.errors import (
    Conflict,
    HomeDamaged,
    HomeExists,
    HomeMissing,
    MalformedBackup,
    StoreCorrupt,
)
from tocsin.store.model import AuditFilter, EntryKind, NewEntry

KEY = pyrage.x25519.Identity.from_str("AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX")
TO, SECRET = str(KEY.to_public()), str(KEY)
OTHER = pyrage.x25519.Identity.generate()
BESIDE = {"tocsin.db-wal", "tocsin.db-shm", "tocsin.db-left"}  # of the file beside them, and of no other


@pytest.fixture
def home(office, root):
    """Return the folder of a home with a partner, a record, and a feed in which it went."""
    digest = office.post().record.digest
    feeds = office.home.store.feeds
    feeds.open(LAB_B, feed_id="feed", now=NOW)
    feeds.append(LAB_B, [NewEntry(EntryKind.RECORD, digest, frozenset(), "tag")], after=0, now=NOW)
    (root / "names.txt").write_text("Project Mockingbird\n")
    office.home.close()
    return root


@pytest.fixture
def sealed(home, tmp_path):
    """Return the file of a backup."""
    file = tmp_path / "backup"
    write_backup(home, file, recipients=[TO], now=NOW)
    return file


def unsealed(file):
    """Return the members of a backup, by name."""
    with tarfile.open(fileobj=io.BytesIO(pyrage.decrypt(file.read_bytes(), [KEY]))) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def seal(members, file, *, kind=tarfile.REGTYPE):
    """Write a backup of any members."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for name, data in members.items():
            header = tarfile.TarInfo(name)
            header.size, header.type = len(data), kind if name != MANIFEST else tarfile.REGTYPE
            header.linkname = "node.toml" if kind != tarfile.REGTYPE else ""
            tar.addfile(header, io.BytesIO(data))
    file.write_bytes(pyrage.encrypt(plain.getvalue(), [KEY.to_public()]))


def restore(file, root):
    return restore_home(file, root, identities=[SECRET], now=NOW + 60, random=seeded("restored"))


class TestWriting:
    def test_everything_is_in_it_but_the_root_keys(self, home, sealed):
        members = unsealed(sealed)
        files = {path.relative_to(home).as_posix(): path for path in home.rglob("*") if path.is_file()}
        expected = set(files) - {"lock", "keys/root-1.pem", *BESIDE}
        assert set(members) == expected | {MANIFEST}
        for name in expected - {"tocsin.db"}:
            assert members[name] == files[name].read_bytes(), name
        assert json.loads(members[MANIFEST])["org"] == LAB_A
        assert stat.S_IMODE(sealed.stat().st_mode) == 0o600

    def test_nothing_of_it_lies_about(self, home, tmp_path):
        before = set(tmp_path.rglob("*"))
        write_backup(home, tmp_path / "backup", recipients=[TO], now=NOW)
        made = {path.name: path for path in set(tmp_path.rglob("*")) - before}
        assert set(made) - BESIDE == {"backup"}
        assert all(made[name].stat().st_size == 0 for name in BESIDE & {"tocsin.db-wal"} & set(made))
        assert b"age-encryption.org/v1" in (tmp_path / "backup").read_bytes()[:40]
        assert b"Mockingbird" not in (tmp_path / "backup").read_bytes()

    def test_it_is_made_while_a_node_holds_the_home(self, home, tmp_path):
        with open_home(home, now=NOW) as held:
            made = write_backup(home, tmp_path / "backup", recipients=[TO], now=NOW)
            assert held.store.records.counts().own == 1
        assert verify_backup(tmp_path / "backup", identities=[SECRET]).files == made.files

    def test_one_that_is_killed_midway_leaves_nothing_in_the_clear(self, home, tmp_path):
        killed = f"""
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT / "node")!r})
from tocsin.desk import backup
def seal(plain, target, *, recipients):
    Path({str(tmp_path / "seen")!r}).write_bytes(plain.read(100))
    os.kill(os.getpid(), signal.SIGKILL)
backup.seal = seal
backup.write_backup(Path({str(home)!r}), Path({str(tmp_path / "backup")!r}), recipients=[{TO!r}], now={NOW})
"""
        before = set(home.rglob("*"))
        ended = subprocess.run([sys.executable, "-c", killed], check=False)
        assert ended.returncode == -signal.SIGKILL
        assert (tmp_path / "seen").read_bytes().startswith(b"manifest.json")
        assert {path.name for path in set(home.rglob("*")) - before} <= BESIDE
        assert not (tmp_path / "backup").exists()

    @pytest.mark.parametrize(
        ("recipients", "said"),
        [
            pytest.param([], "nobody", id="nobody"),
            pytest.param(["age1nobody"], "no age public key", id="no key"),
            pytest.param([SECRET], "^a secret key is no age public key", id="the secret one"),
        ],
    )
    def test_a_recipient_is_a_public_key(self, home, tmp_path, recipients, said):
        with pytest.raises(MalformedBackup, match=said) as refused:
            write_backup(home, tmp_path / "backup", recipients=recipients, now=NOW)
        assert refused.value.reason == "BAD_BACKUP"
        assert SECRET not in str(refused.value)

    def test_it_takes_no_files_place(self, home, tmp_path):
        (tmp_path / "backup").write_text("the one from yesterday")
        with pytest.raises(Conflict, match="stands there"):
            write_backup(home, tmp_path / "backup", recipients=[TO], now=NOW)

    def test_where_there_is_no_home_there_is_nothing_to_back_up(self, tmp_path):
        with pytest.raises(HomeMissing):
            write_backup(tmp_path / "nowhere", tmp_path / "backup", recipients=[TO], now=NOW)

    def test_a_place_that_cannot_be_written_is_said(self, home, tmp_path):
        with pytest.raises(HomeDamaged, match="no such file"):
            write_backup(home, tmp_path / "absent" / "backup", recipients=[TO], now=NOW)

    def test_a_damaged_store_is_not_backed_up(self, home, tmp_path):
        store = home / "tocsin.db"
        damaged = bytearray(store.read_bytes())
        damaged[8192 * 3 : 8192 * 3 + 4000] = os.urandom(4000)
        store.write_bytes(damaged)
        with pytest.raises(StoreCorrupt):
            write_backup(home, tmp_path / "backup", recipients=[TO], now=NOW)


class TestVerifying:
    def test_a_backup_is_whole_and_sound_and_nothing_of_it_stays(self, sealed, tmp_path, monkeypatch):
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(scratch))
        found = verify_backup(sealed, identities=[str(OTHER), SECRET])
        assert (found.org, found.made_at) == (LAB_A, NOW)
        assert "tocsin.db" in found.files
        assert list(scratch.iterdir()) == []

    def test_another_key_does_not_open_it(self, sealed):
        with pytest.raises(MalformedBackup, match="does not open with this key"):
            verify_backup(sealed, identities=[str(OTHER)])

    @pytest.mark.parametrize("identities", [[], ["AGE-SECRET-KEY-1"], [TO]])
    def test_what_is_no_key_opens_nothing(self, sealed, identities):
        with pytest.raises(MalformedBackup, match="no age secret key"):
            verify_backup(sealed, identities=identities)

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param(lambda data: data[:-1], id="cut by a byte"),
            pytest.param(lambda data: data[: len(data) // 2], id="cut in the middle"),
            pytest.param(lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:], id="one bit"),
            pytest.param(lambda _: b"", id="empty"),
            pytest.param(lambda data: b"x" + data, id="one byte more"),
        ],
    )
    def test_a_changed_file_is_refused(self, sealed, change):
        sealed.write_bytes(change(sealed.read_bytes()))
        with pytest.raises(MalformedBackup) as refused:
            verify_backup(sealed, identities=[SECRET])
        assert refused.value.reason == "BAD_BACKUP"

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            pytest.param(lambda m: m | {"node.toml": b"listen = 1\n"}, "another size", id="another file"),
            pytest.param(lambda m: m | {"names.txt": m["names.txt"][::-1]}, "not the file", id="other bytes"),
            pytest.param(lambda m: m | {"keys/extra.pem": b""}, "not in its manifest", id="one more"),
            pytest.param(lambda m: {n: d for n, d in m.items() if n != "names.txt"}, "lacks names.txt", id="one less"),
            pytest.param(lambda m: m | {"../../evil": b""}, "no part of a home", id="a way out"),
            pytest.param(lambda m: m | {"/etc/cron.d/evil": b""}, "no part of a home", id="an absolute name"),
            pytest.param(lambda m: m | {"run/desk.sock": b""}, "no part of a home", id="another folder"),
            pytest.param(lambda m: {n: d for n, d in m.items() if n != MANIFEST}, "no part", id="no manifest"),
            pytest.param(lambda m: m | {MANIFEST: b"[" * 100_000}, "no manifest", id="no JSON"),
            pytest.param(lambda m: m | {MANIFEST: b'{"files": {"node.toml": 1}}'}, "no manifest", id="no sizes"),
            pytest.param(
                lambda m: m | {MANIFEST: m[MANIFEST].replace(b"backup/v1", b"backup/v9")}, "no manifest", id="later"
            ),
            pytest.param(lambda _: {}, "no manifest", id="nothing"),
        ],
    )
    def test_what_is_not_what_the_manifest_says_is_refused(self, sealed, tmp_path, change, said):
        seal(change(unsealed(sealed)), sealed)
        with pytest.raises(MalformedBackup, match=re.escape(said)):
            verify_backup(sealed, identities=[SECRET])
        assert not list(tmp_path.rglob("evil"))

    @pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
    def test_only_files_are_taken_out(self, sealed, kind):
        seal(unsealed(sealed), sealed, kind=kind)
        with pytest.raises(MalformedBackup, match="no part of a home"):
            verify_backup(sealed, identities=[SECRET])

    def test_what_is_sealed_and_no_archive_is_refused(self, sealed):
        sealed.write_bytes(pyrage.encrypt(b"a letter" * 200, [KEY.to_public()]))
        with pytest.raises(MalformedBackup, match="no archive"):
            verify_backup(sealed, identities=[SECRET])

    def test_a_store_that_is_not_sound_is_told(self, home, tmp_path):
        with open_home(home, now=NOW) as held, held.store.transaction():
            held.store._db.execute("UPDATE records SET tlp = 'CLEAR'")
        write_backup(home, tmp_path / "backup", recipients=[TO], now=NOW)
        with pytest.raises(StoreCorrupt) as refused:
            verify_backup(tmp_path / "backup", identities=[SECRET])
        assert "is not what its row says: tlp" in refused.value.details[0]


class TestRestoring:
    def test_a_home_is_built_that_knows_that_it_was_restored(self, home, sealed, tmp_path):
        shutil.rmtree(home)
        restored = tmp_path / "restored"
        restore(sealed, restored)
        layout = Layout(restored)
        assert list(layout.root_keys_here()) == []
        for path in restored.rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
        with open_home(restored, now=NOW + 60) as opened:
            store = opened.store
            assert store.records.counts().own == 1
            assert store.feeds.get(LAB_B) is None
            assert store.feeds.waiting(LAB_B) == 1
            assert list(store.recoveries.open()) == [LAB_B]
            (row,) = store.audit.list(AuditFilter(act=Event.RESTORED), limit=9)
            assert json.loads(row.body)["details"] == {"made_at": NOW}
            assert opened.policies.problems == ()

    def test_a_home_is_not_built_over_another(self, home, sealed):
        with pytest.raises(HomeExists):
            restore(sealed, home)

    def test_a_backup_that_is_refused_leaves_no_home(self, sealed, tmp_path):
        members = unsealed(sealed)
        manifest = json.loads(members[MANIFEST])
        del members["keys/delivery.pem"], manifest["files"]["keys/delivery.pem"]
        seal(members | {MANIFEST: json.dumps(manifest).encode()}, sealed)
        target = tmp_path / "target" / "home"
        with pytest.raises(MalformedBackup, match=r"lacks keys/delivery\.pem"):
            restore(sealed, target)
        assert list(target.parent.iterdir()) == []
