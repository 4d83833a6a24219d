"""This module makes pages for several partners in one transaction, where they are asked for at the same time.

A record goes to many partners, whose streams all wake at once. To begin a
transaction, verify the policies in force, seal the decision log and write all
of it to the disk takes longer than a page of one record. So whoever asks while
pages are made is answered in the next round, with everybody else who has asked
by then. Each page is a part of it, and fails alone; where the whole round does,
each is made again in a round of its own.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final, NamedTuple

from tocsin.audit.entry import Entry
from tocsin.exchange.page import MAX_BYTES, MAX_ENTRIES
from tocsin.exchange.publish import weigh_for
from tocsin.identity.names import OrgId
from tocsin.records.record import VerifiedRecord
from tocsin.release.ledger import Proofs
from tocsin.release.office import Office
from tocsin.v1 import exchange_service_pb2 as v1

MOST_LOOKED_AT: Final = MAX_ENTRIES
"""Records looked at in one round, for whomever: as many as for one whole page, so that nobody waits longer to write."""
MOST_CHARACTERS: Final = 2 * MAX_BYTES
"""Of text that the partners of one round get among them, where it is more than one: two pages of it."""


class Shared(NamedTuple):
    """What the pages of one round share.

    That is the office of that moment, our log as it is shown (empty: nothing
    may be said of it now), the proofs from it, and the records that were
    loaded, by digest: to be loaded does not depend on whom they are for.
    """

    office: Office
    shown: str
    proofs: Proofs
    loaded: dict[str, VerifiedRecord | None]


class Made(NamedTuple):
    """A page (None: nothing goes), with the number of entries that went before, and of candidates off the queue.

    `log` is what is to be kept in the decision log, and `again` what is to be weighed once it is.
    """

    page: v1.Page | None
    again: int
    dropped: int
    log: Sequence[Entry] = ()
    weigh: Sequence[VerifiedRecord] = ()


@dataclass(slots=True, eq=False)
class Ask:
    """A page that is asked for: how it is made, and how many records, of how much text, are looked at for it."""

    partner: OrgId
    make: Callable[[Shared], Made]
    records: int
    characters: int
    now: int
    made: Made | None = None
    error: BaseException | None = None

    @property
    def is_answered(self) -> bool:
        """Say whether there is a page, or why there is none."""
        return self.made is not None or self.error is not None


class Rounds:
    """Where pages are asked for; may be used from any thread, outside of a transaction."""

    def __init__(self) -> None:
        self._asked: deque[Ask] = deque()
        self._turn = Lock()

    def answer(self, office: Office, ask: Ask) -> Made:
        """Make a page, in a round with whoever else asks for one. Raises what making it raises."""
        self._asked.append(ask)
        with self._turn:
            while not ask.is_answered:  # mostly by whoever was in front
                _hold(office, self._next())
        if ask.made is None or ask.error is not None:
            raise ask.error or RuntimeError("a page was asked for, and not answered")
        return ask.made

    def _next(self) -> list[Ask]:
        asks = [self._asked.popleft()]
        records, characters = asks[0].records, asks[0].characters
        while self._asked:
            records, characters = records + self._asked[0].records, characters + self._asked[0].characters
            if records > MOST_LOOKED_AT or characters > MOST_CHARACTERS:
                break
            asks.append(self._asked.popleft())
        return asks


def _hold(office: Office, asks: Sequence[Ask]) -> None:
    """Make the pages of a round; where it cannot be kept, each is made again in a round of its own.

    What makes one page fail, such as a disk without room for it, may end the transaction of them all.
    """
    error = _attempt(office, asks)
    if error is None:
        return
    if len(asks) == 1:
        asks[0].made, asks[0].error = None, asks[0].error or error  # its own tells more
        return
    for ask in asks:
        ask.made = ask.error = None
        _hold(office, (ask,))


def _attempt(office: Office, asks: Sequence[Ask]) -> BaseException | None:
    """Make pages in one transaction; return why it cannot be kept, and nobody has one, where a page may be why."""
    now, is_begun = max(ask.now for ask in asks), False
    try:
        with office.store.transaction():
            today = office.at_once()
            # Before any proof is made: a key that was dropped since may have signed the checkpoint that they lead to.
            shared = Shared(today, today.tlog.show(now=now), Proofs(office.store), {})
            is_begun = True
            for ask in asks:
                _make(shared, ask)
            made = [(ask, ask.made) for ask in asks if ask.made is not None]
            if entries := [entry for _, one in made for entry in one.log]:
                office.log.append(*entries, now=now)
            for ask, one in made:
                for record in one.weigh:
                    weigh_for(today, record, partners=(ask.partner,), now=now)
    except BaseException as error:  # noqa: BLE001 -- whoever asked raises it
        if is_begun:
            return error
        for ask in asks:
            ask.error = error
    return None


def _make(shared: Shared, ask: Ask) -> None:
    try:
        with shared.office.store.transaction():
            ask.made = ask.make(shared)
    except Exception as error:  # noqa: BLE001 -- whoever asked raises it, and the others have their pages
        ask.error = error
