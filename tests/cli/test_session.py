"""The session: as whom it asks, whom, and what is said where nobody answers."""

import fcntl
import os
import socket
import threading
from types import SimpleNamespace

import grpc
import grpc_testing
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from tests.cli.fake import FakeDesk
from tests.support.organisations import found, seeded
from tocsin.errors import (
    HomeDamaged,
    HomeLocked,
    HomeMissing,
    NodeNotRunning,
    NotFound,
    ProfileMissing,
    Unauthenticated,
)
from tocsin.people.act import Act, verify_act
from tocsin.people.card import parse_card
from tocsin.people.person import Role
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import session as rooms
from tocsin_cli.connection import NodeDesk
from tocsin_cli.profile import Profile, default_folder, make_keys, new_profile
from tocsin_cli.session import Session, connect_desk, desk_socket, now

SERVICE = v1.DESCRIPTOR.services_by_name["DeskService"]
ORG = "lab-a.example"


@pytest.fixture
def channel():
    return grpc_testing.channel([SERVICE], grpc_testing.strict_real_time())


def desk_on(channel, *, listening=False):
    return NodeDesk(channel, is_listening=lambda: listening)


def answer_later(channel, method, *, response=None, code=grpc.StatusCode.OK, metadata=()):
    """Answer the next call of a method from another thread, as a server would."""
    taken = []

    def serve():
        _, request, rpc = channel.take_unary_unary(SERVICE.methods_by_name[method])
        taken.append(request)
        rpc.send_initial_metadata(())
        rpc.terminate(response, metadata, code, "")

    thread = threading.Thread(target=serve)
    thread.start()
    return taken, thread


def test_a_call_is_named_after_its_request(channel):
    taken, thread = answer_later(channel, "GetPeer", response=v1.GetPeerResponse(peer=v1.Peer(waiting=7)))
    found_ = desk_on(channel).call(v1.GetPeerRequest(org="lab-b.example"), v1.GetPeerResponse)
    thread.join()
    assert found_.peer.waiting == 7
    assert taken == [v1.GetPeerRequest(org="lab-b.example")]


def test_a_status_with_a_reason_becomes_the_error_it_stands_for(channel):
    info = error_details_pb2.ErrorInfo(reason="NOT_FOUND", domain="tocsin")
    packed = any_pb2.Any()
    packed.Pack(info)
    status = status_pb2.Status(code=5, message="there is no such record", details=[packed])
    metadata = (("grpc-status-details-bin", status.SerializeToString()),)
    _, thread = answer_later(channel, "GetRecord", code=grpc.StatusCode.NOT_FOUND, metadata=metadata)
    with pytest.raises(NotFound) as caught:
        desk_on(channel).call(v1.GetRecordRequest(id="3f2a"), v1.GetRecordResponse)
    thread.join()
    assert caught.value.reason == "NOT_FOUND"


