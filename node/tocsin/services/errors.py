"""This module answers a call with an error, the one place where a bug becomes an answer, and reads one at home.

A TocsinError travels as `exchange.status` writes it. Anything else is a bug:
the caller gets a fixed text and a request id, the log gets the type of the
exception and where it happened, and nobody gets its message, which could hold
a record's content.
"""

import logging
import secrets
from typing import Any, NoReturn

import grpc

from tocsin.errors import InternalError, LocalState, MalformedRequest, NodeNotRunning, TocsinError
from tocsin.exchange.status import STATUS_KEY, parse_trailing, status_of
from tocsin.failure import trace

_log = logging.getLogger(__name__)

_CODES = {code.value[0]: code for code in grpc.StatusCode}


async def abort(
    context: "grpc.aio.ServicerContext[Any, Any]", error: Exception, *, method: str, at_home: bool
) -> NoReturn:
    """End the call with what the caller may know of an error."""
    status = status_of(public_error(error, method=method, at_home=at_home), at_home=at_home)
    await context.abort(_CODES[status.code], status.message, ((STATUS_KEY, status.SerializeToString()),))


def code_name(code: grpc.StatusCode | int | None) -> str:
    """Return the name of the status that a call has got: gRPC keeps a number, and 0 where nobody set one."""
    return code.name if isinstance(code, grpc.StatusCode) else _CODES[code or 0].name


def from_rpc_error(failure: grpc.RpcError) -> TocsinError:
    """Read the error that our own node has answered a call on the desk socket with."""
    code = getattr(failure, "code", lambda: grpc.StatusCode.UNKNOWN)()
    if error := parse_trailing(getattr(failure, "trailing_metadata", tuple)() or ()):
        return error
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        hint = "start it with: tocsin serve; what it was asked may be done all the same: look before you ask again"
        return NodeNotRunning("the node does not answer on its desk socket", hint=hint)
    if code == grpc.StatusCode.UNIMPLEMENTED:
        return MalformedRequest("the running node is of another version", hint="restart it with: tocsin serve")
    if code == grpc.StatusCode.RESOURCE_EXHAUSTED:
        return MalformedRequest(
            "the request or its answer is larger than a message may be", hint="ask for less at once"
        )
    return InternalError(f"the node ended the call with {code.name}")


def public_error(error: Exception, *, method: str, at_home: bool) -> TocsinError:
    """Return what a caller may know of an error; what it may not know goes to the log, with an id for both."""
    if isinstance(error, TocsinError) and (at_home or not isinstance(error, LocalState)):
        return error
    request_id = secrets.token_hex(8)
    more = {"request_id": request_id}
    _log.error("request %s to %s ended in %s", request_id, method, trace(error), extra=more)
    return InternalError("the node failed on this request", metadata={"request_id": request_id})
