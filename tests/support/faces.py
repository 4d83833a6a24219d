"""This module gives an organisation two faces: the same keys, and two stores that were one, for different people.

    stage = Stage(folder, seed=7, honest=(LAB_B, AISI))
    stage.run(director)

    face.log(entry) · stage.copy(face) · await stage.show(face, LAB_B) · await stage.meet(LAB_B, AISI)

Everybody has a real store, a real side and the real services, and does nothing
by itself: who speaks with whom, and when, is for the director to say. A face is
what somebody gets who copies a home, and takes out of the program what keeps an
honest node from showing two histories: it is deaf to what others hold of its
log. Which face is at home when somebody dials is for the director as well.
"""

import asyncio
import hashlib
import logging
import random
import shutil
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tests.support.chaos import Network, Port
from tests.support.loop import VirtualLoop
from tests.support.simulator import LAB_A, Life, Node, make_task
from tocsin.errors import OriginStopped, PeerRefused
from tocsin.exchange.client import PEER_REASON
from tocsin.exchange.entry import PageEntry, disclosed_paths
from tocsin.exchange.gossip import compare
from tocsin.exchange.page import build_page
from tocsin.exchange.pull import pull_feed
from tocsin.exchange.side import Side
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.identity.vkey import log_name
from tocsin.records.disclosure import digest_of
from tocsin.records.record import VerifiedRecord
from tocsin.store.model import EntryKind
from tocsin.tlog.checkpoint import parse_checkpoint
from tocsin.tlog.proof import format_proof
from tocsin.v1 import exchange_service_pb2
from tocsin.v1 import log_service_pb2 as v1
from tocsin.watch.comparison import Comparison
from tocsin.watch.growth import Growth

FEED = "A" * 22
"""The one feed of every face."""


class Still(Node):
    """A node that answers, and calls nobody by itself."""

    def start(self) -> None:
        """Open the store, and listen."""
        super().start()
        assert self._life is not None
        self.port = self._port(self._life)
        self._listen()

    def entries(self, origin: OrgId = LAB_A) -> tuple[bytes, ...]:
        """Return what it holds of a log."""
        return self.store.logs.entries(origin, start=0, limit=100_000)

    def _listen(self) -> None:
        for endpoint in self.founded.organisation.endpoints:
            self._federation.network.listen(endpoint, self.port)

    async def _run(self, life: Life) -> None:
        """Do nothing by itself."""


class Face(Still):
    """One store of an organisation that has several."""

    side: "_DeafSide"

    def start(self) -> None:
        """Open the store, deaf to what others say of the log; the director says for whom it is at home."""
        super().start()
        self.side = _DeafSide(**{one.name: getattr(self.side, one.name) for one in fields(Side)})
        assert self._life is not None
        self.port: Port = self._port(self._life)

    def log(self, *entries: bytes) -> None:
        """Enter something in the log, whatever it stands for."""
        if entries:
            with self.store.transaction():
                self.office.tlog.append(entries, now=self.now())
                self.office.tlog.sign(self.office.tlog.signer, now=self.now())

    def prove(self, entry: bytes) -> str:
        """Return the proof that something is in its log."""
        proof = self.office.tlog.prove(entry)
        assert proof is not None
        return format_proof(proof)

    def page(self, record: VerifiedRecord, to: Still, *, proof: str) -> exchange_service_pb2.Page:
        """Return the page with which it sends a record, behind all that somebody has of it."""
        before = to.store.intake.cursor(self.org)
        number = before.sequence + 1 if before else 1
        entry = PageEntry(
            number,
            EntryKind.RECORD,
            record.digest,
            record.token,
            disclosed=disclosed_paths(record, record.token.split("~")[1:-1]),
            tag=digest_of(f"{FEED} {number}")[:10] + "A",
            proof=proof,
        )
        return build_page(
            [entry],
            feed_id=FEED,
            sender=self.org,
            audience=to.org,
            checkpoint=self.shown(),
            signer=self.founded.delivery,
            now=self.now(),
            more=False,
        )

    def shown(self) -> str:
        """Return its checkpoint, dated, as it shows it now."""
        return self.side.comparison().shown()

    @property
    def dated(self) -> int:
        """Return the time that it said last."""
        return self.store.logs.get(self.org).cosigned_at

    def _listen(self) -> None:
        """Be at home for nobody."""


