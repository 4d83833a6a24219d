"""This module writes a backup of a home: one file that holds all of it, sealed to a key that is not there.

A backup is a tar (POSIX.1-2001) inside the age format (age-encryption.org/v1):

    manifest.json                {"schema": "tocsin/backup/v1", "org": …, "made_at": …,
                                  "files": {"tocsin.db": {"size": …, "sha256": "<hex>"}, …}}
    node.toml, identity/document.tocsin, keys/*.pem, policies/*.toml, policies/witnesses.tlog, names.txt
    tocsin.db                    the store as it is at one moment

Root keys are left out: they belong offline. The passphrase of the keys is
left out where it lies elsewhere. A node may run meanwhile. The copy of the
store has no name on the disk, and everything else goes from memory straight
into the seal: whenever this ends, nothing lies about in the clear.
"""

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, cast

from tocsin.desk.layout import PRIVATE_FILE, Layout, cause
from tocsin.desk.papers import load_organisation
from tocsin.desk.sealing import parse_recipients, seal
from tocsin.desk.succession import hold_keys
from tocsin.errors import Conflict, HomeDamaged, HomeMissing
from tocsin.identity.names import OrgId
from tocsin.store.snapshot import unnamed_copy

MANIFEST = "manifest.json"
SCHEMA = "tocsin/backup/v1"
CHUNK = 64 * 1024  # bytes sealed at once, as age does


@dataclass(frozen=True, slots=True)
class BackedUp:
    """Say what is in a backup: whose it is, and the SHA-256 of each file in it."""

    org: OrgId
    made_at: int
    files: Mapping[str, str]
    size: int  # of the backup, in bytes


def write_backup(root: Path, target: Path, *, recipients: list[str], now: int) -> BackedUp:
    """Write a backup to a new file, which is there when it is whole and not before.

    `recipients` are age public keys, `age1…`. Raises MalformedBackup for one
    that is none, Conflict where a file stands there, HomeMissing, HomeDamaged
    and StoreCorrupt for a home that cannot be read.
    """
    keys = parse_recipients(recipients)
    layout = Layout(root.expanduser().absolute())
    if not layout.document.is_file():
        raise HomeMissing("there is no home here", where=str(layout.root), hint="name another with --home")
    if target.exists():
        raise Conflict(f"{target} stands there already", reason="CONFLICT", hint="name another file, or move it away")
    files, org = _small_files(layout)
    with unnamed_copy(layout.store) as store:
        members = {name: _Member(io.BytesIO(data)) for name, data in files.items()}
        members[layout.relative(layout.store)] = _Member(store)
        sums = {name: {"size": member.size, "sha256": member.sha256} for name, member in members.items()}
        manifest = {"schema": SCHEMA, "org": org, "made_at": now, "files": sums}
        first = _Member(io.BytesIO(json.dumps(manifest, indent=2).encode()))
        plain = io.BufferedReader(_Chunks(_tar({MANIFEST: first} | members, now=now)))
        seal(cast("BinaryIO", plain), target, recipients=keys)
    hashes = {name: member.sha256 for name, member in members.items()}
    return BackedUp(org=org, made_at=now, files=hashes, size=target.stat().st_size)


class _Member:
    """A file of the backup, which can be read again from its beginning."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        hashed = sha256()
        for chunk in self.chunks():
            hashed.update(chunk)
        self.sha256 = hashed.hexdigest()
        self.size = file.tell()

    def chunks(self) -> Iterator[bytes]:
        self._file.seek(0)
        while chunk := self._file.read(CHUNK):
            yield chunk


class _Chunks(io.RawIOBase):
    """A stream of bytes that are made while they are read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any buffer
        while not self._left:
            try:
                self._left = next(self._chunks)
            except StopIteration:
                return 0
        taken, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)


def _small_files(layout: Layout) -> tuple[dict[str, bytes], OrgId]:
    """Return everything but the store, read while no key is being replaced, and whose home it is."""
    roots = layout.root_keys_here()
    with hold_keys(layout):
        organisation = load_organisation(layout)
        paths = [layout.settings, layout.document, *layout.key_files()]
        paths += sorted(layout.policies.glob("*.toml"))
        paths += [path for path in (layout.witnesses, layout.names) if path.exists()]
        try:
            files = {layout.relative(path): path.read_bytes() for path in paths if path not in roots}
        except OSError as error:
            raise HomeDamaged(f"the home cannot be read: {cause(error)}", where=str(error.filename)) from None
    return files, organisation.org


def _tar(members: Mapping[str, _Member], *, now: int) -> Iterator[bytes]:
    """Yield a tar, member by member."""
    for name, member in members.items():
        header = tarfile.TarInfo(name)
        header.size, header.mtime, header.mode = member.size, now, PRIVATE_FILE
        yield header.tobuf(tarfile.PAX_FORMAT)
        yield from member.chunks()
        yield bytes(-member.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)
