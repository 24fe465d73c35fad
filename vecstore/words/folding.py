"""Rows of keys that agree with a word but for case."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vecstore.keys.packed import PackedKeys
from vecstore.store.store import Store

__all__ = ["FoldedKeys"]

AT_ONCE = 16_384  # keys that are folded together


class FoldedKeys:
    """The keys of a store that folding changes, by the hash of what it makes of them: 16 bytes each.

    Made by one pass over all keys, .3 us each.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        hashes, rows = [], []
        living = np.asarray(store.living_rows)
        for start in range(0, len(living), AT_ONCE):
            own = living[start : start + AT_ONCE]
            keys = store.keys[own]
            folded = [key.casefold() for key in keys]
            changed = [at for at, (key, form) in enumerate(zip(keys, folded, strict=True)) if key != form]
            hashes.append(_hashes([folded[at] for at in changed]))
            rows.append(own[changed] if changed else own[:0])
        every = np.concatenate(hashes or [np.empty(0, np.uint64)])
        order = np.argsort(every, kind="stable")  # rows of one hash stay in order
        self._hashes, self._rows = every[order], np.concatenate(rows or [living])[order]

    def rows_of(self, words: Sequence[str]) -> NDArray[np.int64]:
        """Return the first row of each word that agrees with it but for case, -1 where none does: (n,)."""
        folded = [word.casefold() for word in words]
        rows = np.array(self._store.rows_of(folded), np.int64)
        wanted = _hashes(folded)
        for at, hashed in enumerate(wanted.tolist()):
            slot = int(np.searchsorted(self._hashes, np.uint64(hashed)))
            while slot < len(self._hashes) and self._hashes[slot] == hashed:
                row = int(self._rows[slot])
                if str(self._store.key_of(row)).casefold() == folded[at]:
                    rows[at] = row if rows[at] < 0 else min(row, int(rows[at]))
                    break
                slot += 1
        return rows


def _hashes(words: Sequence[str]) -> NDArray[np.uint64]:
    return PackedKeys(words, "str").hashes() if words else np.empty(0, np.uint64)
