"""Records of separated fields, read by compiled code where they are regular."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.block_dump import Bare
from vecstore.formats.dump import Problem
from vecstore.formats.head import BOM
from vecstore.formats.stream import Stream

from vecstore.errors import FormatError
from vecstore.kernels import entries

__all__ = ["IGNORED", "KEY", "RecordReader"]

KEY, IGNORED = -1, -2  # columns that are no numbers
_BLOCK_BYTES = 4 << 20
_LONGEST_RECORD_BYTES = 64 << 20


class RecordReader:
    """Reads keys and numbers of a file.

    Parameters
    ----------
    path : Path
    delimiter : {",", "\\t"}
        Between commas, fields may stand in quotes.
    roles : ndarray of int64
        For each field of a record, the column of its number, `KEY` or `IGNORED`.
    odd : callable
        Reads a record that is not plainly regular into a vector; returns its key and what is wrong with it.
    """

    def __init__(
        self,
        path: Path,
        delimiter: str,
        roles: NDArray[np.int64],
        odd: Callable[[str, NDArray[np.float32]], tuple[bytes, Problem | None]],
    ) -> None:
        self._path, self._separator, self._quoted = path, ord(delimiter), delimiter != "\t"
        self._roles, self._odd = roles, odd
        self._has_keys = bool((roles == KEY).any())
        self._dimensions = int((roles >= 0).sum())

    def blocks(self, most: int, *, skip: bool) -> Iterator[Bare]:
        """Yield the keys (None where there are none), vectors and problems of `most` rows at a time."""
        done, filled = -1 if skip else 0, 0
        vectors, marks = self._room(1 if skip else most)
        keys: list[bytes] = []
        problems: dict[int, Problem] = {}
        for data in self._data():
            array, start = np.frombuffer(data, np.uint8), 0
            while True:
                with np.errstate(over="ignore"):  # warned of only where the kernel runs uncompiled
                    count, start = entries.parse_records(
                        array, start, self._separator, self._quoted, self._roles, vectors[filled:], marks
                    )
                keys += self._keys(data, marks[:count], vectors[filled:], problems, filled, done)
                filled += count
                if filled < len(vectors):
                    break
                if done >= 0:
                    yield keys if self._has_keys else None, vectors, problems
                done, filled, keys, problems = done + filled, 0, [], {}
                vectors, marks = self._room(most)
            self._rest = data[start:]
        if filled:
            yield keys if self._has_keys else None, vectors[:filled], problems

    def _room(self, rows: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        return np.empty((rows, self._dimensions), np.float32), np.empty((rows, 4), np.int64)

    def _keys(
        self,
        data: bytes,
        marks: NDArray[np.int64],
        vectors: NDArray[np.float32],
        problems: dict[int, Problem],
        filled: int,
        done: int,
    ) -> list[bytes]:
        """Return the keys of rows, and read those that the kernel left."""
        keys = []
        for index, (start, end, begin, stop) in enumerate(marks.tolist()):
            if begin >= 0:
                keys.append(data[begin:stop])
                continue
            vectors[index] = np.nan
            with np.errstate(over="ignore"):
                key, problem = self._odd(data[start:end].decode("utf-8", "surrogateescape"), vectors[index])
            keys.append(key)
            if problem is not None:
                row = filled + index
                problems[row] = Problem(problem.kind, f"row {done + row}: {problem}")
        return keys

    def _data(self) -> Iterator[bytes]:
        """Yield what was left of the last block, and another one, with a line end at the end of all."""
        self._rest = b""
        with Stream(self._path) as stream:
            more = stream.read(_BLOCK_BYTES).removeprefix(BOM)
            while more:
                data = self._rest + more
                cut = data.rfind(b"\n") + 1
                yield data[:cut]
                self._rest += data[cut:]
                if len(self._rest) > _LONGEST_RECORD_BYTES:
                    raise FormatError("damaged: a record is longer than 64 MiB", path=self._path)
                more = stream.read(_BLOCK_BYTES)
            end = b"" if self._rest.endswith(b"\n") else b"\n"
            if self._rest:
                yield self._rest + end
            if self._rest:  # a quote that nothing closes: it ends with the file
                yield self._rest.removesuffix(end) + b'"\n'
