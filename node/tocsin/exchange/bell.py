"""This module wakes whoever waits for something to be queued for a partner."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tocsin.identity.names import OrgId


class Bell:
    """One bell for each partner; belongs to one event loop.

    A listener clears its event, looks, and waits: what is queued after the
    look rings.
    """

    def __init__(self) -> None:
        self._listeners: defaultdict[OrgId, dict[asyncio.Event, None]] = defaultdict(dict)  # woken in their order

    def ring(self, partners: Iterable[OrgId]) -> None:
        """Wake everybody who listens for one of these partners."""
        for partner in partners:
            for event in self._listeners.get(partner, ()):
                event.set()

    @contextmanager
    def listening(self, partner: OrgId) -> Iterator[asyncio.Event]:
        """Return an event that is set whenever the partner's bell rings."""
        event = asyncio.Event()
        self._listeners[partner][event] = None
        try:
            yield event
        finally:
            del self._listeners[partner][event]
            if not self._listeners[partner]:
                del self._listeners[partner]


async def heard_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, but no longer than this; say whether it came."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
