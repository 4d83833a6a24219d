"""This module lets the sides of parties call one another in memory, as their nodes do over gRPC.

    link = Link(side_of(a), side_of(b))     a calls b
    run(compare(link, B, side=link.ours))

What b refuses reaches a as a client tells it: by its reason. `heard` keeps what
was asked, and a test may put another answer in the place of any.
"""

import asyncio

from tests.support.organisations import NOW
from tocsin.errors import PeerRefused, TocsinError
from tocsin.exchange.client import PEER_REASON
from tocsin.exchange.directory import Directory
from tocsin.exchange.quota import Budget
from tocsin.exchange.side import Side
from tocsin.identity.certificate import certificate_pem
from tocsin.identity.names import OrgId
from tocsin.v1 import exchange_service_pb2, log_service_pb2
from tocsin.watch.growth import read_growth


def side_of(party, *, now=None, budget=None, dial=None):
    """Return the side of a party, whose clock is the party's."""
    certificate = certificate_pem(party.founded.organisation.node_certs[0])
    return Side(
        office=party.office,
        delivery_signer=party.founded.delivery,
        directory=Directory(party.store, own_certificate=certificate),
        clock=(lambda: party.now) if now is None else (lambda: now),
        dial=dial,
        budget=budget or Budget(1e9),
    )


def run(work):
    """Run a coroutine."""
    return asyncio.run(work)


class Link:
    """A client of `theirs` in the hands of `ours`."""

    def __init__(self, ours, theirs):
        self.ours, self.theirs = ours, theirs
        self.caller, self.called = ours.organisation.org, theirs.organisation.org
        self.heard = []

    async def _call(self, name, call, *arguments):
        self.heard.append(name)
        try:
            return await asyncio.to_thread(call, *arguments)
        except TocsinError as error:
            raise PeerRefused(f"{name}: {error.message}", metadata={PEER_REASON: error.reason}) from error

    async def compare(self, held):
        held = log_service_pb2.CompareRequest.FromString(held.SerializeToString())
        return await self._call("compare", self.theirs.compare, self.caller, held)

    async def get_entries(self, origin, start):
        growth = await self._call("get_entries", self.theirs.growth, self.caller, OrgId(origin), start)
        return log_service_pb2.GetEntriesResponse(growth=growth.to_message() if growth else None)

    async def add_entries(self, origin, growth):
        return await self._call(
            "add_entries", lambda: self.theirs.extend(self.caller, OrgId(origin), read_growth(growth), given=True)
        )

    async def pull(self, cursor):
        page = await self._call("pull", self.theirs.next_page, self.caller, cursor)
        return exchange_service_pb2.PullResponse(page=page, now=NOW)

    async def acknowledge(self, receipts):
        await self._call("acknowledge", self.theirs.acknowledge, self.caller, receipts)

    async def recover(self, after):
        return await self._call("recover", self.theirs.what_is_held, self.caller, after)
