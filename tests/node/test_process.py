"""Nodes as real processes: started as people start them, stopped as service managers stop them."""

import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.nodes import desk_credentials, finding, keys_of_place, make_place, put_policy
from tests.support.shared import ROOT
from tests.support.wire import now
from tocsin.config import desk_socket_path
from tocsin.desk.home import open_home
from tocsin.desk.recovery import recover_person
from tocsin.errors import HomeDamaged, PeerUnreachable
from tocsin.exchange.peer import PeerClient
from tocsin.process import _keep_current, prepare_files
from tocsin.store.model import PeerRole, PeerState
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1.desk_service_pb2_grpc import DeskServiceStub

START_SECONDS = 20
# A channel that is made before its node listens asks again after a second, and then more seldom, where it is not told.
ASK_OFTEN = tuple((f"grpc.{name}_reconnect_backoff_ms", 50) for name in ("initial", "min", "max"))


@contextmanager
def process(place, *options, **environment):
    command = [sys.executable, "-W", "error", "-m", "tocsin", "--home", str(place.root), *options]
    inherited = {**os.environ, "PYTHONPATH": str(ROOT / "node"), **environment}
    running = subprocess.Popen(command, env=inherited, stderr=subprocess.PIPE, text=True)
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


@contextmanager
def desk_of(place):
    """Return a channel to the desk as the person who founded the place."""
    target = f"unix:{desk_socket_path(place.root)}"
    credentials, options = desk_credentials(place, place.first)
    with grpc.secure_channel(target, credentials, options=[*options, *ASK_OFTEN]) as channel:
        grpc.channel_ready_future(channel).result(timeout=START_SECONDS)
        yield channel


def test_two_processes_exchange_records_and_end_when_they_are_told(tmp_path):
    lab, other = make_place(tmp_path, "lab-a.example"), make_place(tmp_path, "lab-b.example")
    put_policy(lab, other)
    put_policy(other, lab)
    with process(lab) as first, process(other) as second, desk_of(lab) as lab_channel, desk_of(other) as other_channel:
        a, b = DeskServiceStub(lab_channel), DeskServiceStub(other_channel)
        for desk, peer in ((a, other), (b, lab)):
            organisation = peer.organisation
            desk.AddPeer(v1.AddPeerRequest(document=organisation.document, fingerprint=organisation.fingerprint))
        a.PostRecords(v1.PostRecordsRequest(drafts=[finding("one")]))
        (last,) = [line for line in b.SyncPeers(v1.SyncPeersRequest(peers=[lab.org])) if line.done]
        assert last.error_message == ""
        assert [record.title for record in b.ListRecords(v1.ListRecordsRequest()).records] == ["one"]
        for running in (first, second):
            running.send_signal(signal.SIGTERM)
            _, told = running.communicate(timeout=20)
            assert running.returncode == 0, told
            assert told.rstrip().endswith("stopped")
            assert "Traceback" not in told
    assert not desk_socket_path(lab.root).exists()


@pytest.mark.parametrize(
    ("limits", "set_to"),
    [
        ((1024, 4096), (4096, 4096)),
        ((1024, 1 << 20), (65_536, 1 << 20)),
        ((1024, resource.RLIM_INFINITY), (65_536, resource.RLIM_INFINITY)),
        ((100_000, 1 << 20), None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None),
    ],
    ids=str,
)
def test_a_node_may_have_as_many_files_open_as_peers_need(monkeypatch, limits, set_to):
    told = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: told.append(limits))
    prepare_files()
    assert told == ([set_to] if set_to else [])


def test_a_node_that_drains_says_so_before_it_goes(tmp_path):
    lab = make_place(tmp_path, "lab-a.example")
    with process(lab) as running, desk_of(lab) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=""))
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        running.send_signal(signal.SIGTERM)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        running.send_signal(signal.SIGTERM)  # hurry
        running.communicate(timeout=10)
        assert running.returncode == 0


