"""This module opens a home: the folder that holds everything an organisation's node owns.

Opening goes in this order, and each step that fails has its own error, so that
people know which part to mend:

1. the folder is a home (HOME_MISSING) and is whole (HOME_DAMAGED)
2. nobody else holds it (HOME_LOCKED)
3. the identity document verifies (HOME_DAMAGED) and has not expired (IDENTITY_EXPIRED)
4. the key files are ours alone (KEY_EXPOSED), readable, and named in the document (HOME_DAMAGED)
5. the store reads as it was written (STORE_CORRUPT)
6. the last row of the decision log is sealed, where an earlier version left it open

The policies in force are in the store, and are verified each time that they
are asked for: a home in which none are believed opens, and shares nothing.
"""

import fcntl
import os
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tocsin.audit.log import Log
from tocsin.desk.inforce import load_in_force
from tocsin.desk.layout import PRIVATE_FILE, Layout, cause
from tocsin.desk.passphrase import find_passphrase
from tocsin.errors import (
    HomeDamaged,
    HomeLocked,
    HomeMissing,
    IdentityExpired,
    MalformedEncoding,
    MalformedIdentity,
)
from tocsin.identity.certificate import TlsKeys, certificate_pem, key_pin, spki_pin
from tocsin.identity.keys import load_private_key
from tocsin.identity.root import Organisation, parse_identity
from tocsin.identity.signer import Signer, load_signer
from tocsin.policy.model import PolicySet
from tocsin.store.protocol import Store
from tocsin.store.sqlite import open_store

RESTORE = "restore it from a backup of the home"


class Home:
    """An open home, held until it is closed."""

    def __init__(
        self,
        layout: Layout,
        *,
        organisation: Organisation,
        record_signer: Signer,
        delivery_signer: Signer,
        tls: TlsKeys,
        store: Store,
        log: Log,
        resources: ExitStack,
    ) -> None:
        """Take over what was opened; `resources` closes it again."""
        self.layout = layout
        self.organisation = organisation
        self.record_signer = record_signer
        self.delivery_signer = delivery_signer
        self.tls = tls
        self.store = store
        self.log = log
        self._resources = resources

    @property
    def policies(self) -> PolicySet:
        """Return the policies in force, verified; an empty set, with the problem, where they are not believed."""
        return load_in_force(self.store, self.organisation)

    def close(self) -> None:
        """Close the store and let go of the lock; closing twice does nothing more."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_home(root: Path, *, now: int) -> Home:
    """Open a home and hold it, in the order above."""
    layout = Layout(root.expanduser().absolute())
    with ExitStack() as opening:
        _verify_whole(layout)  # 1.
        opening.callback(os.close, _take_lock(layout.lock))  # 2.
        organisation = _load_organisation(layout, now=now)  # 3.
        record_signer, delivery_signer, tls = _load_keys(layout, organisation, now=now)  # 4.
        store = open_store(layout.store)  # 5.
        opening.callback(store.close)
        log = Log(store, org=organisation.org, signer=delivery_signer)
        log.seal_tail(now=now)  # 6.
        return Home(
            layout,
            organisation=organisation,
            record_signer=record_signer,
            delivery_signer=delivery_signer,
            tls=tls,
            store=store,
            log=log,
            resources=opening.pop_all(),
        )


def _verify_whole(layout: Layout) -> None:
    """Tell a folder that is no home from a home with a part missing, naming every such part."""
    try:
        missing = tuple(layout.relative(path) for path in layout.missing())
        is_home = any(path.exists() for path in (layout.settings, layout.keys, layout.document, layout.store))
    except OSError as error:
        hint = "name another folder, or run as the user whose home it is"
        raise HomeDamaged(f"the home cannot be read: {cause(error)}", where=str(layout.root), hint=hint) from None
    if not is_home:
        raise HomeMissing(
            "there is no home here",
            where=str(layout.root),
            hint="make one with `tocsin init ORG`, or name another with --home or TOCSIN_HOME",
        )
    if missing:
        raise HomeDamaged(
            f"the home lacks {missing[0]}" + (f" and {len(missing) - 1} more" if missing[1:] else ""),
            where=str(layout.root),
            hint="restore the home from a backup, or move it away and make a new one",
            details=tuple(f"missing: {path}" for path in missing),
        )


def _take_lock(path: Path) -> int:
    """Hold the lock file until the descriptor is closed, or the process ends, however it ends."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE)
    except OSError as error:
        message = f"the lock cannot be opened: {cause(error)}"
        raise HomeDamaged(message, where=str(path), hint=f"remove the file, or: chmod 600 {path}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        locked = _locked(path, holder=os.pread(descriptor, 20, 0))
        os.close(descriptor)
        raise locked from None
    with suppress(OSError):  # who holds it is a courtesy: a full disk must not lock people out
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
    return descriptor


def _locked(path: Path, *, holder: bytes) -> HomeLocked:
    number = holder.decode("ascii", "replace").strip()
    by = f"process {number}" if number.isdecimal() else "another process"
    return HomeLocked(f"{by} holds the home", where=str(path.parent), hint="wait for it to end, or stop the node")


def _load_organisation(layout: Layout, *, now: int) -> Organisation:
    where = str(layout.document)
    try:
        organisation = parse_identity(layout.document.read_bytes(), now=now, check_expiry=False)
    except OSError as error:
        raise HomeDamaged(f"the identity document cannot be read: {cause(error)}", where=where, hint=RESTORE) from None
    except (MalformedIdentity, MalformedEncoding) as error:
        raise HomeDamaged(
            f"the identity document does not verify: {error.message}", where=where, hint=RESTORE
        ) from error
    if organisation.expires <= now:
        expired = datetime.fromtimestamp(organisation.expires, UTC).date().isoformat()
        raise IdentityExpired(
            f"the identity document of {organisation.org} expired on {expired}",
            where=where,
            hint="put the next version in its place, signed with the root key, and send it to your peers",
        )
    return organisation


def _load_keys(layout: Layout, organisation: Organisation, *, now: int) -> tuple[Signer, Signer, TlsKeys]:
    """Read the keys that the node works with, and see that peers will believe them today."""
    passphrase = find_passphrase(layout)
    record = load_signer(layout.key("record"), passphrase=passphrase)
    delivery = load_signer(layout.key("delivery"), passphrase=passphrase)
    for name, signer, keys in (
        ("record", record, organisation.record_keys),
        ("delivery", delivery, organisation.delivery_keys),
    ):
        _verify_named(layout, name, signer.key_id in keys and keys[signer.key_id].is_valid_at(now))
    key = load_private_key(layout.key("tls"), passphrase=passphrase)
    pin = key_pin(key.public_key())
    certificate = next((der for der in organisation.node_certs if spki_pin(der) == pin), b"")
    _verify_named(layout, "tls", bool(certificate))
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return record, delivery, TlsKeys(plain, certificate_pem(certificate))


def _verify_named(layout: Layout, name: str, named: bool) -> None:
    if not named:
        path = layout.relative(layout.key(name))
        message = "the identity document does not name this key for today, so no peer would believe it"
        raise HomeDamaged(message, where=path, hint="restore key and identity document from the same backup")
