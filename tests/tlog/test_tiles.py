"""A log lies in files that are the same at every size that has them, byte for byte as others lay it out."""

import base64
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.shared import shared
from tests.tlog.forge import LOG, checkpoint, verified
from tests.tlog.reference import Kept, Tree, entries_of, kept
from tocsin.errors import MalformedLog
from tocsin.tlog.checkpoint import sign_checkpoint
from tocsin.tlog.merkle import (
    HASH_BYTES,
    MAX_SIZE,
    Node,
    Reader,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    verify_inclusion,
)
from tocsin.tlog.tiles import (
    CHECKPOINT,
    ENTRIES,
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    entries_path,
    entry_bundle,
    parse_entry_bundle,
    parse_tile,
    parse_tile_path,
    static_files,
    tile,
    tile_path,
    tiles_of,
)

LARGE = 70_000  # the size of the example in C2SP tlog-tiles, and the first that has three levels


@pytest.fixture(scope="module")
def large() -> Kept:
    return kept(entries_of(LARGE))


def sized(size: int, nodes: Kept) -> str:
    return sign_checkpoint(checkpoint(size, nodes=nodes), signer=LOG)


# Paths

PATHS = {
    "tile/0/000": Tile(0, 0),
    "tile/0/000.p/1": Tile(0, 0, 1),
    "tile/2/255.p/255": Tile(2, 255, 255),
    "tile/1/x001/000": Tile(1, 1000),
    "tile/0/x001/x234/067": Tile(0, 1_234_067),
    "tile/2/x123/999.p/16": Tile(2, 123_999, 16),
    "tile/63/000": Tile(63, 0),
    "tile/entries/000.p/15": Tile(ENTRIES, 0, 15),
    "tile/entries/x001/x234/067": Tile(ENTRIES, 1_234_067),
}


@pytest.mark.parametrize(("path", "found"), PATHS.items(), ids=PATHS)
def test_a_path_says_level_number_and_width(path, found):
    assert parse_tile_path(path) == found
    assert found.path == path


@given(st.integers(0, MAX_SIZE >> 2 * TILE_HEIGHT), st.integers(1, TILE_WIDTH))
def test_a_path_that_is_written_is_read(number, width):
    assert parse_tile_path(tile_path(1, number, width)) == Tile(1, number, width)
    assert parse_tile_path(entries_path(number, width)) == Tile(ENTRIES, number, width)


@given(st.text(alphabet="tile/entris0123456789x.p", max_size=30).map(lambda end: f"tile/{end}"))
def test_a_path_that_is_read_is_the_only_one(text):
    try:
        found = parse_tile_path(text)
    except MalformedLog:
        return
    assert found.path == text


@pytest.mark.parametrize(
    "path",
    [
        *("", "tile", "tile/0", "tile/0/", "tile//000", "/tile/0/000", "tile/0/000/", "tile/0/000\n", "tile/entry/000"),
        *("tile/-1/000", "tile/00/000", "tile/01/000", "tile/64/000", "tile/100/000", "tile/+1/000", "tile/data/000"),
        *("tile/0/0", "tile/0/00", "tile/0/0000", "tile/0/1000", "tile/0/001/000", "tile/0/x001", "tile/0/x001/x000"),
        *("tile/0/x000/001", "tile/0/x000/x001/000", "tile/0/X001/000", "tile/0/-01", "tile/0/٠٠٠", "tile/0/../000"),
        *("tile/0/000.p", "tile/0/000.p/", "tile/0/000.p/0", "tile/0/000.p/01", "tile/0/000.p/256", "tile/0/000.p/-1"),
        *("tile/0/000.p/1000", "tile/0/000.p/1/", "tile/0/000/.p/1", "tile/0/000.P/1", "tile/entries/0", "checkpoint"),
        "tile/0/" + "x999/" * 5 + "999",
        "tile/0/" + "x999/" * 5_000 + "999",
        "tile/8/001",
    ],
)
def test_any_other_spelling_of_a_path_is_refused(path):
    with pytest.raises(MalformedLog) as refusal:
        parse_tile_path(path)
    assert refusal.value.reason == "BAD_ENTRY"


# Tiles and bundles


def test_a_tile_is_the_nodes_of_every_eighth_level(large):
    tree = Tree(entries_of(LARGE))
    for level, number, width in ((0, 0, 256), (0, 273, 112), (1, 0, 256), (1, 1, 17), (2, 0, 1)):
        span = TILE_WIDTH**level
        first = number * TILE_WIDTH
        expected = [tree.mth((first + place) * span, (first + place + 1) * span) for place in range(width)]
        assert parse_tile(tile(level, number, width, large), width=width) == expected
        assert Tile(level, number, width).begin == first * span


def test_the_tiles_of_a_tree_are_those_of_the_example():
    tiles = list(tiles_of(LARGE))
    assert len(tiles) == len(set(tiles))
    assert [each[1:] for each in tiles if each.level == ENTRIES] == [each[1:] for each in tiles if each.level == 0]
    widths = {level: [each.width for each in tiles if each.level == level] for level in range(4)}
    assert widths == {0: [256] * 273 + [112], 1: [256, 17], 2: [1], 3: []}


