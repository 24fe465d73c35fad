"""A part: one array of a container, read where it is mapped, each piece checked at its first touch."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from vecstore.container.document import field, whole
from vecstore.container.ranges import Ranges, divided
from vecstore.errors import CorruptError
from vecstore.kernels.arguments import Tiles
from vecstore.kernels.layout import LANES

__all__ = ["CHUNK_BYTES", "Part", "checksum", "padded", "tiled"]

CHUNK_BYTES = 64 * 1024  # what one checksum covers, so what the first touch of a row reads
TOGETHER = 8  # bytes of a row that lie together in such a tile
DTYPES = ("|i1", "|u1", *(f"<{kind}{size}" for kind in "iu" for size in (2, 4, 8)), "<f2", "<f4", "<f8")
MOST_ROWS = MOST_NUMBERS = 1 << 48
MOST_LENGTHS = 8  # of a shape
MOST_BLOCK_BYTES = 1 << 32  # LMDB keeps the length of a value in 32 bits

checksum = xxhash.xxh3_64_intdigest


def padded(rows: Any, tile_rows: int) -> Any:
    """Return how many rows a block of so many takes in tiles of `tile_rows`; of arrays, too."""
    unit = min(tile_rows, LANES)
    return -(-rows // unit) * unit


def tiled(rows: NDArray[np.uint8], tile_rows: int) -> NDArray[np.uint8]:
    """Return rows (n, row_bytes), n as `padded` gives it, as they lie in tiles: (n * row_bytes,)."""
    whole, together = len(rows) // tile_rows * tile_rows, _together(tile_rows)
    cut = rows.shape[1] // together * together
    pieces = []
    for tiles in (rows[:whole].reshape(whole // tile_rows, tile_rows, rows.shape[1]), rows[None, whole:]):
        count, length = tiles.shape[:2]
        chunks = tiles[:, :, :cut].reshape(count, length, cut // together, together).transpose(0, 2, 1, 3)
        last = tiles[:, :, cut:].reshape(count, length * (rows.shape[1] - cut))
        pieces.append(np.concatenate([chunks.reshape(count, length * cut), last], axis=1).reshape(-1))
    return np.concatenate(pieces)


def _together(tile_rows: int) -> int:
    """Return how many bytes of a row lie together in a tile."""
    return TOGETHER if tile_rows > LANES else 1


class Part:
    """One array of a container.

    Rows lie in blocks of `block_rows`. With `tile_rows` T above 1 a block is made of tiles of T rows stored
    transposed, `tile[byte, row]`, and its last tile is filled up with zeros: the layout that byte shuffles read. Tiles
    of more than 64 rows hold eight bytes of each row, `tile[chunk, row, byte]`, the last chunk being as wide as bytes
    are left: the first bytes of all rows are one run, and a row is in few cache lines. They are filled up to a multiple
    of 64 rows only, so that a few rows do not take the room of thousands.
    A part of variable blocks (its description names an `encoding`) has no rows here; use `block_bytes`.

    Methods know a row by its slot: row j of block i has slot i * block_rows + j. In one file, where all blocks but the
    last are full, that is its number; in several files seen as one (see `JoinedPart`) it is not.

    Attributes
    ----------
    shape, dtype, block_rows, tile_rows, blocks, row_bytes
        As described in the file.
    together : int
        Bytes of a row that lie together in a tile.
    data : (size,) uint8
        The whole file; block `i` begins at `offsets[i]` and has `sizes[i]` bytes, padding included.
    unchecked : int
        Chunks not compared with their checksum yet; 0 lets the fast paths skip the question.
    """

    def __init__(
        self,
        name: str,
        about: dict[str, Any],
        extents: NDArray[np.int64],
        *,
        data: NDArray[np.uint8],
        checksums: NDArray[np.uint64],
        path: str,
        check: bool,
    ) -> None:
        self.name, self.about, self.data, self.path = name, about, data, path
        if about.get("dtype") not in DTYPES:
            raise CorruptError(f"part {name!r} has an unknown dtype", path=path, found=repr(about.get("dtype"))[:40])
        self.dtype = np.dtype(about["dtype"])
        lengths = field(about, "shape", list, path)
        self.shape = tuple(whole({"shape": length}, "shape", path, most=MOST_ROWS) for length in lengths)
        self.rows = self.shape[0] if self.shape else 1
        if len(lengths) > MOST_LENGTHS or prod(max(length, 1) for length in self.shape) > MOST_NUMBERS:
            raise CorruptError(f"part {name!r} has a shape that no file holds", path=path, found=repr(lengths)[:40])
        self.block_rows = whole(about, "block_rows", path, least=1, most=MOST_ROWS)
        self.tile_rows = whole(about, "tile_rows", path, least=1, most=self.block_rows)
        if (self.tile_rows > LANES and self.tile_rows % LANES) or self.block_rows % self.tile_rows:
            raise CorruptError(f"part {name!r} has tiles of {self.tile_rows} rows", path=path)
        self.encoding = about.get("encoding")
        self.blocks = len(extents)
        self.row_bytes = self.dtype.itemsize * prod(self.shape[1:])
        self.together = _together(self.tile_rows)
        self.offsets, self.sizes = extents[:, 0].copy(), extents[:, 1].copy()
        # _chunk_starts[i]: number of chunks before block i
        self._chunk_starts = np.zeros(self.blocks + 1, np.int64)
        (-(-self.sizes // CHUNK_BYTES)).cumsum(out=self._chunk_starts[1:])
        chunks = int(self._chunk_starts[-1])
        first_sum = whole(about, "checksums_at", path)
        self._sums = checksums[first_sum : first_sum + chunks]
        self._checked = np.full(chunks, not check)
        self.unchecked = chunks if check else 0
        self._lock = threading.Lock()
        if len(self._sums) != chunks or (self.encoding is None and not self._has_all_rows()):
            raise CorruptError(f"part {name!r} is shorter than described: restore the file from a copy", path=path)

    def block(self, index: int) -> NDArray[Any]:
        """Return the rows of a block, which must not be tiled, as a checked view: (rows, ...)."""
        if self.unchecked:
            self.check_block(index)
        offset, rows = int(self.offsets[index]), int(self.counts[index])
        raw = self.data[offset : offset + rows * self.row_bytes]
        return raw.view(self.dtype).reshape(rows, *self.shape[1:])

    def untiled(self, index: int, low: int, high: int, width: int) -> NDArray[np.uint8]:
        """Return the first `width` bytes of rows `low` to `high` of a tiled block, checked: (rows, width), a copy."""
        tile, held = self.tile_rows, padded(int(self.counts[index]), self.tile_rows)
        first, last = low // tile, -(-high // tile)
        whole, offset = min(last, held // tile), int(self.offsets[index])
        size = self.row_bytes * tile
        self.check_span(index, first * size, min(last * size, held * self.row_bytes))
        tiles = self.data[offset + first * size : offset + whole * size].reshape(whole - first, size)
        out = self._rows_of(tiles, width)
        if last > whole:
            short = self.data[offset + whole * size : offset + held * self.row_bytes]
            out = np.concatenate([out, self._rows_of(short[None], width)])
        return out[low - first * tile : high - first * tile]

    def _rows_of(self, tiles: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
        """Return the first `width` bytes of the rows of equally long tiles (n, bytes): (rows, width), a copy."""
        together, length = self.together, tiles.shape[1] // self.row_bytes
        cut = self.row_bytes // together * together
        taken = min(-(-width // together) * together, cut)
        chunks = (
            tiles[:, : taken * length].reshape(len(tiles), taken // together, length, together).transpose(0, 2, 1, 3)
        )
        out = chunks.reshape(len(tiles) * length, taken)
        if width > cut:
            out = np.concatenate([out, tiles[:, cut * length :].reshape(len(out), self.row_bytes - cut)], axis=1)
        return np.ascontiguousarray(out[:, :width])

    def places(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return where in `data` the tile of each row begins, how many rows it holds, and which of them it is: (n,)."""
        block, row = np.divmod(rows, self.block_rows)
        held = padded(self.counts[block], self.tile_rows)
        first = row // self.tile_rows * self.tile_rows
        return self.offsets[block] + first * self.row_bytes, np.minimum(self.tile_rows, held - first), row - first

    @cached_property
    def strides(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """For each byte j of a tiled row: it lies at [0][j] * rows of the tile + [1][j] * row + [2][j] of the tile."""
        j = np.arange(self.row_bytes)
        first = j // self.together * self.together
        return first, np.minimum(self.together, self.row_bytes - first), j - first

    @cached_property
    def tiles(self) -> Tiles:
        """Where its rows lie, as kernels take it."""
        lies = self.block_rows, self.tile_rows, self.row_bytes, self.together
        return Tiles(self.data, self.offsets, self.ends, self.counts, *lies)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """How many rows each block holds: (blocks,)."""
        return np.minimum(self.block_rows, self.rows - np.arange(self.blocks) * self.block_rows)

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """Where in `data` the file of each block ends: (blocks,)."""
        return np.full(self.blocks, len(self.data))

    def slots_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the slots of rows in range: (n,)."""
        return rows

    def rows_at(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows with these slots, -1 for -1, in the same shape."""
        return slots

    def ranges_of(self, rows: Ranges) -> Ranges:
        """Return the ranges of slots that ranges of rows have."""
        return rows

    def placed(self, of_rows: NDArray[Any]) -> NDArray[Any]:
        """Return values by slot that are given by row; 0 where a slot is empty."""
        return of_rows

    def values(self, slots: NDArray[np.int64]) -> NDArray[Any]:
        """Return what a part of one number a row holds for some rows, checked: (n,), a new array."""
        if self.unchecked:
            self.check_rows(slots)
        block, row = np.divmod(slots, self.block_rows)
        return self.data.view(self.dtype)[self.offsets[block] // self.dtype.itemsize + row]

    def block_bytes(self, index: int) -> memoryview:
        """Return a block's bytes, padding included, checked."""
        if self.unchecked:
            self.check_block(index)
        offset = int(self.offsets[index])
        return memoryview(self.data)[offset : offset + int(self.sizes[index])]

    def array(self) -> NDArray[Any]:
        """Return the whole part, checked: a view when it is one block, else a copy."""
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)
        if not self.shape:
            return np.frombuffer(self.block_bytes(0), self.dtype, 1).reshape(())
        if self.blocks == 1:
            return self.block(0)
        return np.concatenate([self.block(index) for index in range(self.blocks)])

    @property
    def checksums(self) -> NDArray[np.uint64]:
        """What its chunks are compared with: (chunks,)."""
        return self._sums

    def check_block(self, index: int) -> None:
        """Compare all of a block with its checksums; raise `CorruptError` where they differ."""
        self.check_span(index, 0, int(self.sizes[index]))

    def checking(self) -> Iterator[int]:
        """Compare every byte with its checksum, and yield how many bytes were compared, block by block."""
        for block in range(self.blocks):
            self._compare(block, range(int(self._chunk_starts[block]), int(self._chunk_starts[block + 1])))
            yield int(self.sizes[block])

    def checked(self, ranges: Ranges, size_bytes: int | None = None) -> Iterator[Ranges]:
        """Yield ranges of slots, in pieces that are checked by then, or of whose rows the first `size_bytes` are.

        As many rows as a block holds at a time: a scan of them finds them in the processor's cache.
        """
        if self.are_checked(ranges):
            yield ranges
            return
        for some in divided(ranges, self.block_rows):
            for start, stop in some.tolist() if self.unchecked else []:
                self._check_rows_in(start, stop, size_bytes)
            yield some

    def are_checked(self, ranges: Ranges) -> bool:
        """Return whether all rows in ranges of slots were checked before; False where it is not known of all bytes."""
        if not self.unchecked:
            return True
        if self.encoding is not None or (ranges[:, 0] >= ranges[:, 1]).any():
            return False
        (first, low), (last, high) = (
            np.divmod(ranges[:, 0], self.block_rows),
            np.divmod(ranges[:, 1] - 1, self.block_rows),
        )
        unit = self.tile_rows * self.row_bytes
        starts = self._chunk_starts[first] + low // self.tile_rows * unit // CHUNK_BYTES
        ends = np.minimum((high // self.tile_rows + 1) * unit, self.sizes[last]) - 1
        ends = self._chunk_starts[last] + ends // CHUNK_BYTES + 1
        return all(self._checked[start:end].all() for start, end in zip(starts.tolist(), ends.tolist(), strict=True))

    def _check_rows_in(self, start: int, stop: int, size_bytes: int | None) -> None:
        """Check the blocks in which there are slots `start` to `stop`, or the first bytes of these rows."""
        if size_bytes is not None and size_bytes < self.row_bytes:
            self._check_prefixes(start, stop, size_bytes)
            return
        for block in range(start // self.block_rows, -(-stop // self.block_rows)):
            self.check_block(block)

    def check_span(self, block: int, first: int, last: int) -> None:
        """Check the chunks that hold bytes `first` to `last` (exclusive) of a block."""
        start, last = int(self._chunk_starts[block]), min(last, int(self.sizes[block]))
        low, high = start + first // CHUNK_BYTES, start + -(-last // CHUNK_BYTES)
        fresh = [chunk for chunk in range(low, high) if not self._checked[chunk]]
        if fresh:
            self._compare(block, fresh)

    def check_row(self, block: int, row: int) -> None:
        """Check the chunks that hold a row, counted from the start of its block."""
        unit = self.tile_rows * self.row_bytes
        first = row // self.tile_rows * unit
        self.check_span(block, first, first + unit)

    def check_rows(self, rows: NDArray[np.int64]) -> None:
        """Check the chunks in which these rows of the part lie."""
        block, row = np.divmod(rows, self.block_rows)
        unit = self.tile_rows * self.row_bytes
        first = row // self.tile_rows * unit
        start, last = self._chunk_starts[block] + first // CHUNK_BYTES, np.minimum(first + unit, self.sizes[block]) - 1
        end = self._chunk_starts[block] + last // CHUNK_BYTES
        for step in range(int((end - start).max(initial=-1)) + 1):
            chunks = np.minimum(start + step, end)
            fresh = chunks[~self._checked[chunks]]
            if len(fresh):
                self._compare_many(np.array(sorted(set(fresh.tolist()))))  # np.unique would import numpy.ma

    def _check_prefixes(self, start: int, stop: int, size_bytes: int) -> None:
        """Check the chunks that hold the first bytes of tiled rows `start` to `stop`."""
        size_bytes = min(-(-size_bytes // self.together) * self.together, self.row_bytes)
        for row in range(start // self.tile_rows * self.tile_rows, stop, self.tile_rows):
            block = row // self.block_rows
            first = (row - block * self.block_rows) * self.row_bytes
            self.check_span(block, first, first + self.tile_rows * size_bytes)

    def _compare(self, block: int, chunks: Sequence[int]) -> None:
        """Compare chunks of a block with their checksums; raise `CorruptError` where they differ."""
        offset, view = int(self.offsets[block]), memoryview(self.data)
        first, end = int(self._chunk_starts[block]), offset + int(self.sizes[block])
        for chunk in chunks:
            start = offset + (chunk - first) * CHUNK_BYTES
            stop = min(start + CHUNK_BYTES, end)
            if checksum(view[start:stop]) != self._sums[chunk]:
                raise CorruptError(
                    "damaged: restore the file from a copy or convert the dump again",
                    path=self.path,
                    where=f"part {self.name}, block {block}, bytes {start} to {stop}",
                )
        self._mark(chunks)

    def _compare_many(self, chunks: NDArray[np.int64]) -> None:
        """Compare chunks of any blocks, rising; a search that scores rows all over a store touches hundreds."""
        block = np.searchsorted(self._chunk_starts, chunks, side="right") - 1
        start = self.offsets[block] + (chunks - self._chunk_starts[block]) * CHUNK_BYTES
        stop = np.minimum(start + CHUNK_BYTES, self.offsets[block] + self.sizes[block])
        view = memoryview(self.data)
        for place, expected in enumerate(self._sums[chunks].tolist()):
            if checksum(view[int(start[place]) : int(stop[place])]) != expected:
                self._compare(int(block[place]), (int(chunks[place]),))  # which says where it is damaged
        self._mark(chunks)

    def _mark(self, chunks: Sequence[int] | NDArray[np.int64]) -> None:
        """Note that chunks, each given once, were found to be as they should."""
        chunks = np.asarray(chunks, np.int64)
        with self._lock:
            self.unchecked -= int(np.count_nonzero(~self._checked[chunks]))
            self._checked[chunks] = True

    def _has_all_rows(self) -> bool:
        if self.blocks != (-(-self.rows // self.block_rows) if self.row_bytes else 0):
            return False
        if min(self.rows, self.block_rows) * self.row_bytes > MOST_BLOCK_BYTES:
            return False
        if not self.blocks:
            return True
        full, last = self.block_rows, self.rows - (self.blocks - 1) * self.block_rows
        needed, left = (padded(rows, self.tile_rows) * self.row_bytes for rows in (full, last))
        return bool((self.sizes[:-1] >= needed).all() and self.sizes[-1] >= left)