class Stage:
    """Some honest nodes, an organisation with faces, and the network between them."""

    def __init__(self, folder: Path, *, seed: int, honest: Sequence[OrgId], liar: OrgId = LAB_A) -> None:
        self.folder = folder
        self.seed = seed
        self.trace: list[str] = []
        chance = random.Random(f"{seed} stage")  # noqa: S311 -- plays, guards nothing
        self.loop = VirtualLoop(pause=lambda: chance.uniform(0.0001, 0.02))
        self.loop.set_task_factory(make_task)
        self.network = Network(chance, told=self.note)
        self.honest = {org: Still(org, self) for org in honest}  # type: ignore[arg-type]
        self.faces = [Face(liar, self, disk="face 0")]  # type: ignore[arg-type]

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Start everybody, let somebody direct, and end all of it."""
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._run(work))

    def note(self, what: str) -> None:
        """Keep what happened, for whoever looks for the reason."""
        self.trace.append(f"{self.loop.time():.4f} {what}")

    def fingerprint(self) -> str:
        """Return a hash of everything that happened."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()

    def copy(self, face: Face) -> Face:
        """Copy the disk of a face, as it is now, into another machine, and start that."""
        face.kill()
        copy = Face(face.org, self, disk=f"face {len(self.faces)}")  # type: ignore[arg-type]
        shutil.copyfile(face.path, copy.path)
        self.faces.append(copy)
        for one in (face, copy):
            one.start()
        return copy

    async def show(self, face: Face, to: OrgId, *, dials: bool = False) -> tuple[int, bool]:
        """Let somebody read the log of a face; it `dials`, or is dialled.

        Return when the face said that this is all, and whether it was turned away.
        """
        return await (self._tell(face, self.honest[to]) if dials else self._ask(self.honest[to], face))

    async def send(self, face: Face, record: VerifiedRecord, to: OrgId, *, proof: str, dials: bool = False) -> None:
        """Send somebody a page with a record, and whatever stands for the proof that it is in the log.

        The face `dials` and delivers it, or it is fetched. That it is refused is for whoever looks at the store.
        """
        node = self.honest[to]
        page = face.page(record, node, proof=proof)
        if not dials:
            face.side.pages[to] = page
            self._route(face, node)
            with suppress(OriginStopped):
                async for _ in pull_feed(face.org, side=node.side):
                    pass
            del face.side.pages[to]
            return
        await self._tell(face, node)
        async with face.side.dial(node.founded.organisation) as client:
            try:
                await client.deliver(page, last_receipt="")
            except PeerRefused as error:
                if error.metadata[PEER_REASON] != "ORIGIN_STOPPED":
                    raise

    async def meet(self, one: OrgId, other: OrgId) -> None:
        """Let an honest node dial another one and compare logs with it, as it does at every contact."""
        caller, called = self.honest[one], self.honest[other]
        async with caller.side.dial(called.founded.organisation) as client:
            await compare(client, other, side=caller.side)

    async def _ask(self, node: Still, face: Face) -> tuple[int, bool]:
        self._route(face, node)
        try:
            async with node.side.dial(face.founded.organisation) as client:
                await compare(client, face.org, side=node.side)
        except OriginStopped:
            return face.dated, True
        return face.dated, False

    def _route(self, face: Face, node: Still) -> None:
        """Have a face be at home when somebody calls."""
        for endpoint in face.founded.organisation.endpoints:
            self.network.listen(endpoint, face.port, source=node.org)

    async def _tell(self, face: Face, node: Still) -> tuple[int, bool]:
        """Say where the log stands, and hand over what is lacking, with whatever proves it."""
        async with face.side.dial(node.founded.organisation) as client:
            answer = await client.compare(v1.CompareRequest(checkpoints=[face.shown()]))
            said, size = face.dated, len(face.entries())
            held = [parse_checkpoint(text).checkpoint for text in answer.checkpoints]
            start = max((one.size for one in held if one.origin == log_name(face.org)), default=0)
            while start < size:
                growth = face.side.comparison().growth(face.org, start)
                said = face.dated
                try:
                    start = await client.add_entries(face.org, growth.to_message())
                except PeerRefused as error:
                    return said, error.metadata[PEER_REASON] == "ORIGIN_STOPPED"
        return said, False

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        logging.disable(logging.ERROR)  # what goes wrong here is meant to
        try:
            for node in (*self.honest.values(), *self.faces):
                node.start()
            await work
        finally:
            logging.disable(logging.NOTSET)
            for node in (*self.honest.values(), *self.faces):
                node.kill()


class _Deaf:
    """What others say of our log, for somebody who does not listen."""

    def look(self, text: str, *, by: Organisation) -> bool:
        return False

    def said(self, peer: OrgId) -> None:
        """Hear nothing."""

    def extend(self, growth: Growth, *, by: OrgId) -> int:
        raise NotImplementedError("nobody gives entries back to whoever shows a log")


class _DeafComparison(Comparison):
    def __init__(self, side: Side) -> None:
        super().__init__(side.office, side.origin, now=side.clock())
        self._ours: Any = _Deaf()


@dataclass(frozen=True, slots=True)
class _DeafSide(Side):
    pages: dict[OrgId, exchange_service_pb2.Page] = field(default_factory=dict)

    def comparison(self) -> Comparison:
        return _DeafComparison(self)

    def next_page(self, partner: OrgId, cursor: str, *, max_entries: int = 0) -> exchange_service_pb2.Page | None:
        page = self.pages.get(partner)
        return page if page and page.cursor != cursor else None
