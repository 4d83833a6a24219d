"""This module does ahead what a page needs no store for, while the page before it is stored.

That is more than half of the work: signatures, disclosures, contract. Nothing
is believed for it: what was prepared is known by its exact text, and
`tocsin.exchange.check` asks of it whatever it asks of any record.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TypeAlias, TypeVar

from tocsin.errors import Malformed, RecordRefused
from tocsin.exchange.page import MAX_ENTRIES
from tocsin.identity.root import Organisation
from tocsin.records.record import UnverifiedRecord, parse_record
from tocsin.v1 import exchange_service_pb2 as v1

Prepared: TypeAlias = Mapping[int, UnverifiedRecord]
"""Records of a page, by the number of their entry; whoever takes one compares the text."""

T = TypeVar("T")
P = TypeVar("P")


def prepare(page: v1.Page, *, sender: Organisation) -> Prepared:
    """Parse the sender's own records on a page, and verify what is signed in them; what fails is left out."""
    prepared: dict[int, UnverifiedRecord] = {}
    for entry in page.entries[:MAX_ENTRIES]:
        with suppress(Malformed, RecordRefused):
            if text := entry.presentation:
                prepared[entry.sequence] = unverified = parse_record(text)
                if key := sender.record_keys.get(unverified.key_id):
                    unverified.prepare(key.public_key)
    return prepared


async def looked_ahead(
    answers: AsyncIterator[T], look: Callable[[T], Awaitable[P]]
) -> AsyncGenerator[tuple[T, P], None]:
    """Yield each answer with what a look at it gave; meanwhile the next one is waited for and looked at."""
    coming = asyncio.ensure_future(_next(answers, look))
    try:
        while come := await coming:
            coming = asyncio.ensure_future(_next(answers, look))
            yield come
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)  # whoever closes `answers` must not find it at work


async def _next(answers: AsyncIterator[T], look: Callable[[T], Awaitable[P]]) -> tuple[T, P] | None:
    async for answer in answers:
        return answer, await look(answer)
    return None
