"""A dump whose reader yields blocks of keys and numbers, and leaves the rest to this module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.dump import Batch, Dump, KeyType, Problem, read_batch, to_float32
from vecstore.formats.keys import convert_integers, convert_text, row_place

from vecstore.errors import FormatError

__all__ = ["Block", "BlockDump"]

# Keys as bytes, as integers, or none; vectors (n, d) of any numbers; what is wrong with which row.
Bare: TypeAlias = tuple[list[bytes] | NDArray[np.int64] | None, NDArray[Any], dict[int, Problem]]
# The same, and columns that were asked for.
Block: TypeAlias = Bare | tuple[*Bare, dict[str, list[Any]]]


class BlockDump(Dump):
    """Rows from a function that yields blocks.

    Parameters
    ----------
    path, format, rows, dimensions, dtype
        As for `Dump`.
    blocks : callable
        Takes how many rows a batch has at most, and yields `Block`.
    own_key_type : {"str", "bytes", "int64"} or None
        What the keys in the file are.
    key_type : {"str", "bytes", "int64"}, optional
        What is asked for instead.
    """

    def __init__(
        self,
        path: Path,
        blocks: Callable[[int], Iterator[Block]],
        *,
        format: str,
        rows: int | None,
        dimensions: int,
        own_key_type: KeyType | None,
        key_type: KeyType | None = None,
        dtype: str = "float32",
    ) -> None:
        kind = None if own_key_type is None else key_type or own_key_type
        super().__init__(path, format=format, rows=rows, dimensions=dimensions, key_type=kind, dtype=dtype)
        self._blocks = blocks

    def _batches(self, rows: int) -> Iterator[Batch]:
        done = 0
        for keys, numbers, problems, *more in self._blocks(rows):
            columns: Any = more[0] if more else {}
            if not len(numbers):
                continue
            converted: Any = None
            if self.key_type is not None and isinstance(keys, np.ndarray):
                converted = convert_integers(keys.astype(np.int64, copy=False), self.key_type)
            elif self.key_type is not None:
                converted = convert_text([] if keys is None else list(keys), self.key_type, row_place(done), problems)
            done += len(numbers)
            share = done / self.rows if self.rows else 1.0
            yield read_batch(to_float32(numbers), converted, problems, share, columns)
        if self.rows is not None and done != self.rows:
            raise FormatError(
                "truncated or damaged; fetch or write it again",
                path=self.path,
                expected=f"{self.rows} rows",
                found=str(done),
            )