@pytest.mark.parametrize(
    ("size", "paths"),
    [
        (0, []),
        (1, ["tile/entries/000.p/1", "tile/0/000.p/1"]),
        (255, ["tile/entries/000.p/255", "tile/0/000.p/255"]),
        (256, ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]),
        (257, ["tile/entries/000", "tile/entries/001.p/1", "tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1"]),
    ],
)
def test_a_tree_has_full_tiles_and_at_most_one_narrower_one_a_level(size, paths):
    assert [each.path for each in tiles_of(size)] == paths


@given(st.lists(st.integers(0, 2 * LARGE), min_size=2, max_size=5).map(sorted))
def test_since_an_earlier_size_there_are_only_the_files_that_were_not_there(sizes):
    old, *later = sizes
    have = set(tiles_of(old))
    for new in later:
        added = list(tiles_of(new, since=old))
        assert not have & set(added)
        assert set(tiles_of(new)) <= have | set(added)
        have |= set(added)
        old = new


def reading(files: dict[tuple[int, int], bytes]) -> Reader:
    """Return a reader that has tiles and nothing else: the nodes between them are computed."""

    def read(nodes: Sequence[Node]) -> list[bytes]:
        return [find(*node) for node in nodes]

    def find(level: int, number: int) -> bytes:
        height, inside = divmod(level, TILE_HEIGHT)
        tile_number, place = divmod(number << inside, TILE_WIDTH)
        data = files[height, tile_number]
        hashes = parse_tile(data, width=len(data) // HASH_BYTES)[place : place + (1 << inside)]
        while len(hashes) > 1:
            hashes = [node_hash(*pair) for pair in zip(hashes[::2], hashes[1::2], strict=True)]
        return hashes[0]

    return read


def test_roots_and_proofs_come_from_the_tiles_alone(large):
    read = reading({each[:2]: tile(*each, large) for each in tiles_of(LARGE) if each.level != ENTRIES})
    assert root(LARGE, read) == root(LARGE, large)
    for index in (0, 1, 255, 256, 65_535, 65_536, 69_887, 69_888, LARGE - 1):
        assert inclusion_proof(index, LARGE, read) == inclusion_proof(index, LARGE, large)
        assert consistency_proof(index + 1, LARGE, read) == consistency_proof(index + 1, LARGE, large)


def read_back(files: dict[str, bytes]) -> tuple[list[bytes], dict[tuple[int, int], bytes]]:
    """Return the entries and the hashes that lie in files, each where its path says."""
    entries, hashes = {}, {}
    for path, data in files.items():
        each = parse_tile_path(path)
        first = each.number * TILE_WIDTH
        if each.level == ENTRIES:
            entries |= dict(enumerate(parse_entry_bundle(data, width=each.width), start=first))
        else:
            found = parse_tile(data, width=each.width)
            hashes |= {(each.level * TILE_HEIGHT, first + place): value for place, value in enumerate(found)}
    assert list(entries) == list(range(len(entries)))
    return list(entries.values()), hashes


def computed(size: int, hashes: dict[tuple[int, int], bytes]) -> dict[tuple[int, int], bytes]:
    """Return every node of a tree from its leaves up; what a tile has is to be what is computed."""
    nodes = {key: value for key, value in hashes.items() if key[0] == 0}
    for level in range(1, size.bit_length()):
        for number in range(size >> level):
            value = node_hash(nodes[level - 1, 2 * number], nodes[level - 1, 2 * number + 1])
            nodes[level, number] = value
            assert hashes.get((level, number), value) == value
    assert hashes.keys() <= nodes.keys()
    return nodes


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, LARGE])
def test_the_files_of_a_log_are_the_log_and_prove_each_of_its_entries(size, large):
    logged = entries_of(size)
    files = dict(static_files(size, large, lambda start, limit: logged[start : start + limit], sized(size, large)))
    assert [*files][-1] == CHECKPOINT  # who reads while they are written never finds a tree without its tiles
    text = verified(files.pop(CHECKPOINT).decode()).checkpoint
    assert (text.size, text.root) == (size, root(size, large))
    entries, hashes = read_back(files)
    assert entries == logged
    assert [hashes[0, number] for number in range(size)] == [leaf_hash(entry) for entry in entries]
    nodes = computed(size, hashes)  # so every entry is under the root: the proofs below are a sample of the largest
    assert root(size, lambda wanted: [nodes[node] for node in wanted]) == text.root
    read = reading({tuple(parse_tile_path(path)[:2]): data for path, data in files.items() if "entries" not in path})
    for index in {*range(size)} if size < LARGE else {0, 1, 65_535, 65_536, 69_888, *range(7, LARGE, 997), LARGE - 1}:
        proof = inclusion_proof(index, size, read)
        verify_inclusion(leaf_hash(entries[index]), index=index, size=size, proof=proof, root=text.root)


