"""This module is a node that serves pages which were made before: so the receiving node alone is measured.

    python -m benchmarks.sender HOME PAGES

It is a whole node of the home, with its log, its receipts and its mutual TLS;
only the pages of its feeds come from a file. It prints a line of JSON when the
first page was asked for, and one when the receipt for the last came.
"""

import asyncio
import json
import logging
import signal
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest.mock import patch

from tocsin.config import NodeConfig
from tocsin.desk.home import open_home
from tocsin.exchange.side import Side
from tocsin.identity.names import OrgId
from tocsin.node import Node
from tocsin.store import receipts
from tocsin.v1 import exchange_service_pb2 as v1

_LENGTH = struct.Struct(">I")


def write_pages(path: Path, pages: Iterator[v1.Page]) -> int:
    """Write pages to a file, and return how many there are."""
    count = 0
    with path.open("wb") as file:
        for page in pages:
            data = page.SerializeToString()
            file.write(_LENGTH.pack(len(data)) + data)
            count += 1
    return count


def read_pages(path: Path) -> Iterator[v1.Page]:
    """Read the pages of a file."""
    with path.open("rb") as file:
        while head := file.read(_LENGTH.size):
            yield v1.Page.FromString(file.read(_LENGTH.unpack(head)[0]))


def make_pages(side: Side, partner: OrgId) -> Iterator[v1.Page]:
    """Make the pages of a partner's feed from its beginning, before there is a receipt for any."""
    cursor = ""
    with patch.object(receipts, "PAGES_KEPT", sys.maxsize):  # or the receipts for the first would be refused later
        while page := side.next_page(partner, cursor):
            yield page
            cursor = page.cursor


class _Prepared:
    """A side whose pages were made before."""

    def __init__(self, side: Side, pages: Sequence[v1.Page]) -> None:
        self._side = side
        self._behind = dict(zip(("", *(page.cursor for page in pages)), pages, strict=False))
        self._last = pages[-1].cursor
        self._asked = False

    def next_page(self, partner: OrgId, cursor: str, *, max_entries: int = 0) -> v1.Page | None:
        if not self._asked:
            self._asked = True
            _tell("asked")
        return self._behind.get(cursor)

    def acknowledge(self, partner: OrgId, receipts: Sequence[str]) -> None:
        self._side.acknowledge(partner, receipts)
        if self._side.acknowledged(partner) == self._last:
            _tell("acknowledged")

    def __getattr__(self, name: str) -> object:
        return getattr(self._side, name)


def _tell(what: str) -> None:
    print(json.dumps({what: time.monotonic()}), flush=True)


async def serve(home: Path, pages: Path, listen: str) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    with open_home(home, now=int(time.time())) as opened:
        node = await Node.start(opened, NodeConfig(listen=listen, pull=False, calls_per_minute=1_000_000))
        node._exchange._side = _Prepared(node._side, list(read_pages(pages)))  # type: ignore[assignment]
        _tell("ready")
        await ended.wait()
        await node.stop(1)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)  # to standard error, which the benchmark keeps
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
