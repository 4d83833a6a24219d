"""The session: the socket where a node listens, the home where none does."""

import socket
from types import SimpleNamespace

import grpc
import grpc_testing
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from tests.cli.fake import FakeDesk
from tocsin.errors import HomeLocked, HomeMissing, NodeNotRunning, NotFound
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import session as rooms
from tocsin_cli.session import Session, SocketDesk, connect_desk, desk_socket

SERVICE = v1.DESCRIPTOR.services_by_name["DeskService"]


@pytest.fixture
def channel():
    return grpc_testing.channel([SERVICE], grpc_testing.strict_real_time())


def answer_later(channel, method, *, response=None, code=grpc.StatusCode.OK, metadata=()):
    """Answer the next call of a method from another thread, as a server would."""
    import threading

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
    found = SocketDesk(channel).call(v1.GetPeerRequest(org="lab-b.example"), v1.GetPeerResponse)
    thread.join()
    assert found.peer.waiting == 7
    assert taken == [v1.GetPeerRequest(org="lab-b.example")]


def test_a_status_with_a_reason_becomes_the_error_it_stands_for(channel):
    info = error_details_pb2.ErrorInfo(reason="NOT_FOUND", domain="tocsin")
    packed = any_pb2.Any()
    packed.Pack(info)
    status = status_pb2.Status(code=5, message="there is no such record", details=[packed])
    metadata = (("grpc-status-details-bin", status.SerializeToString()),)
    _, thread = answer_later(channel, "GetRecord", code=grpc.StatusCode.NOT_FOUND, metadata=metadata)
    with pytest.raises(NotFound) as caught:
        SocketDesk(channel).call(v1.GetRecordRequest(id="3f2a"), v1.GetRecordResponse)
    thread.join()
    assert caught.value.reason == "NOT_FOUND"


def test_a_node_that_goes_away_during_a_call_is_said_to_be_gone(channel):
    _, thread = answer_later(channel, "ListPeers", code=grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(NodeNotRunning) as caught:
        SocketDesk(channel).call(v1.ListPeersRequest(), v1.ListPeersResponse)
    thread.join()
    assert caught.value.reason == "NODE_NOT_RUNNING"


def test_every_call_of_the_contract_is_named_after_its_request():
    for method in SERVICE.methods:
        assert method.input_type.name == f"{method.name}Request"
        assert method.output_type.name == f"{method.name}Response"


def test_the_desk_is_reached_once_and_again_after_it_was_let_go(tmp_path):
    made = []

    def connect(home):
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


def test_a_locked_home_is_waited_for_and_its_node_is_used_when_it_listens(tmp_path, monkeypatch):
    listening = iter([None, None, tmp_path / "desk.sock"])
    monkeypatch.setattr(rooms, "desk_socket", lambda _home: next(listening))
    monkeypatch.setattr(rooms, "HomeDesk", _locked)
    monkeypatch.setattr(rooms, "_LOCK_PAUSE_SECONDS", 0)
    desk = connect_desk(tmp_path)
    assert desk.serving
    desk.close()


def test_a_home_that_stays_locked_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(rooms, "HomeDesk", _locked)
    clock = SimpleNamespace(now=0.0, pauses=[])

    def sleep(seconds):
        clock.pauses.append(seconds)
        clock.now += seconds

    monkeypatch.setattr(rooms, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    with pytest.raises(HomeLocked) as caught:
        connect_desk(tmp_path)
    assert caught.value.reason == "HOME_LOCKED"
    assert sum(clock.pauses) == pytest.approx(rooms.LOCK_PATIENCE_SECONDS, abs=0.1)


def test_a_home_that_is_none_is_said_at_once(tmp_path):
    with pytest.raises(HomeMissing) as caught:
        connect_desk(tmp_path / "nowhere")
    assert caught.value.reason == "HOME_MISSING"


def _locked(_home):
    raise HomeLocked("another process holds the home")
