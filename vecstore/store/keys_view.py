"""The keys of a store as a read-only sequence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vecstore.keys.kind import Key

if TYPE_CHECKING:
    from vecstore.store.store import Store

__all__ = ["KeysView"]


class KeysView(Sequence[Key]):
    """The keys of a store in row order: length, iteration, `in`, indexing by row, slice or array of rows."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __len__(self) -> int:
        return len(self._store)

    def __contains__(self, key: object) -> bool:
        return key in self._store

    def __iter__(self) -> Iterator[Key]:
        return iter(self._store)

    def __getitem__(self, index: Any) -> Any:
        rows = len(self._store)
        if isinstance(index, (int, np.integer)):
            if not -rows <= index < rows:
                raise IndexError(f"row {index} of a store with {rows} rows")
            return self._store.key_of(int(index) % rows)
        chosen = (
            range(*index.indices(rows)) if isinstance(index, slice) else self._store.vectors.row_numbers(index).tolist()
        )
        return [self._store.key_of(row) for row in chosen] if self._store.key_type else list(chosen)

    def __repr__(self) -> str:
        return f"<{len(self)} {self._store.key_type or 'row number'} keys>"
