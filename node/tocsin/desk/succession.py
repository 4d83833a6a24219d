"""This module knows the key files of a home, and which of them takes over when, by what the identity document says.

    keys/NAME.pem            in use; or NAME.uri, which says where the key is
    keys/NAME.next.pem       a new key, from before the document names it until its day has come
    keys/NAME-instead.pem    the same, where one waits already that must not be used: the key in use was stolen
    keys/NAME-draft.pem      a new key that a draft names, until the draft is adopted or counts no more
    identity/draft.tocsin    the draft that was made last, as it was made: the one that can be adopted

A new key is in its file before anything names it. So whatever is found half
done is settled by the document: a key that it does not name never was, one that
it names takes over at its time, and one that was revoked is gone.

The document says the time as the beginning of a key's or a certificate's
validity, which is a day earlier than its use, so that a clock that was put back
locks nobody out; of log and witness, which have no validity, in a member of its
own (docs/decisions/0029).
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tocsin.desk.layout import Layout, cause
from tocsin.desk.papers import load_organisation
from tocsin.desk.passphrase import find_passphrase
from tocsin.errors import HomeDamaged, HomeMissing, Overloaded, TocsinError
from tocsin.identity.certificate import BACKDATED, key_pin, spki_pin
from tocsin.identity.details import Details
from tocsin.identity.draft import Draft, parse_draft
from tocsin.identity.keys import PrivateKey, load_private_key, sync_folder
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.identity.signer import FileSigner, Signer, load_signer
from tocsin.identity.uri import URI_SUFFIX
from tocsin.identity.vkey import NoteAlgorithm, format_vkey, log_name, witness_name

ROTATED: Final = ("record", "delivery", "tls", "log", "witness")
"""The keys that can be replaced."""
_WAITING: Final = ("next", "instead", "draft")


def slot(layout: Layout, name: str, kind: str) -> Path:
    """Return the file of a key that waits: `next`, `instead` or `draft`."""
    return layout.key(f"{name}.next" if kind == "next" else f"{name}-{kind}")


def drafted_path(layout: Layout) -> Path:
    """Return where the draft lies that was made last."""
    return layout.document.with_name("draft.tocsin")


def name_of(org: OrgId, name: str, key: PrivateKey | Signer) -> str:
    """Return what the document calls a key: its id, the pin of its certificate, its verifier key."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key_pin(key.public_key())
    signer = FileSigner(key) if isinstance(key, Ed25519PrivateKey) else key
    if name == "log":
        return format_vkey(log_name(org), algorithm=NoteAlgorithm.ED25519, public_key=signer.public_key)
    if name == "witness":
        return format_vkey(witness_name(org), algorithm=NoteAlgorithm.COSIGNATURE_V1, public_key=signer.public_key)
    return signer.key_id


def key_in_use(layout: Layout, org: OrgId, name: str) -> str:
    """Return what the document calls the key in use, wherever it lies. Raises HomeDamaged and KeyExposed."""
    path, passphrase = layout.key(name), find_passphrase(layout)
    if name == "tls":
        return name_of(org, name, load_private_key(path, passphrase=passphrase))
    return name_of(org, name, load_signer(path, passphrase=passphrase))


def find_in_use(layout: Layout, organisation: Organisation, name: str) -> str:
    """Return what the document calls the key in use, also where the key is gone: its token, or its file.

    It is then the newest that does not wait. A file that is there and cannot
    be read is not gone: the passphrase may be another one.

    Raises HomeDamaged and KeyExposed.
    """
    try:
        return key_in_use(layout, organisation.org, name)
    except HomeDamaged:
        if layout.key(name).exists():
            raise
    waiting = load_waiting(layout, organisation.org, name).values()
    if name in ("log", "witness"):
        listed = organisation.log_vkeys if name == "log" else organisation.witness_vkeys
        return next(vkey for vkey in listed if vkey not in waiting)
    named = named_keys(organisation, name)
    return max((key for key in reversed(named) if key not in waiting), key=named.__getitem__)


def named_keys(details: Details, name: str) -> dict[str, int]:
    """Return the keys that may take over by what a document says, each with the time from which it may."""
    if name == "tls":
        return {spki_pin(der): _begins(der) + BACKDATED for der in details.node_certs}
    if name == "log":
        return {details.log_vkey: details.log_vkey_from or 0}
    if name == "witness":
        return {details.witness_vkey: details.witness_vkey_from or 0}
    listed = details.record_keys if name == "record" else details.delivery_keys
    return {key.key_id: key.not_before + BACKDATED for key in listed.values() if key.status != "revoked"}


