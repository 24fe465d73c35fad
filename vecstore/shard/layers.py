"""Where a shard keeps the codes of one layer, and how they are written and read back."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Codes, Floats
from vecstore.codecs.layer import Layer
from vecstore.container.block_buffer import BlockBuffer
from vecstore.container.container import Container, ContainerWriter, rows_per_block
from vecstore.container.joined_part import join
from vecstore.container.part import padded, tiled
from vecstore.errors import CorruptError
from vecstore.kernels import entries
from vecstore.kernels.numbers import RUN
from vecstore.keys.packed import PackedKeys
from vecstore.shard.cells import CellRuns, RowCells

__all__ = ["LENGTHS", "LayerCodes", "LayerWriter"]

LENGTHS = ("lengths", "fine_lengths")  # members of a description: what each layer decodes to is how long

PACKED_BLOCK_BYTES = 128 * 1024  # a packed block is unpacked whole for any row of it
MOST_UNPACKED_BYTES = 16 * 1024 * 1024  # of a block: a small file must not ask for much memory
KERNEL_ROWS = 512  # from this many rows on, the compiled gather pays for its import

_LENGTH = struct.Struct("<Q")


class LayerWriter:
    """Collect codes into blocks and write each as it fills."""

    def __init__(self, container: ContainerWriter, part: str, layer: Layer) -> None:
        self._container, self._part, self._layer = container, part, layer
        self._tile = 1 if layer.byte_steps else layer.quantizer.tile_rows
        block_rows = rows_per_block(layer.code_bytes, self._tile)
        if layer.byte_steps:
            most = max(MOST_UNPACKED_BYTES // max(layer.code_bytes, 1), 1)
            block_rows = min(rows_per_block(layer.code_bytes, self._tile, PACKED_BLOCK_BYTES), most)
        self._buffer = BlockBuffer(np.zeros((block_rows, layer.code_bytes), np.uint8))

    def add(self, codes: Codes) -> None:
        """Append the codes of the next rows."""
        for rows in self._buffer.add(codes):
            self._put(rows)

    def close(self) -> None:
        """Write the last block and declare the part."""
        self._put(self._buffer.rest())
        more = {"encoding": "packed"} if self._layer.byte_steps else {}
        self._container.declare(
            self._part,
            "|u1",
            (self._buffer.rows, self._layer.code_bytes),
            block_rows=len(self._buffer.block),
            tile_rows=self._tile,
            **more,
        )

    def _put(self, rows: Codes) -> None:
        """Write a block of rows, if there are any and they have codes."""
        if not rows.size:
            return
        if self._tile > 1:
            if len(rows) % self._tile:  # only of the last block, which lies in the buffer: that is whole tiles long
                block, held = self._buffer.block, padded(len(rows), self._tile)
                block[len(rows) : held] = 0
                rows = block[:held]
            rows = tiled(rows, self._tile)
        raw = rows.reshape(-1)
        self._container.put_block(self._part, self._packed(raw.tobytes()) if self._layer.byte_steps else raw)

    def _packed(self, raw: bytes) -> bytes:
        for step in self._layer.byte_steps:
            raw = step.pack(raw, self._layer.quantizer.item_bytes)
        return _LENGTH.pack(len(raw)) + raw


class LayerCodes:
    """The codes of one layer of a shard, mapped; or of several shards seen as one.

    Methods know a row by its slot (see `Part`): in a single shard that is its position.
    A layer with fewer code bytes than the part has (see `Codec.prefix`) reads the first bytes of every row.

    Parameters
    ----------
    first_row : int
        The number in the store of the shard's first row: table codecs know rows by that.
    keys_of : function, optional
        Returns the keys of rows, for table codecs that know rows by their keys.

    Attributes
    ----------
    layer : Layer
    rows : int
    cells : RowCells or None
        Whose centroids are to be added to what the codes stand for.
    """

    def __init__(
        self,
        container: Container,
        part: str,
        layer: Layer,
        rows: int,
        cells: RowCells | None = None,
        *,
        first_row: int = 0,
        keys_of: Callable[[NDArray[np.int64]], PackedKeys] | None = None,
    ) -> None:
        self.layer, self.rows, self.cells = layer, rows, cells
        self._first_row, self._keys_of = first_row, keys_of
        self.part = container.part(part)
        self.packed = bool(layer.byte_steps)
        self._unpacked: tuple[int, Codes] | None = None  # the block unpacked last
        shape, encoding = self.part.shape, "packed" if self.packed else None
        if len(shape) != 2 or shape[0] != rows or shape[1] < layer.code_bytes or self.part.dtype != "|u1":
            expected = f"({rows}, {layer.code_bytes}) bytes"
            raise CorruptError(f"part {part!r} is {shape} {self.part.dtype}", path=container.path, expected=expected)
        blocks = -(-rows // self.part.block_rows) if layer.code_bytes else 0
        tiles = self.packed and self.part.tile_rows != 1
        if self.part.encoding != encoding or self.part.blocks != blocks or tiles:
            raise CorruptError(f"part {part!r} does not agree with the codec", path=container.path)
        if self.packed and min(rows, self.part.block_rows) * self.part.row_bytes > MOST_UNPACKED_BYTES:
            expected = f"{MOST_UNPACKED_BYTES:,} bytes at most"
            raise CorruptError(f"part {part!r} has too large blocks", path=container.path, expected=expected)
        for step in layer.byte_steps:
            step.check(self.part.row_bytes)
        most = layer.table.most_rows if layer.table else None
        if most is not None and first_row + rows > most:
            raise CorruptError(
                f"rows {first_row:,} to {first_row + rows - 1:,} are more than the tables tell apart",
                path=container.path,
                expected=f"{most:,} at most",
            )

    @classmethod
    def joined(cls, each: Sequence[LayerCodes]) -> LayerCodes:
        """Return those of several shards as one; the layer is the same, and no table codec."""
        if len(each) == 1:
            return each[0]
        found = cls.__new__(cls)
        found.layer, found.packed, found.rows = each[0].layer, each[0].packed, sum(codes.rows for codes in each)
        found.part = part = join([codes.part for codes in each])
        found._first_row, found._keys_of, found._unpacked = 0, None, None
        first_rows = np.cumsum([0, *(codes.rows for codes in each)])[:-1]
        cells = [codes.cells for codes in each if isinstance(codes.cells, CellRuns)]
        found.cells = CellRuns.joined(cells, part.slots_of(first_rows)) if cells else None
        return found

    @cached_property
    def _windows(self) -> NDArray[Any]:
        """Every run of code_bytes bytes of the file as one item, so that one index copies a code."""
        data, width = self.part.data, self.layer.code_bytes
        return np.ndarray((len(data) - width + 1,), f"V{width}", data, strides=(1,))

    def gather(self, rows: NDArray[np.int64], *, compiled: bool = False) -> Codes:
        """Return the codes of rows in range: (n, code_bytes) uint8, a new array.

        Where compiled code is loaded already it is faster for few rows, too.
        """
        part, width = self.part, self.layer.code_bytes
        if not len(rows) or not width:
            return np.zeros((len(rows), width), np.uint8)
        if self.packed:
            return self._gather_packed(rows)
        if part.unchecked:
            part.check_rows(rows)
        if part.tile_rows == 1:
            block, row = np.divmod(rows, part.block_rows)
            found = self._windows[part.offsets[block] + row * part.row_bytes]
            return found.view(np.uint8).reshape(-1, width)
        if compiled or len(rows) >= KERNEL_ROWS:
            out = np.empty((len(rows), width), np.uint8)
            entries.gather_tiled(part.tiles, rows, out)
            return out
        starts, heights, places = (found[:, None] for found in part.places(rows))
        first, wide, rest = (found[:width] for found in part.strides)
        return part.data[starts + first * heights + places * wide + rest]

    def reader(self) -> Callable[[int], Codes]:
        """Return what does as `one`, by the shortest way: rows that lie side by side need little of what is here."""
        part, width = self.part, self.layer.code_bytes
        if self.packed or not width or part.tile_rows > 1:
            return self.one
        data, block_rows, row_bytes, offsets = part.data, part.block_rows, part.row_bytes, part.offsets.tolist()

        def read(row: int) -> Codes:
            block, at = divmod(row, block_rows)
            if part.unchecked:
                part.check_row(block, at)
            start = offsets[block] + at * row_bytes
            return data[start : start + width].reshape(1, width)

        return read

    def one(self, row: int) -> Codes:
        """Return the code of a row in range, (1, code_bytes): a view where the layout allows."""
        part, width = self.part, self.layer.code_bytes
        if self.packed or not width:
            return self.gather(np.array([row]))
        block, at = divmod(row, part.block_rows)
        if part.unchecked:
            part.check_row(block, at)
        start, tile = int(part.offsets[block]), part.tile_rows
        if tile == 1:
            start += at * part.row_bytes
            return part.data[start : start + width].reshape(1, width)
        first = at // tile * tile
        height = min(tile, padded(int(part.counts[block]), tile) - first)
        start += first * part.row_bytes
        if part.together == 1:
            start += at - first
            return part.data[start : start + (width - 1) * height + 1 : height].reshape(1, width)
        chunks, wide, rest = part.strides
        return part.data[start + chunks * height + (at - first) * wide + rest][None, :width]

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Codes]]:
        """Yield (first row, codes) block after block, of rows start to stop; views where possible."""
        stop = self.rows if stop is None else stop
        step = self.part.block_rows
        for block in range(start // step, -(-stop // step) if stop > start else 0):
            first = block * step
            low, high = max(start - first, 0), min(stop - first, step)
            yield first + low, self._block(block, low, high)

    def decode(self, codes: Codes, rows: NDArray[np.int64]) -> Floats:
        """Return the vectors of codes of these rows."""
        decoded = self.layer.inverted(self.quantized(codes, rows))
        return decoded if self.cells is None else decoded + self.cells.offsets(rows)

    def quantized(self, codes: Codes, rows: NDArray[np.int64]) -> Floats:
        """Return what the layer's quantizer decodes the codes of these rows to."""
        keys = self._keys_of(rows) if self._keys_of is not None and self.layer.by_key else None
        return self.layer.quantized(codes, rows + self._first_row, keys)

    @cached_property
    def shortest(self) -> NDArray[np.float32]:
        """The lengths of the shortest rows that scans have met so far, see `kernels.arguments.NumberQueries`."""
        part = self.part  # whose last block may have room for far more rows than it holds, as a forged file says
        last = min(padded(int(part.counts[-1]), max(part.tile_rows, 1)), part.block_rows) if part.blocks else 0
        return np.full(-(-(max(part.blocks - 1, 0) * part.block_rows + last) // RUN), -1, np.float32)

    @cached_property
    def centroid_terms(self) -> tuple[Floats, Floats]:
        """Weights w (cells, code dimension) and squares (cells,): what a row's length takes from its cell.

        For a code z of cell i, |x|^2 is that of the code alone plus w[i] . z + squares[i].
        """
        assert self.cells is not None
        affine, centroids = self.layer.affine, self.cells.centroids
        return 2 * affine.weights(centroids), self.cells.squares + 2 * (centroids @ affine.offset)

    def _block(self, block: int, low: int, high: int) -> Codes:
        """Return the codes of rows `low` to `high` of a block."""
        width = self.layer.code_bytes
        if not width:
            return np.zeros((high - low, 0), np.uint8)
        if self.packed:
            return self._unpack(block)[low:high]
        if self.part.tile_rows > 1:
            return self.part.untiled(block, low, high, width)
        return np.ascontiguousarray(self.part.block(block)[low:high, :width])

    def _gather_packed(self, rows: NDArray[np.int64]) -> Codes:
        out = np.empty((len(rows), self.layer.code_bytes), np.uint8)
        block, row = np.divmod(rows, self.part.block_rows)
        for number in np.unique(block).tolist():
            here = block == number
            out[here] = self._unpack(number)[row[here]]
        return out

    def _unpack(self, block: int) -> Codes:
        held = self._unpacked
        if held is not None and held[0] == block:
            return held[1]
        value = self.part.block_bytes(block)
        (length,) = _LENGTH.unpack_from(value)
        if length > len(value) - _LENGTH.size:
            raise CorruptError(f"block {block} is shorter than it says", path=self.part.path)
        raw = bytes(value[_LENGTH.size : _LENGTH.size + length])
        rows = int(self.part.counts[block])
        size = rows * self.part.row_bytes
        for step in reversed(self.layer.byte_steps):
            raw = step.unpack(raw, size, self.layer.quantizer.item_bytes)
        if len(raw) != size:
            raise CorruptError(f"block {block} unpacks to {len(raw)} bytes", path=self.part.path, expected=str(size))
        codes = np.frombuffer(raw, np.uint8).reshape(rows, -1)[:, : self.layer.code_bytes]
        self._unpacked = (block, codes)
        return codes
