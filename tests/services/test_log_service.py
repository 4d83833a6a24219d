"""LogService at the peer port, over real TLS on loopback: every method, its answer, and what it refuses."""

import asyncio
import inspect
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache

import grpc.aio
import pytest
from google.rpc import status_pb2

from tests.support import wire
from tests.support.organisations import signer
from tests.support.stores import new_store
from tests.support.wire import GENEROUS, NotingService, keys_of, now
from tests.watch.branches import Branch, cosigned, entry, junk, words
from tocsin.audit.log import Log
from tocsin.errors import (
    CheckpointRefused,
    MalformedIdentity,
    MalformedLog,
    MalformedName,
    MalformedRequest,
    NotFound,
    NotPermitted,
    OriginStopped,
    PeerMisbehaved,
    PeerPending,
    PeerSuspended,
    ProofMismatch,
    QuotaExceeded,
    StaleCheckpoint,
    TocsinError,
)
from tocsin.exchange.directory import Directory
from tocsin.exchange.peer import PeerClient
from tocsin.exchange.quota import Budget, Inflow
from tocsin.exchange.side import Side
from tocsin.exchange.status import STATUS_KEY, parse_trailing
from tocsin.exchange.wire import MAX_MESSAGE_BYTES
from tocsin.identity.certificate import certificate_pem
from tocsin.identity.names import OrgId
from tocsin.policy.model import PolicySet
from tocsin.release.ledger import PUT_BACK, note_restored
from tocsin.release.office import Office
from tocsin.services.calls import Calls
from tocsin.services.doorkeeper import PeerDoor
from tocsin.services.listener import open_peer_port
from tocsin.services.log import LogService
from tocsin.store.model import PeerRole, PeerState
from tocsin.tlog.checkpoint import CLOCK_SKEW, MAX_CHECKPOINT, parse_checkpoint, verify_checkpoint
from tocsin.tlog.entry import ENTRY_BYTES
from tocsin.tlog.evidence import Evidence, Kind, dump_evidence
from tocsin.tlog.log import OwnLog
from tocsin.tlog.merkle import EMPTY_ROOT, MAX_SIZE, verify_consistency
from tocsin.tlog.proof import MAX_PROOF, parse_proof, verify_proof
from tocsin.tlog.tiles import parse_entry_bundle, parse_tile
from tocsin.tlog.witness import format_request
from tocsin.v1 import log_service_pb2 as v1
from tocsin.v1.log_service_pb2_grpc import LogServiceStub
from tocsin.watch.growth import MOST_ENTRIES

founded = cache(wire.founded)
OURS, LAB, READER, THIRD = (OrgId(f"{name}.example") for name in ("server", "lab-a", "press", "aisi"))
FIVE, OTHER = "one two three four five", "one two drei vier fünf sechs"
OWN = "uno dos tres"


@dataclass
class Served:
    """A peer port with logs behind it; `log` is what a member calls, and `reader` what a reader does."""

    side: Side
    port: int
    log: LogServiceStub
    reader: LogServiceStub

    @property
    def logs(self):
        return self.side.store.logs

    def row(self, org=THIRD):
        return self.logs.get(org)

    def read(self, branch, size=None):
        """Let the node read a branch, as if somebody had brought it."""
        self.side.extend(
            LAB, branch.org, branch.growth(self.row(branch.org).size, size, note=branch.note(size, at=now()))
        )

    def set_state(self, org, state):
        self.side.store.peers.set_state(org, state)
        self.side.directory.refresh()

    def client(self, name):
        whole = founded(name)
        return PeerClient(founded("server.example").organisation, f"127.0.0.1:{self.port}", keys=keys_of(whole))


@asynccontextmanager
async def stub(name, port):
    """Call a port with the keys of an organisation, saying whatever a test wants."""
    keys, root = keys_of(founded(name)), certificate_pem(founded("server.example").organisation.node_certs[0])
    credentials = grpc.ssl_channel_credentials(root, keys.key, keys.certificate)
    options = [
        ("grpc.ssl_target_name_override", "server.example"),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_send_message_length", -1),
    ]
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options=options) as channel:
        yield LogServiceStub(channel)


@asynccontextmanager
async def served(folder, **more):
    whole = founded("server.example")
    store = new_store(folder / "tocsin.db")
    office = Office(
        store=store,
        organisation=whole.organisation,
        policies=lambda: PolicySet({}, None, ()),
        log=Log(store, org=OURS, signer=whole.delivery),
        tlog=OwnLog(store.logs, OURS, whole.log, whole.witness),
        strict=False,
        random=secrets.token_bytes,
    )
    for org, role in ((LAB, PeerRole.MEMBER), (READER, PeerRole.READER), (THIRD, PeerRole.MEMBER)):
        store.peers.add(org, document=founded(org).document, role=role, state=PeerState.ACTIVE, now=now())
    directory = Directory(store, own_certificate=keys_of(whole).certificate)
    side = Side(
        office=office,
        delivery_signer=whole.delivery,
        directory=directory,
        clock=now,
        dial=None,
        budget=more.pop("budget", Budget(1e9)),
        **more,
    )
    door = PeerDoor(directory, Calls(), quota=GENEROUS, clock=now)
    listener, port = open_peer_port(
        NotingService(), LogService(side), door, listen="127.0.0.1:0", keys=lambda: keys_of(whole), directory=directory
    )
    await listener.start()
    try:
        async with stub("lab-a.example", port) as log, stub("press.example", port) as reader:
            yield Served(side, port, log, reader)
    finally:
        await listener.stop(0)
        store.close()


