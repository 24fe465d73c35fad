"""Row numbers of a store whose rows have other numbers than in the dump, told apart from those of the dump."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["OwnRows"]


class OwnRows(np.ndarray[Any, np.dtype[np.int64]]):
    """Row numbers that a store gave, where they are not those of the dump: an array that says so by its type.

    Indexing, copying and pickling keep the type, so that searches take them back. What is computed from them is plain.
    """

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        plain = np.asarray(array)
        return plain[()] if return_scalar else plain
