"""Writing a dump."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.catalog import format_for_export
from vecstore.formats.columnar import write_parquet
from vecstore.formats.dump import Batch, Keys, KeyType
from vecstore.formats.npy import write_npy
from vecstore.formats.replacement import Replacement
from vecstore.formats.word2vec import write_word2vec

from vecstore.errors import FormatError, ShapeError

__all__ = ["write_dump"]

_Pair = tuple[Keys, NDArray[np.float32]]


def write_dump(
    path: str | os.PathLike[str],
    batches: Iterable[_Pair | Batch],
    *,
    dimensions: int,
    rows: int,
    key_type: KeyType | None,
    format: str | None = None,
    force: bool = False,
) -> None:
    """Write keys and vectors as a file that other programs read, all of it or nothing.

    ``npy`` puts the keys beside the array: ``<stem>.keys.txt``, one a line, or ``<stem>.keys.npy`` for integers.
    ``word2vec`` numbers the rows where there are no keys. ``parquet`` has columns ``key`` and ``vector``.

    Parameters
    ----------
    path : path
    batches : iterable of (keys, vectors) or Batch
        Vectors have shape (n, d) and float32; keys are a list of str or bytes, an array of int64, or None.
    dimensions, rows : int
        Of all batches together.
    key_type : {"str", "bytes", "int64"} or None
    format : str, optional
        A writable name in `FORMATS`. Without it the suffix of `path` tells.
    force : bool
        Replace a file that exists.

    Raises
    ------
    ExistsError
        The file, or the keys file beside it, exists.
    FormatError
        The format cannot be told, or cannot hold a key.
    ShapeError
        The batches are not of the rows, dimensions or keys declared.
    """
    path = Path(path)
    pairs = _checked(batches, dimensions, rows, key_type)
    match format_for_export(path, format).name:
        case "word2vec":
            with Replacement(path, force=force) as file:
                write_word2vec(file, pairs, path=path, dimensions=dimensions, rows=rows)
        case "parquet":
            with Replacement(path, force=force) as file:
                write_parquet(file, pairs, dimensions=dimensions, key_type=key_type)
        case _:
            _write_npy(path, pairs, dimensions=dimensions, rows=rows, key_type=key_type, force=force)


def _write_npy(
    path: Path, pairs: Iterator[_Pair], *, dimensions: int, rows: int, key_type: KeyType | None, force: bool
) -> None:
    with ExitStack() as stack:
        # Left in reverse: the keys are in place before the array is.
        file = stack.enter_context(Replacement(path, force=force))
        keys_path = path.with_name(f"{path.stem}.keys.{'npy' if key_type == 'int64' else 'txt'}")
        keys_file = None if key_type is None else stack.enter_context(Replacement(keys_path, force=force))
        if keys_file is not None and key_type == "int64":
            write_npy(keys_file, (), shape=(rows,), dtype="<i8")

        def vectors() -> Iterator[NDArray[np.float32]]:
            for keys, block in pairs:
                if keys_file is not None:
                    _write_keys(keys_file, keys, keys_path)
                yield block

        write_npy(file, vectors(), shape=(rows, dimensions), dtype="<f4")


def _write_keys(file: IO[bytes], keys: Keys, path: Path) -> None:
    if isinstance(keys, np.ndarray):
        file.write(np.ascontiguousarray(keys, "<i8").data)
        return
    for key in keys or ():
        line = key if isinstance(key, bytes) else key.encode()
        if b"\n" in line or line.endswith(b"\r"):
            raise FormatError(
                f"a keys file has one key a line and cannot hold {key!r}, with a line end in it; export to parquet",
                path=path,
            )
        file.write(line + b"\n")


def _checked(batches: Iterable[_Pair | Batch], dimensions: int, rows: int, key_type: KeyType | None) -> Iterator[_Pair]:
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
