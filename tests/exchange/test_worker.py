"""How workers keep in touch, and who gets one."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from tests.support.organisations import NOW, found
from tocsin.errors import PeerRefused, PeerUnreachable, QuotaExceeded
from tocsin.exchange.bell import Bell, heard_within
from tocsin.exchange.circuit import Contacts, ContactState, Pace
from tocsin.exchange.client import PEER_REASON
from tocsin.exchange.directory import KnownPeer
from tocsin.exchange.status import RETRY_AFTER
from tocsin.exchange.worker import Worker, Workers
from tocsin.store.model import PeerRole, PeerState

LAB = found("lab-b.example", endpoints=("127.0.0.1:1",)).organisation
SILENT = found("lab-c.example").organisation


@dataclass
class Notes:
    """Stands for our side where only notes are taken."""

    organisation: object = field(
        default_factory=lambda: found("lab-a.example", endpoints=("127.0.0.1:2",)).organisation
    )
    errors: list[str] = field(default_factory=list)
    answers: int = 0
    peers: list[KnownPeer] = field(default_factory=list)
    contacts: Contacts = field(default_factory=Contacts)

    def clock(self):
        return NOW

    @property
    def directory(self):
        return SimpleNamespace(peers=lambda: self.peers)

    def note_error(self, org, error):
        self.errors.append(error.reason)

    def note_contact(self, org):
        self.answers += 1

    def contacts_of(self):
        return self.contacts.of(LAB.org)


def watch(job, *, pace=None) -> tuple[Notes, list[float]]:
    """Run a job until it ends by asyncio.CancelledError, and return the longest pauses between."""
    pauses: list[float] = []

    async def run():
        notes = Notes()
        peer = KnownPeer(LAB, PeerRole.MEMBER, PeerState.ACTIVE)

        def no_pause(longest: float) -> float:
            pauses.append(longest)
            return 0.0

        worker = Worker(peer, job, side=notes, pace=pace or Pace(cap=300, jitter=no_pause))
        with pytest.raises(asyncio.CancelledError):
            await worker.task
        return notes

    return asyncio.run(run()), pauses


def scripted(*steps):
    """Return a job that does one step each time it runs, and then ends its worker."""
    remaining = list(steps)

    async def job(worker):
        if not remaining:
            raise asyncio.CancelledError
        step = remaining.pop(0)
        if step == "alive":
            await worker.alive()
        elif step is not None:
            raise step

    return job


def test_failures_lengthen_the_pause_and_success_ends_that():
    down = PeerUnreachable("down")
    notes, pauses = watch(scripted(down, down, down, "alive", down))
    assert pauses == [2, 4, 8, 1, 2]
    assert notes.errors == ["PEER_UNREACHABLE"] * 4
    assert notes.answers == 1


def test_a_bug_is_noted_without_its_text_and_the_worker_goes_on(caplog):
    notes, pauses = watch(scripted(ValueError("canary-0003"), None))
    assert notes.errors == ["INTERNAL"]
    assert len(pauses) == 2
    assert "ValueError" in caplog.text
    assert "canary-0003" not in caplog.text


def test_the_log_says_once_why_a_peer_refuses(caplog):
    refused = PeerRefused("lab-b.example refused: canary-0004", metadata={PEER_REASON: "STALE_CURSOR"})
    watch(scripted(refused, refused))
    assert [record.message for record in caplog.records] == ["lab-b.example: PEER_REFUSED (STALE_CURSOR)"]


def test_a_disk_that_takes_no_note_does_not_end_the_worker(monkeypatch, caplog):
    def full(self, org, error):
        raise OSError("no space left")

    monkeypatch.setattr(Notes, "note_error", full)
    _, pauses = watch(scripted(PeerUnreachable("down"), PeerUnreachable("down")))
    assert pauses == [2, 4]
    assert "OSError" in caplog.text


def test_a_worker_stays_away_for_as_long_as_the_peer_asks_but_not_beyond_the_cap():
    async def run():
        notes = Notes()
        peer = KnownPeer(LAB, PeerRole.MEMBER, PeerState.ACTIVE)
        asked = QuotaExceeded("slow down", metadata={RETRY_AFTER: "100000"})
        worker = Worker(peer, scripted(asked), side=notes, pace=Pace(cap=0.05, jitter=lambda _: 0.0))
        async with asyncio.timeout(5):
            await asyncio.wait({worker.task})
        assert worker.task.cancelled()

    asyncio.run(run())


def test_how_the_contact_goes_is_to_be_seen():
    async def run():
        notes = Notes()
        seen = []

        async def job(worker):
            seen.append(notes.contacts_of())
            if len(seen) == 3:
                await worker.alive()
                seen.append(notes.contacts_of())
                raise asyncio.CancelledError
            raise PeerUnreachable("down")

        def no_pause(longest):
            return 0.0

        peer = KnownPeer(LAB, PeerRole.MEMBER, PeerState.ACTIVE)
        worker = Worker(peer, job, side=notes, pace=Pace(cap=300, jitter=no_pause))
        with pytest.raises(asyncio.CancelledError):
            await worker.task
        return seen

    assert [(contact.state, contact.failures) for contact in asyncio.run(run())] == [
        (ContactState.CALLING, 0),
        (ContactState.CALLING, 1),
        (ContactState.CALLING, 2),
        (ContactState.IN_TOUCH, 0),
    ]


def test_the_next_attempt_is_to_be_seen():
    async def run():
        notes = Notes()
        paused = asyncio.Event()

        def a_minute(longest):
            asyncio.get_running_loop().call_soon(paused.set)
            return 60.0

        peer = KnownPeer(LAB, PeerRole.MEMBER, PeerState.ACTIVE)
        worker = Worker(peer, scripted(PeerUnreachable("down")), side=notes, pace=Pace(cap=300, jitter=a_minute))
        await paused.wait()
        contact = notes.contacts_of()
        worker.task.cancel()
        return contact

    contact = asyncio.run(run())
    assert (contact.state, contact.failures, contact.next_attempt_at) == (ContactState.WAITING, 1, NOW + 60)


def test_a_peer_that_calls_cuts_the_pause_short():
    async def run():
        notes = Notes()
        peer = KnownPeer(LAB, PeerRole.MEMBER, PeerState.ACTIVE)
        paused = asyncio.Event()

        def a_day(longest: float) -> float:
            paused.set()
            return 86_400.0

        worker = Worker(peer, scripted(PeerUnreachable("down")), side=notes, pace=Pace(cap=1, jitter=a_day))
        await paused.wait()
        worker.contacted()
        async with asyncio.timeout(5):
            await asyncio.wait({worker.task})

    asyncio.run(run())


def test_only_active_peers_that_can_be_called_have_workers_and_readers_are_not_followed():
    async def run():
        notes = Notes()
        workers = Workers(notes, bell=Bell(), pace=Pace(cap=300))
        active = KnownPeer(LAB, PeerRole.MEMBER, PeerState.ACTIVE)
        for peers, running in (
            ([active], 1),
            ([KnownPeer(LAB, PeerRole.MEMBER, PeerState.PENDING)], 0),
            ([KnownPeer(LAB, PeerRole.MEMBER, PeerState.SUSPENDED)], 0),
            ([KnownPeer(LAB, PeerRole.READER, PeerState.ACTIVE)], 0),
            ([KnownPeer(SILENT, PeerRole.MEMBER, PeerState.ACTIVE)], 0),
            ([active], 1),
            ([], 0),
        ):
            notes.peers = peers
            workers.refresh()
            assert len(tasks_of(LAB.org)) + len(tasks_of(SILENT.org)) == running
        await workers.stop()

    asyncio.run(run())


def test_workers_that_were_stopped_stay_so_whatever_changes_meanwhile():
    async def run():
        notes = Notes(peers=[KnownPeer(LAB, PeerRole.MEMBER, PeerState.ACTIVE)])
        workers = Workers(notes, bell=Bell(), pace=Pace(cap=300))
        workers.refresh()
        stopping = asyncio.create_task(workers.stop())
        await asyncio.sleep(0)
        workers.refresh()  # as a change of a peer has it, while a reload waits for the workers to end
        await stopping
        assert tasks_of(LAB.org) == []

    asyncio.run(run())


def tasks_of(org: str) -> list[asyncio.Task]:
    return [task for task in asyncio.all_tasks() if task.get_name().endswith(org) and not task.cancelling()]


def test_a_bell_rings_for_its_partner_alone():
    async def run():
        bell = Bell()
        with bell.listening(LAB.org) as ours, bell.listening(LAB.org) as also, bell.listening(SILENT.org) as other:
            bell.ring([LAB.org, "nobody.example"])
            assert await heard_within(ours, 1)
            assert await heard_within(also, 1)
            assert not await heard_within(other, 0)
        bell.ring([LAB.org])

    asyncio.run(run())
