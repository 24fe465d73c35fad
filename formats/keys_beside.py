"""Keys that are written beside an array: ``<stem>.keys.txt``, one a line, or ``<stem>.keys.npy`` for integers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray
from vecstore.formats.dump import Keys
from vecstore.formats.format import Output

from vecstore.errors import FormatError

__all__ = ["keys_beside"]


@contextmanager
def keys_beside(output: Output) -> Iterator[Iterator[NDArray[np.float32]]]:
    """Yield the blocks of vectors of `output`; while they are taken, their keys are written beside.

    Raises
    ------
    ExistsError
        The file of the keys exists.
    FormatError
        A key has a line end in it.
    """
    if output.key_type is None:
        yield (vectors for _, vectors in output.pairs)
        return
    path = output.path.with_name(f"{output.path.stem}.keys.{'npy' if output.key_type == 'int64' else 'txt'}")
    with output.file(path) as file:
        if output.key_type == "int64":
            header = {"descr": "<i8", "fortran_order": False, "shape": (output.rows,)}
            npy_format.write_array_header_1_0(file, header)
        yield _written(output, file, path)


def _written(output: Output, file: IO[bytes], path: Path) -> Iterator[NDArray[np.float32]]:
    for keys, vectors in output.pairs:
        _write_keys(file, keys, path)
        yield vectors


def _write_keys(file: IO[bytes], keys: Keys, path: Path) -> None:
    if isinstance(keys, np.ndarray):
        file.write(np.ascontiguousarray(keys, "<i8").data)
        return
    listed: list[Any] = list(keys or ())
    # All at once, which is several times as fast as one by one.
    text = (
        b"\n".join([*listed, b""]) if isinstance(next(iter(listed), b""), bytes) else "\n".join([*listed, ""]).encode()
    )
    if text.count(b"\n") > len(listed) or b"\r\n" in text:
        lines = [key if isinstance(key, bytes) else key.encode() for key in listed]
        line = next(line for line in lines if b"\n" in line or line.endswith(b"\r"))
        raise FormatError(
            f"a keys file has one key a line and cannot hold {line!r}, with a line end in it; export to parquet",
            path=path,
        )
    file.write(text)
