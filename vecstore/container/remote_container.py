"""A container in a bucket: its parts are fetched where a checksum is first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.container.container import CHECKSUMS, DESCRIPTION, Container
from vecstore.container.document import field
from vecstore.container.pages import read_tree
from vecstore.container.part import CHUNK_BYTES, Part
from vecstore.container.ranges import Ranges
from vecstore.errors import CorruptError, FormatError
from vecstore.remote.opening import Opening
from vecstore.remote.path import RemotePath
from vecstore.remote.pieces import Piece, Pieces

__all__ = ["RemoteContainer"]

MOST_AHEAD = 16  # blocks that are fetched before they are asked for, where one comes after the other


class RemoteContainer(Container):
    """A container in a bucket, of which what was asked for lies in a local file, mapped.

    Opening reads what a head holds, or the pages that the tree is made of.
    """

    def __init__(self, path: RemotePath) -> None:
        self.path, self.check = str(path), True
        try:
            self._open(Opening(path), path)
        except FormatError:  # what the cache or the head holds may be stale, or damaged
            path.forget_head()
            self._open(Opening(path, fresh=True), path)
        self._parts: dict[str, Part] = {}
        self._identities: dict[str, tuple[Any, ...]] = {}

    def _open(self, opening: Opening, path: RemotePath) -> None:
        self.data = opening.data
        self._extents = read_tree(opening.data, self.path, need=opening.need)
        for name in (DESCRIPTION, CHECKSUMS):
            if name in self._extents:
                opening.need(*self._extents[name])
        self.version, self.description, self.fingerprint = self._read_description()
        path.require(self.fingerprint)  # before anything of another file stays in the cache
        self._about = field(self.description, "parts", dict, self.path)
        self.checksums = self._read_checksums().copy()
        opening.keep()
        self._pieces = opening.pieces(self.fingerprint, self._extents.values())
        self.data = self._pieces.data

    def warm(self) -> None:
        """Fetch all that is not here."""
        for _ in self.checking():
            pass

    def _open_part(self, name: str) -> Part:
        about = self._described(name)
        extents = self._extents_of(name, about)
        return RemotePart(name, about, extents, pieces=self._pieces, checksums=self.checksums, path=self.path)


class RemotePart(Part):
    """A part whose chunks are fetched before they are compared for the first time."""

    def __init__(
        self,
        name: str,
        about: dict[str, Any],
        extents: NDArray[np.int64],
        *,
        pieces: Pieces,
        checksums: NDArray[np.uint64],
        path: str,
    ) -> None:
        super().__init__(name, about, extents, data=pieces.data, checksums=checksums, path=path, check=True)
        self._pieces, self._next, self._ahead = pieces, -1, 0

    def array(self) -> NDArray[Any]:
        self._bring(range(len(self._sums)))
        return super().array()

    def checked(self, ranges: Ranges, size_bytes: int | None = None) -> Iterator[Ranges]:
        blocks = (range(start // self.block_rows, -(-stop // self.block_rows)) for start, stop in ranges.tolist())
        self._bring(chain.from_iterable(map(self._chunks_of, chain.from_iterable(blocks))))
        yield from super().checked(ranges, size_bytes)

    def check_rows(self, rows: NDArray[np.int64]) -> None:
        block, row = np.divmod(rows, self.block_rows)
        unit = self.tile_rows * self.row_bytes
        first = row // self.tile_rows * unit
        last = np.minimum(first + unit, self.sizes[block])
        start = self._chunk_starts[block]
        spans = zip((start + first // CHUNK_BYTES).tolist(), (start - -last // CHUNK_BYTES).tolist(), strict=True)
        self._bring({chunk for low, end in set(spans) for chunk in range(low, end)})
        super().check_rows(rows)

    def _compare(self, block: int, chunks: Sequence[int]) -> None:
        if not self._pieces.hold(map(self._piece, chunks)):
            self._bring(chain(chunks, self._following(block)))
        try:
            super()._compare(block, chunks)
        except CorruptError:  # the local file lost what it had: the machine went down before it was on the disk
            self._pieces.bring(map(self._piece, chunks), again=True)
            super()._compare(block, chunks)

    def _compare_many(self, chunks: NDArray[np.int64]) -> None:
        for chunk in chunks.tolist():
            self._compare(int(np.searchsorted(self._chunk_starts, chunk, side="right")) - 1, (chunk,))

    def _following(self, block: int) -> Iterator[int]:
        """Yield the chunks of the blocks that come next, where blocks are asked for in order: more and more of them."""
        self._ahead = min(2 * self._ahead + 1, MOST_AHEAD) if block == self._next else 0
        self._next = block + 1 + self._ahead
        for following in range(block + 1, min(self._next, self.blocks)):
            yield from self._chunks_of(following)

    def _bring(self, chunks: Any) -> None:
        self._pieces.bring(self._piece(chunk) for chunk in chunks if not self._checked[chunk])

    def _chunks_of(self, block: int) -> range:
        return range(int(self._chunk_starts[block]), int(self._chunk_starts[block + 1]))

    def _piece(self, chunk: int) -> Piece:
        block = int(np.searchsorted(self._chunk_starts, chunk, side="right")) - 1
        end = int(self.offsets[block] + self.sizes[block])
        start = int(self.offsets[block]) + (chunk - int(self._chunk_starts[block])) * CHUNK_BYTES
        return Piece(start, min(start + CHUNK_BYTES, end), int(self._sums[chunk]))
