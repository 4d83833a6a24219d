"""This module calls another organisation's node, and says in our own words what went wrong.

A channel goes to one endpoint of one organisation and trusts that
organisation's certificates alone, whatever the address resolves to. Nothing
that a peer answers is passed on as it came:

    its status carries a reason we know   PeerRefused, with that reason in `metadata["peer_reason"]`
    no connection, or too slow            PeerUnreachable
    anything else                         PeerMisbehaved

Each call must end in time, so a peer that reads or writes a byte a second is
as good as none.

A stranger's handshake is just closed (TLS says no more), so an unreachable
peer may be one that has not added us yet.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self, TypeVar

import grpc
import grpc.aio

from tocsin.errors import PeerMisbehaved, PeerRefused, PeerUnreachable, TocsinError, by_reason
from tocsin.exchange.client import PEER_CURSOR, PEER_REASON, PEER_RECEIPT
from tocsin.exchange.status import RETRY_AFTER, parse_trailing
from tocsin.exchange.wire import CALL_SECONDS, CONNECT_SECONDS, SILENCE_SECONDS, client_options
from tocsin.identity.certificate import TlsKeys, certificate_pem
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.records.envelope import DIGEST
from tocsin.v1 import exchange_service_pb2 as v1
from tocsin.v1 import log_service_pb2
from tocsin.v1.exchange_service_pb2_grpc import ExchangeServiceStub
from tocsin.v1.log_service_pb2_grpc import LogServiceStub

Answer = TypeVar("Answer")

# Of what a peer says beside its reason, only what has one of these forms is looked at.
_TAKEN_OVER = {
    RETRY_AFTER: re.compile(r"[0-9]{1,9}", re.ASCII),
    PEER_CURSOR: re.compile(r"[A-Za-z0-9_-]{22}\.[0-9]{1,16}(?:\.[A-Za-z0-9_-]{11})?", re.ASCII),
    PEER_RECEIPT: DIGEST,
}
_NO_CHANNEL = (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN)
_NO_CONNECTION = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class PeerClient:
    """A channel to one endpoint of a peer's node; belongs to one event loop, and is closed by `async with`."""

    def __init__(self, organisation: Organisation, endpoint: str, *, keys: TlsKeys) -> None:
        roots = b"".join(certificate_pem(der) for der in organisation.node_certs)
        credentials = grpc.ssl_channel_credentials(roots, keys.key, keys.certificate)
        self._org = organisation.org
        self._endpoint = endpoint
        # With its scheme written out: `unix:7443` would be taken for a socket on this machine.
        target = f"dns:///{endpoint}"
        self._channel = grpc.aio.secure_channel(target, credentials, options=client_options(organisation.org))
        self._stub, self._logs = ExchangeServiceStub(self._channel), LogServiceStub(self._channel)

    async def connect(self) -> None:
        """Wait for the connection, and for no longer than its first attempt. Raises PeerUnreachable."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                while (state := self._channel.get_state(try_to_connect=True)) != grpc.ChannelConnectivity.READY:
                    if state in _NO_CHANNEL:
                        raise self._unreachable("cannot be reached")
                    await self._channel.wait_for_state_change(state)
        except TimeoutError:
            raise self._unreachable("does not answer") from None

    async def pull(self, cursor: str) -> v1.PullResponse:
        """Ask for the page that follows a cursor."""
        return await self._answer(self._stub.Pull(v1.PullRequest(cursor=cursor), timeout=CALL_SECONDS))

    async def subscribe(self, cursor: str) -> AsyncGenerator[v1.SubscribeResponse, None]:
        """Yield the pages that follow a cursor, and then each new one, with signs of life between; the peer ends it.

        The peer may take as long as it likes, but not without a sign of life.
        """
        call = self._stub.Subscribe(v1.SubscribeRequest(cursor=cursor))
        try:
            while True:
                async with asyncio.timeout(SILENCE_SECONDS):
                    answer = await self._answer(call.read())
                if not isinstance(answer, v1.SubscribeResponse):  # grpc.aio.EOF
                    return
                yield answer
        except TimeoutError:
            raise self._unreachable("has gone silent") from None
        finally:
            call.cancel()

    async def acknowledge(self, receipts: Sequence[str]) -> None:
        """Hand over receipts, in the order of their numbers."""
        await self._answer(self._stub.Acknowledge(v1.AcknowledgeRequest(receipts=receipts), timeout=CALL_SECONDS))

    async def deliver(self, page: v1.Page, *, last_receipt: str) -> Sequence[str]:
        """Hand over a page of our feed for the peer, and return its receipts behind the one that is held here."""
        request = v1.DeliverRequest(page=page, last_receipt=last_receipt)
        answer = await self._answer(self._stub.Deliver(request, timeout=CALL_SECONDS))
        return tuple(answer.receipts)

    async def recover(self, after: str) -> v1.RecoverResponse:
        """Ask for what we have signed and the peer holds."""
        return await self._answer(self._stub.Recover(v1.RecoverRequest(after=after), timeout=CALL_SECONDS))

    async def give_back(self, held: v1.RecoverResponse) -> bool:
        """Hand over what the peer has signed and we hold; False where it does not look for it."""
        request = v1.GiveBackRequest(records=held.records, retractions=held.retractions, next=held.next)
        answer = await self._answer(self._stub.GiveBack(request, timeout=CALL_SECONDS))
        return answer.wanted

    async def compare(self, held: log_service_pb2.CompareRequest) -> log_service_pb2.CompareResponse:
        """Say what we hold of logs, and return what the peer holds of them."""
        return await self._answer(self._logs.Compare(held, timeout=CALL_SECONDS))

    async def get_entries(self, origin: str, start: int) -> log_service_pb2.GetEntriesResponse:
        """Ask how a log goes on behind an entry."""
        request = log_service_pb2.GetEntriesRequest(origin=origin, start=start)
        return await self._answer(self._logs.GetEntries(request, timeout=CALL_SECONDS))

    async def add_entries(self, origin: str, growth: log_service_pb2.LogGrowth) -> int:
        """Hand over how a log goes on, and return how much of it the peer holds then."""
        request = log_service_pb2.AddEntriesRequest(origin=origin, growth=growth)
        answer = await self._answer(self._logs.AddEntries(request, timeout=CALL_SECONDS))
        return answer.size

    async def request_disclosure(self, digest: str, *, paths: Sequence[str], why: str) -> v1.RequestState.ValueType:
        """Ask the peer for fields of its record, and return where the request stands."""
        request = v1.RequestDisclosureRequest(digest=digest, paths=paths, why=why)
        answer = await self._answer(self._stub.RequestDisclosure(request, timeout=CALL_SECONDS))
        if answer.state not in v1.RequestState.values() or not answer.state:
            raise PeerMisbehaved(f"{self._org} does not say where the request stands", where=self._endpoint)
        return answer.state

    async def close(self) -> None:
        """End the channel and every call on it."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _answer(self, call: Awaitable[Answer]) -> Answer:
        try:
            return await call
        except grpc.aio.AioRpcError as failure:
            raise self._in_our_words(failure) from None

    def _in_our_words(self, failure: grpc.aio.AioRpcError) -> TocsinError:
        if said := parse_trailing(failure.trailing_metadata() or ()):
            return _refused(self._org, said)
        if failure.code() in _NO_CONNECTION:
            return self._unreachable("cannot be reached")
        return PeerMisbehaved(f"{self._org} ended the call with {failure.code().name}", where=self._endpoint)

    def _unreachable(self, what: str) -> PeerUnreachable:
        hint = f"if its node is up, {self._org} may not have added us yet: compare fingerprints with its people"
        return PeerUnreachable(f"{self._org} {what}", where=self._endpoint, hint=hint)


@asynccontextmanager
async def open_client(organisation: Organisation, *, keys: TlsKeys) -> AsyncIterator[PeerClient]:
    """Connect to the first endpoint of a peer that answers.

    Raises PeerUnreachable: what the last endpoint said, where none answers.
    """
    failure = PeerUnreachable(
        f"{organisation.org} has no endpoint", hint="wait until it fetches from us and hands over what it has"
    )
    for endpoint in organisation.endpoints:
        async with PeerClient(organisation, endpoint, keys=keys) as client:
            try:
                await client.connect()
            except PeerUnreachable as error:
                failure = error
                continue
            yield client
            return
    raise failure


def _refused(org: OrgId, said: TocsinError) -> PeerRefused:
    """Tell a refusal by its reason code; the peer's own text is left out, it could say anything."""
    known = by_reason(said.reason)
    meaning = known.reasons[said.reason] if known else ""
    metadata = {PEER_REASON: said.reason}
    for name, form in _TAKEN_OVER.items():
        if form.fullmatch(said.metadata.get(name, "")):
            metadata[name] = said.metadata[name]
    return PeerRefused(f"{org} refused: {said.reason}, {meaning}", metadata=metadata)
