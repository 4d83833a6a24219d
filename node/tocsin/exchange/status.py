"""This module writes an error as a `google.rpc.Status` and reads it back.

    code      the gRPC status of the error's class, such as FAILED_PRECONDITION
    message   for people
    details   ErrorInfo   reason, domain "tocsin", the error's metadata            always
              RetryInfo   when to come back                                        where there is a time
              BadRequest  one violation for each line of the error's details       at home only
              Help        the error's hint                                         at home only

What `where`, `hint` and `details` say is about our own machine: it goes to our
own people over the desk socket and never to a peer. A status that came over a
wire is untrusted: nothing in it reaches a person unless this program knows its
reason, and then in this program's own words, except at home.
AIP-193 governs.
"""

from collections.abc import Iterable
from typing import TypeVar

from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from tocsin.errors import InternalError, LocalState, TocsinError, by_reason

# AIP-193: with its reason, this names an error among those of all services.
ERROR_DOMAIN = "tocsin"
# The trailing metadata key that every gRPC implementation uses for a Status.
STATUS_KEY = "grpc-status-details-bin"
# Metadata that becomes a RetryInfo: whole seconds, as text.
RETRY_AFTER = "retry_after_seconds"
# Where a quota names no time: half of the shortest window that a quota counts in.
DEFAULT_RETRY_SECONDS = 30
_WHERE = "where"

Detail = TypeVar("Detail", bound=Message)


def status_of(error: TocsinError, *, at_home: bool) -> status_pb2.Status:
    """Return what travels of an error; `at_home` means over the desk socket.

    The state of this machine never goes to a peer: it becomes an internal error there.
    """
    if isinstance(error, LocalState) and not at_home:
        error = InternalError("the node cannot answer now")
    status = status_pb2.Status(code=code_of(error), message=error.message)
    metadata = {**error.metadata, _WHERE: error.where} if at_home and error.where else error.metadata
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN, metadata=metadata))
    if (seconds := _retry_seconds(error)) is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromSeconds(seconds)
        status.details.add().Pack(retry)
    if at_home:
        _add_advice(status, error)
    return status


def code_of(error: TocsinError) -> int:
    """Return the number of the error's gRPC status; a state of this machine has FAILED_PRECONDITION at home."""
    return int(code_pb2.Code.Value(error.status or "FAILED_PRECONDITION"))


def parse_trailing(metadata: Iterable[tuple[str, str | bytes]]) -> TocsinError | None:
    """Read the error that stands in the metadata behind an answer, or None where there is none that we know."""
    return parse_status(next((value for key, value in metadata if key == STATUS_KEY and isinstance(value, bytes)), b""))


def parse_status(data: bytes) -> TocsinError | None:
    """Read the error that a node at home or elsewhere has written, or None where it wrote none that we know."""
    try:
        status = status_pb2.Status.FromString(data)
        info = _detail(status, error_details_pb2.ErrorInfo())
        known = by_reason(info.reason) if info.domain == ERROR_DOMAIN else None
        if known is None:
            return None
        help_ = _detail(status, error_details_pb2.Help())
        bad = _detail(status, error_details_pb2.BadRequest())
        retry = _detail(status, error_details_pb2.RetryInfo())
    except DecodeError:
        return None
    metadata = dict(info.metadata)
    metadata.pop(RETRY_AFTER, None)  # it travels as RetryInfo, which cannot hold what is no time
    if retry.retry_delay.seconds > 0:
        metadata[RETRY_AFTER] = str(retry.retry_delay.seconds)
    return known(
        status.message,
        reason=info.reason,
        where=metadata.pop(_WHERE, ""),
        hint=help_.links[0].description if help_.links else "",
        details=tuple(violation.description for violation in bad.field_violations),
        metadata=metadata,
    )


def _add_advice(status: status_pb2.Status, error: TocsinError) -> None:
    if error.details:
        violation = error_details_pb2.BadRequest.FieldViolation
        lines = [violation(description=line) for line in error.details]
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=lines))
    if error.hint:
        link = error_details_pb2.Help.Link(description=error.hint)
        status.details.add().Pack(error_details_pb2.Help(links=[link]))


def _retry_seconds(error: TocsinError) -> int | None:
    text = error.metadata.get(RETRY_AFTER, "")
    if text.isdecimal():
        return int(text)
    return DEFAULT_RETRY_SECONDS if error.status == "RESOURCE_EXHAUSTED" else None


def _detail(status: status_pb2.Status, empty: Detail) -> Detail:
    for detail in status.details:
        if detail.Is(empty.DESCRIPTOR):
            detail.Unpack(empty)
            break
    return empty
