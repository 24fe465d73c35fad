"""Keys as they are typed on a command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vecstore.errors import KeyNotFoundError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vecstore.keys.kind import Key
    from vecstore.store.store import Store

__all__ = ["find_rows", "parse_key"]

SHOWN = 5  # missing keys that a message names


def parse_key(store: Store, text: str) -> Key:
    """Return the key that `text` means in a store: text, bytes, or a number where keys or rows are numbers.

    Raises
    ------
    KeyNotFoundError
        The store's keys are numbers and this is none.
    """
    from vecstore.keys.kind import KINDS

    try:
        return KINDS[store.key_type].typed(text) if store.key_type else int(text)
    except ValueError:
        kind = "keys are integers" if store.key_type else "rows are found by their number"
        raise KeyNotFoundError(f"no key {text!r} in {store.path}: its {kind}") from None


def find_rows(store: Store, texts: list[str]) -> NDArray[np.int64]:
    """Return the row of each key, (n,) int64.

    Raises
    ------
    KeyNotFoundError
        Some are not in the store; the message names them.
    """
    keys = [parse_key(store, text) for text in texts]
    fits = [not isinstance(key, int) or -(2**63) <= key < 2**63 for key in keys]
    rows = store.rows_of([key if fit else -(2**63) for key, fit in zip(keys, fits, strict=True)])
    missing = [text for text, row, fit in zip(texts, rows.tolist(), fits, strict=True) if row < 0 or not fit]
    if missing:
        what = "key" if store.key_type else "row"
        named = ", ".join(map(repr, missing[:SHOWN]))
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        bounds = "" if store.key_type else f" (rows are 0 to {len(store) - 1})"
        raise KeyNotFoundError(f"no {what} {named}{more} in {store.path}{bounds}")
    return rows
