"""Queries and rows as they are given on a command line: files, numbers, or numbers on stdin."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from vecstore.cli.keys import find_rows
from vecstore.errors import OptionError, ShapeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vecstore.store.store import Store

__all__ = ["columns_of", "names_in", "read_queries", "read_rows"]


def names_in(text: str) -> list[str]:
    """Return names that stand between commas."""
    return [name for each in text.split(",") if (name := each.strip())]


def columns_of(store: Store, names: str | None, rows: NDArray[Any]) -> list[dict[str, Any]]:
    """Return what rows have in some columns, ready for JSON: a mapping for each row, empty where none were named."""
    if names is None:
        return [{} for _ in rows]
    from vecstore.store.columns import some_columns

    found = some_columns(store.columns, names_in(names), rows)
    return [{name: _shown(value) for name, value in row.items()} for row in found.to_pylist()]


def _shown(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float, str, list)) else str(value)


def read_queries(given: str) -> NDArray[np.float32]:
    """Return the queries that `given` stands for, (q, d) float32.

    Parameters
    ----------
    given : str
        Numbers separated by commas or blanks; ``-`` for such lines on stdin, one query a line; or an .npy file.

    Raises
    ------
    FormatError
        The file holds no array.
    OptionError
        What is given are not numbers.
    ShapeError
        There are not as many numbers in each line, or the array has another shape or type.
    """
    if given == "-":
        lines = [line for line in sys.stdin.read().splitlines() if line.strip()]
        if not lines:
            raise OptionError("stdin holds no query; write its numbers, one query a line")
        return _parsed(lines, "stdin")
    if given.lower().endswith(".npy"):
        return _from_file(given)
    return _parsed([given], "--vector")


def _parsed(lines: list[str], place: str) -> NDArray[np.float32]:
    import numpy as np

    queries = []
    for number, line in enumerate(lines, start=1):
        try:
            queries.append([float(text) for text in line.strip(" \t[]()").replace(",", " ").split()])
        except ValueError as error:
            where = f"line {number} of {place}" if len(lines) > 1 else place
            raise OptionError(f"{where}: {error}; write numbers such as 0.1,0.2,0.3 or name an .npy file") from None
    widths = sorted({len(query) for query in queries})
    if len(widths) > 1:
        raise ShapeError(f"{place}: lines of {widths[0]} and of {widths[-1]} numbers; each line is one query")
    return np.array(queries, np.float32)


def _from_file(path: str) -> NDArray[np.float32]:
    import numpy as np

    from vecstore.formats.npy import read_npy

    found = read_npy(path)
    if found.ndim not in (1, 2) or found.dtype.kind not in "fiu":
        raise ShapeError(f"{path}: queries are (d,) or (q, d) numbers, found {found.shape} of {found.dtype}")
    return np.atleast_2d(found)


def read_rows(store: Store, path: str) -> NDArray[Any]:
    """Return the rows that a file names: an .npy file of row numbers or a mask, or a text file with a key a line.

    Raises
    ------
    FormatError
        The .npy file holds no array.
    KeyNotFoundError
        A key that the store does not hold.
    OptionError
        Numbers or a mask for a store whose rows have other numbers than in the dump.
    """
    from vecstore.formats.npy import read_npy
    from vecstore.store.numbering import Numbering

    if path.lower().endswith(".npy"):
        about = store.info()
        numbering = Numbering(about["row_order"], about["left_out"])
        if not numbering.of_dump:
            raise OptionError(numbering.refusal(path, "a text file with a key a line"))
        return read_npy(path)
    with open(path, encoding="utf-8") as file:
        keys = [line.rstrip("\n") for line in file if line.rstrip("\n")]
    return find_rows(store, keys)
