"""This module shows figures to Prometheus, on a port of this machine alone: how much, how late, how long; never what.

    tocsin_build_info{version}                          what runs
    tocsin_rpc_server_duration_seconds{method,code}     calls that were answered, and how long they took
    tocsin_outbox_pending{peer}                         records that wait for a partner
    tocsin_outbox_oldest_seconds{peer}                  how long the oldest of them has waited
    tocsin_sync_lag_seconds{peer}                       how long nothing was heard of a peer that is not in touch
    tocsin_records_total{direction,peer}                entries sent, and records received, since the home was made
    tocsin_signature_failures_total{peer}               entries of a peer that were refused for their cryptography
    tocsin_log_size{origin}                             entries of our own transparency log, and of each that we follow
    tocsin_log_stopped{origin}                          1 where nothing is taken from an origin, or issued by us
    tocsin_evidence_total                               pieces of evidence that are held against origins
    tocsin_cert_expiry_seconds                          how long the node's certificate is still valid
    tocsin_identity_expiry_seconds                      the same of the identity document
    tocsin_db_size_bytes                                the store with its write-ahead log

Labels are organisation ids, methods and codes: no label holds content. Whoever
may connect to the port sees with whom the organisation exchanges, so it is no
port of the network.
"""

import threading
from collections.abc import Callable, Iterator
from typing import Final
from wsgiref.simple_server import WSGIServer

from cryptography import x509
from prometheus_client import CollectorRegistry, Histogram, Info, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tocsin import __version__
from tocsin.desk.home import Home
from tocsin.errors import DisclosureMismatch, PortBusy, SignatureMismatch, UntrustedIssuer, WrongAlgorithm
from tocsin.store.model import PeerRow

SECONDS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 300.0, 3300.0)
"""Buckets: a call at the desk takes milliseconds, a page tens of them, a stream up to an hour."""
MOST_REFUSALS: Final = 10_000
"""Refused entries that are counted of one peer; whoever has as many has another problem than a figure."""
CRYPTOGRAPHY: Final = frozenset(
    reason
    for refusal in (WrongAlgorithm, SignatureMismatch, DisclosureMismatch, UntrustedIssuer)
    for reason in refusal.reasons
)
"""Reasons of refusals that say that somebody did not sign what came."""


class Metrics:
    """The figures of one node, and the port that shows them."""

    def __init__(self, home: Home, *, clock: Callable[[], int], in_touch: Callable[[str], bool]) -> None:
        """Take where the figures come from; `in_touch` says whether a peer answers now."""
        self._registry = CollectorRegistry()
        self._calls = Histogram(
            "tocsin_rpc_server_duration_seconds",
            "How long calls took.",
            ["method", "code"],
            registry=self._registry,
            buckets=SECONDS,
        )
        Info("tocsin_build", "What runs.", registry=self._registry).info({"version": __version__})
        self._registry.register(_Figures(home, clock, in_touch))
        self._server: tuple[WSGIServer, threading.Thread] | None = None

    def count_call(self, method: str, *, code: str, seconds: float) -> None:
        """Take note of a call that has ended."""
        self._calls.labels(method=method, code=code).observe(seconds)

    def serve(self, listen: str) -> int:
        """Show the figures on an address of this machine and return its port. Raises PortBusy."""
        host, _, port = listen.rpartition(":")
        try:
            self._server = start_http_server(int(port), host.strip("[]"), registry=self._registry)
        except OSError:
            hint = f"see what uses it with: ss -ltnp 'sport = :{port}', or change `metrics_listen` in node.toml"
            raise PortBusy(f"cannot listen on {listen}", hint=hint) from None
        return int(self._server[0].server_port)

    def close(self) -> None:
        """Show nothing any more, and let go of the port."""
        if self._server is not None:
            server, thread = self._server
            server.shutdown()
            server.server_close()
            thread.join()
            self._server = None


class _Figures(Collector):
    """What the store knows, read whenever somebody asks; nothing is counted twice after a restart."""

    def __init__(self, home: Home, clock: Callable[[], int], in_touch: Callable[[str], bool]) -> None:
        self._home = home
        self._clock = clock
        self._in_touch = in_touch

    def describe(self) -> list[Metric]:
        """Name nothing beforehand: the store need not be asked for that."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every figure."""
        now, home = self._clock(), self._home
        certificate = x509.load_pem_x509_certificate(home.tls.certificate).not_valid_after_utc
        yield _gauge("tocsin_cert_expiry_seconds", "Until the certificate expires.", certificate.timestamp() - now)
        left = home.organisation.expires - now
        yield _gauge("tocsin_identity_expiry_seconds", "Until the identity document expires.", left)
        yield _gauge("tocsin_db_size_bytes", "Bytes of the store.", home.store.size())
        peers = home.store.peers.list()
        yield from self._outbox(peers, now=now)
        yield from self._exchanged(peers)
        yield from self._logs()

    def _outbox(self, peers: tuple[PeerRow, ...], *, now: int) -> Iterator[Metric]:
        pending = GaugeMetricFamily("tocsin_outbox_pending", "Records that wait for a partner.", labels=["peer"])
        oldest = GaugeMetricFamily("tocsin_outbox_oldest_seconds", "How long the oldest has waited.", labels=["peer"])
        lag = GaugeMetricFamily("tocsin_sync_lag_seconds", "How long nothing was heard of a peer.", labels=["peer"])
        feeds = self._home.store.feeds
        for row in peers:
            pending.add_metric([row.org], feeds.waiting(row.org))
            since = feeds.oldest_waiting(row.org)
            oldest.add_metric([row.org], 0 if since is None else now - since)
            if row.last_received_at is not None:
                lag.add_metric([row.org], 0 if self._in_touch(row.org) else now - row.last_received_at)
        yield from (pending, oldest, lag)

    def _exchanged(self, peers: tuple[PeerRow, ...]) -> Iterator[Metric]:
        records = CounterMetricFamily("tocsin_records", "Entries sent, records received.", labels=["direction", "peer"])
        failures = CounterMetricFamily("tocsin_signature_failures", "Entries that do not verify.", labels=["peer"])
        store = self._home.store
        for row in peers:
            counts = store.peers.counts(row.org)
            records.add_metric(["out", row.org], counts.entries_sent)
            records.add_metric(["in", row.org], counts.records_received)
            refused = store.intake.refusals(row.org, limit=MOST_REFUSALS) if counts.entries_refused else ()
            failures.add_metric([row.org], sum(refusal.reason in CRYPTOGRAPHY for refusal in refused))
        yield from (records, failures)

    def _logs(self) -> Iterator[Metric]:
        size = GaugeMetricFamily("tocsin_log_size", "Entries of a transparency log.", labels=["origin"])
        stopped = GaugeMetricFamily("tocsin_log_stopped", "Whether nothing is taken or issued.", labels=["origin"])
        logs, ours = self._home.store.logs, self._home.organisation.org
        for row in (logs.get(ours), *(row for row in logs.list() if row.origin != ours)):
            size.add_metric([row.origin], row.size)
            stopped.add_metric([row.origin], bool(row.stopped))
        yield from (size, stopped)
        yield CounterMetricFamily("tocsin_evidence", "Pieces held against origins.", value=len(logs.evidence()))


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(name, what, value=value)