def test_a_log_that_lacks_entries_is_not_written_as_if_it_had_them(large):
    with pytest.raises(RuntimeError, match="3 entries were asked for, and 2 came"):
        list(static_files(3, large, lambda start, limit: entries_of(2), ""))


ENTRY_LISTS = st.lists(st.binary(max_size=80), min_size=1, max_size=TILE_WIDTH)


@given(ENTRY_LISTS)
def test_a_bundle_that_is_written_is_read(entries):
    assert parse_entry_bundle(entry_bundle(entries), width=len(entries)) == entries


@given(st.binary(max_size=40), st.integers(1, 6))
def test_a_bundle_that_is_read_is_the_only_one(data, width):
    try:
        entries = parse_entry_bundle(data, width=width)
    except MalformedLog:
        return
    assert entry_bundle(entries) == data


def test_the_longest_entry_and_the_widest_bundle_fit():
    entries = [b"", bytes(65_535), *entries_of(254)]
    assert parse_entry_bundle(entry_bundle(entries), width=256) == entries


BUNDLE = entry_bundle([b"one", b"two"])
BAD_BUNDLES = {
    "nothing": (b"", 1),
    "nothing, as wide as it is": (b"", 0),
    "one entry too few": (BUNDLE, 3),
    "one entry too many": (BUNDLE, 1),
    "cut in an entry": (BUNDLE[:-1], 2),
    "cut before an entry": (BUNDLE[:7], 2),
    "cut in a length": (BUNDLE[:6], 2),
    "a byte too many": (BUNDLE + b"\x00", 2),
    "wider than a bundle can be": (b"\x00\x00" * 257, 257),
}


@pytest.mark.parametrize(("data", "width"), BAD_BUNDLES.values(), ids=BAD_BUNDLES)
def test_a_bundle_that_does_not_have_its_entries_is_refused(data, width):
    with pytest.raises(MalformedLog) as refusal:
        parse_entry_bundle(data, width=width)
    assert refusal.value.reason == "BAD_ENTRY"


@pytest.mark.parametrize(("length", "width"), [(0, 0), (0, 1), (31, 1), (33, 1), (32, 2), (64, 1), (257 * 32, 257)])
def test_a_tile_of_another_length_is_refused(length, width):
    with pytest.raises(MalformedLog) as refusal:
        parse_tile(bytes(length), width=width)
    assert refusal.value.reason == "BAD_ENTRY"


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: tile_path(-1, 0), id="a negative level"),
        pytest.param(lambda: tile_path(64, 0), id="a level too high"),
        pytest.param(lambda: tile_path(0, -1), id="a negative number"),
        pytest.param(lambda: tile_path(0, 0, 0), id="no width"),
        pytest.param(lambda: entries_path(0, 257), id="too wide"),
        pytest.param(lambda: tile(ENTRIES, 0, 1, kept([b""])), id="entries in the place of hashes"),
        pytest.param(lambda: tile(0, 0, 257, kept(entries_of(300))), id="a tile too wide"),
        pytest.param(lambda: entry_bundle([]), id="no entries"),
        pytest.param(lambda: entry_bundle(entries_of(257)), id="too many entries"),
        pytest.param(lambda: entry_bundle([bytes(65_536)]), id="an entry too long"),
        pytest.param(lambda: list(tiles_of(3, since=4)), id="a tree that shrinks"),
    ],
)
def test_what_no_log_has_is_a_mistake_of_the_caller(make):
    with pytest.raises(RuntimeError):
        make()


# A log that another implementation has written


def test_a_log_of_another_implementation_is_written_byte_for_byte():
    folder = shared("vectors/tessera-log/testdata/log")
    widest = (folder / "tile/entries/000.p/15").read_bytes()
    entries = parse_entry_bundle(widest, width=15)
    nodes = kept(entries)
    written = {
        each.path: entry_bundle(entries[: each.width]) if each.level == ENTRIES else tile(*each, nodes)
        for size in range(16)
        for each in tiles_of(size)
    }
    found = {
        str(path.relative_to(folder)): path.read_bytes() for path in (folder / "tile").rglob("*") if path.is_file()
    }
    assert written == found
    assert len(found) == 30


def test_a_log_of_another_implementation_has_our_roots_at_every_size():
    folder = shared("vectors/tessera-log/testdata/log")
    nodes = kept([])
    entries = parse_entry_bundle((folder / "tile/entries/000.p/15").read_bytes(), width=15)
    assert [leaf_hash(each) for each in entries] == parse_tile((folder / "tile/0/000.p/15").read_bytes(), width=15)
    for size in range(16):
        _, stated, encoded, *_ = (folder / f"checkpoint.{size}").read_text().split("\n")
        assert int(stated) == size
        assert root(size, nodes) == base64.b64decode(encoded)
        nodes.append(entries[size : size + 1])
