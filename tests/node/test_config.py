import os
import stat
from pathlib import Path

import pytest

from tocsin.config import (
    LONGEST_SOCKET_PATH,
    SHORTEST_BASE,
    NodeConfig,
    default_config_text,
    desk_socket_path,
    load_config,
)
from tocsin.errors import HomeDamaged, MalformedConfig


def write(home: Path, text: str) -> Path:
    (home / "node.toml").write_text(text)
    return home


def test_the_text_of_a_new_home_reads_as_every_default(tmp_path):
    assert load_config(write(tmp_path, default_config_text("[::1]:7000"))) == NodeConfig(listen="[::1]:7000")


def test_the_text_of_a_new_home_still_reads_when_every_comment_is_opened(tmp_path):
    lines = default_config_text().splitlines()
    opened = "\n".join(line.removeprefix("# ") if " = " in line else line for line in lines)
    assert load_config(write(tmp_path, opened)) == NodeConfig()


def test_every_problem_is_reported_at_once(tmp_path):
    wrong = {
        "listen": '"nowhere"',
        "desk_listen": '"here"',
        "strict": '"very"',
        "heartbeat": "3",
        "heartbeet_seconds": "3",
        "streams_per_peer": "0",
        "log_level": '"loud"',
    }
    with pytest.raises(MalformedConfig) as caught:
        load_config(write(tmp_path, "\n".join(f"{name} = {value}" for name, value in wrong.items())))
    assert caught.value.reason == "BAD_CONFIG"
    problems = {line.split(":")[0]: line for line in caught.value.details}
    assert problems.keys() == wrong.keys()
    assert problems["heartbeet_seconds"].endswith("did you mean heartbeat_seconds?")
    assert problems["listen"] == 'listen: not of the form "host:port"'
    assert problems["desk_listen"] == 'desk_listen: not of the form "host:port"'


@pytest.mark.parametrize("listen", ["host", "host:", ":7470", "host:70000", "ho st:1", "::1:7470"])
def test_an_address_without_its_form_is_refused(tmp_path, listen):
    with pytest.raises(MalformedConfig):
        load_config(write(tmp_path, f'listen = "{listen}"'))


def test_the_desk_has_no_port_and_nobody_is_strict_until_somebody_says_so(tmp_path):
    assert load_config(write(tmp_path, "")) == NodeConfig(desk_listen="", strict=False)
    text = 'desk_listen = "[::]:7471"\nstrict = true'
    assert load_config(write(tmp_path, text)) == NodeConfig(desk_listen="[::]:7471", strict=True)


def test_a_file_that_is_not_toml_is_refused_with_its_line(tmp_path):
    with pytest.raises(MalformedConfig) as caught:
        load_config(write(tmp_path, "listen = \n"))
    assert "line 1" in caught.value.details[0]


def test_a_missing_file_is_a_damaged_home(tmp_path):
    with pytest.raises(HomeDamaged):
        load_config(tmp_path)


def test_the_environment_wins_over_the_file_and_heals_what_it_replaces(tmp_path, monkeypatch):
    monkeypatch.setenv("TOCSIN_LISTEN", "127.0.0.1:0")
    monkeypatch.setenv("TOCSIN_PULL", "false")
    assert load_config(write(tmp_path, 'listen = "nowhere"')) == NodeConfig(listen="127.0.0.1:0", pull=False)


def test_the_socket_is_in_the_home(tmp_path):
    assert desk_socket_path(tmp_path) == tmp_path.resolve() / "run" / "desk.sock"


@pytest.fixture
def deep_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    return tmp_path / ("d" * LONGEST_SOCKET_PATH)


def test_a_socket_finds_its_place_when_the_runtime_folder_has_a_long_path_too(deep_home, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep_home))
    path = desk_socket_path(deep_home)
    assert path.is_relative_to(SHORTEST_BASE)
    assert len(os.fsencode(path)) <= LONGEST_SOCKET_PATH


def test_the_socket_of_a_home_with_a_long_path_is_in_the_runtime_folder(deep_home):
    path = desk_socket_path(deep_home)
    assert path.parts[:2] == ("/", "run")
    assert len(os.fsencode(path)) <= LONGEST_SOCKET_PATH
    assert path == desk_socket_path(deep_home)
    assert path != desk_socket_path(deep_home / "other")


def test_a_runtime_folder_that_others_may_enter_is_refused(tmp_path, deep_home, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = desk_socket_path(deep_home).parent
    folder.mkdir(mode=0o700)
    assert desk_socket_path(deep_home).parent == folder
    folder.chmod(0o755)
    with pytest.raises(HomeDamaged):
        desk_socket_path(deep_home)


def test_a_runtime_folder_that_is_a_link_is_refused(tmp_path, deep_home, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = desk_socket_path(deep_home).parent
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    folder.symlink_to(target)
    assert stat.S_ISLNK(folder.lstat().st_mode)
    with pytest.raises(HomeDamaged):
        desk_socket_path(deep_home)


METRICS = {
    "nowhere": ("", True),
    "this machine": ("127.0.0.1:9470", True),
    "this machine by IPv6": ("[::1]:9470", True),
    "this machine by name": ("localhost:9470", True),
    "every address": ("0.0.0.0:9470", False),
    "every address by IPv6": ("[::]:9470", False),
    "a network": ("192.0.2.7:9470", False),
    "a name": ("metrics.lab-a.example:9470", False),
    "no port": ("127.0.0.1", False),
}


@pytest.mark.parametrize(("listen", "allowed"), METRICS.values(), ids=METRICS)
def test_figures_are_shown_to_this_machine_alone(tmp_path, listen, allowed):
    home = write(tmp_path, f'metrics_listen = "{listen}"')
    if allowed:
        assert load_config(home).metrics_listen == listen
        return
    with pytest.raises(MalformedConfig) as caught:
        load_config(home)
    assert caught.value.reason == "BAD_CONFIG"
