"""Commands against two running nodes: a peer is tested, and what it signed for is proved without either of them."""

import json
from contextlib import ExitStack

import pytest

from tests.cli.serving import served
from tests.support.processes import wait_until
from tocsin_cli.demo.network import free_ports

LAB, AISI = "lab-a.example", "aisi.example"
POLICY = f"""\
partner = "{AISI}"
[[share]]
name = "all"
kinds = ["*"]
max_tlp = "AMBER"
classes = "PARTNER"
[accept]
kinds = ["*"]
"""


@pytest.fixture
def pair(tocsin, tmp_path):
    """Return a function that runs a command at one of two nodes that know each other; the lab shares with the other."""

    def at(org, *arguments):
        return tocsin("--home", tmp_path / org, *arguments)

    for org, port in zip((LAB, AISI), free_ports(2), strict=True):
        made = at(org, "init", org, "--kind", "lab", "--name", org, "--listen", f"127.0.0.1:{port}")
        assert made.code == 0, made.err
    with ExitStack() as nodes:
        for org in (LAB, AISI):
            nodes.enter_context(served(tmp_path / org))
            (tmp_path / f"{org}.tocsin").write_text(at(org, "identity", "export").out)
        for org, other in ((LAB, AISI), (AISI, LAB)):
            fingerprint = at(other, "identity", "fingerprint").out.strip()
            added = at(org, "peer", "add", tmp_path / f"{other}.tocsin", "--fingerprint", fingerprint)
            assert added.code == 0, added.err
        (tmp_path / f"{AISI}.toml").write_text(POLICY)
        applied = at(LAB, "policy", "apply", tmp_path / f"{AISI}.toml", "--yes")
        assert applied.code == 0, applied.err
        yield at


def test_a_peer_is_tested_and_what_it_signed_for_is_proved_offline(tocsin, pair, tmp_path):
    tested = pair(LAB, "peer", "test", AISI)
    assert tested.code == 0, tested.out + tested.err
    assert [line.split()[:2] for line in tested.out.splitlines()] == [
        ["OK", step] for step in ("policy", "wire", "sent", "stored", "removed")
    ]
    (listed,) = json.loads(pair(LAB, "retractions", "--json").out)["retractions"]
    assert [(one["partner"], one["state"]) for one in listed["answers"]] == [(AISI, "confirmed")]
    (tmp_path / "receipts.json").write_text(pair(LAB, "receipts", "export", "--with-content").out)
    identities = [word for org in (LAB, AISI) for word in ("--identity", tmp_path / f"{org}.tocsin")]
    shown = tocsin("receipts", "verify", tmp_path / "receipts.json", *identities, "--json")
    assert shown.code == 0, shown.err
    proved = json.loads(shown.out)
    entries = [entry for receipt in proved["receipts"] for entry in receipt["entries"]]
    assert [(one["kind"], one["outcome"]) for one in entries] == [("record", "stored"), ("retraction", "applied")]
    # The record is purged, so its content is nobody's to show any more; that it was taken back is.
    assert [one["content_verified"] for one in entries] == [False, True]
    assert all(receipt["missing_in_chain"] == [] for receipt in proved["receipts"])


def test_the_doctor_reaches_the_peer_and_nothing_waits(pair):
    def is_well():  # the first attempt to reach it was made before it had added us
        looked = pair(LAB, "doctor", "--json")
        assert looked.code == 0, looked.out
        peers = [one for one in json.loads(looked.out)["checks"] if one["check"] == "peers"]
        return [one["verdict"] for one in peers] == ["ok"]

    wait_until(is_well, seconds=30)
    assert json.loads(pair(LAB, "outbox", "--json").out)["deliveries"] == []
