"""This module compares what two sides hold of the same logs: what we say, and what we make of what the other says.

Checkpoints of a log that is unknown here are passed over, and so is what is
wrong with the log of a third: it says nothing about whom we speak with. So is
what no key of ours has signed of our own; but whoever says it has not said how
much of our log it saw. Ours is shown by what `OwnLog.show` says, and not at all while it waits.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from tocsin.errors import Malformed, MalformedLog, NotFound, OriginStopped, RecordRefused
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.release.office import Office
from tocsin.tlog.checkpoint import parse_checkpoint
from tocsin.tlog.evidence import Kind
from tocsin.v1 import log_service_pb2 as v1
from tocsin.watch.growth import Growth, grow
from tocsin.watch.origins import Origins, Watch
from tocsin.watch.ours import Ours

_log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_CHECKPOINTS: Final = 1024
"""Of one comparison: with a handful of cosignatures each they take a megabyte."""
MOST_BYTES: Final = 2 * 1024 * 1024
"""Of the checkpoints in one message, each of which may have 64 cosignatures; evidence and a document go beside them."""
MOST_EVIDENCE: Final = 1024 * 1024
"""Bytes of evidence in one message; what does not fit goes from people to people."""


@dataclass(slots=True)
class Heard:
    """What a peer holds: of which logs more than we do, and of each how much.

    It is doubtful where something of our own log is signed by a key that is none of ours today.
    """

    wanted: dict[OrgId, int] = field(default_factory=dict)
    held: dict[OrgId, int] = field(default_factory=dict)
    doubtful: bool = False


class Comparison:
    """One comparison with a peer, at a moment."""

    def __init__(self, office: Office, origins: Origins, *, now: int) -> None:
        self._office = office
        self._logs = office.store.logs
        self._origins = origins
        self._now = now
        self._watch = Watch(office, origins, now=now)
        self._ours = Ours(office, now=now)

    def ask(self, peer: OrgId) -> v1.CompareRequest:
        """Return what we hold, for a peer to compare; never of our own log: it says first what it holds of that."""
        rows = [row for row in self._logs.list() if row.origin != self._office.organisation.org]
        origins = [OrgId(row.origin) for row in rows if self._origins(OrgId(row.origin))]
        origins.sort(key=lambda origin: origin != peer)  # what is left out for want of room is never the peer's own
        return v1.CompareRequest(
            checkpoints=self._checkpoints(origins),
            evidence=self._evidence(origin for origin in origins if origin != peer),
            known_version=self.organisation(peer).version,
        )

    def answer(self, peer: OrgId, request: v1.CompareRequest) -> v1.CompareResponse:
        """Hear what a peer holds, and return what we hold of the same logs, and our own.

        Raises Malformed and RecordRefused for what is wrong with its own log.
        """
        heard = self.hear(peer, request)
        self.said(peer, heard)
        ours = self._office.organisation.org
        named = [org for org in {peer: 0, **heard.held} if org != ours and self._origins(org)]
        texts = [shown] if (shown := self.shown()) else []
        texts += self._checkpoints(named)
        ours_is_newer = 0 < request.known_version < self._office.organisation.version
        return v1.CompareResponse(
            checkpoints=texts,
            evidence=self._evidence(org for org in named if org != peer),
            known_version=self.organisation(peer).version,
            identity=self._office.organisation.document if ours_is_newer else b"",
        )

    def hear(self, peer: OrgId, said: v1.CompareRequest | v1.CompareResponse) -> Heard:
        """Hold what a peer says it holds against what we hold; see `answer` for what it raises."""
        heard = Heard()
        for bundle in said.evidence:
            self._about_others(self._watch.keep_evidence, bundle)
        for text in said.checkpoints[:MOST_CHECKPOINTS]:
            try:
                checkpoint = parse_checkpoint(text).checkpoint
            except MalformedLog as error:
                heard.doubtful = True
                _log.info("what a peer says of some log is passed over: %s", error.reason)
                continue
            origin = OrgId(checkpoint.origin.removesuffix("/tocsin"))
            heard.held[origin] = max(checkpoint.size, heard.held.get(origin, 0))
            if self._is_wanted(peer, origin, text, heard):
                heard.wanted[origin] = max(checkpoint.size, heard.wanted.get(origin, 0))
        return heard

    def said(self, peer: OrgId, heard: Heard) -> None:
        """Take note that we have of our own log what a peer has seen of it, if we do."""
        ours = self._office.organisation.org
        if not heard.doubtful and heard.held.get(ours, 0) <= self._logs.get(ours).size:
            self._ours.said(peer)

    def size(self, origin: OrgId) -> int:
        """Return how many entries of a log are held."""
        return self._logs.get(origin).size

    def extend(self, peer: OrgId, origin: OrgId, growth: Growth, *, given: bool = False) -> int:
        """Take over entries of a log that a peer has; see `Watch.extend` and `Ours.extend`. Raises NotFound as well.

        Those of our own log that are `given`, and not asked for, are all that the peer has, once there are no more.
        """
        if origin == self._office.organisation.org:
            size = self._ours.extend(growth, by=peer)
            if given and size >= parse_checkpoint(growth.checkpoint).checkpoint.size:
                self._ours.said(peer)
            return size
        return self._watch.extend(self.organisation(origin), growth)

    def growth(self, origin: OrgId, start: int) -> Growth | None:
        """Return how a log that we hold, or our own, goes on behind an entry; None: it does not."""
        if self._origins(origin) is None:
            return None
        with self._office.store.transaction():  # it is one log that is read, whoever writes to it
            if origin != self._office.organisation.org:
                return grow(self._logs, origin, start=start)
            shown = self.shown()
            growth = grow(self._logs, origin, start=start) if shown else None
            return replace(growth, checkpoint=shown) if growth else None

    def origins(self) -> tuple[OrgId, ...]:
        """Return the logs that anything is held of, our own among them."""
        return tuple(OrgId(row.origin) for row in self._logs.list())

    def shown(self) -> str:
        """Return our own checkpoint as we show it now; empty while our log waits."""
        with self._office.store.transaction():
            return self._office.tlog.show(now=self._now)

    def verify_taking(self, origin: OrgId) -> None:
        """Refuse an origin of which nothing is taken. Raises OriginStopped."""
        self._watch.verify_taking(origin)

    def organisation(self, org: OrgId) -> Organisation:
        """Return an organisation whose keys count here. Raises NotFound."""
        known = self._origins(org)
        if known is None:
            raise NotFound(f"the log of {org} is not known here")
        return known

    def _is_wanted(self, peer: OrgId, origin: OrgId, text: str, heard: Heard) -> bool:
        """Look at a checkpoint of whoever's log it is."""
        if origin == peer:
            return self._look(text)
        if origin != self._office.organisation.org:
            return self._about_others(self._watch.look, text)
        try:
            return self._ours.look(text, by=self.organisation(peer))
        except (Malformed, RecordRefused) as error:  # such as one that a key has signed which was stolen since
            heard.doubtful = True
            _log.info("what a peer says of our own log is passed over: %s", error.reason)
            return False

    def _look(self, text: str) -> bool:
        """Look at the log of whom we speak with; that it was caught is said at the end, when the others were heard."""
        try:
            return self._watch.look(text)
        except OriginStopped:
            return False

    def _about_others(self, look: Callable[[T], bool | None], said: T) -> bool:
        """Look at something about a third, which must not keep us from speaking with whoever says it."""
        try:
            return bool(look(said))
        except OriginStopped:
            return False
        except (Malformed, RecordRefused) as error:
            _log.info("what a peer says of the log of another is passed over: %s", error.reason)
            return False

    def _checkpoints(self, origins: Iterable[OrgId]) -> list[str]:
        """Return the newest checkpoint of each of some logs, as far as they fit."""
        found, room = list[str](), MOST_BYTES
        for origin in origins:
            text = self._logs.get(origin).checkpoint
            if text and len(text) <= room and len(found) < MOST_CHECKPOINTS:
                found.append(text)
                room -= len(text)
        return found

    def _evidence(self, origins: Iterable[OrgId]) -> list[bytes]:
        """Return the newest evidence against each of some origins, as far as it fits."""
        found, room = [], MOST_EVIDENCE
        for origin in origins:
            rows = [row for row in self._logs.evidence(origin) if row.kind != Kind.RECORD]
            if rows and len(rows[-1].bundle) <= room:
                found.append(rows[-1].bundle)
                room -= len(rows[-1].bundle)
        return found
