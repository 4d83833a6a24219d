"""This module replaces a key of a home, and renews the identity document, so that a crash at any point undoes nothing.

    1. keys/NAME.next.pem                   the new key, which nobody knows yet
    2. identity/document.tocsin             the next version, which names it beside the old one
    3. keys/NAME.next.pem -> keys/NAME.pem  when its time has come

Each step is one move of a file. Whatever is found half done is settled at the
next opening by what the document says: a key that it does not name never was,
one that it names takes over at its time. That time can lie ahead, so that
partners have the document before they meet the key: the overlap.

The old key goes on until then. A record or delivery key is `retired` in the
same version and ends a day after: what it signed stands. Of certificates the
old and the new one are named, and earlier ones go.

The root keys sign the document, and must be here for that: in the home, or
named. Who rotates holds the folder of the keys, so that two cannot at once.
"""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from tocsin.desk.founding import KEY_DAYS
from tocsin.desk.layout import Layout, cause
from tocsin.desk.papers import load_organisation
from tocsin.desk.passphrase import find_passphrase
from tocsin.errors import Conflict, HomeDamaged, HomeMissing, MalformedIdentity, Overloaded
from tocsin.identity.certificate import BACKDATED, DAY, key_pin, make_certificate, spki_pin
from tocsin.identity.details import RecordKey, index_keys
from tocsin.identity.keys import (
    PrivateKey,
    generate_ed25519,
    generate_p256,
    load_private_key,
    save_private_key,
    sync_folder,
)
from tocsin.identity.root import Organisation, next_version
from tocsin.identity.signer import FileSigner, Signer, load_signer

ROTATED: Final = ("record", "delivery", "tls")
"""The keys that can be replaced; those of the transparency log have statements of their own to make about it."""

GRACE_SECONDS = DAY
"""How long a retired key still counts: a running node goes on with it until it looks at its keys again."""
DEFAULT_OVERLAP_DAYS = 7
MOST_OVERLAP_DAYS = 90


@dataclass(frozen=True, slots=True)
class Rotated:
    """Say what came of it: the organisation by its new document, and from when the new key is used."""

    organisation: Organisation
    takes_over_at: int


def rotate_key(
    layout: Layout,
    name: str,
    *,
    now: int,
    random: Callable[[int], bytes],
    overlap: int = 0,
    root_keys: Sequence[Path] = (),
) -> Rotated:
    """Replace a key by a new one, which takes over `overlap` seconds from now.

    Raises Conflict where the key before waits to take over, MalformedIdentity
    where the root keys here cannot sign, KeyExposed and HomeDamaged for files.
    """
    with hold_keys(layout):
        held = load_organisation(layout)
        _settle(layout, held, now=now)
        path = _next_path(layout, name)
        if path.exists():
            message = f"a new {name} key waits to take over already"
            raise Conflict(message, reason="CONFLICT", hint="see when with: tocsin doctor")
        passphrase = find_passphrase(layout)
        key = generate_p256(random) if name == "tls" else generate_ed25519(random)
        details = _with_key(layout, held, name, key, starts=now + overlap, passphrase=passphrase, random=random)
        document = _sign(layout, held, details, root_keys=root_keys, passphrase=passphrase, now=now)
        with _written():
            save_private_key(path, key, passphrase=passphrase)
            _save_document(layout, document)
        organisation = load_organisation(layout)
        _settle(layout, organisation, now=now)
    return Rotated(organisation, now + overlap)


def renew_document(layout: Layout, *, now: int, root_keys: Sequence[Path] = ()) -> Organisation:
    """Sign the next version of the identity document, which says the same and is valid for another year.

    Raises MalformedIdentity where the root keys here cannot sign, KeyExposed and HomeDamaged for files.
    """
    with hold_keys(layout):
        held = load_organisation(layout)
        document = _sign(layout, held, held, root_keys=root_keys, passphrase=find_passphrase(layout), now=now)
        with _written():
            _save_document(layout, document)
        return load_organisation(layout)


def settle_keys(layout: Layout, *, now: int) -> None:
    """Finish or undo what was begun, and let keys take over whose time has come. Raises HomeDamaged and KeyExposed."""
    if any(path.exists() for name in ROTATED for path in (_next_path(layout, name), _half(layout, name))):
        with hold_keys(layout):
            _settle(layout, load_organisation(layout), now=now)


