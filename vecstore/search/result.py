"""What a search found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.errors import require

__all__ = ["SearchResult"]


class SearchResult:
    """What a search found, best first.

    For one query (a vector) every field has length k; for a batch, one such row a query. k is smaller than asked
    when there are fewer rows; where one query of a batch found fewer than another (because of `min_score`), its rows
    are filled up with -1 and NaN, its keys are not.

    It is a sequence of pairs of key and score; for a batch, of the result of each query.

    Keys are read from the store when they are asked for, once. A result whose keys were not read yet keeps the files of
    its store mapped, so that they can be read after `Store.close`, too; there `CorruptError` tells of damaged keys.
    A result that is pickled takes its keys along, and its columns.

    Attributes
    ----------
    rows : (k,) or (q, k) int64
        The dump's numbers, unless the store is `renumbered`.
    scores : (k,) or (q, k) float32
        Cosine, dot product, squared Euclidean or Hamming distance, as the metric says.
    rescored : int or (q,) int64
        Rows that were scored again: by the fine layer, or exactly by the same one.
    """

    def __init__(
        self,
        keys: list[Any] | Callable[[], list[Any]],
        rows: NDArray[np.int64],
        scores: Floats,
        rescored: Any,
        columns: Any = None,
        plan: Any = None,
    ) -> None:
        self._keys, self.rows, self.scores, self.rescored = keys, rows, scores, rescored
        self._beside, self._plan = columns, plan

    @property
    def keys(self) -> list[Any]:
        """Keys of the rows; of a batch, a list of them for each query. Row numbers in a store without keys."""
        if not isinstance(self._keys, list):  # two threads may both read them
            self._keys = self._keys()
        return self._keys

    @property
    def columns(self) -> Any:
        """What the rows have beside their vectors: a `pyarrow.Table`; of a batch, of one query after the other."""
        if callable(self._beside):
            self._beside = self._beside(self.rows[self.rows >= 0])
        return require("pyarrow", purpose="columns").table({}) if self._beside is None else self._beside

    @property
    def plan(self) -> Any:
        """What was done with a filter: how many rows it selected, and whether they were picked out or scanned."""
        if callable(self._plan):
            self._plan = self._plan()
        return self._plan

    def each(self) -> list[SearchResult]:
        """Return the result of each query of a batch by itself, without what rows were filled up with."""
        return [self[query] for query in range(len(self))]

    @property
    def single(self) -> bool:
        """Whether it is the result of one query."""
        return self.rows.ndim == 1

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: Any) -> Any:
        """Return what iterating gives at a place, or the list of it at a slice."""
        if isinstance(at, slice):
            return [self[each] for each in range(len(self))[at]]
        if self.single:
            return self.keys[at], float(self.scores[at])
        size, beside = len(self.keys[at]), self._beside
        if beside is not None and not callable(beside):
            beside = beside.slice(sum(map(len, self.keys[: range(len(self))[at]])), size)
        own = self.keys[at], self.rows[at, :size], self.scores[at, :size], int(self.rescored[at])
        return SearchResult(*own, beside, self._plan)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over (key, score), best first; for a batch, over a `SearchResult` for each query."""
        return zip(self.keys, self.scores.tolist(), strict=True) if self.single else iter(self.each())

    def __reduce__(self) -> Any:
        beside = None if self._beside is None else self.columns
        return SearchResult, (self.keys, self.rows, self.scores, self.rescored, beside, self.plan)

    def __repr__(self) -> str:
        told = (f"{name}={getattr(self, name)!r}" for name in ("keys", "rows", "scores", "rescored"))
        return f"SearchResult({', '.join(told)})"

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` with columns key, row, score and those of the store; query first in a batch."""
        frame = require("pandas", purpose="to_pandas").DataFrame(self._columns())
        for name, column in self._named_apart():
            frame[name] = column.to_pandas().array
        return frame

    def to_arrow(self) -> Any:
        """Return a `pyarrow.Table` with the columns of `to_pandas`."""
        table = require("pyarrow", purpose="to_arrow").table(self._columns())
        for name, column in self._named_apart():
            table = table.append_column(name, column)
        return table

    def _named_apart(self) -> Iterator[tuple[str, Any]]:
        """Yield names and values of the store's columns, those with names of a result's own called ``columns.NAME``."""
        for name in self.columns.column_names if self._beside is not None else ():
            taken = name in ("query", "key", "row", "score")
            yield f"columns.{name}" if taken else name, self.columns[name]

    def _columns(self) -> dict[str, Any]:
        if self.single:
            return {"key": self.keys, "row": self.rows, "score": self.scores}
        found = self.rows >= 0
        return {
            "query": np.nonzero(found)[0],
            "key": [key for keys in self.keys for key in keys],
            "row": self.rows[found],
            "score": self.scores[found],
        }

    def _repr_html_(self) -> str:
        from vecstore.notebook import table_html

        columns = self._columns()
        return table_html(list(columns), list(zip(*(_plain(column) for column in columns.values()), strict=True)))


def _plain(column: Any) -> list[Any]:
    return column if isinstance(column, list) else column.tolist()
