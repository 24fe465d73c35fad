"""Writing text dumps: word2vec and GloVe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.dump import Keys
from vecstore.formats.format import Output

from vecstore.errors import FormatError
from vecstore.kernels import entries

_LONGEST = 17  # bytes of a number, with what separates it from the next
_AT_ONCE = 1 << 15  # numbers whose text stays in a processor's second cache

__all__ = ["decimals", "text_keys", "write_glove", "write_word2vec"]


def write_word2vec(output: Output) -> None:
    """Write word2vec text: the shortest decimals that read back as the same float32; without keys, row numbers."""
    with output.file() as file:
        file.write(f"{output.rows} {output.dimensions}\n".encode())
        _write_lines(file, output, "word2vec text")


def write_glove(output: Output) -> None:
    """Write the same lines without the first one."""
    with output.file() as file:
        _write_lines(file, output, "GloVe text")


def _write_lines(file: IO[bytes], output: Output, what: str) -> None:
    for keys, _, vectors in text_keys(output, forbidden=b" \t\r\n", what=what):
        lines = zip(keys, decimals(vectors), strict=True)
        file.write(b"".join(key + b" " + numbers + b"\n" for key, numbers in lines))


def decimals(vectors: NDArray[np.float32], separator: bytes = b" ") -> list[bytes]:
    """Return each row as the shortest decimals that read back as the same float32."""
    given, rows = np.ascontiguousarray(vectors, np.float32), []
    step = max(_AT_ONCE // max(given.shape[1], 1), 1)
    out, ends = np.empty(_LONGEST * step * given.shape[1], np.uint8), np.empty(step, np.int64)
    for first in range(0, len(given), step):
        some, start = given[first : first + step], 0
        entries.write_decimals(some, separator[0], out, ends)
        text = memoryview(out)
        for row, end in enumerate(ends[: len(some)].tolist()):
            if end < 0:  # a number that is not finite, or very large or small
                rows.append(separator.join(some[row].astype("S").tolist()))
                continue
            rows.append(text[start:end].tobytes())
            start = end
    return rows


def text_keys(output: Output, *, forbidden: bytes, what: str) -> Iterator[tuple[list[bytes], int, NDArray[np.float32]]]:
    """Yield the keys of each batch as bytes, the number of its first row, and its vectors.

    Raises
    ------
    FormatError
        A key is empty or holds one of the bytes that are forbidden.
    """
    row = 0
    for keys, vectors in output.pairs:
        texts = _texts(keys, row, len(vectors))
        together = b"".join(texts)
        if b"" in texts or any(mark in together for mark in forbidden):
            _refuse(texts, row, forbidden, what, output.path)
        yield texts, row, vectors
        row += len(vectors)


def _refuse(texts: list[bytes], row: int, forbidden: bytes, what: str, path: Path) -> None:
    names = {b" ": "space", b"\t": "tab", b"\r": "carriage return", b"\n": "line end"}
    listed = ", ".join(names.get(bytes([mark]), chr(mark)) for mark in forbidden)
    index, key = next((at, key) for at, key in enumerate(texts) if not key or any(mark in key for mark in forbidden))
    raise FormatError(
        f"{what} cannot hold the key {key.decode('utf-8', 'backslashreplace')!r}: "
        f"a key there is not empty and has no {listed}; export to parquet",
        path=path,
        where=f"row {row + index}",
    )


def _texts(keys: Keys, first: int, count: int) -> list[bytes]:
    values = range(first, first + count) if keys is None else keys
    return [value if isinstance(value, bytes) else str(value).encode() for value in values]