def load_waiting(layout: Layout, org: OrgId, name: str) -> dict[str, str]:
    """Return what the document would call the keys that wait, by their kind. Raises HomeDamaged and KeyExposed."""
    waiting: dict[str, str] = {}
    for kind in _WAITING:
        path = slot(layout, name, kind)
        if path.exists():
            key = load_private_key(path, passphrase=find_passphrase(layout))
            waiting[kind] = name_of(org, name, key)
    return waiting


def settle_keys(layout: Layout, *, now: int) -> None:
    """Finish or undo what was begun, and let keys take over whose time has come. Raises HomeDamaged and KeyExposed."""
    slots = (slot(layout, name, kind) for name in ROTATED for kind in _WAITING)
    if any(path.exists() or _half(path).exists() for path in slots):
        with hold_keys(layout):
            settle(layout, load_organisation(layout), now=now)


def settle(layout: Layout, organisation: Organisation, *, now: int) -> None:
    """Do it for who holds the keys: move each key that waits where the document says that it belongs."""
    drafted = load_drafted(layout, organisation)
    for name in ROTATED:
        with written():
            for kind in _WAITING:
                _half(slot(layout, name, kind)).unlink(missing_ok=True)
        named = named_keys(organisation, name)
        for kind, key in load_waiting(layout, organisation.org, name).items():
            path, starts = slot(layout, name, kind), named.get(key)
            with written():
                if starts is not None and (starts <= now or not _may_go_on(layout, organisation, name)):
                    # It was in a token until now; both beside one another would open no more.
                    layout.key(name).with_suffix(URI_SUFFIX).unlink(missing_ok=True)
                    sync_folder(layout.keys)
                    path.replace(layout.key(name))
                elif starts is not None:
                    path.replace(slot(layout, name, "next"))
                elif not (kind == "draft" and drafted and key in named_keys(drafted.version.details, name)):
                    path.unlink()
                sync_folder(layout.keys)


def _may_go_on(layout: Layout, organisation: Organisation, name: str) -> bool:
    """Say whether the key in use still counts: one that was revoked or dropped gives way whatever the clock says."""
    try:
        in_use = key_in_use(layout, organisation.org, name)
    except HomeDamaged:  # it is gone
        return False
    if name == "log":
        return in_use in organisation.log_vkeys
    return in_use in (organisation.witness_vkeys if name == "witness" else named_keys(organisation, name))


def pending_keys(layout: Layout, organisation: Organisation) -> dict[str, int]:
    """Return the keys that wait to take over, each with the time from which it may."""
    waiting: dict[str, int] = {}
    for name in ROTATED:
        found = load_waiting(layout, organisation.org, name)
        named = named_keys(organisation, name) if found else {}
        for key in named.keys() & found.values():
            waiting[name] = named[key]
    return waiting


def load_drafted(layout: Layout, organisation: Organisation) -> Draft | None:
    """Return the draft that was made last, where it goes on from the document."""
    try:
        draft = parse_draft(drafted_path(layout).read_bytes())
    except (OSError, TocsinError):  # there is none, or it is of no use any more
        return None
    return draft if draft.before.number == organisation.version else None


def _begins(certificate: bytes) -> int:
    return int(x509.load_der_x509_certificate(certificate).not_valid_before_utc.timestamp())


def _half(path: Path) -> Path:
    """Return where a file is written before it has its name, as `save_private_key` does."""
    return path.with_name(f".{path.name}.new")


def save_whole(path: Path, content: bytes) -> None:
    """Put a file in its place in one step."""
    beside = _half(path)
    beside.unlink(missing_ok=True)  # a link that somebody has put there is not followed
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_folder(path.parent)


@contextmanager
def written() -> Iterator[None]:
    """Tell what the disk refuses; what was written until then is settled at the next opening."""
    try:
        yield
    except OSError as error:
        hint = "make room or mend the disk, and open the home again: it is as it was, or as it was to be"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = "keys or identity cannot be written: the disk is full"
            raise Overloaded(message, reason="NO_SPACE", hint=hint) from None
        raise HomeDamaged(f"keys or identity cannot be written: {cause(error)}", hint=hint) from None


@contextmanager
def hold_keys(layout: Layout) -> Iterator[None]:
    """Hold the folder of the keys; whoever else wants it waits. Raises HomeMissing and HomeDamaged."""
    if not layout.keys.exists() and not layout.document.exists():
        hint = "name another with --home or TOCSIN_HOME"
        raise HomeMissing("there is no home here", where=str(layout.root), hint=hint)
    try:
        folder = os.open(layout.keys, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise HomeDamaged(f"the keys cannot be read: {cause(error)}", where=str(layout.keys)) from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
