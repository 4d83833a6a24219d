"""What a service manager hears, and that a node runs without one."""

import socket

import pytest

from tocsin.services.supervisor import VARIABLE, tell_ready, tell_reloading, tell_stopping


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request, tmp_path, monkeypatch):
    name = str(tmp_path / "notify") if request.param == "a path" else f"@{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        listening.settimeout(5)
        monkeypatch.setenv(VARIABLE, name)
        yield listening


def lines(manager) -> dict[str, str]:
    return dict(line.split("=", 1) for line in manager.recv(4096).decode().splitlines())


def test_the_manager_hears_that_the_node_serves_reloads_and_stops(manager):
    tell_ready("serving")
    assert lines(manager) == {"READY": "1", "STATUS": "serving"}
    tell_reloading()
    told = lines(manager)
    assert told["RELOADING"] == "1"
    assert int(told["MONOTONIC_USEC"]) > 0
    tell_stopping()
    assert lines(manager) == {"STOPPING": "1", "STATUS": "draining"}


@pytest.mark.parametrize("name", ["", "relative", "/nowhere/at/all"])
def test_a_manager_that_does_not_listen_stops_nobody(monkeypatch, caplog, name):
    monkeypatch.setenv(VARIABLE, name)
    tell_ready("serving")
    assert ("cannot be told" in caplog.text) == name.startswith("/")


def test_without_a_manager_nothing_is_sent(manager, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    manager.setblocking(False)
    tell_ready("serving")
    with pytest.raises(BlockingIOError):
        manager.recv(4096)
