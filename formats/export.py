"""Writing a dump."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.catalog import format_for_export
from vecstore.formats.dump import Batch, KeyType
from vecstore.formats.format import Output, Pair
from vecstore.formats.remote import written

from vecstore.errors import FormatError, ShapeError

__all__ = ["write_dump"]


def write_dump(  # noqa: PLR0913 - options are parameters, as users know them
    path: str | os.PathLike[str],
    batches: Iterable[Pair | Batch],
    *,
    dimensions: int,
    rows: int,
    key_type: KeyType | None,
    format: str | None = None,
    force: bool = False,
    columns: Any = None,
    keys: Iterable[Any] | None = None,
) -> None:
    """Write keys and vectors as a file that other programs read, all of it or nothing.

    Formats of one array put the keys beside it: ``<stem>.keys.txt``, one a line, or ``<stem>.keys.npy`` for integers.
    Text numbers the rows where there are no keys. Tables have columns ``key`` and ``vector``.

    Parameters
    ----------
    path : path or URL
    batches : iterable of (keys, vectors) or Batch
        Vectors have shape (n, d) and float32; keys are a list of str or bytes, an array of int64, or None.
    dimensions, rows : int
        Of all batches together.
    key_type : {"str", "bytes", "int64"} or None
    format : str, optional
        A writable name in `FORMATS`. Without it the suffix of `path` tells.
    force : bool
        Replace a file that exists.
    columns : pyarrow.Table, optional
        Of as many rows: what else they have. For parquet and arrow.
    keys : iterable of str, bytes or int, optional
        The keys of all batches once more, to be read before them: formats whose words come first (finalfusion) are then
        written at once, not by way of a second file.

    Raises
    ------
    ExistsError
        The file, or the keys file beside it, exists.
    FormatError
        The format cannot be told, or cannot hold a key, or columns.
    ShapeError
        The batches are not of the rows, dimensions or keys declared.
    """
    entry = format_for_export(Path(path), format)
    assert entry.write is not None
    if columns is not None and not entry.keeps_columns:
        raise FormatError(f"{entry.name} holds keys and vectors alone; columns= is for parquet and arrow", path=path)
    pairs = _checked(batches, dimensions, rows, key_type)
    with written(path, force=force) as local:
        entry.write(Output(local, pairs, dimensions, rows, key_type, force, columns, keys))


def _checked(batches: Iterable[Pair | Batch], dimensions: int, rows: int, key_type: KeyType | None) -> Iterator[Pair]:
    done = 0
    for batch in batches:
        keys, given = (batch.keys, batch.vectors) if isinstance(batch, Batch) else batch
        vectors: NDArray[Any] = np.asarray(given, np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != dimensions:
            raise ShapeError(f"a batch to write has shape {vectors.shape}, expected (n, {dimensions})")
        if key_type is None:
            keys = None
        elif keys is None or len(keys) != len(vectors):
            count = "no" if keys is None else len(keys)
            raise ShapeError(f"a batch to write has {count} keys for {len(vectors)} vectors")
        done += len(vectors)
        yield keys, vectors
    if done != rows:
        raise ShapeError(f"{done} rows were given to write, but {rows} declared")