def served_to(test):
    """Let a test, which is a coroutine function, call a port with three entries of its own."""

    def run(self, tmp_path, **more):
        async def play():
            async with served(tmp_path) as node:
                with node.side.store.transaction():
                    node.side.office.tlog.issue(*words(OWN), now=now())
                await test(self, node, **more)

        asyncio.run(play())

    given = inspect.signature(test)
    folder = inspect.Parameter("tmp_path", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [folder if name == "node" else one for name, one in given.parameters.items()]
    run.__name__, run.__doc__, run.__signature__ = test.__name__, test.__doc__, given.replace(parameters=parameters)
    return run


async def refusal(call):
    """Return the class and the reason by which a call is refused, as the contract has them."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = parse_trailing(caught.value.trailing_metadata())
    assert error is not None, caught.value.details()
    assert error.status == caught.value.code().name
    return type(error), error.reason


async def metadata(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = parse_trailing(caught.value.trailing_metadata())
    status = status_pb2.Status.FromString(dict(caught.value.trailing_metadata())[STATUS_KEY])
    assert len(status.SerializeToString()) < 2048
    return error.metadata


def verified(text, org):
    return verify_checkpoint(text, origin=f"{org}/tocsin", vkeys=founded(org).organisation.log_vkeys).checkpoint


def branch():
    return Branch(THIRD, FIVE)


NOTHING = (NotFound, "NOT_FOUND")


class TestCheckpoints:
    @served_to
    async def test_ours_says_when_it_was_the_newest(self, node):
        for name in ("", OURS):
            text = (await node.log.GetCheckpoint(v1.GetCheckpointRequest(origin=name))).checkpoint
            assert verified(text, OURS).size == 3
            assert [line.name for line in parse_checkpoint(text).note.signatures] == [
                f"{OURS}/tocsin",
                f"{OURS}/witness",
            ]
        assert node.row(OURS).cosigned == 3

    @served_to
    async def test_that_of_another_is_as_it_was_read(self, node):
        node.read(branch())
        text = (await node.reader.GetCheckpoint(v1.GetCheckpointRequest(origin=THIRD))).checkpoint
        assert text == node.row().checkpoint
        assert verified(text, THIRD).size == 5

    @served_to
    async def test_what_is_not_held_not_known_stopped_or_over_looks_alike(self, node):
        calls = (
            lambda name: node.log.GetCheckpoint(v1.GetCheckpointRequest(origin=name)),
            lambda name: node.log.GetInclusion(v1.GetInclusionRequest(origin=name, entry=entry("one"))),
            lambda name: node.log.GetConsistency(v1.GetConsistencyRequest(origin=name)),
            lambda name: node.log.GetTile(v1.GetTileRequest(origin=name, path="checkpoint")),
        )

        async def look():
            found = [await metadata(call(name)) for call in calls for name in (THIRD, "nobody.example")]
            assert all(one == {} for one in found)
            assert [await refusal(call(THIRD)) for call in calls] == [NOTHING] * len(calls)

        await look()
        node.read(branch())
        node.logs.stop(THIRD, "it was caught", now=now())
        await look()
        node.logs.resume(THIRD, now=now() - 1)
        node.set_state(THIRD, PeerState.PENDING)
        await look()
        node.set_state(THIRD, PeerState.REMOVED)
        await look()
        node.set_state(THIRD, PeerState.KNOWN)
        assert (await node.log.GetCheckpoint(v1.GetCheckpointRequest(origin=THIRD))).checkpoint

    @served_to
    async def test_ours_is_not_shown_while_it_waits(self, node):
        note_restored(node.side.store, OURS, now=now())
        assert await refusal(node.log.GetCheckpoint(v1.GetCheckpointRequest())) == NOTHING
        assert not (await node.log.GetEntries(v1.GetEntriesRequest(origin=OURS))).HasField("growth")
        assert (await node.log.Compare(v1.CompareRequest())).checkpoints == []

    @pytest.mark.parametrize("name", ["LAB-A.example", "lab-a.example/tocsin", "../x", "x" * 300, "lab a"])
    @served_to
    async def test_a_name_that_is_none_is_refused(self, node, name):
        bad = (MalformedName, "BAD_NAME")
        assert await refusal(node.log.GetCheckpoint(v1.GetCheckpointRequest(origin=name))) == bad
        assert await refusal(node.log.GetEntries(v1.GetEntriesRequest(origin=name))) == bad
        assert await refusal(node.log.AddEntries(v1.AddEntriesRequest(origin=name))) == bad
        assert await refusal(node.log.GetInclusion(v1.GetInclusionRequest(origin=name))) == bad
        assert await refusal(node.log.GetConsistency(v1.GetConsistencyRequest(origin=name))) == bad
        assert await refusal(node.log.GetTile(v1.GetTileRequest(origin=name))) == bad


class TestProofs:
    @served_to
    async def test_an_entry_is_proved(self, node):
        node.read(branch())
        for name, word, index, org in (("", "dos", 1, OURS), (THIRD, "four", 3, THIRD)):
            answer = await node.reader.GetInclusion(v1.GetInclusionRequest(origin=name, entry=entry(word)))
            vkeys = founded(org).organisation.log_vkeys
            proof = parse_proof(answer.proof)
            proved = verify_proof(proof, entry(word), origin=f"{org}/tocsin", vkeys=vkeys, quorum=None, now=now())
            assert proved.index == index

    @pytest.mark.parametrize("count", [0, 1, ENTRY_BYTES - 1, ENTRY_BYTES + 1, 2 * ENTRY_BYTES])
    @served_to
    async def test_what_is_no_entry_is_malformed(self, node, count):
        request = v1.GetInclusionRequest(entry=bytes(count))
        assert await refusal(node.log.GetInclusion(request)) == (MalformedLog, "BAD_ENTRY")

    @served_to
    async def test_an_entry_that_is_not_in_it_is_not_there(self, node):
        assert await refusal(node.log.GetInclusion(v1.GetInclusionRequest(entry=entry("x")))) == NOTHING
        half = entry("dos")[:32] + bytes(32)
        assert await refusal(node.log.GetInclusion(v1.GetInclusionRequest(entry=half))) == NOTHING

    @served_to
    async def test_a_tree_begins_with_a_smaller_one(self, node):
        node.read(branch())
        for old in range(1, 6):
            for new in range(old, 6):
                request = v1.GetConsistencyRequest(origin=THIRD, old_size=old, new_size=new)
                found = await node.log.GetConsistency(request)
                verify_consistency(
                    old=old, new=new, proof=[*found.proof], old_root=found.old_root, new_root=found.new_root
                )
        newest = await node.log.GetConsistency(v1.GetConsistencyRequest(origin=THIRD, old_size=2))
        assert newest.new_root == branch().log.root(5)

    @served_to
    async def test_every_tree_begins_with_the_empty_one(self, node):
        found = await node.log.GetConsistency(v1.GetConsistencyRequest())
        assert ([*found.proof], found.old_root) == ([], EMPTY_ROOT)

    @pytest.mark.parametrize(("old", "new"), [(4, 3), (4, 0), (1, 4), (0, 4), (MAX_SIZE, 0), (2**64 - 1, 2**64 - 1)])
    @served_to
    async def test_there_is_no_proof_between_trees_that_there_are_not(self, node, old, new):
        request = v1.GetConsistencyRequest(old_size=old, new_size=new)
        assert await refusal(node.log.GetConsistency(request)) == (MalformedLog, "BAD_PROOF")

    @served_to
    async def test_tiles_are_those_of_the_tree(self, node):
        node.read(branch())

        async def tile(path, origin=THIRD):
            return (await node.reader.GetTile(v1.GetTileRequest(origin=origin, path=path))).data

        assert parse_entry_bundle(await tile("tile/entries/000.p/5"), width=5) == words(FIVE)
        assert len(parse_tile(await tile("tile/0/000.p/5"), width=5)) == 5
        assert (await tile("checkpoint")).decode() == node.row().checkpoint
        assert verified((await tile("checkpoint", "")).decode(), OURS).size == 3

    @pytest.mark.parametrize(
        "path",
        ["tile/0/000", "tile/0/000.p/6", "tile/1/000.p/1", "tile/entries/001.p/1", "tile/63/000", "tile/3/x001/000"],
    )
    @served_to
    async def test_a_tile_that_the_tree_does_not_have_is_not_there(self, node, path):
        node.read(branch())
        assert await refusal(node.log.GetTile(v1.GetTileRequest(origin=THIRD, path=path))) == NOTHING

    @pytest.mark.parametrize("path", ["", "tile", "tile/0/0", "tile/0/000.p/0", "tile/64/000", "../keys", "x" * 70_000])
    @served_to
    async def test_a_path_that_is_none_is_malformed(self, node, path):
        assert await refusal(node.log.GetTile(v1.GetTileRequest(path=path))) == (MalformedLog, "BAD_ENTRY")


class TestEntries:
    @served_to
    async def test_a_log_goes_on_behind_what_the_caller_has(self, node):
        node.read(branch())
        for name, org, size in ((OURS, OURS, 3), ("", OURS, 3), (THIRD, THIRD, 5)):
            for start in range(size):
                growth = (await node.reader.GetEntries(v1.GetEntriesRequest(origin=name, start=start))).growth
                assert (growth.start, len(growth.entries)) == (start, (size - start) * ENTRY_BYTES)
                assert verified(growth.checkpoint, org).size == size
                assert growth.start_root == (branch() if org == THIRD else Branch(OURS, OWN)).log.root(start)

    @pytest.mark.parametrize("start", [3, 4, MAX_SIZE, 2**64 - 1])
    @served_to
    async def test_where_there_is_nothing_more_there_is_nothing(self, node, start):
        for name in (OURS, THIRD, "nobody.example"):
            answer = await node.log.GetEntries(v1.GetEntriesRequest(origin=name, start=start))
            assert answer == v1.GetEntriesResponse()

    @served_to
    async def test_a_log_that_nobody_may_know_of_looks_like_one_that_is_not_held(self, node):
        node.read(branch())
        node.set_state(THIRD, PeerState.REMOVED)
        for name in (THIRD, "nobody.example"):
            assert await node.log.GetEntries(v1.GetEntriesRequest(origin=name)) == v1.GetEntriesResponse()

    @served_to
    async def test_whoever_reads_a_log_may_hand_it_on(self, node):
        for limit, size in ((2, 2), (16_384, 5)):
            growth = branch().growth(node.row().size, limit=limit, note=branch().note(at=now())).to_message()
            answer = await node.log.AddEntries(v1.AddEntriesRequest(origin=THIRD, growth=growth))
            assert answer.size == size
        assert node.row().signed == 5
        again = await node.log.AddEntries(v1.AddEntriesRequest(origin=THIRD, growth=branch().growth(0).to_message()))
        assert again.size == 5

    GROWTHS = {  # noqa: RUF012
        "nothing": (lambda good: v1.LogGrowth(), MalformedLog, "BAD_ENTRY"),
        "no entries": (lambda good: _with(good, entries=b""), MalformedLog, "BAD_ENTRY"),
        "an entry of 63 bytes": (lambda good: _with(good, entries=good.entries[:63]), MalformedLog, "BAD_ENTRY"),
        "half an entry more": (lambda good: _with(good, entries=good.entries + bytes(32)), MalformedLog, "BAD_ENTRY"),
        "too many entries": (
            lambda good: _with(good, entries=bytes((MOST_ENTRIES + 1) * ENTRY_BYTES)),
            MalformedLog,
            "BAD_ENTRY",
        ),
        "a root that is none": (lambda good: _with(good, start_root=bytes(31)), MalformedLog, "BAD_PROOF"),
        "no root": (lambda good: _with(good, start_root=b""), MalformedLog, "BAD_PROOF"),
        "a hash that is none": (lambda good: _with(good, end_proof=[bytes(33)]), MalformedLog, "BAD_PROOF"),
        "a proof without end": (lambda good: _with(good, start_proof=[bytes(32)] * 64), MalformedLog, "BAD_PROOF"),
        "no checkpoint": (lambda good: _with(good, checkpoint=""), MalformedLog, "BAD_NOTE"),
        "no note": (lambda good: _with(good, checkpoint="x\n"), MalformedLog, "BAD_NOTE"),
        "no number": (
            lambda good: _with(good, checkpoint=good.checkpoint.replace("\n5\n", "\n-5\n")),
            MalformedLog,
            "BAD_CHECKPOINT",
        ),
        "a number that is too large": (
            lambda good: _with(good, checkpoint=good.checkpoint.replace("\n5\n", f"\n{2**63}\n")),
            MalformedLog,
            "BAD_CHECKPOINT",
        ),
        "a checkpoint that is too large": (
            lambda good: _with(good, checkpoint=branch().bare() + junk(60, name="x" * 600)),
            MalformedLog,
            "BAD_CHECKPOINT",
        ),
        "further lines": (
            lambda good: _with(good, checkpoint=good.checkpoint.replace("\n\n", "\nmore\n\n", 1)),
            MalformedLog,
            "BAD_CHECKPOINT",
        ),
        "an unknown key": (
            lambda good: _with(good, checkpoint=branch().note(signer=signer("a thief"))),
            CheckpointRefused,
            "UNSIGNED_CHECKPOINT",
        ),
        "a time that has not come": (
            lambda good: _with(good, checkpoint=branch().note(at=now() + CLOCK_SKEW + 60)),
            CheckpointRefused,
            "FUTURE_COSIGNATURE",
        ),
        "another log's": (
            lambda good: _with(good, checkpoint=Branch(LAB, FIVE).note()),
            PeerMisbehaved,
            "PEER_MISBEHAVED",
        ),
        "a log's that nobody knows": (
            lambda good: _with(good, checkpoint=Branch("nobody.example", FIVE).note()),
            PeerMisbehaved,
            "PEER_MISBEHAVED",
        ),
        "other entries": (
            lambda good: _with(good, entries=bytes(5 * ENTRY_BYTES)),
            PeerMisbehaved,
            "PEER_MISBEHAVED",
        ),
        "some of them, without a proof": (
            lambda good: _with(good, entries=good.entries[:ENTRY_BYTES]),
            PeerMisbehaved,
            "PEER_MISBEHAVED",
        ),
    }

    @pytest.mark.parametrize(("make", "error", "reason"), GROWTHS.values(), ids=GROWTHS)
    @served_to
    async def test_what_proves_nothing_is_refused_and_not_kept(self, node, make, error, reason):
        growth = make(branch().growth(0, note=branch().note(at=now())).to_message())
        request = v1.AddEntriesRequest(origin=THIRD, growth=growth)
        assert await refusal(node.log.AddEntries(request)) == (error, reason)
        assert (node.row().size, node.row().checkpoint) == (0, "")

    @served_to
    async def test_a_log_of_nobody_here_is_not_there(self, node):
        stranger = Branch("nobody.example", FIVE)
        request = v1.AddEntriesRequest(origin="nobody.example", growth=stranger.growth(0).to_message())
        assert await refusal(node.log.AddEntries(request)) == NOTHING

    @served_to
    async def test_a_log_that_was_caught_takes_nothing(self, node):
        node.read(branch(), 3)
        other = Branch(THIRD, OTHER)
        caught = (OriginStopped, "ORIGIN_STOPPED")
        growth = other.growth(3, note=other.note(at=now())).to_message()
        for _ in range(2):
            assert await refusal(node.log.AddEntries(v1.AddEntriesRequest(origin=THIRD, growth=growth))) == caught
        assert [one.kind for one in node.logs.evidence()] == ["fork"]

    @served_to
    async def test_a_reader_hands_over_what_we_have_lost_and_nothing_else(self, node):
        denied = (NotPermitted, "NOT_PERMITTED")
        for org in (THIRD, READER, "nobody.example"):
            growth = Branch(org, FIVE).growth(0).to_message()
            assert await refusal(node.reader.AddEntries(v1.AddEntriesRequest(origin=org, growth=growth))) == denied
        ours = Branch(OURS, OWN)
        own = v1.AddEntriesRequest(origin=OURS, growth=ours.growth(0, note=ours.note(at=now())).to_message())
        assert await refusal(node.reader.AddEntries(own)) == denied, "ours waits for nobody"
        note_restored(node.side.store, OURS, now=now())
        more = Branch(OURS, f"{OWN} cuatro")
        own = v1.AddEntriesRequest(origin="", growth=more.growth(3, note=more.note(at=now())).to_message())
        assert (await node.reader.AddEntries(own)).size == 4
        assert node.row(OURS).stopped == PUT_BACK
        assert READER not in node.logs.awaited()

    @served_to
    async def test_what_we_did_not_sign_is_not_taken_for_ours(self, node):
        note_restored(node.side.store, OURS, now=now())
        before = node.row(OURS)
        more = Branch(OURS, f"{OWN} cuatro cinco")
        good = more.growth(3, note=more.note(at=now())).to_message()
        for growth, wanted in (
            (_with(good, checkpoint=more.note(signer=signer("a thief"))), (CheckpointRefused, "UNSIGNED_CHECKPOINT")),
            (_with(good, checkpoint=branch().note()), (MalformedLog, "BAD_CHECKPOINT")),
            (_with(good, entries=bytes(128)), (PeerMisbehaved, "PEER_MISBEHAVED")),
            (_with(good, entries=good.entries[:64]), (PeerMisbehaved, "PEER_MISBEHAVED")),
            (_with(good, start_root=bytes(32)), (PeerMisbehaved, "PEER_MISBEHAVED")),
        ):
            assert await refusal(node.log.AddEntries(v1.AddEntriesRequest(origin=OURS, growth=growth))) == wanted
            assert node.row(OURS) == before


def _with(growth, **changes):
    made = v1.LogGrowth()
    made.CopyFrom(growth)
    for name, value in changes.items():
        if isinstance(value, list):
            made.ClearField(name)
            getattr(made, name).extend(value)
        else:
            setattr(made, name, value)
    return made


class TestCompare:
    @served_to
    async def test_what_is_held_of_what_is_named_and_our_own_are_told(self, node):
        node.read(branch())
        answer = await node.reader.Compare(v1.CompareRequest(checkpoints=[branch().note()], known_version=1))
        assert [parse_checkpoint(text).checkpoint.origin for text in answer.checkpoints] == [
            f"{OURS}/tocsin",
            f"{THIRD}/tocsin",
        ]
        assert (answer.known_version, answer.identity, [*answer.evidence]) == (1, b"", [])

    @served_to
    async def test_cosignatures_of_our_log_are_taken_from_whoever_gave_them(self, node):
        text = (await node.log.GetCheckpoint(v1.GetCheckpointRequest())).checkpoint
        await node.log.Compare(v1.CompareRequest(checkpoints=[cosigned(text, LAB, READER, at=now())]))
        await node.reader.Compare(v1.CompareRequest(checkpoints=[cosigned(text, READER, at=now())]))
        (kept,) = {one.checkpoint for one in node.logs.checkpoints(OURS)[-1:]}
        names = [line.name for line in parse_checkpoint(kept).note.signatures]
        assert names == [f"{OURS}/tocsin", f"{LAB}/witness", f"{READER}/witness"]

    @served_to
    async def test_a_larger_log_of_ours_has_us_wait(self, node):
        more = Branch(OURS, f"{OWN} cuatro")
        answer = await node.log.Compare(v1.CompareRequest(checkpoints=[more.note(at=now())]))
        assert [*answer.checkpoints] == []
        assert set(node.logs.awaited()) == {LAB, READER, THIRD}

    @served_to
    async def test_evidence_is_taken_and_told(self, node):
        node.read(branch())
        other = Branch(THIRD, OTHER)
        bundle = dump_evidence(
            Evidence(
                kind=Kind.FORK,
                identity=founded(THIRD).document,
                checkpoints=(branch().note(4), other.note()),
                older_root=other.log.root(4),
                proof=other.log.consistency(4, 6),
            )
        )
        await node.log.Compare(v1.CompareRequest(evidence=[bundle, b"junk", bundle]))
        assert node.row().stopped
        answer = await node.reader.Compare(v1.CompareRequest(checkpoints=[branch().note()]))
        assert [*answer.evidence] == [bundle]
        assert await refusal(node.log.GetCheckpoint(v1.GetCheckpointRequest(origin=THIRD))) == NOTHING

    OF_ITS_OWN = {  # noqa: RUF012
        "signed by somebody else": (
            lambda: Branch(LAB, FIVE).note(signer=signer("a thief")),
            CheckpointRefused,
            "UNSIGNED_CHECKPOINT",
        ),
        "from the future": (
            lambda: Branch(LAB, FIVE).note(at=now() + CLOCK_SKEW + 60),
            CheckpointRefused,
            "FUTURE_COSIGNATURE",
        ),
        "with further lines": (
            lambda: Branch(LAB, FIVE).note().replace("\n\n", "\nmore\n\n", 1),
            MalformedLog,
            "BAD_CHECKPOINT",
        ),
    }

    @pytest.mark.parametrize(("make", "error", "reason"), OF_ITS_OWN.values(), ids=OF_ITS_OWN)
    @served_to
    async def test_what_is_wrong_with_the_callers_own_log_is_said(self, node, make, error, reason):
        assert await refusal(node.log.Compare(v1.CompareRequest(checkpoints=[make()]))) == (error, reason)
        assert (await node.reader.Compare(v1.CompareRequest(checkpoints=[make()]))).checkpoints

    @served_to
    async def test_more_than_is_looked_at_is_not_looked_at(self, node):
        bare = Branch("n.example").bare()  # nobody knows the keys of any of them
        many = [bare.replace("n.example", f"n{number}.example") for number in range(1100)]
        many.append(branch().note(at=now()))
        node.read(branch())
        answer = await node.log.Compare(v1.CompareRequest(checkpoints=many))
        assert len(answer.checkpoints) == 1

    @served_to
    async def test_a_message_that_is_too_large_is_refused_unread(self, node):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await node.log.Compare(v1.CompareRequest(evidence=[bytes(MAX_MESSAGE_BYTES)]))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    @pytest.mark.parametrize("document", [b"junk", b"{}", b"\xff"])
    @served_to
    async def test_an_identity_document_that_is_none_is_refused(self, node, document):
        found = await refusal(node.log.Compare(v1.CompareRequest(identity=document)))
        assert found == (MalformedIdentity, "BAD_IDENTITY")

    @served_to
    async def test_the_document_of_somebody_else_is_refused(self, node):
        request = v1.CompareRequest(identity=founded(THIRD).document)
        assert await refusal(node.log.Compare(request)) == (MalformedIdentity, "BAD_IDENTITY")
        assert node.side.store.peers.get(LAB).document == founded(LAB).document


class TestAddCheckpoint:
    def ask(self, log, *, old=0, size=None, proof=None, note="", text=""):
        made = branch()
        size = made.size if size is None else size
        given = made.log.consistency(old, size) if proof is None else proof
        text = text or format_request(old=old, proof=given, checkpoint=note or made.note(size, at=now()))
        return log.AddCheckpoint(v1.AddCheckpointRequest(request=text))

    @served_to
    async def test_a_checkpoint_is_cosigned(self, node):
        for log, old, size in ((node.log, 0, 3), (node.reader, 3, 5), (node.reader, 5, 5)):
            lines = (await self.ask(log, old=old, size=size)).cosignatures
            (line,) = parse_checkpoint(branch().bare(size) + lines).note.signatures[1:]
            assert line.name == f"{OURS}/witness"
            assert (node.row().cosigned, node.row().cosigned_root) == (size, branch().log.root(size))

    @served_to
    async def test_an_empty_tree_is_cosigned(self, node):
        empty = Branch(THIRD).note(at=now())
        text = format_request(old=0, proof=(), checkpoint=empty)
        assert (await self.ask(node.log, text=text)).cosignatures
        assert (await self.ask(node.log)).cosignatures
        assert node.row().cosigned == 5

    @served_to
    async def test_an_old_size_that_is_not_the_last_is_told_the_last(self, node):
        await self.ask(node.log, size=3)
        for old in (0, 2, 4):
            stale = self.ask(node.log, old=old)
            assert await metadata(stale) == {"size": "3"}
            assert await refusal(self.ask(node.log, old=old)) == (StaleCheckpoint, "STALE_CHECKPOINT")

    @served_to
    async def test_what_was_not_shown_to_follow_is_refused(self, node):
        await self.ask(node.log, size=3)
        wrong = (ProofMismatch, "NOT_CONSISTENT")
        assert await refusal(self.ask(node.log, old=3, proof=())) == wrong
        assert await refusal(self.ask(node.log, old=3, proof=(bytes(32),) * 4)) == wrong
        other = Branch(THIRD, OTHER)
        assert await refusal(self.ask(node.log, old=3, proof=(), note=other.note(3, at=now()))) == wrong
        assert (
            await refusal(self.ask(node.log, old=3, proof=other.log.consistency(3, 6), note=other.note(at=now())))
            == wrong
        )
        assert node.row().cosigned == 3

    @served_to
    async def test_a_proof_from_nothing_is_empty(self, node):
        assert await refusal(self.ask(node.log, proof=(bytes(32),))) == (ProofMismatch, "NOT_CONSISTENT")

    REQUESTS = {  # noqa: RUF012
        "nothing": ("", MalformedLog, "BAD_PROOF"),
        "no checkpoint": ("old 0\n\n", MalformedLog, "BAD_NOTE"),
        "no old size": (f"\n\n{Branch(THIRD, FIVE).note()}", MalformedLog, "BAD_PROOF"),
        "an old size that is none": (f"old 00\n\n{Branch(THIRD, FIVE).note()}", MalformedLog, "BAD_PROOF"),
        "an old size that is too large": (f"old {2**64}\n\n{Branch(THIRD, FIVE).note()}", MalformedLog, "BAD_PROOF"),
        "a hash that is none": (f"old 0\nAAAA\n\n{Branch(THIRD, FIVE).note()}", MalformedLog, "BAD_PROOF"),
        "a proof without end": (
            "old 0\n" + f"{'A' * 43}=\n" * 64 + f"\n{Branch(THIRD, FIVE).note()}",
            MalformedLog,
            "BAD_PROOF",
        ),
        "too much": ("old 0\n\n" + "x" * MAX_PROOF, MalformedLog, "BAD_PROOF"),
        "a checkpoint that is too large": (
            f"old 0\n\n{Branch(THIRD, FIVE).bare()}{junk(60, name='x' * (MAX_CHECKPOINT // 60))}",
            MalformedLog,
            "BAD_CHECKPOINT",
        ),
        "a later old size": (f"old 6\n\n{Branch(THIRD, FIVE).note()}", MalformedLog, "BAD_PROOF"),
        "a wrong origin line": (
            f"old 0\n\n{Branch(THIRD, FIVE).note().replace(f'{THIRD}/tocsin', THIRD, 1)}",
            NotFound,
            "NOT_FOUND",
        ),
        "nobody's log": (f"old 0\n\n{Branch('nobody.example', FIVE).note()}", NotFound, "NOT_FOUND"),
        "our own log": (f"old 0\n\n{Branch(OURS, OWN).note()}", NotFound, "NOT_FOUND"),
        "a thief's key": (
            f"old 0\n\n{Branch(THIRD, FIVE).note(signer=signer('a thief'))}",
            CheckpointRefused,
            "UNSIGNED_CHECKPOINT",
        ),
    }

    @pytest.mark.parametrize(("text", "error", "reason"), REQUESTS.values(), ids=REQUESTS)
    @served_to
    async def test_what_is_no_request_is_refused_and_nothing_is_cosigned(self, node, text, error, reason):
        before = node.row(OURS)
        request = v1.AddCheckpointRequest(request=text)
        assert await refusal(node.log.AddCheckpoint(request)) == (error, reason)
        assert (node.row().cosigned, node.row(OURS)) == (0, before)

    @served_to
    async def test_one_from_the_future_is_refused(self, node):
        note = branch().note(at=now() + CLOCK_SKEW + 60)
        assert await refusal(self.ask(node.log, note=note)) == (CheckpointRefused, "FUTURE_COSIGNATURE")

    @served_to
    async def test_a_log_that_was_caught_is_cosigned_no_more(self, node):
        node.read(branch())
        other = Branch(THIRD, OTHER)
        caught = (OriginStopped, "ORIGIN_STOPPED")
        assert await refusal(self.ask(node.log, old=5, proof=(), note=other.note(5, at=now()))) == caught
        assert await refusal(self.ask(node.log, old=5)) == caught


class TestWhoMayCall:
    METHODS = {  # noqa: RUF012
        "Compare": v1.CompareRequest(),
        "GetEntries": v1.GetEntriesRequest(),
        "AddEntries": v1.AddEntriesRequest(origin=THIRD, growth=Branch(THIRD, FIVE).growth(0).to_message()),
        "GetCheckpoint": v1.GetCheckpointRequest(),
        "GetInclusion": v1.GetInclusionRequest(entry=entry("dos")),
        "GetConsistency": v1.GetConsistencyRequest(),
        "GetTile": v1.GetTileRequest(path="checkpoint"),
        "AddCheckpoint": v1.AddCheckpointRequest(
            request=format_request(old=0, proof=(), checkpoint=Branch(THIRD, FIVE).note())
        ),
    }
    STATES = {  # noqa: RUF012
        PeerState.PENDING: (PeerPending, "PEER_PENDING"),
        PeerState.SUSPENDED: (PeerSuspended, "PEER_SUSPENDED"),
    }

    def test_these_are_all_methods(self):
        assert set(self.METHODS) == {method.name for method in v1.DESCRIPTOR.services_by_name["LogService"].methods}

    @pytest.mark.parametrize("state", STATES)
    @served_to
    async def test_nobody_who_is_not_active_is_told_anything(self, node, state):
        node.set_state(LAB, state)
        for name, request in self.METHODS.items():
            assert await refusal(getattr(node.log, name)(request)) == self.STATES[state], name
        assert node.row().size == 0

    @served_to
    async def test_a_member_may_call_all_of_them(self, node):
        for name, request in sorted(self.METHODS.items(), key=lambda method: method[0]):
            assert await getattr(node.log, name)(request), name

    @served_to
    async def test_a_message_that_does_not_parse_is_refused(self, node):
        async with node.client("lab-a.example") as client:
            channel = client._channel
            for name in self.METHODS:
                call = channel.unary_unary(f"/tocsin.v1.LogService/{name}")
                assert await refusal(call(b"\xff", timeout=5)) == (MalformedRequest, "BAD_REQUEST"), name

    def test_who_has_used_up_its_time_is_refused_everywhere(self, tmp_path):
        async def play():
            async with served(tmp_path, budget=Budget(1.0, spent=iter(range(0, 10**6, 10)).__next__)) as node:
                await node.log.GetEntries(v1.GetEntriesRequest())
                for name, request in self.METHODS.items():
                    assert await refusal(getattr(node.log, name)(request)) == (QuotaExceeded, "QUOTA_EXCEEDED"), name
                assert await node.reader.Compare(v1.CompareRequest())

        asyncio.run(play())

    def test_who_has_brought_too_many_entries_brings_no_more(self, tmp_path):
        async def play():
            async with served(tmp_path, inflow=Inflow(2, monotonic=lambda: 0.0)) as node:
                for start, limit in ((0, 1), (1, 1)):
                    growth = branch().growth(start, limit=limit).to_message()
                    await node.log.AddEntries(v1.AddEntriesRequest(origin=THIRD, growth=growth))
                growth = branch().growth(2).to_message()
                request = v1.AddEntriesRequest(origin=THIRD, growth=growth)
                assert await refusal(node.log.AddEntries(request)) == (QuotaExceeded, "QUOTA_EXCEEDED")

        asyncio.run(play())


class TestClient:
    """The calls that our own client makes, against the real service."""

    @served_to
    async def test_what_it_asks_is_answered(self, node):
        node.read(branch())
        async with node.client("lab-a.example") as client:
            answer = await client.compare(v1.CompareRequest(checkpoints=[branch().note()]))
            assert len(answer.checkpoints) == 2
            growth = (await client.get_entries(THIRD, 2)).growth
            assert len(growth.entries) == 3 * ENTRY_BYTES
            assert await client.add_entries(THIRD, growth) == 5

    @served_to
    async def test_what_it_is_refused_is_told_by_its_reason(self, node):
        async with node.client("lab-a.example") as client:
            with pytest.raises(TocsinError) as refused:
                await client.add_entries(THIRD, v1.LogGrowth())
            assert (refused.value.reason, refused.value.metadata["peer_reason"]) == ("PEER_REFUSED", "BAD_ENTRY")
