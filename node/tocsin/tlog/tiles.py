"""This module cuts a log into files that never change, as C2SP tlog-tiles lays them out.

    tile/0/x001/x234/067           256 leaves, those from 1,234,067 * 256 on, 32 bytes each
    tile/1/000.p/17                17 nodes of level 8: each is over the whole of a tile/0 file
    tile/entries/x001/x234/067     the entries of the same leaves, each after its length in two bytes

A tile stands for the subtree of height 8 under its hashes, whose other nodes
are computed. The last one of a level may be narrower and says so in its name;
once there are more hashes, a wider one is written beside it. The checkpoint
lies beside the tiles, and all of them together are the log: see `static_files`.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

from tocsin.errors import MalformedLog
from tocsin.tlog.merkle import HASH_BYTES, MAX_SIZE, Node, Reader

TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 2**TILE_HEIGHT
MAX_ENTRY_BYTES: Final = 2**16 - 1
ENTRIES: Final = -1
"""In the place of a level: entries, whose hashes are level 0."""
CHECKPOINT: Final = "checkpoint"
"""Where the checkpoint of a log lies, below its prefix."""

EntryReader: TypeAlias = Callable[[int, int], Sequence[bytes]]
"""Returns entries in their order: from a number on, so many."""

_LENGTH_BYTES: Final = 2
_MAX_LEVEL: Final = 63
_PATH: Final = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<number>(?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?",
    re.ASCII,
)


class Tile(NamedTuple):
    """A file of a log: the hashes, or the entries, from `number * 256` on."""

    level: int
    number: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """Return where the file lies, below the prefix of the log."""
        if self.level == ENTRIES:
            return entries_path(self.number, self.width)
        return tile_path(self.level, self.number, self.width)

    @property
    def begin(self) -> int:
        """Return the first leaf that a tile is over."""
        return self.number << TILE_HEIGHT * (max(self.level, 0) + 1)


def tile_path(level: int, number: int, width: int = TILE_WIDTH) -> str:
    """Return the path of a tile of hashes."""
    _require(0 <= level <= _MAX_LEVEL, f"there is no level {level}")
    return _path(str(level), number, width)


def entries_path(number: int, width: int = TILE_WIDTH) -> str:
    """Return the path of a bundle of entries."""
    return _path("entries", number, width)


def parse_tile_path(text: str) -> Tile:
    """Read the path of a tile or of a bundle of entries, which has one spelling only.

    Whether a log is large enough to have it is not in the path.

    Raises MalformedLog (BAD_ENTRY).
    """
    match = _PATH.fullmatch(text)
    if match is not None:
        level = ENTRIES if match["level"] == "entries" else int(match["level"])
        number, width = int(re.sub("[x/]", "", match["number"])), int(match["width"] or TILE_WIDTH)
        tile = Tile(level, number, width)
        # What could be written otherwise, such as x000/001, is another text.
        if level <= _MAX_LEVEL and width <= TILE_WIDTH and tile.begin <= MAX_SIZE and tile.path == text:
            return tile
    raise MalformedLog(f"{text[:80]!r} is not the path of a tile", reason="BAD_ENTRY")


def tile(level: int, number: int, width: int, read: Reader) -> bytes:
    """Return a tile: so many complete nodes side by side."""
    _require(level >= 0 and number >= 0 and 0 < width <= TILE_WIDTH, f"no tile {number} of {width} at level {level}")
    first = number << TILE_HEIGHT
    return b"".join(read([Node(level * TILE_HEIGHT, first + place) for place in range(width)]))


def parse_tile(data: bytes, *, width: int) -> list[bytes]:
    """Return the hashes of a tile of a width; raises MalformedLog (BAD_ENTRY) for another length.

    Any bytes are hashes: the caller MUST compute the root of a checkpoint from them.
    """
    if not 0 < width <= TILE_WIDTH or len(data) != width * HASH_BYTES:
        raise MalformedLog(f"a tile of {width} hashes does not have {len(data)} bytes", reason="BAD_ENTRY")
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def entry_bundle(entries: Sequence[bytes]) -> bytes:
    """Return a bundle of entries."""
    _require(0 < len(entries) <= TILE_WIDTH, f"a bundle has 1 to {TILE_WIDTH} entries, not {len(entries)}")
    _require(max(map(len, entries)) <= MAX_ENTRY_BYTES, f"an entry has more than {MAX_ENTRY_BYTES} bytes")
    return b"".join(len(entry).to_bytes(_LENGTH_BYTES, "big") + entry for entry in entries)


def parse_entry_bundle(data: bytes, *, width: int) -> list[bytes]:
    """Return the entries of a bundle, which are as many as its path says.

    The caller MUST compare their hashes with the leaves of a tree that it has verified.

    Raises MalformedLog (BAD_ENTRY).
    """
    entries: list[bytes] = []
    at = 0
    while at < len(data) and len(entries) < width:
        begin = at + _LENGTH_BYTES
        at = begin + int.from_bytes(data[at:begin], "big")
        entries.append(data[begin:at])
    # An entry that is cut off ends behind the data, and so does a length of which half is there.
    if at != len(data) or len(entries) != width or not 0 < width <= TILE_WIDTH:
        raise MalformedLog(f"{len(data)} bytes are not a bundle of {width} entries", reason="BAD_ENTRY")
    return entries


def tiles_of(size: int, *, since: int = 0) -> Iterator[Tile]:
    """Yield every file that a tree of a size has, and one of an earlier size has not.

    Entries come first, then the levels upwards. The tree has the full tiles of
    earlier sizes as well, and of the narrower ones only its own.
    """
    _require(0 <= since <= size, f"a tree of {size} does not begin with one of {since}")
    for level in (ENTRIES, *range(_MAX_LEVEL + 1)):
        shift = TILE_HEIGHT * max(level, 0)
        count, earlier = size >> shift, since >> shift
        if not count:
            return
        for number in range(earlier >> TILE_HEIGHT, count >> TILE_HEIGHT):
            yield Tile(level, number)
        if count % TILE_WIDTH and count != earlier:
            yield Tile(level, count >> TILE_HEIGHT, count % TILE_WIDTH)


def tile_file(each: Tile, read: Reader, entries: EntryReader) -> bytes:
    """Return what is in a file: hashes, or entries."""
    if each.level != ENTRIES:
        return tile(each.level, each.number, each.width, read)
    found = entries(each.begin, each.width)
    _require(len(found) == each.width, f"{each.width} entries were asked for, and {len(found)} came")
    return entry_bundle(found)


def static_files(size: int, read: Reader, entries: EntryReader, checkpoint: str) -> Iterator[tuple[str, bytes]]:
    """Yield every file of a log with its path, and the checkpoint last: what it is over is there before it is.

    One file is held at a time, however long the log is. The caller MUST have a
    checkpoint of that size: nothing is verified here.
    """
    for each in tiles_of(size):
        yield each.path, tile_file(each, read, entries)
    yield CHECKPOINT, checkpoint.encode()


def _path(level: str, number: int, width: int) -> str:
    _require(number >= 0 and 0 < width <= TILE_WIDTH, f"there is no tile {number} that is {width} wide")
    digits = str(number)
    digits = digits.zfill(-len(digits) % 3 + len(digits))
    *above, last = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    folders = "".join(f"x{part}/" for part in above)
    return f"tile/{level}/{folders}{last}" + (f".p/{width}" if width < TILE_WIDTH else "")


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise RuntimeError(problem)
