"""What Prometheus reads, and that nobody else's port shows it."""

import socket
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.desk.conftest import copy_home
from tests.support.organisations import NOW, found
from tocsin.desk.home import open_home
from tocsin.errors import PortBusy
from tocsin.identity.certificate import DAY
from tocsin.services.metrics import Metrics
from tocsin.store.evidence import EvidenceRow
from tocsin.store.model import Outcome, PeerRole, PeerState, Position, Verdict

B = "lab-b.example"


@pytest.fixture
def home(tmp_path):
    with open_home(copy_home(tmp_path / "home"), now=NOW) as opened:
        opened.store.peers.add(
            B, document=found(B).document, role=PeerRole.MEMBER, state=PeerState.ACTIVE, now=NOW - DAY
        )
        yield opened


@pytest.fixture
def metrics(home):
    shown = Metrics(home, clock=lambda: NOW, in_touch=lambda org: org != B)
    yield shown
    shown.close()


def figures(metrics) -> dict[tuple[str, frozenset], float]:
    port = metrics.serve("127.0.0.1:0")
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def labelled(name, **labels):
    return name, frozenset(labels.items())


def test_every_figure_that_is_promised_is_there(metrics):
    metrics.count_call("/tocsin.v1.ExchangeService/Pull", code="OK", seconds=0.02)
    names = {name for name, _ in figures(metrics)}
    assert names >= {
        "tocsin_build_info",
        "tocsin_rpc_server_duration_seconds_bucket",
        "tocsin_outbox_pending",
        "tocsin_outbox_oldest_seconds",
        "tocsin_records_total",
        "tocsin_signature_failures_total",
        "tocsin_cert_expiry_seconds",
        "tocsin_identity_expiry_seconds",
        "tocsin_db_size_bytes",
        "tocsin_log_size",
        "tocsin_log_stopped",
        "tocsin_evidence_total",
    }


def test_figures_follow_the_store(home, metrics):
    home.store.peers.note_received(B, now=NOW - 60)
    verdicts = [
        Verdict(1, Outcome.REFUSED, "d1", "BAD_SIGNATURE"),
        Verdict(2, Outcome.REFUSED, "d2", "NOT_PERMITTED"),
        Verdict(3, Outcome.REFUSED, "d3", "DUP_DIGEST"),
    ]
    home.store.intake.move(B, Position("feed", 3, ""), verdicts, now=NOW)
    found_ = figures(metrics)
    assert found_[labelled("tocsin_signature_failures_total", peer=B)] == 2
    assert found_[labelled("tocsin_sync_lag_seconds", peer=B)] == 60
    assert found_[labelled("tocsin_outbox_pending", peer=B)] == 0
    assert found_[labelled("tocsin_records_total", direction="in", peer=B)] == 0
    assert found_[labelled("tocsin_cert_expiry_seconds")] > 700 * DAY
    assert found_[labelled("tocsin_db_size_bytes")] == home.store.size()


def test_figures_of_logs_follow_the_store(home, metrics):
    home.tlog.issue(bytes(64), now=NOW)
    home.store.logs.stop(B, "it signed two different histories of its log", now=NOW)
    home.store.logs.add_evidence(EvidenceRow(B, "fork", "d" * 43, b"{}", NOW))
    found_ = figures(metrics)
    assert found_[labelled("tocsin_log_size", origin="lab-a.example")] == 1
    assert found_[labelled("tocsin_log_stopped", origin="lab-a.example")] == 0
    assert found_[labelled("tocsin_log_stopped", origin=B)] == 1
    assert found_[labelled("tocsin_evidence_total")] == 1


def test_calls_are_counted_by_method_and_status(metrics):
    metrics.count_call("/tocsin.v1.ExchangeService/Pull", code="OK", seconds=0.02)
    metrics.count_call("/tocsin.v1.ExchangeService/Pull", code="RESOURCE_EXHAUSTED", seconds=0.002)
    counted = {
        dict(labels)["code"]: value
        for (name, labels), value in figures(metrics).items()
        if name == "tocsin_rpc_server_duration_seconds_count"
    }
    assert counted == {"OK": 1, "RESOURCE_EXHAUSTED": 1}


def test_a_port_that_is_taken_is_told(metrics):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(PortBusy) as refused:
            metrics.serve(f"127.0.0.1:{taken.getsockname()[1]}")
    assert "metrics_listen" in refused.value.hint