@pytest.mark.parametrize(
    ("listening", "error", "reason"),
    [
        pytest.param(False, NodeNotRunning, "NODE_NOT_RUNNING", id="the node is gone"),
        pytest.param(True, Unauthenticated, "PERSON_UNKNOWN", id="the node closed the handshake"),
    ],
)
def test_a_call_that_does_not_get_through_says_why(channel, listening, error, reason):
    _, thread = answer_later(channel, "ListPeers", code=grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(error) as caught:
        desk_on(channel, listening=listening).call(v1.ListPeersRequest(), v1.ListPeersResponse)
    thread.join()
    assert caught.value.reason == reason


def test_every_call_of_the_contract_is_named_after_its_request():
    for method in SERVICE.methods:
        assert method.input_type.name == f"{method.name}Request"
        assert method.output_type.name == f"{method.name}Response"


def test_the_desk_is_reached_once_and_again_after_it_was_let_go(tmp_path):
    made = []

    def connect(_session):
        made.append(FakeDesk(v1.ListPeersResponse(), v1.ListPeersResponse()))
        return made[-1]

    session = Session(tmp_path, connect=connect)
    session.call(v1.ListPeersRequest(), v1.ListPeersResponse)
    session.call(v1.ListPeersRequest(), v1.ListPeersResponse)
    assert len(made) == 1
    session.close()
    session.call(v1.ListPeersRequest(), v1.ListPeersResponse)
    assert [fake.closed for fake in made] == [True, False]


def test_a_socket_that_nobody_listens_on_is_not_used(tmp_path):
    (tmp_path / "run").mkdir(mode=0o700)
    assert desk_socket(tmp_path) is None
    path = tmp_path / "run" / "desk.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert desk_socket(tmp_path) is None  # bound, as after kill -9
        server.listen()
        assert desk_socket(tmp_path) == path


@pytest.fixture
def home(profile, tmp_path):
    """Return the least that is a home, of somebody who has a profile for it."""
    home = tmp_path / "home"
    (home / "run").mkdir(parents=True, mode=0o700)
    (home / "node.toml").touch()
    return home


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that only pauses move on."""
    clock = SimpleNamespace(now=0.0, pauses=[])

    def sleep(seconds):
        clock.pauses.append(seconds)
        clock.now += seconds

    monkeypatch.setattr(rooms, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    return clock


def test_a_home_whose_node_does_not_run_says_how_to_start_it(home):
    with pytest.raises(NodeNotRunning) as caught:
        connect_desk(Session(home))
    assert caught.value.reason == "NODE_NOT_RUNNING"
    assert caught.value.hint == "start it with: tocsin serve"


def test_a_node_that_is_starting_is_waited_for(home, monkeypatch):
    listening = iter([None, None, home / "run" / "desk.sock"])
    monkeypatch.setattr(rooms, "desk_socket", lambda _home: next(listening))
    monkeypatch.setattr(rooms, "_LOCK_PAUSE_SECONDS", 0)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        connect_desk(Session(home)).close()
    assert next(listening, "asked three times") == "asked three times"


def test_a_home_that_stays_locked_without_a_listener_is_an_error(home, clock):
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(HomeLocked) as caught:
            connect_desk(Session(home))
    assert caught.value.reason == "HOME_LOCKED"
    assert sum(clock.pauses) == pytest.approx(rooms.LOCK_PATIENCE_SECONDS, abs=0.1)


def test_a_home_that_is_none_is_said_before_a_profile_is_looked_for(tmp_path):
    with pytest.raises(HomeMissing) as caught:
        connect_desk(Session(tmp_path / "nowhere"))
    assert caught.value.reason == "HOME_MISSING"


def test_a_home_of_another_user_is_not_taken_for_none(home, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(HomeDamaged, match="permission denied") as caught:
        connect_desk(Session(home))
    assert "run as the user whose home it is" in caught.value.hint


def test_a_home_for_which_nobody_here_has_a_profile_says_so(home, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "empty"))
    with pytest.raises(ProfileMissing) as caught:
        connect_desk(Session(home))
    assert caught.value.reason == "PROFILE_MISSING"
    assert "tocsin person recover NAME" in caught.value.hint


def test_a_named_profile_brings_its_home(home, profile):
    session = Session(profile="releaser-1")
    assert (session.home, session.is_remote, session.profile) == (home, False, profile)
    assert session.place_of("policies/floor.toml") == str(home / "policies" / "floor.toml")


def make_remote(desk):
    remote = Profile(folder=default_folder("counsel", ORG), name="counsel", org=ORG, desk=desk)
    with new_profile(remote, make_keys(ORG, now=now(), random=seeded("counsel"))) as save_identity:
        save_identity(found(ORG).document)
    return Session(profile="counsel")


def test_a_named_profile_without_a_home_brings_its_desk(home, profile):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        session = make_remote(f"127.0.0.1:{free.getsockname()[1]}")
        assert session.is_remote
        assert session.place_of("policies/floor.toml") == "policies/floor.toml in the home of the node"
        with pytest.raises(HomeMissing) as caught:
            _ = session.home
        assert caught.value.reason == "HOME_MISSING"
        with pytest.raises(NodeNotRunning) as refused:
            connect_desk(session)
        assert refused.value.where == session.profile.desk
        free.listen()
        connect_desk(session).close()


def test_a_profile_with_neither_home_nor_desk_reaches_nobody(profile):
    with pytest.raises(ProfileMissing) as caught:
        connect_desk(make_remote(""))
    assert caught.value.reason == "PROFILE_MISSING"


def test_what_a_person_decides_is_signed_with_its_own_key(profile):
    statement = Session(profile="releaser-1").sign(Act.APPROVE, on="the hash")
    keys = make_keys(ORG, now=now(), random=seeded("releaser-1"))  # the same as in the fixture
    person = parse_card(keys.card("releaser-1"), org=ORG).admit({Role.RELEASER}, now=now())
    signed = verify_act(statement, org=ORG, person=person)
    assert (signed.person, signed.act, signed.on) == ("releaser-1", Act.APPROVE, "the hash")
