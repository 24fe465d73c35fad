"""The keys of a store as a read-only sequence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from vecstore.keys.kind import Key
from vecstore.store.snapshot import Snapshot
from vecstore.store.vectors import row_numbers

__all__ = ["KeysView"]


class KeysView(Sequence[Key]):
    """The keys of a store in row order: length, iteration, `in`, indexing by row, slice or array of rows.

    `source` returns the snapshot that is open; after `Store.close` it raises `ClosedError`.
    """

    def __init__(self, snapshot: Snapshot, source: Callable[[], Snapshot]) -> None:
        self._rows, self._kind, self._source = snapshot.rows, snapshot.key_type or "row number", source

    def __len__(self) -> int:
        return self._rows

    def __contains__(self, key: object) -> bool:
        return self._source().find(key) >= 0

    def __iter__(self) -> Iterator[Key]:
        return self._source().keys()

    def __getitem__(self, index: Any) -> Any:
        snapshot = self._source()
        rows, key_of = snapshot.rows, snapshot.key_of
        if isinstance(index, (int, np.integer)):
            if not -rows <= index < rows:
                raise IndexError(f"row {index} of a store with {rows} rows")
            return key_of(int(index) % rows)
        chosen = range(*index.indices(rows)) if isinstance(index, slice) else row_numbers(index, rows).tolist()
        return [key_of(row) for row in chosen]

    def __repr__(self) -> str:
        return f"<{len(self)} {self._kind} keys>"
