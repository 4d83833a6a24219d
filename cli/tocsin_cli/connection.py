"""This module is the connection to a running node: mutual TLS, as the person of a profile.

The node is whoever holds the key of a certificate in the organisation's
identity document; the person is whoever holds the key of its own. What the
node answers with becomes the error it stands for.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from tocsin.config import DESK_MESSAGE_BYTES
from tocsin.errors import NodeNotRunning, ProfileMissing, TocsinError, Unauthenticated
from tocsin.identity.certificate import certificate_pem
from tocsin_cli.profile import Profile

Answer = TypeVar("Answer", bound=Message)

CALL_SECONDS = 120.0
"""Longest wait for one answer: a batch of 200 drafts on a slow disk takes seconds."""
STREAM_SECONDS = 24 * 3600.0
"""Longest sync: weeks of backlog from a slow peer."""
_PROBE_SECONDS = 5.0


class NodeDesk:
    """The desk of a running node."""

    def __init__(self, channel: grpc.Channel, *, is_listening: Callable[[], bool]) -> None:
        """Take over a channel; `is_listening` tells a node that is gone from one that does not know us."""
        self._channel = channel
        self._is_listening = is_listening

    def call(self, request: Message, answer: type[Answer]) -> Answer:
        """Ask and wait for the answer; a status becomes the error it stands for."""
        method = self._channel.unary_unary(
            _method(request), request_serializer=_serialise, response_deserializer=answer.FromString
        )
        try:
            return method(request, timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            raise self._error_of(error) from None

    def stream(self, request: Message, answer: type[Answer]) -> Iterator[Answer]:
        """Ask and yield the answers as they come."""
        method = self._channel.unary_stream(
            _method(request), request_serializer=_serialise, response_deserializer=answer.FromString
        )
        try:
            yield from method(request, timeout=STREAM_SECONDS)
        except grpc.RpcError as error:
            raise self._error_of(error) from None

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def _error_of(self, error: grpc.RpcError) -> TocsinError:
        """Return what went wrong. The handshake of somebody unknown is just closed: TLS says no more."""
        from tocsin.services.errors import from_rpc_error  # and what errors are told in: most calls succeed

        found = from_rpc_error(error)
        gone = isinstance(found, NodeNotRunning) and error.code() == grpc.StatusCode.UNAVAILABLE
        if gone and self._is_listening():
            hint = "let an operator add you, or check that the profile is for this node; if it just started, ask again"
            return Unauthenticated("the node does not know this profile", reason="PERSON_UNKNOWN", hint=hint)
        return found


def reach_socket(path: Path, profile: Profile, *, is_listening: Callable[[], bool]) -> NodeDesk:
    """Return the desk of a node on this machine. Raises ProfileMissing and KeyExposed."""
    return NodeDesk(_channel(f"unix:{path}", profile), is_listening=is_listening)


def reach_port(profile: Profile) -> NodeDesk:
    """Return the desk of a node elsewhere. Raises NodeNotRunning, ProfileMissing and KeyExposed."""
    if not profile.desk:
        hint = "name a home with --home, or write `desk` into the profile's person.toml"
        raise ProfileMissing("the profile names neither home nor desk", where=str(profile.folder), hint=hint)
    host, _, port = profile.desk.rpartition(":")

    def is_listening() -> bool:
        with suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), _PROBE_SECONDS):
            return True
        return False

    if not is_listening():
        hint = "ask its operator whether the node is up, and `desk_listen` set"
        raise NodeNotRunning("the node cannot be reached", where=profile.desk, hint=hint)
    # With its scheme written out: `unix:7471` would be taken for a socket on this machine.
    return NodeDesk(_channel(f"dns:///{profile.desk}", profile), is_listening=is_listening)


def _channel(target: str, profile: Profile) -> grpc.Channel:
    """Return a channel that trusts the organisation's node alone, and shows who we are."""
    keys = profile.load_tls()
    roots = b"".join(certificate_pem(der) for der in profile.load_organisation().node_certs)
    options = [
        ("grpc.max_receive_message_length", DESK_MESSAGE_BYTES),
        ("grpc.enable_http_proxy", 0),
        ("grpc.ssl_target_name_override", profile.org),
        # Channels of two people in one process must not share a connection.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(roots, keys.key, keys.certificate), options=options)


def _name(request: Message) -> str:
    return request.DESCRIPTOR.name.removesuffix("Request")


def _method(request: Message) -> str:
    return f"/tocsin.v1.DeskService/{_name(request)}"


def _serialise(request: Message) -> bytes:
    return request.SerializeToString()
