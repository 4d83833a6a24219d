"""This module opens a backup: to see that it is whole and sound, or to build a home from it.

Nothing of a backup is believed before all of it was decrypted (age seals every
part of it), and every file is the one that the manifest names:

  1. the file is sealed to one of the identities, and whole
  2. it holds a manifest, and then exactly the files that the manifest names, each once
  3. every file has the size and the SHA-256 that the manifest says
  4. identity document and settings are there and read, and the store is sound: `tocsin.desk.fsck`

Verifying writes the store and the document, and no key, into a folder that only
its owner can enter and that is gone afterwards. A home that is restored knows
that it is one: its feeds begin anew, its peers are asked for what it has lost,
and its decision log says so.
"""

import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, BinaryIO, Final

from tocsin.audit.entry import Entry, Event
from tocsin.audit.log import Log
from tocsin.desk.backup import CHUNK, MANIFEST, SCHEMA, BackedUp
from tocsin.desk.founding import beside, cannot_build, verify_free
from tocsin.desk.fsck import examine
from tocsin.desk.layout import PRIVATE_FILE, PRIVATE_FOLDER, Layout
from tocsin.desk.papers import load_organisation
from tocsin.desk.passphrase import find_passphrase
from tocsin.desk.sealing import parse_identities, unseal
from tocsin.errors import MalformedBackup, StoreCorrupt
from tocsin.identity.keys import sync_folder
from tocsin.identity.names import OrgId
from tocsin.identity.signer import load_signer
from tocsin.release.ledger import note_restored
from tocsin.store.sqlite import open_store

MOST_FILES = 4096
MOST_MANIFEST = 4 * 1024 * 1024
MOST_SMALL = 16 * 1024 * 1024
"""Bytes of any file but the store."""

STORE: Final = "tocsin.db"
DOCUMENT: Final = "identity/document.tocsin"
_NAMES = re.compile(
    r"node\.toml|names\.txt|identity/document\.tocsin|tocsin\.db"
    r"|keys/[a-z][a-z0-9-]*(\.next)?\.(pem|uri)|policies/[a-z0-9][a-z0-9.-]*\.toml|policies/witnesses\.tlog",
    re.ASCII,
)
"""What a backup may hold: no file of it is ever written anywhere else."""


@dataclass(frozen=True, slots=True)
class _Listed:
    size: int
    sha256: str


def verify_backup(file: Path, *, identities: list[str]) -> BackedUp:
    """See that a backup opens with one of these age secret keys, is whole, and holds a sound store.

    Raises MalformedBackup, and StoreCorrupt with what is wrong.
    """
    with TemporaryDirectory(prefix="tocsin-") as folder:
        layout = Layout(Path(folder))
        found = _unpack(file, layout, identities, wanted=(STORE, DOCUMENT))
        _verify_sound(layout)
        return found


def restore_home(
    file: Path, root: Path, *, identities: list[str], now: int, random: Callable[[int], bytes]
) -> BackedUp:
    """Build a home from a backup, in a place where there is none.

    Raises HomeExists, HomeDamaged, KeyExposed, MalformedBackup, and
    StoreCorrupt for a store that is not sound.
    """
    root = root.expanduser().absolute()
    verify_free(root)
    try:
        with beside(root, random=random) as layout:
            found = _unpack(file, layout, identities)
            _verify_sound(layout)
            if missing := [layout.relative(path) for path in layout.missing()]:
                raise _bad(f"it lacks {missing[0]}", file)
            _note_restored(layout, found, now=now)
            for folder in (*layout.folders(), layout.root):
                sync_folder(folder)
    except OSError as error:
        verify_free(root)
        raise cannot_build(root, error) from None
    return found


def _verify_sound(layout: Layout) -> None:
    organisation = load_organisation(layout)
    with closing(open_store(layout.store)) as store:
        findings = [f"{finding.part}: {finding.problem}" for finding in examine(store, organisation)]
    if findings:
        raise StoreCorrupt("the store in the backup is not sound", hint="try an earlier one", details=tuple(findings))


