"""What an error looks like on its way, and when it is back."""

import logging

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from tocsin.errors import (
    Conflict,
    HomeDamaged,
    InternalError,
    LocalState,
    MalformedContent,
    QuotaExceeded,
    StaleCursor,
    TocsinError,
    leaves,
)
from tocsin.exchange.status import DEFAULT_RETRY_SECONDS, RETRY_AFTER, code_of, parse_status, status_of
from tocsin.services.errors import from_rpc_error, public_error

EVERY_REASON = [(leaf, reason) for leaf in leaves() for reason in leaf.reasons]


@pytest.mark.parametrize(("leaf", "reason"), EVERY_REASON, ids=[reason for _, reason in EVERY_REASON])
def test_every_error_comes_back_as_the_same_class_and_reason(leaf: type[TocsinError], reason: str):
    error = leaf("something is wrong", reason=reason, where="here:1", hint="do this", details=("one", "two"))
    back = parse_status(status_of(error, at_home=True).SerializeToString())
    assert type(back) is leaf
    assert (back.reason, back.message, back.where, back.hint, back.details) == (
        reason,
        "something is wrong",
        "here:1",
        "do this",
        ("one", "two"),
    )


def test_a_peer_learns_the_reason_and_nothing_about_our_machine():
    error = MalformedContent(
        "bad", where="/home/somebody/file.toml:3", hint="chmod 600 it", details=("title: missing",)
    )
    data = status_of(error, at_home=False).SerializeToString()
    for private in (b"/home/somebody", b"chmod", b"title"):
        assert private not in data
    assert parse_status(data).reason == "BAD_CONTENT"


def test_metadata_travels():
    back = parse_status(status_of(StaleCursor("gone", metadata={"cursor": "x.3"}), at_home=False).SerializeToString())
    assert back.metadata == {"cursor": "x.3"}


RETRIES = {
    "the time that the error names": (QuotaExceeded("slow down", metadata={RETRY_AFTER: "17"}), "17"),
    "a default for a quota": (QuotaExceeded("slow down"), str(DEFAULT_RETRY_SECONDS)),
    "none for anything else": (Conflict("taken", reason="CONFLICT"), None),
}


@pytest.mark.parametrize(("error", "seconds"), RETRIES.values(), ids=RETRIES)
def test_when_to_come_back_is_told(error, seconds):
    status = status_of(error, at_home=False)
    told = [detail for detail in status.details if detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR)]
    assert bool(told) == (seconds is not None)
    assert parse_status(status.SerializeToString()).metadata.get(RETRY_AFTER) == seconds


@pytest.mark.parametrize("text", ["nan", "-1e9", "-inf", "soon", "9" * 5000, ""])
def test_a_time_to_come_back_that_is_none_is_not_taken_from_metadata(text):
    """A peer could otherwise end the worker that stays in touch with it, or take every pause from it."""
    status = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED)
    info = error_details_pb2.ErrorInfo(reason="QUOTA_EXCEEDED", domain="tocsin", metadata={RETRY_AFTER: text})
    status.details.add().Pack(info)
    assert RETRY_AFTER not in parse_status(status.SerializeToString()).metadata


def test_every_class_has_a_status_that_grpc_knows():
    codes = {code.value[0] for code in grpc.StatusCode}
    assert {code_of(leaf("x", reason=next(iter(leaf.reasons)))) for leaf in leaves()} <= codes


def foreign(domain: str = "tocsin", reason: str = "NOT_FOUND") -> bytes:
    status = status_pb2.Status(code=code_pb2.NOT_FOUND, message="text")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain=domain))
    return status.SerializeToString()


def corrupt_detail() -> bytes:
    status = status_pb2.Status.FromString(foreign())
    status.details[0].value = b"\xff\xff"
    return status.SerializeToString()


UNREADABLE = {
    "nothing": b"",
    "another service's": foreign(domain="other.example"),
    "a reason of a later version": foreign(reason="NEW_REASON"),
    "not a status": b"\xff\xff\xff",
    "a detail that does not parse": corrupt_detail(),
}


@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE)
def test_a_status_that_no_node_has_written_is_no_error_of_ours(data):
    assert parse_status(data) is None


def test_the_state_of_this_machine_never_reaches_a_peer(caplog):
    error = HomeDamaged("the disk is gone", where="/srv/tocsin")
    assert public_error(error, method="/m", at_home=True) is error
    with caplog.at_level(logging.ERROR):
        public = public_error(error, method="/m", at_home=False)
    assert isinstance(public, InternalError)
    assert not isinstance(public, LocalState)
    assert public.metadata["request_id"] in caplog.text
    assert "disk" not in public.message


class Failure(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, trailing=()):
        self._code, self._trailing = code, trailing

    def code(self):
        return self._code

    def trailing_metadata(self):
        return self._trailing


ANSWERS = {
    grpc.StatusCode.UNAVAILABLE: "NODE_NOT_RUNNING",
    grpc.StatusCode.DEADLINE_EXCEEDED: "NODE_NOT_RUNNING",
    grpc.StatusCode.UNIMPLEMENTED: "BAD_REQUEST",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "BAD_REQUEST",
    grpc.StatusCode.UNKNOWN: "INTERNAL",
}


@pytest.mark.parametrize(("code", "reason"), ANSWERS.items(), ids=[code.name for code in ANSWERS])
def test_an_answer_without_a_status_still_becomes_an_error(code, reason):
    assert from_rpc_error(Failure(code)).reason == reason
