"""This module opens a home: the folder that holds everything an organisation's node owns.

Opening goes in this order, and each step that fails has its own error, so that
people know which part to mend:

1. the folder is a home (HOME_MISSING) and is whole (HOME_DAMAGED)
2. nobody else holds it (HOME_LOCKED)
3. a change of keys that was begun is finished or undone, as the identity document says (tocsin.desk.rotation)
4. the identity document verifies (HOME_DAMAGED) and has not expired (IDENTITY_EXPIRED); the key files are ours
   alone (KEY_EXPOSED), readable, and named in the document (HOME_DAMAGED)
5. the store reads as it was written (STORE_CORRUPT)
6. the last row of the decision log is sealed, where an earlier version left it open
7. the decision log says which keys count from now on, where they are others than before
8. the transparency log is the one that was signed (LOG_INCONSISTENT), and is signed with the key of today; what was
   issued before there was one is entered

The policies in force are in the store, and are verified each time that they
are asked for: a home in which none are believed opens, and shares nothing.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tocsin.audit.log import Log
from tocsin.desk.inforce import load_in_force
from tocsin.desk.layout import PRIVATE_FILE, Layout, cause
from tocsin.desk.papers import Papers, load_papers, note_papers
from tocsin.desk.succession import settle_keys
from tocsin.errors import HomeDamaged, HomeLocked, HomeMissing
from tocsin.identity.certificate import TlsKeys
from tocsin.identity.root import Organisation, named_log_vkeys
from tocsin.identity.signer import Signer
from tocsin.policy.model import PolicySet
from tocsin.release.known import Known
from tocsin.release.ledger import enter_earlier
from tocsin.store.protocol import Store
from tocsin.store.sqlite import open_store
from tocsin.tlog.log import OwnLog


class Home:
    """An open home, held until it is closed."""

    def __init__(
        self,
        layout: Layout,
        *,
        papers: Papers,
        store: Store,
        log: Log,
        resources: ExitStack,
    ) -> None:
        """Take over what was opened; `resources` closes it again."""
        self.layout = layout
        self.papers = papers
        self.store = store
        self.log = log
        self.known = Known()  # of whoever works in it: what is posted is sent, and what is erased is forgotten by all
        self._resources = resources

    @property
    def organisation(self) -> Organisation:
        """Return who we are."""
        return self.papers.organisation

    @property
    def record_signer(self) -> Signer:
        """Return what signs records."""
        return self.papers.record_signer

    @property
    def delivery_signer(self) -> Signer:
        """Return what signs pages, receipts and the decision log."""
        return self.papers.delivery_signer

    @property
    def tlog(self) -> OwnLog:
        """Return the transparency log of what we issue."""
        return own_log(self.store, self.papers)

    @property
    def tls(self) -> TlsKeys:
        """Return what the node shows to whom it speaks with."""
        return self.papers.tls

    @property
    def policies(self) -> PolicySet:
        """Return the policies in force, verified; an empty set, with the problem, where they are not believed."""
        return load_in_force(self.store, self.organisation)

    def renew(self, papers: Papers, *, now: int) -> None:
        """Go on under a newer document, or with other keys; who has read the old ones finishes with them."""
        log = Log(self.store, org=papers.organisation.org, signer=papers.delivery_signer)
        with self.store.transaction():
            verify_own_log(self.store, papers, now=now)
            note_papers(log, self.store, papers, now=now)
        self.papers, self.log = papers, log

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
        opening.enter_context(hold(layout))  # 1. 2.
        settle_keys(layout, now=now)  # 3.
        papers = load_papers(layout, now=now)  # 4.
        store = open_store(layout.store)  # 5.
        opening.callback(store.close)
        log = Log(store, org=papers.organisation.org, signer=papers.delivery_signer)
        log.seal_tail(now=now)  # 6.
        note_papers(log, store, papers, now=now)  # 7.
        verify_own_log(store, papers, now=now)  # 8.
        enter_earlier(store, own_log(store, papers), now=now)
        return Home(
            layout,
            papers=papers,
            store=store,
            log=log,
            resources=opening.pop_all(),
        )


def own_log(store: Store, papers: Papers) -> OwnLog:
    """Return the transparency log of what an organisation issues."""
    return OwnLog(store.logs, papers.organisation.org, papers.log_signer, papers.witness_signer)


def verify_own_log(store: Store, papers: Papers, *, now: int) -> None:
    """Verify that our log is the one that we signed; where another key signs today, sign the same tree again with it.

    The key that signed it may be one that no document names any more: it was
    stolen, and what it signed counts for nobody else.

    Raises LogInconsistent.
    """
    log = own_log(store, papers)
    with store.transaction():
        if log.is_current():
            log.verify((log.vkey,))
        else:
            log.verify(named_log_vkeys(papers.organisation))
            log.sign(papers.log_signer, now=now)


@contextmanager
def hold(layout: Layout) -> Iterator[None]:
    """Hold a home that is whole. Raises HomeMissing, HomeDamaged, and HomeLocked while another process does."""
    _verify_whole(layout)
    descriptor = _take_lock(layout.lock)
    try:
        yield
    finally:
        os.close(descriptor)


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
        is_key = len(missing) == 1 and missing[0].startswith("keys/")
        other = "replace the key: tocsin keys rotate NAME --overlap 0" if is_key else "move it away and make a new one"
        raise HomeDamaged(
            f"the home lacks {missing[0]}" + (f" and {len(missing) - 1} more" if missing[1:] else ""),
            where=str(layout.root),
            hint=f"restore the home from a backup, or {other}",
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
