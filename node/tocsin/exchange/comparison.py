"""This module compares what two sides hold of the same logs: what we say, and what we make of what the other says.

Checkpoints of a log that is unknown here are passed over, and so is what is
wrong with the log of a third: it says nothing about whom we speak with. Our
own log is shown by what `OwnLog.show` says, and not at all while it waits.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from tocsin.errors import Malformed, NotFound, OriginStopped, RecordRefused
from tocsin.exchange.growth import Growth, grow
from tocsin.exchange.ours import Ours
from tocsin.exchange.watch import Origins, Watch
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.release.office import Office
from tocsin.tlog.checkpoint import parse_checkpoint
from tocsin.tlog.evidence import Kind
from tocsin.v1 import log_service_pb2 as v1

_log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_CHECKPOINTS: Final = 1024
"""Of one comparison: with a handful of cosignatures each they take a megabyte."""
MOST_EVIDENCE: Final = 1024 * 1024
"""Bytes of evidence in one message; what does not fit goes from people to people."""


@dataclass(slots=True)
class Heard:
    """What a peer holds: of which logs more than we do, and of each how much."""

    wanted: dict[OrgId, int] = field(default_factory=dict)
    held: dict[OrgId, int] = field(default_factory=dict)


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
        rows = [row for row in self._logs.list() if row.origin != self._office.organisation.org and row.checkpoint]
        rows = [row for row in rows if self._origins(OrgId(row.origin))][:MOST_CHECKPOINTS]
        evidence = self._evidence(OrgId(row.origin) for row in rows if row.origin != peer)
        return v1.CompareRequest(
            checkpoints=[row.checkpoint for row in rows],
            evidence=evidence,
            known_version=self.organisation(peer).version,
        )

    def answer(self, peer: OrgId, request: v1.CompareRequest) -> v1.CompareResponse:
        """Hear what a peer holds, and return what we hold of the same logs, and our own.

        Raises Malformed and RecordRefused for what is wrong with its own log.
        """
        heard = self.hear(peer, request)
        ours = self._office.organisation.org
        if ours not in heard.wanted:
            self._ours.said(peer)
        named = [org for org in {**heard.held, peer: 0} if org != ours]
        texts = [text for org in named if (text := self._logs.get(org).checkpoint)]
        if shown := self.shown():
            texts.append(shown)
        ours_is_newer = 0 < request.known_version < self._office.organisation.version
        return v1.CompareResponse(
            checkpoints=texts,
            evidence=self._evidence(org for org in named if org != peer),
            known_version=self.organisation(peer).version,
            identity=self._office.organisation.document if ours_is_newer else b"",
        )

    def hear(self, peer: OrgId, said: v1.CompareRequest | v1.CompareResponse) -> Heard:
        """Hold what a peer says it holds against what we hold; see `answer` for what it raises."""
        by, heard = self.organisation(peer), Heard()
        for bundle in said.evidence:
            self._about_others(self._watch.keep_evidence, bundle)
        for text in said.checkpoints[:MOST_CHECKPOINTS]:
            checkpoint = parse_checkpoint(text).checkpoint
            origin = OrgId(checkpoint.origin.removesuffix("/tocsin"))
            if origin == self._office.organisation.org:
                is_wanted = self._ours.look(text, by=by)
            elif origin == peer:
                is_wanted = self._look(text)
            else:
                is_wanted = self._about_others(self._watch.look, text)
            heard.held[origin] = max(checkpoint.size, heard.held.get(origin, 0))
            if is_wanted:
                heard.wanted[origin] = checkpoint.size
        return heard

    def said(self, peer: OrgId) -> None:
        """Take note that we have of our own log what a peer has seen of it."""
        self._ours.said(peer)

    def size(self, origin: OrgId) -> int:
        """Return how many entries of a log are held."""
        return self._logs.get(origin).size

    def extend(self, peer: OrgId, origin: OrgId, growth: Growth) -> int:
        """Take over entries of a log that a peer has; see `Watch.extend` and `Ours.extend`. Raises NotFound as well."""
        if origin == self._office.organisation.org:
            size = self._ours.extend(growth, by=peer)
            if size >= parse_checkpoint(growth.checkpoint).checkpoint.size:
                self._ours.said(peer)
            return size
        return self._watch.extend(self.organisation(origin), growth)

    def growth(self, origin: OrgId, start: int) -> Growth | None:
        """Return how a log that we hold, or our own, goes on behind an entry; None: it does not."""
        if origin != self._office.organisation.org:
            return grow(self._logs, origin, start=start)
        with self._office.store.transaction():
            shown = self.shown()
            growth = grow(self._logs, origin, start=start) if shown else None
            return replace(growth, checkpoint=shown) if growth else None

    def origins(self) -> tuple[OrgId, ...]:
        """Return the logs that anything is held of, our own among them."""
        return tuple(OrgId(row.origin) for row in self._logs.list())

    def shown(self) -> str:
        """Return our own checkpoint as we show it now; empty while our log waits."""
        with self._office.store.transaction():
            own = self._office.organisation.org
            return "" if self._logs.get(own).stopped else self._office.tlog.show(now=self._now)

    def verify_taking(self, origin: OrgId) -> None:
        """Refuse an origin of which nothing is taken. Raises OriginStopped."""
        self._watch.verify_taking(origin)

    def organisation(self, org: OrgId) -> Organisation:
        """Return an organisation whose keys count here. Raises NotFound."""
        known = self._origins(org)
        if known is None:
            raise NotFound(f"the log of {org} is not known here")
        return known

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

    def _evidence(self, origins: Iterable[OrgId]) -> list[bytes]:
        """Return the newest evidence against each of some origins, as far as it fits."""
        found, room = [], MOST_EVIDENCE
        for origin in origins:
            rows = [row for row in self._logs.evidence(origin) if row.kind != Kind.RECORD]
            if rows and len(rows[-1].bundle) <= room:
                found.append(rows[-1].bundle)
                room -= len(rows[-1].bundle)
        return found
