"""A dump in another order: what is asked for most comes first."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.errors import OptionError, ShapeError
from vecstore.formats import Batch, Dump, Problem
from vecstore.formats.dump import DumpOf
from vecstore.keys.kind import KINDS
from vecstore.shard.attribute_types import raw_table, stacked

__all__ = ["OrderedDump"]


class OrderedDump(DumpOf):
    """The rows of a dump in falling order of importance; equal ones stay in the dump's order.

    The vectors go to an anonymous temporary file in `directory`, once; keys and columns stay in memory. Row numbers in
    messages count in the new order.

    Parameters
    ----------
    dump : Dump
    importance : (n,) array of numbers
        One a row of the dump, finite and not negative.
    directory : path

    Attributes
    ----------
    importance : (n,) float64
        In the new order.
    """

    def __init__(self, dump: Dump, importance: ArrayLike, *, directory: Path) -> None:
        given = np.asarray(importance)
        if given.ndim != 1 or given.dtype.kind not in "fiub" or not (np.isfinite(given).all() and (given >= 0).all()):
            raise ShapeError(
                f"importance is one finite number a row, none negative; found {given.shape} of {given.dtype}"
            )
        if not given.any():
            raise OptionError("importance is 0 for every row; give at least one row a positive number")
        super().__init__(dump)
        self.rows = len(given)
        self._order = np.argsort(-given.astype(np.float64), kind="stable")
        self.importance = given.astype(np.float64)[self._order]
        self.columns, self.fields = dump.columns, dump.fields
        columns: list[Any] = []
        self._keys: list[Any] = []
        self._problems: dict[int, Problem] = {}
        with tempfile.TemporaryFile(dir=directory) as spooled:
            rows = 0
            for batch in dump.batches():
                spooled.write(batch.vectors.astype("<f4", copy=False).tobytes())
                self._problems |= {rows + row: reason for row, reason in batch.problems.items()}
                self._keys += [] if batch.keys is None else list(batch.keys)
                columns += [raw_table(batch.columns)] if batch.columns else []
                rows += len(batch)
            if rows != len(given):
                raise ShapeError(f"importance has {len(given):,} numbers, the dump {rows:,} rows; give one a row")
            spooled.flush()
            # The map stays when the file is closed.
            self._vectors = np.memmap(spooled, "<f4", "r", shape=(rows, dump.dimensions))
        self._table = stacked(columns) if columns else None

    def _batches(self, rows: int) -> Iterator[Batch]:
        for start in range(0, len(self._order), rows):
            own = self._order[start : start + rows]
            problems = {at: self._problems[row] for at, row in enumerate(own.tolist()) if row in self._problems}
            done = (start + len(own)) / len(self._order)
            yield Batch(
                np.array(self._vectors[own], np.float32),
                self._keys_of(own),
                problems,
                done,
                self._columns_of(own),
                {name: source.rows.take(own) for name, source in self.fields.items()},
            )

    def _columns_of(self, rows: NDArray[np.int64]) -> dict[str, Any]:
        if self._table is None:
            return {}
        some = self._table.take(rows)
        return dict(zip(some.column_names, some.columns, strict=True))

    def _keys_of(self, rows: NDArray[np.int64]) -> Any:
        if self.key_type is None:
            return None
        return KINDS[self.key_type].column([self._keys[row] for row in rows.tolist()])
