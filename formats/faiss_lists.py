"""The inverted lists of a faiss index, whose vectors are numbered as the lists lie behind one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.byte_reader import ByteReader
from vecstore.formats.faiss_codes import Codes

__all__ = ["InvertedLists"]

_SPARSE, _FULL = b"sprs", b"full"


@dataclass(frozen=True)
class InvertedLists:
    """Inverted lists, one behind the other: the bytes, and of each its number, its first row, and where it lies."""

    data: NDArray[np.uint8]
    codes: Codes
    numbers: NDArray[np.int64]
    firsts: NDArray[np.int64]
    begin: int

    @property
    def rows(self) -> int:
        """Vectors in all lists."""
        return int(self.firsts[-1])

    @classmethod
    def read(cls, reader: ByteReader, lists: int, codes: Codes) -> InvertedLists:
        """Read as many lists, of vectors in these codes."""
        if reader.take(4).tobytes() != b"ilar":
            raise reader.bad("inverted lists that lie elsewhere")
        count, code_bytes = reader.unpack("QQ")
        if count != lists or code_bytes != codes.code_bytes:
            raise reader.bad("inverted lists of another shape", found=f"{count} of {code_bytes} bytes")
        kind = reader.take(4).tobytes()
        sizes = reader.vector("<u8")
        numbers = np.arange(len(sizes))
        if kind == _SPARSE:  # pairs of list and size, of lists that are not empty
            pairs = sizes[: len(sizes) // 2 * 2].reshape(-1, 2)
            numbers, sizes = pairs[:, 0].astype(np.int64), pairs[:, 1]
        bad_numbers = bool(len(numbers)) and not 0 <= int(numbers.min()) <= int(numbers.max()) < lists
        if kind not in (_SPARSE, _FULL) or bad_numbers:
            raise reader.bad("inverted lists of another shape")
        if float(sizes.sum(dtype=np.float64)) * (code_bytes + 8) > reader.left:
            raise reader.bad("truncated inverted lists")
        firsts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes.astype(np.int64))])
        begin = reader.at
        reader.take(int(firsts[-1]) * (code_bytes + 8))
        return cls(reader.data, codes, numbers, firsts, begin)

    def vectors(self, first: int, last: int, centroids: Callable[[int, int], NDArray[Any]] | None) -> NDArray[Any]:
        """Return the vectors of some rows; those of residuals need the centroids of a range of lists."""
        width, found = self.codes.code_bytes, []
        for _, place, start, stop in self._pieces(first, last):
            found.append(self.data[place + start * width : place + stop * width].reshape(-1, width))
        vectors = self.codes.decode(np.concatenate(found))
        if centroids is None:
            return vectors
        sizes = [(int(self.numbers[at]), stop - start) for at, _, start, stop in self._pieces(first, last)]
        own = np.concatenate([centroids(number, number + 1) for number, _ in sizes])
        return vectors + np.repeat(own, [size for _, size in sizes], axis=0)

    def ids(self, first: int, last: int) -> NDArray[np.int64]:
        """Return the ids of some rows."""
        found, width = [], self.codes.code_bytes
        for at, place, start, stop in self._pieces(first, last):
            behind = place + width * int(self.firsts[at + 1] - self.firsts[at])
            found.append(self.data[behind + 8 * start : behind + 8 * stop])
        return np.concatenate(found).view("<i8")

    def _pieces(self, first: int, last: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield the list, where its bytes begin, and from which to which row in it."""
        at = int(np.searchsorted(self.firsts, first, "right")) - 1
        while at < len(self.numbers) and self.firsts[at] < last:
            begin, end = int(self.firsts[at]), int(self.firsts[at + 1])
            if begin < end:
                place = self.begin + begin * (self.codes.code_bytes + 8)
                yield at, place, max(first, begin) - begin, min(last, end) - begin
            at += 1
