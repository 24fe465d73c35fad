"""Arrays and data frames of Dask as dumps: each of their partitions is a part, computed where it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vecstore.conversion.sources.arrays import ArrayDump
from vecstore.conversion.sources.frames import columns_of, vectors_and_keys
from vecstore.errors import OptionError
from vecstore.formats.dump import Batch, Dump
from vecstore.formats.several import SeveralDumps

__all__ = ["dask_dump", "is_dask"]


def is_dask(source: Any) -> bool:
    """Return whether `source` is a collection of Dask."""
    return type(source).__module__.startswith("dask") and hasattr(source, "to_delayed")


def dask_dump(source: Any, columns: Sequence[str] | None = None) -> Dump:
    """Return a Dask array (n, d) or data frame as a dump.

    Each partition is computed twice: by the worker that surveys it, and by those that encode its rows. So it has to
    give the same rows again, and what is slow to compute is better written to files before. The first partition is
    computed here, too.

    Raises
    ------
    OptionError
        A collection of another kind.
    """
    if hasattr(source, "numblocks"):
        if source.ndim != 2:
            raise OptionError(f"a Dask array of vectors has two dimensions, found {source.ndim}")
        whole = source.rechunk({1: -1}) if source.numblocks[1] > 1 else source
        delayed, rows = [own for (own,) in whole.to_delayed().tolist()], list(whole.chunks[0])
    elif hasattr(source, "divisions"):
        delayed = list(source.to_delayed())
        rows = [None] * len(delayed)
    else:
        raise OptionError(f"of Dask, arrays and data frames are converted, found {type(source).__name__}")
    first = _in_memory(delayed[0].compute(), columns)
    known = [None if count is None or np.isnan(count) else int(count) for count in rows]
    parts: list[Dump] = [_Partition(own, count, first, columns) for own, count in zip(delayed, known, strict=True)]
    return SeveralDumps(Path("dask"), parts)


def _in_memory(value: Any, columns: Sequence[str] | None) -> ArrayDump:
    return ArrayDump(*vectors_and_keys(value, beside=columns), columns_of(value, columns))


class _Partition(Dump):
    """One partition; computed when it is read first, and forgotten when it was read to its end."""

    def __init__(self, delayed: Any, rows: int | None, like: ArrayDump, columns: Sequence[str] | None) -> None:
        super().__init__(Path("dask"), format="dask", rows=rows, dimensions=like.dimensions, key_type=like.key_type)
        self.columns = like.columns
        self._delayed, self._names = delayed, columns
        self._computed: ArrayDump | None = None

    @property
    def size_bytes(self) -> int:
        """As float32; 0 where the number of rows is not known before it is computed."""
        return 4 * self.dimensions * (self.rows or 0)

    def digest(self) -> str:
        """Return that of the vectors, in hexadecimal."""
        return self._value().digest()

    def _batches(self, rows: int) -> Iterator[Batch]:
        yield from self._value().batches(rows)
        self._computed = None

    def _value(self) -> ArrayDump:
        if self._computed is None:
            self._computed = _in_memory(self._delayed.compute(scheduler="synchronous"), self._names)
        return self._computed

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_computed": None}
