"""Keys are replaced by commands, and whoever works on this machine still knows the node by its new certificate."""

import json
import signal

import pytest

from tests.support.command import environment, serving
from tocsin.desk.layout import Layout
from tocsin.desk.papers import load_organisation
from tocsin_cli.profile import load_profiles

INIT = ("init", "lab-a.example", "--kind", "lab", "--name", "Lab A", "--listen", "")


@pytest.fixture
def home(tocsin, tmp_path):
    assert tocsin(*INIT).code == 0
    return tmp_path / "home"


def test_a_key_is_rotated_and_told_when_it_takes_over(tocsin, home):
    shown = tocsin("keys", "rotate", "record")
    assert shown.code == 0
    assert shown.out.startswith("version 2 of the identity document names the new record key, which takes over on 20")
    assert "tocsin identity export" in shown.err
    assert (home / "keys" / "record.next.pem").exists()
    again = tocsin("keys", "rotate", "record")
    assert (again.code, "a new record key waits to take over already" in again.err) == (6, True)


def test_without_an_overlap_the_new_key_is_in_use_at_once(tocsin, home):
    before = (home / "keys" / "delivery.pem").read_bytes()
    shown = tocsin("keys", "rotate", "delivery", "--overlap", "0", "--json")
    assert json.loads(shown.out)["identity_version"] == 2
    assert (home / "keys" / "delivery.pem").read_bytes() != before


def test_the_root_key_may_lie_elsewhere(tocsin, home, tmp_path):
    root = (home / "keys" / "root-1.pem").rename(tmp_path / "root-1.pem")
    refused = tocsin("keys", "renew")
    assert (refused.code, "--root-key" in refused.err) == (3, True)
    shown = tocsin("keys", "renew", "--root-key", root)
    assert shown.out.startswith("version 2 of the identity document is valid until 20")


def test_without_a_home_there_are_no_keys_to_replace(tocsin, tmp_path):
    shown = tocsin("--home", tmp_path / "nowhere", "keys", "renew")
    assert (shown.code, "there is no home here [HOME_MISSING]" in shown.err) == (9, True)


def test_profiles_on_this_machine_know_the_node_by_its_new_certificate(tocsin, home):
    tocsin("keys", "rotate", "tls")
    (profile,) = load_profiles()
    assert profile.load_organisation() == load_organisation(Layout(home))


def test_a_running_node_takes_a_new_certificate_over_and_its_people_reach_it(tocsin, home, tmp_path):
    env = environment(TOCSIN_HOME=home, XDG_CONFIG_HOME=tmp_path / "config")
    with serving(home, env=env) as process:
        rotated = tocsin("keys", "rotate", "tls", "--overlap", "0")
        assert rotated.code == 0
        reload = f"kill -HUP $(cat {home}/lock)"
        assert rotated.err.index(reload) < rotated.err.index("tocsin identity export")
        assert reload in tocsin("status").err
        early = tocsin("identity", "export")
        assert (early.out, early.code) == ("", 4)
        assert "the node goes on with version 1 of the identity document" in early.err
        assert reload in early.err
        process.send_signal(signal.SIGHUP)
        for line in process.stderr:
            if "reloaded" in line:
                break
        status = tocsin("status", "--json")
        assert status.code == 0
        assert json.loads(status.out)["organisation"]["version"] == 2
