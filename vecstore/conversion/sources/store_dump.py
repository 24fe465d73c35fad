"""A store as a dump: what it holds, decoded, in batches."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from vecstore.formats import Batch, Dump
from vecstore.keys.kind import KINDS
from vecstore.store.store import Store

__all__ = ["StoreDump"]


class StoreDump(Dump):
    """The keys and vectors of an open store.

    Parameters
    ----------
    store : Store
        Stays the caller's to close.
    path, format : optional
        Of what the store was made of, for messages and provenance.
    """

    def __init__(self, store: Store, *, path: Path | None = None, format: str = "vecstore") -> None:
        super().__init__(
            path or Path(store.path),
            format=format,
            rows=len(store),
            dimensions=store.dimensions,
            key_type=store.key_type,
        )
        self._store = store

    def _batches(self, rows: int) -> Iterator[Batch]:
        keys, total = iter(self._store), len(self._store)
        living = None if total == len(self._store.vectors) else self._store.living_rows  # not those deleted
        for start in range(0, total, rows):
            chosen = slice(start, start + rows) if living is None else living[start : start + rows]
            vectors = np.array(self._store.vectors[chosen], np.float32, order="C")
            own = list(islice(keys, len(vectors)))
            column = None if self.key_type is None else KINDS[self.key_type].column(own)
            yield Batch(vectors, column, {}, (start + len(vectors)) / total)
