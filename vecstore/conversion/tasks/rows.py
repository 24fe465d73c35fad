"""The rows of a dump, part by part, from any row on: what survey and encoding read, here or on other machines."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.checks import sound_rows
from vecstore.conversion.tasks.options import OnBad
from vecstore.errors import FormatError
from vecstore.formats import ReadingOptions, open_dump
from vecstore.formats.dump import Batch, Dump

__all__ = ["FilePart", "Parted", "Rows", "cleaned", "parted"]


@dataclass(frozen=True)
class FilePart:
    """A file that is a part of a dump, and how it is read: what is sent to a worker, who opens it there."""

    path: Path | str
    reading: ReadingOptions

    def open(self) -> Dump:
        """Open it."""
        return open_dump(self.path, **self.reading)


@dataclass(frozen=True)
class Parted:
    """A dump, and its parts as they can be sent to workers."""

    whole: Dump
    parts: list[FilePart | Dump]


def parted(dump: Dump, reading: ReadingOptions | None = None) -> Parted:
    """Return a dump with its parts: as files, where it was opened from a path with these options."""
    if reading is None:
        return Parted(dump, list(dump.parts))
    return Parted(dump, [FilePart(part.source, reading) for part in dump.parts])


class Rows:
    """Rows of parts that lie one behind the other, numbered through; each part has as many as a survey counted.

    What is read from where the last call stopped goes on there: reading all rows, range by range, reads each once. So
    does a worker that is sent them with one task after another: most formats have no way to a row but past others.
    """

    def __init__(self, parts: Sequence[FilePart | Dump], counts: Sequence[int], token: str | None = None) -> None:
        self.parts, self.counts = parts, counts
        self._token = token or secrets.token_hex(8)  # by which a worker knows them again
        self._stopped: dict[int, _Cursor] = {}  # by the row at which it goes on

    def batches(self, first: int, stop: int, *, at_once: int | None = None) -> Iterator[tuple[int, Batch]]:
        """Yield the rows from `first` up to `stop`, and the number of the first row of each batch.

        Batches have `at_once` rows, as far as the parts and where they are entered allow, so that nobody has to collect
        as many.
        Raises `FormatError` where a part is read to its end and has other rows than before.
        """
        edges = np.concatenate([[0], np.cumsum(self.counts, dtype=np.int64)]).tolist()
        cursor = self._stopped.pop(first, None) or _Cursor(first, self._from(first, edges, at_once))
        yield from cursor.batches(stop, last=stop == edges[-1])
        self._stopped = {stop: cursor}

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (self.parts, self.counts, self._token)

    def _from(self, first: int, edges: list[int], at_once: int | None) -> Iterator[Batch]:
        for part, (start, end) in zip(self.parts, pairwise(edges), strict=True):
            if end < first or (end == first < edges[-1]):
                continue
            dump = part.open() if isinstance(part, FilePart) else part
            row = max(first - start, 0)
            whole = dump.batches() if at_once is None else dump.batches(at_once)
            for batch in dump.batches_from(row) if row else whole:
                row += len(batch)
                if row > end - start:
                    break
                yield batch
            if row != end - start:
                raise FormatError(
                    "the dump changed while it was read; convert it again",
                    path=dump.path,
                    found=f"{row} rows, before {end - start}",
                )


_RECEIVED: dict[str, Rows] = {}  # those of the last conversion


def _received(parts: Sequence[FilePart | Dump], counts: Sequence[int], token: str) -> Rows:
    """Return the rows that a worker was sent: the same object as with an earlier task."""
    known = _RECEIVED.get(token)
    if known is None:
        _RECEIVED.clear()
        known = _RECEIVED[token] = Rows(parts, counts, token)
    return known


class _Cursor:
    """A place in a stream of batches."""

    def __init__(self, at: int, rest: Iterator[Batch]) -> None:
        self._at, self._rest = at, rest
        self._held: Batch | None = None  # what a batch had beyond the last stop

    def batches(self, stop: int, *, last: bool) -> Iterator[tuple[int, Batch]]:
        """Yield what comes before the row `stop`; `last` rows are read to the end of the stream, which may object."""
        while self._at < stop or last:
            batch = next(self._rest, None) if self._held is None else self._held
            if batch is None:
                return
            self._held = batch.after(stop - self._at) if self._at + len(batch) > stop else None
            batch = batch.after(0, stop - self._at)
            number, self._at = self._at, self._at + len(batch)
            yield number, batch


def cleaned(batch: Batch, first: int, dropped: NDArray[np.int64], on_bad: OnBad) -> Batch:
    """Return what a survey keeps of a batch whose rows are numbered from `first` on; `dropped` are the others."""
    here = dropped[np.searchsorted(dropped, first) : np.searchsorted(dropped, first + len(batch))] - first
    vectors, keys, columns, fields = batch.vectors, batch.keys, batch.columns, batch.fields
    if on_bad == "zero":
        vectors[~sound_rows(vectors)] = 0
    if len(here):
        keep = np.ones(len(batch), bool)
        keep[here] = False
        vectors = vectors[keep]
        if keys is not None:
            keys = _kept(keys, keep)
        columns = {name: _kept_values(values, keep) for name, values in columns.items()}
        fields = {name: rows.take(np.flatnonzero(keep)) for name, rows in fields.items()}
    return Batch(vectors, keys, {}, batch.fraction_read, columns, fields)


def _kept(keys: Any, keep: NDArray[np.bool_]) -> Any:
    return keys[keep] if isinstance(keys, np.ndarray) else list(compress(keys, keep.tolist()))


def _kept_values(values: Any, keep: NDArray[np.bool_]) -> Any:
    return values.take(np.flatnonzero(keep)) if hasattr(values, "take") else _kept(values, keep)