def pending_keys(layout: Layout, organisation: Organisation) -> dict[str, int]:
    """Return the keys that wait to take over, each with the time from which it may."""
    waiting: dict[str, int] = {}
    for name in ROTATED:
        if _next_path(layout, name).exists():
            starts = _starts_at(layout, organisation, name, passphrase=find_passphrase(layout))
            waiting |= {} if starts is None else {name: starts}
    return waiting


def _settle(layout: Layout, organisation: Organisation, *, now: int) -> None:
    """Do the third step for each key where the second was done, or take the first one back."""
    for name in ROTATED:
        with _written():
            _half(layout, name).unlink(missing_ok=True)
        path = _next_path(layout, name)
        if not path.exists():
            continue
        starts = _starts_at(layout, organisation, name, passphrase=find_passphrase(layout))
        with _written():
            if starts is None:
                path.unlink()
            elif starts <= now:
                path.replace(layout.key(name))
            sync_folder(layout.keys)


def _starts_at(layout: Layout, organisation: Organisation, name: str, *, passphrase: bytes | None) -> int | None:
    """Return when the next key takes over by what the document says; None where it is not named there."""
    key = load_private_key(_next_path(layout, name), passphrase=passphrase)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        pin = key_pin(key.public_key())
        begins = [_begins(der) for der in organisation.node_certs if spki_pin(der) == pin]
    else:
        named = organisation.record_keys if name == "record" else organisation.delivery_keys
        key_id = FileSigner(key).key_id
        begins = [named[key_id].not_before] if key_id in named else []
    return begins[0] + BACKDATED if begins else None


def _begins(certificate: bytes) -> int:
    return int(x509.load_der_x509_certificate(certificate).not_valid_before_utc.timestamp())


def _with_key(
    layout: Layout,
    held: Organisation,
    name: str,
    key: PrivateKey,
    *,
    starts: int,
    passphrase: bytes | None,
    random: Callable[[int], bytes],
) -> Organisation:
    """Return what the next version says: the new key from its time on, the old one until then and for a grace.

    Validity begins a day before a key is used, as for every key: a clock that
    is put back must not lock a node out.
    """
    old = load_private_key(layout.key(name), passphrase=passphrase)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        pin = key_pin(old.public_key())
        kept = tuple(der for der in held.node_certs if spki_pin(der) == pin)
        return replace(held, node_certs=(*kept, make_certificate(held.org, private_key=key, now=starts, random=random)))
    signer, retired = FileSigner(key), load_signer(layout.key(name), passphrase=passphrase).key_id
    listed = [
        replace(each, status="retired", not_after=min(each.not_after, starts + GRACE_SECONDS))
        if each.key_id == retired
        else each
        for each in (held.record_keys if name == "record" else held.delivery_keys).values()
    ]
    listed.append(
        RecordKey(
            key_id=signer.key_id,
            public_key=signer.public_key,
            status="active",
            not_before=starts - BACKDATED,
            not_after=starts + KEY_DAYS * DAY,
        )
    )
    keys = index_keys(listed)
    return replace(held, record_keys=keys) if name == "record" else replace(held, delivery_keys=keys)


def _sign(
    layout: Layout,
    held: Organisation,
    details: Organisation,
    *,
    root_keys: Sequence[Path],
    passphrase: bytes | None,
    now: int,
) -> bytes:
    """Return the next version of the document under the root keys that are here."""
    paths = tuple(root_keys) or layout.root_keys_here()
    hint = "bring the root keys from where they lie offline, and name each with --root-key FILE"
    if not paths:
        raise MalformedIdentity("no root key is here to sign with", reason="BAD_IDENTITY", hint=hint)
    signers: list[Signer] = [load_signer(path, passphrase=passphrase) for path in paths]
    try:
        return next_version(held, details, signers=signers, now=now)
    except MalformedIdentity as error:
        raise MalformedIdentity(error.message, reason=error.reason, hint=hint) from error


def _next_path(layout: Layout, name: str) -> Path:
    return layout.key(f"{name}.next")


def _half(layout: Layout, name: str) -> Path:
    """Return where `save_private_key` writes the next key before it has its name."""
    path = _next_path(layout, name)
    return path.with_name(f".{path.name}.new")


def _save_document(layout: Layout, document: bytes) -> None:
    """Put a document in its place in one step."""
    beside = layout.document.with_name(f".{layout.document.name}.new")
    with beside.open("wb") as file:
        file.write(document)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(layout.document)
    sync_folder(layout.document.parent)


@contextmanager
def _written() -> Iterator[None]:
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
