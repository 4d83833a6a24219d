"""This module says what calling a peer's node is, whatever carries the calls.

`tocsin.exchange.peer` carries them over gRPC. Everything that is exchanged
goes through these few calls, so that a network that only exists in memory can
stand in for the wire.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from tocsin.identity.root import Organisation
from tocsin.v1 import exchange_service_pb2 as v1
from tocsin.v1 import log_service_pb2

PEER_REASON = "peer_reason"
"""Metadata of a PeerRefused: the reason code that the peer gave."""
PEER_CURSOR = "cursor"
"""Metadata of a PeerRefused: where the peer says to go on."""
PEER_RECEIPT = "receipt"
"""Metadata of a PeerRefused: the digest of the receipt that it refused."""


class Client(Protocol):
    """Call one peer's node. Every call raises PeerUnreachable, PeerRefused or PeerMisbehaved where it fails."""

    async def pull(self, cursor: str) -> v1.PullResponse:
        """Ask for the page that follows a cursor."""

    def subscribe(self, cursor: str) -> AsyncGenerator[v1.SubscribeResponse, None]:
        """Yield the pages that follow a cursor, and then each new one, with signs of life between; the peer ends it."""

    async def acknowledge(self, receipts: Sequence[str]) -> None:
        """Hand over receipts, in the order of their numbers."""

    async def deliver(self, page: v1.Page, *, last_receipt: str) -> Sequence[str]:
        """Hand over a page of our feed for the peer, and return its receipts behind the one that is held here."""

    async def request_disclosure(self, digest: str, *, paths: Sequence[str], why: str) -> v1.RequestState.ValueType:
        """Ask the peer for fields of its record, and return where the request stands."""

    async def recover(self, after: str) -> v1.RecoverResponse:
        """Ask for what we have signed and the peer holds."""

    async def give_back(self, held: v1.RecoverResponse) -> bool:
        """Hand over what the peer has signed and we hold; False where it does not look for it."""

    async def compare(self, held: log_service_pb2.CompareRequest) -> log_service_pb2.CompareResponse:
        """Say what we hold of logs, and return what the peer holds of them."""

    async def get_entries(self, origin: str, start: int) -> log_service_pb2.GetEntriesResponse:
        """Ask how a log goes on behind an entry."""

    async def add_entries(self, origin: str, growth: log_service_pb2.LogGrowth) -> int:
        """Hand over how a log goes on, and return how much of it the peer holds then."""


Dial = Callable[[Organisation], AbstractAsyncContextManager[Client]]
"""Connect to a peer's node. Raises PeerUnreachable on entering."""
