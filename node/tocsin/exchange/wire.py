"""This module holds what both ends of the peer wire agree on: sizes, deadlines, signs of life.

gRPC's keepalive punishes a client that pings more often than the server
allows (GOAWAY "too_many_pings"), so both ends stand here side by side:
grpc/grpc, doc/keepalive.md.
"""

from collections.abc import Sequence

Options = Sequence[tuple[str, int | str]]

_SECOND = 1000  # gRPC's options count milliseconds

# A page is at most 3 MiB and its statement a fraction of that; gRPC's own default, so nobody's proxy is surprised.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
# Nothing of ours travels as metadata; a status with its details stays below 8 KiB.
MAX_METADATA_BYTES = 16 * 1024
# A peer needs two at a time; at this number a rapid reset (CVE-2023-44487) costs half the memory it costs without.
MAX_STREAMS_PER_CONNECTION = 64
# Across all peers: a thousand with a stream each, twice where all reconnect at once, and as many calls again. An idle
# stream takes a tenth of a MiB; nobody who is no peer gets as far as this.
MAX_CALLS_AT_ONCE = 4096

# Longest wait for one answer: a full page over 1 Mbit/s takes 25 s.
CALL_SECONDS = 30.0
# TCP, TLS and HTTP/2 take four round trips: even over a satellite, 10 s say that nobody is there.
CONNECT_SECONDS = 10.0
# A live stream that shows no sign of life for three heartbeats of 20 s is dead, whatever TCP believes.
SILENCE_SECONDS = 60.0

# Before a middle box forgets the connection, which most do after 60 s or more; twice as slow as the server allows.
CLIENT_PING_SECONDS = 60
SERVER_ALLOWS_PING_SECONDS = 30
# How long the answer to a ping may take: a round trip to a busy node across the world, generously.
PING_TIMEOUT_SECONDS = 20
# Connections end after an hour, so that a rotated certificate or a removed root takes effect; calls may finish.
CONNECTION_AGE_SECONDS = 3600
CONNECTION_GRACE_SECONDS = 30
# A live stream ends by itself before its connection does, and so never in the middle of a page.
STREAM_SECONDS = 3300.0
# A connection on which nothing is called costs 86 KiB and is worth nothing.
CONNECTION_IDLE_SECONDS = 300
# A TLS handshake takes two round trips; whoever needs longer holds a socket for nothing.
HANDSHAKE_SECONDS = 10

_BOTH_ENDS: Options = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.keepalive_time_ms", CLIENT_PING_SECONDS * _SECOND),
    ("grpc.keepalive_timeout_ms", PING_TIMEOUT_SECONDS * _SECOND),
)

SERVER_OPTIONS: Options = (
    *_BOTH_ENDS,
    ("grpc.max_concurrent_streams", MAX_STREAMS_PER_CONNECTION),
    ("grpc.http2.min_ping_interval_without_data_ms", SERVER_ALLOWS_PING_SECONDS * _SECOND),
    ("grpc.max_connection_age_ms", CONNECTION_AGE_SECONDS * _SECOND),
    ("grpc.max_connection_age_grace_ms", CONNECTION_GRACE_SECONDS * _SECOND),
    ("grpc.max_connection_idle_ms", CONNECTION_IDLE_SECONDS * _SECOND),
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * _SECOND),
    # Two nodes on one port would each get half of the calls: the second must fail instead.
    ("grpc.so_reuseport", 0),
)


def client_options(server_name: str) -> Options:
    """Return the options of a channel to the node of one organisation, whatever its address is."""
    return (
        *_BOTH_ENDS,
        ("grpc.ssl_target_name_override", server_name),
        # Pings only while a call is open: an idle connection may end.
        ("grpc.keepalive_permit_without_calls", 0),
        # The proxy of an environment variable would see whom we talk to; an operator who wants one routes for it.
        ("grpc.enable_http_proxy", 0),
        # Retries are the worker's, with its own backoff; a service config could be fed by DNS.
        ("grpc.enable_retries", 0),
        ("grpc.service_config_disable_resolution", 1),
        # Channels with the same options would share one connection even after the peer's certificate changed.
        ("grpc.use_local_subchannel_pool", 1),
    )