def test_a_node_that_was_killed_starts_again_with_what_it_had(tmp_path):
    lab = make_place(tmp_path, "lab-a.example")
    with process(lab) as running, desk_of(lab) as channel:
        DeskServiceStub(channel).PostRecords(v1.PostRecordsRequest(drafts=[finding("one")]))
        running.kill()
        running.wait(timeout=10)
    with process(lab), desk_of(lab) as channel:
        assert DeskServiceStub(channel).ListRecords(v1.ListRecordsRequest()).total == 1


def _no_home(folder: Path) -> None:
    (folder / "node.toml").unlink()


def _open_key(folder: Path) -> None:
    (folder / "keys" / "record.pem").chmod(0o644)


def _bad_setting(folder: Path) -> None:
    (folder / "node.toml").write_text("listten = 3\n")


REFUSALS = {
    "a part of the home is missing": (_no_home, 9, "node.toml"),
    "a key can be read by others": (_open_key, 9, "record.pem"),
    "a setting is wrong": (_bad_setting, 3, "did you mean listen?"),
}


@pytest.mark.parametrize(("damage", "code", "told"), REFUSALS.values(), ids=REFUSALS)
def test_a_node_that_cannot_start_says_why(tmp_path, damage, code, told):
    lab = make_place(tmp_path, "lab-a.example")
    damage(lab.root)
    with process(lab) as running:
        _, error = running.communicate(timeout=20)
    assert running.returncode == code
    assert error.startswith("tocsin: error: ")
    assert told in error
    assert "Traceback" not in error


def test_a_port_that_is_taken_is_told(tmp_path):
    lab = make_place(tmp_path, "lab-a.example")
    with process(lab), desk_of(lab), process(make_place(tmp_path, "b.example"), TOCSIN_LISTEN=lab.listen) as second:
        _, error = second.communicate(timeout=20)
    assert second.returncode == 9
    assert f"cannot listen on {lab.listen}" in error
    assert "Traceback" not in error


def test_a_stranger_leaves_no_trace_on_standard_error(tmp_path):
    lab, stranger = make_place(tmp_path, "lab-a.example"), make_place(tmp_path, "lab-b.example")

    async def knock() -> None:
        async with PeerClient(lab.organisation, lab.listen, keys=keys_of_place(stranger)) as client:
            with pytest.raises(PeerUnreachable):
                await client.pull("")

    with process(lab) as running, desk_of(lab):
        asyncio.run(knock())
        running.send_signal(signal.SIGTERM)
        _, told = running.communicate(timeout=20)
    assert [line for line in told.splitlines() if " INFO tocsin.process: " not in line] == []


def test_a_node_says_at_its_start_that_nothing_is_in_force(tmp_path):
    lab = make_place(tmp_path, "lab-a.example")
    recover_person(lab.root, lab.colleague("first", keys="renewed").card, now=now())
    with process(lab) as running:
        told = running.stderr.readline()
        while "serves on" not in told:
            told += running.stderr.readline()
    assert "nothing is in force, so nothing is sent and nothing accepted" in told


def told_until(running, mark) -> list[dict[str, str]]:
    """Return the lines of a log in JSON, up to the first that says something."""
    lines = []
    for line in running.stderr:
        lines.append(json.loads(line))
        if mark in lines[-1]["event"]:
            return lines
    raise AssertionError(lines)


def test_a_node_reloads_when_it_is_told_and_keeps_everything_where_something_is_wrong(tmp_path):
    lab = make_place(tmp_path, "lab-a.example")
    settings = lab.root / "node.toml"
    right = settings.read_text()
    with process(lab, TOCSIN_LOG_FORMAT="json") as running, desk_of(lab) as channel:
        told_until(running, "serves on")
        settings.write_text(f"{right}heartbeat_seconds = -1\n")
        running.send_signal(signal.SIGHUP)
        (refused,) = told_until(running, "nothing is reloaded")
        assert (refused["level"], "BAD_CONFIG" in refused["event"]) == ("error", True)
        settings.write_text(f'{right}log_level = "debug"\nstrict = true\n')
        running.send_signal(signal.SIGHUP)
        events = [line["event"] for line in told_until(running, "reloaded")]
        assert "strict has changed, and counts from the next start" in events
        assert DeskServiceStub(channel).GetStatus(v1.GetStatusRequest()).serving
        running.send_signal(signal.SIGTERM)
        told_until(running, "stopped")


