"""Bring the rows of a shard into the order of their cells, in bounded memory.

Rows are collected until they fill a chunk. A chunk is sorted by cell and spilled to a temporary file; at the end each
cell is read from all chunks, one cell after the other. So within a cell rows keep the order in which they came.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vecstore.keys.kind import KeyType
from vecstore.keys.packed import PackedKeys

__all__ = ["CellSpill"]

CHUNK_BYTES = 32 * 1024 * 1024  # of records, and of key text beside them
MERGED_BYTES = 4 * 1024 * 1024


class CellSpill:
    """The rows of one shard on their way into the order of cells.

    Parameters
    ----------
    directory : path
        Where the temporary files go; they have no name, so nothing stays behind however the process ends.
    cells : int
    key_type : {"str", "bytes", "int64"} or None
        Of the keys that travel with the rows.

    Attributes
    ----------
    sizes : (cells,) int64
        Rows of each cell; complete once all are merged.
    """

    def __init__(self, directory: Path, cells: int, key_type: KeyType | None) -> None:
        self.sizes = np.zeros(cells, np.int64)
        self._key_type = key_type
        self._records = _Spilled(directory)
        self._text = _Spilled(directory) if key_type else None
        self._dtype = np.dtype("V1")  # of a record, once there is one
        self._pending: list[NDArray[Any]] = []
        self._pending_keys: list[PackedKeys] = []

    def add(self, cells: NDArray[np.int64], columns: Mapping[str, NDArray[Any]], keys: PackedKeys | None) -> None:
        """Append rows: their cells (n,), columns (n, ...), the same ones with every call, and n keys."""
        fields = {"cell": cells.astype("<u4"), **columns}
        if keys is not None:
            fields["key_bytes"] = keys.lengths.astype("<u2")
            self._pending_keys.append(keys)
        records = np.empty(len(cells), [(name, column.dtype, column.shape[1:]) for name, column in fields.items()])
        for name, column in fields.items():
            records[name] = column
        self._pending.append(records)
        held = sum(some.nbytes for some in self._pending), sum(len(some.text) for some in self._pending_keys)
        if max(held) >= CHUNK_BYTES:
            self._spill()

    def merged(self) -> Iterator[tuple[NDArray[Any], PackedKeys | None]]:
        """Yield all rows in the order of their cells, as records of the columns, and their keys, a few at a time."""
        if self._pending:
            self._spill()
        texts = self._text.runs(len(self.sizes)) if self._text else None
        parts: list[tuple[bytes, bytes]] = []
        for run in self._records.runs(len(self.sizes)):
            parts.append((run, next(texts) if texts else b""))
            if sum(len(records) + len(text) for records, text in parts) >= MERGED_BYTES:
                yield self._together(parts)
                parts = []
        if parts:
            yield self._together(parts)

    def close(self) -> None:
        """Remove the temporary files."""
        self._records.close()
        if self._text is not None:
            self._text.close()

    def _spill(self) -> None:
        records = np.concatenate(self._pending)
        self._dtype = records.dtype
        order = np.argsort(records["cell"], kind="stable")
        counts = np.bincount(records["cell"], minlength=len(self.sizes))
        self.sizes += counts
        self._records.write(records[order].tobytes(), counts * records.itemsize)
        if self._text is not None and self._key_type is not None:
            keys = PackedKeys.joined(self._pending_keys).take(order)
            ends = np.cumsum(counts)
            self._text.write(keys.text.tobytes(), np.diff(keys.starts[np.concatenate([[0], ends])]))
        self._pending, self._pending_keys = [], []

    def _together(self, parts: list[tuple[bytes, bytes]]) -> tuple[NDArray[Any], PackedKeys | None]:
        records = np.frombuffer(b"".join(run for run, _ in parts), self._dtype)
        if self._key_type is None:
            return records, None
        text = np.frombuffer(b"".join(text for _, text in parts), np.uint8)
        return records, PackedKeys.of_text(text, records["key_bytes"], self._key_type)


class _Spilled:
    """A temporary file of chunks, each cut into runs, one a cell."""

    def __init__(self, directory: Path) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115
        self._starts: list[int] = []
        self._edges: list[NDArray[np.int64]] = []  # edges[chunk][cell]: the byte of the chunk at which its run begins

    def write(self, chunk: bytes, sizes: NDArray[np.int64]) -> None:
        """Append a chunk whose runs have these sizes in bytes."""
        self._starts.append(self._file.tell())
        self._edges.append(np.concatenate([[0], np.cumsum(sizes)]))
        self._file.write(chunk)

    def runs(self, cells: int) -> Iterator[bytes]:
        """Yield the runs of the first cell, one of each chunk, then those of the second one, and so on."""
        self._file.flush()
        for cell in range(cells):
            for start, edges in zip(self._starts, self._edges, strict=True):
                low, high = int(edges[cell]), int(edges[cell + 1])
                yield os.pread(self._file.fileno(), high - low, start + low)

    def close(self) -> None:
        self._file.close()
