"""This module makes up how lab-a says two things under one record id and version, inside one log that all are shown.

    both logged    whoever reads as far as the second one finds it out there and then, and so does everybody who was
                   shown anything, in the first contact with somebody who has
    one logged     and the other is sent without a proof, or with one of something else: whoever is sent it has both
                   in hand, and takes it not; what proves it holds a record, which goes from people to people only

Nobody takes a record that is not in the log, and nobody takes any from lab-a
who has stopped it. The rest is as in `tests.support.histories`.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.policy import holdings
from tests.support.faces import Face
from tests.support.histories import PAUSES, SIZES, Case
from tests.support.simulator import LAB_A, UNIVERSITY, founded
from tocsin.identity.names import OrgId, RecordId, new_record_id
from tocsin.policy.clauses import Accept
from tocsin.records.record import Draft, VerifiedRecord, issue
from tocsin.release.ledger import entry_of

CONTENT: dict[str, Any] = {
    "finding_kind": "vulnerability",
    "severity": "high",
    "subjects": [{"kind": "model", "name": "M", "version": "3"}],
}
SHORT = SIZES[:12]


class Equivocations(Case):
    """One store, and two records under one name."""

    def __init__(self, folder: Path, *, seed: int) -> None:
        super().__init__(folder, seed=seed)
        self._taken: defaultdict[OrgId, set[str]] = defaultdict(set)

    async def _play(self) -> None:
        face, (first, second) = self.stage.faces[0], self._rng.sample(self.honest, 2)
        accept = Accept(holdings.EVERYTHING, 2000, relayed=True)
        for node in self.stage.honest.values():
            node.set_policies([holdings.policy(partner=LAB_A, file=f"{LAB_A}.toml", accept=accept)])
        record_id = new_record_id(self._rng.randbytes)
        one, other = (self._record(face, record_id, title) for title in ("harmless", "not so harmless"))
        await self._go_on(face, self._rng.choice(SIZES))
        if self._rng.random() < 0.5:
            await self._log_both(face, (one, first), (other, second))
            await self._find_out(first, second)
        else:
            await self._log_one(face, (one, first), (other, second))

    async def _log_both(
        self, face: Face, one: tuple[VerifiedRecord, OrgId], other: tuple[VerifiedRecord, OrgId]
    ) -> None:
        """Log both, and send each to somebody; who is sent the first has perhaps no reason for doubt yet."""
        face.log(entry_of(one[0]))
        await self._go_on(face, self._rng.choice(SHORT))
        if is_early := self._rng.random() < 0.7:
            await self._send(face, *one)
            await self._go_on(face, self._rng.choice(SHORT))
        face.log(entry_of(other[0]))
        await self._go_on(face, self._rng.choice(SHORT))
        await self._send(face, *other)
        if not is_early:
            await self._send(face, *one)

    async def _log_one(
        self, face: Face, one: tuple[VerifiedRecord, OrgId], other: tuple[VerifiedRecord, OrgId]
    ) -> None:
        """Log one and send it, and send the other with nothing that proves it, to one and then to all."""
        something = self._rng.randbytes(64)
        face.log(something)
        if self._rng.random() < 0.3:
            await self._send(face, *other, proof=self._bad_proof(face, something))
            assert other[1] not in self.book.caught, "as yet nothing contradicts it"
        face.log(entry_of(one[0]))
        await self._go_on(face, self._rng.choice(SHORT))
        await self._send(face, *one)
        rest = [org for org in self.honest if org != other[1]]
        for to in (other[1], *self._rng.sample(rest, len(rest))):
            proof = self._bad_proof(face, self._rng.choice((something, entry_of(one[0]))))
            await self._send(face, other[0], to, proof=proof, is_caught=True)
            for pair in self._pairs():
                await self._meet(*pair)
        assert self.book.caught == set(self.honest)
        await self._show(face, one[1])
        await self._send(face, *one)

    async def _go_on(self, face: Face, count: int) -> None:
        """Log something else, show it to some, and let some meet."""
        await self._write(face, count)
        for org in self.honest:
            if self._rng.random() < 0.2:
                await self._show(face, org)
        for pair in self._pairs():
            if self._rng.random() < 0.2:
                await self._meet(*pair)
        await self._pause(self._rng.choice(PAUSES))

    async def _send(
        self, face: Face, record: VerifiedRecord, to: OrgId, *, proof: str | None = None, is_caught: bool = False
    ) -> None:
        dials = to != UNIVERSITY and self._rng.random() < 0.5
        self.stage.note(f"--- {'delivers to' if dials else 'is asked by'} {to}")
        given = face.prove(entry_of(record)) if proof is None else proof
        await self.stage.send(face, record, to, proof=given, dials=dials)
        self._note_shown(face, face.dated, to)
        if is_caught and to not in self.book.caught:
            self.book.caught.add(to)
            self.book.silent.add(to)
        if to not in self.book.caught and proof is None:
            self._taken[to].add(record.digest)
        self._verify()

    def _bad_proof(self, face: Face, something: bytes) -> str:
        """Return what proves nothing about a record: the proof of something else, nothing, or no proof."""
        return self._rng.choice((face.prove(something), "", "c2sp.org/tlog-proof@v1\nnothing\n"))

    def _record(self, face: Face, record_id: RecordId, title: str) -> VerifiedRecord:
        return issue(
            Draft(record_id=record_id, kind="finding", tlp="GREEN", version=1),
            CONTENT | {"title": title},
            issuer=LAB_A,
            signer=founded(LAB_A).record,
            now=face.now(),
            random=self._rng.randbytes,
        )

    def _verify(self) -> None:
        super()._verify()
        for org, node in self.stage.honest.items():
            assert node.held().keys() == self._taken[org], f"{org} holds other records than it was sent and may take"
