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

    Length and iteration pass over deleted rows; an index is the number of a row, which raises `IndexError` for these.
    `source` returns the snapshot that is open; after `Store.close` it raises `ClosedError`.
    """

    def __init__(self, source: Callable[[], Snapshot]) -> None:
        self._source, self._held = source, source()  # of the same generation, whatever is refreshed meanwhile

    def __reduce__(self) -> Any:
        return KeysView, (self._source,)

    def _open(self) -> Snapshot:
        """Return the snapshot of this view, or raise `ClosedError` where the store was closed."""
        self._source()
        return self._held

    def __len__(self) -> int:
        return self._held.living

    def __contains__(self, key: object) -> bool:
        return self._open().find(key) >= 0

    def __iter__(self) -> Iterator[Key]:
        return self._open().keys()

    def __getitem__(self, index: Any) -> Any:
        snapshot = self._open()
        rows, key_of = snapshot.rows, snapshot.key_of
        if isinstance(index, (int, np.integer)):
            if not -rows <= index < rows:
                raise IndexError(f"row {index} of a store with {rows} rows")
            snapshot.dead.refuse(np.array([int(index) % rows]))
            return key_of(int(index) % rows)
        chosen = np.arange(*index.indices(rows)) if isinstance(index, slice) else row_numbers(index, rows)
        snapshot.dead.refuse(chosen)
        return [key_of(row) for row in chosen.tolist()]

    def __repr__(self) -> str:
        return f"<{len(self)} {self._held.key_type or 'row number'} keys>"