def _note_restored(layout: Layout, found: BackedUp, *, now: int) -> None:
    signer = load_signer(layout.key("delivery"), passphrase=find_passphrase(layout))
    with closing(open_store(layout.store)) as store, store.transaction():
        log = Log(store, org=found.org, signer=signer)
        log.seal_tail(now=now)
        note_restored(store, found.org, now=now)
        log.append(Entry(Event.RESTORED, details={"made_at": found.made_at}), now=now)


def _unpack(file: Path, layout: Layout, identities: list[str], *, wanted: tuple[str, ...] = ()) -> BackedUp:
    """Write the files of a backup into a home, or those wanted, and compare all of them with the manifest."""
    with _opened(file, identities) as plain, _read(plain, file) as tar:
        members = _members(tar, file)
        manifest, listed = _manifest(tar, next(members, None), file)
        left = dict(listed)
        for folder in layout.folders():
            folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        for member in members:
            expected = left.pop(member.name, None)
            if expected is None or member.size != expected.size:
                raise _bad(f"{member.name!r} is not in its manifest, or of another size", file)
            target = layout.root / member.name if not wanted or member.name in wanted else None
            if _copy(tar, member, target) != expected.sha256:
                raise _bad(f"{member.name} is not the file that was backed up", file)
        if left or not {STORE, DOCUMENT} <= set(listed):
            raise _bad(f"it lacks {next(iter(left), 'a part of a home')}", file)
    hashes = {name: each.sha256 for name, each in listed.items()}
    return BackedUp(OrgId(manifest["org"]), manifest["made_at"], hashes, file.stat().st_size)


@contextmanager
def _opened(file: Path, identities: list[str]) -> Iterator[BinaryIO]:
    """Decrypt a backup into a file without a name: whoever is killed leaves nothing in the clear."""
    keys = parse_identities(identities)
    with TemporaryFile() as plain:
        unseal(file, plain, identities=keys)
        yield plain


@contextmanager
def _read(plain: BinaryIO, file: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(fileobj=plain, mode="r:") as tar:
            yield tar
    except tarfile.TarError as error:
        raise _bad(f"it is no archive: {error}", file) from None


def _members(tar: tarfile.TarFile, file: Path) -> Iterator[tarfile.TarInfo]:
    """Yield the members, each of which is a file with a name that a backup has."""
    for number, member in enumerate(tar):
        known = member.name == MANIFEST if number == 0 else _NAMES.fullmatch(member.name)
        if not member.isreg() or not known or number > MOST_FILES:
            raise _bad(f"it holds {member.name[:80]!r}, which is no part of a home", file)
        if member.size > MOST_SMALL and member.name != STORE:
            raise _bad(f"{member.name} is too large", file)
        yield member


def _manifest(tar: tarfile.TarFile, member: tarfile.TarInfo | None, file: Path) -> tuple[Any, dict[str, _Listed]]:
    """Read the manifest, which comes first."""
    stream = tar.extractfile(member) if member is not None and member.size <= MOST_MANIFEST else None
    try:
        manifest: Any = json.loads(stream.read()) if stream is not None else None
        listed = {name: _Listed(each["size"], each["sha256"]) for name, each in manifest["files"].items()}
        if manifest["schema"] != SCHEMA or not isinstance(manifest["org"], str) or type(manifest["made_at"]) is not int:
            raise ValueError("another schema")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _bad("it has no manifest that this version of tocsin can read", file) from None
    return manifest, listed


def _copy(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path | None) -> str:
    """Return the SHA-256 of a member, written to a new file where one is given."""
    stream = tar.extractfile(member)
    if stream is None:  # `_members` let regular files through only
        raise RuntimeError("a file of the archive has no content")
    hashed = sha256()
    if target is not None:
        target.touch(mode=PRIVATE_FILE, exist_ok=False)
    with target.open("wb") if target is not None else nullcontext() as file:
        while chunk := stream.read(CHUNK):
            hashed.update(chunk)
            if file is not None:
                file.write(chunk)
        if file is not None:
            file.flush()
            os.fsync(file.fileno())
    return hashed.hexdigest()


def _bad(problem: str, file: Path) -> MalformedBackup:
    return MalformedBackup(f"the backup cannot be used: {problem}", where=str(file))