def test_whatever_a_reload_fails_on_the_next_one_is_heard(caplog):
    failures = [OSError("canary-0007"), HomeDamaged("the keys cannot be read")]

    class Failing:
        async def reload(self, *, keys_only=False):
            raise failures.pop(0)

    async def run():
        asked = asyncio.Event()
        keeping = asyncio.create_task(_keep_current(Failing(), asked))
        async with asyncio.timeout(10):
            while failures:
                asked.set()
                await asyncio.sleep(0.01)
        keeping.cancel()

    asyncio.run(run())
    assert "nothing is reloaded: OSError" in caplog.text
    assert "canary-0007" not in caplog.text
    assert "nothing is reloaded: HOME_DAMAGED" in caplog.text


def test_a_service_manager_hears_when_the_node_serves_reloads_and_stops(tmp_path):
    lab = make_place(tmp_path, "lab-a.example")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(START_SECONDS)
        with process(lab, NOTIFY_SOCKET=str(tmp_path / "notify")) as running:
            assert manager.recv(4096).startswith(b"READY=1")
            running.send_signal(signal.SIGHUP)
            assert manager.recv(4096).startswith(b"RELOADING=1")
            assert manager.recv(4096) == b"READY=1\nSTATUS=serving"
            running.send_signal(signal.SIGTERM)
            assert manager.recv(4096).startswith(b"STOPPING=1")


def test_figures_are_read_where_the_settings_say(tmp_path):
    lab = make_place(tmp_path, "lab-a.example")
    settings = {"TOCSIN_METRICS_LISTEN": "127.0.0.1:0", "TOCSIN_LOG_FORMAT": "json"}
    with process(lab, **settings) as running, desk_of(lab) as channel:
        DeskServiceStub(channel).GetStatus(v1.GetStatusRequest())
        address = told_until(running, "figures are on")[-1]["event"].rpartition(" ")[2]
        with urlopen(address, timeout=5) as answer:  # noqa: S310 -- the address that the node itself has told
            text = answer.read().decode()
    called = '{code="OK",method="/tocsin.v1.DeskService/GetStatus"}'
    assert f"tocsin_rpc_server_duration_seconds_count{called} 1.0" in text


def test_once_fetches_from_every_peer_and_stops(tmp_path):
    lab, other = make_place(tmp_path, "lab-a.example"), make_place(tmp_path, "lab-b.example")
    for place, partner in ((lab, other), (other, lab)):
        put_policy(place, partner)
        know(place, partner)
    with process(lab), desk_of(lab) as channel:
        DeskServiceStub(channel).PostRecords(v1.PostRecordsRequest(drafts=[finding("one")]))
        with process(other, "--once") as once:
            _, told = once.communicate(timeout=START_SECONDS)
        assert (once.returncode, told) == (0, "")
    with process(other), desk_of(other) as channel:
        assert [record.title for record in DeskServiceStub(channel).ListRecords(v1.ListRecordsRequest()).records] == [
            "one"
        ]


def test_once_ends_with_what_went_wrong_with_a_peer(tmp_path):
    lab, other = make_place(tmp_path, "lab-a.example"), make_place(tmp_path, "lab-b.example")
    know(other, lab)
    with process(other, "--once") as once:
        _, told = once.communicate(timeout=START_SECONDS)
    assert once.returncode == 7
    assert "tocsin: error: " in told
    assert "lab-a.example" in told
    assert "Traceback" not in told


def know(place, partner) -> None:
    """Register a partner while the node does not run."""
    organisation = partner.organisation
    with open_home(place.root, now=now()) as home:
        home.store.peers.add(
            organisation.org, document=organisation.document, role=PeerRole.MEMBER, state=PeerState.ACTIVE, now=now()
        )
