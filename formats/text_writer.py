"""Writing text dumps: word2vec and GloVe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.dump import Keys
from vecstore.formats.format import Output

from vecstore.errors import FormatError
from vecstore.kernels import entries

_LONGEST, _SPARE = 17, 32  # bytes of a number with what separates it from the next, and behind the last one
_AT_ONCE = 1 << 15  # numbers whose text stays in a processor's second cache

__all__ = ["joined", "joined_keys", "key_texts", "text_keys", "write_glove", "write_rows", "write_word2vec"]


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
        write_rows(file, [key + b" " for key in keys], vectors)


def write_rows(
    file: IO[bytes],
    heads: Sequence[bytes],
    vectors: NDArray[np.float32],
    *,
    separator: bytes = b" ",
    tail: bytes = b"\n",
) -> None:
    """Write what begins each row, its numbers as the shortest decimals that read back as they are, and a tail."""
    given, end = np.ascontiguousarray(vectors, np.float32), np.frombuffer(tail, np.uint8)
    step = max(_AT_ONCE // max(given.shape[1], 1), 1)
    for first in range(0, len(given), step):
        some, own = given[first : first + step], heads[first : first + step]
        ends = np.zeros(len(own) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, own), np.int64, len(own)), out=ends[1:])
        room = int(ends[-1]) + (_LONGEST * given.shape[1] + len(tail)) * len(own) + _SPARE
        begun, out, row = np.frombuffer(b"".join(own), np.uint8), np.empty(room, np.uint8), 0
        while row < len(some):
            row, size = entries.write_lines(some, row, begun, ends, separator[0], end, out)
            file.write(out[:size])
            if row < len(some):  # a number that is not finite, or very small
                file.write(own[row] + separator.join(some[row].astype("S").tolist()) + tail)
                row += 1


def text_keys(output: Output, *, forbidden: bytes, what: str) -> Iterator[tuple[list[bytes], int, NDArray[np.float32]]]:
    """Yield the keys of each batch as bytes, the number of its first row, and its vectors.

    Raises
    ------
    FormatError
        A key is empty or holds one of the bytes that are forbidden.
    """
    row = 0
    for keys, vectors in output.pairs:
        texts = key_texts(keys, row, len(vectors))
        together = b"".join(texts)
        if b"" in texts or any(mark in together for mark in forbidden):
            _refuse(texts, row, forbidden, what, output.path)
        yield texts, row, vectors
        row += len(vectors)


def joined_keys(
    output: Output, *, forbidden: bytes, what: str
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.float32]]]:
    """Yield what `text_keys` does, keys as `joined` gives them."""
    row = 0
    for keys, vectors in output.pairs:
        texts, ends = joined(keys, row, len(vectors))
        if (np.diff(ends) == 0).any() or any((texts == mark).any() for mark in forbidden):
            _refuse(key_texts(keys, row, len(vectors)), row, forbidden, what, output.path)
        yield texts, ends, vectors
        row += len(vectors)


def joined(keys: Keys, first: int, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the bytes of `key_texts` one behind the other, and where each begins and the last one ends: (n + 1,).

    Of 50,000 keys that takes a fifth of the time that a list of them does.
    """
    lines = np.frombuffer(_lines(keys, first, count), np.uint8)
    in_key, ends = lines != ord("\n"), np.zeros(count + 1, np.int64)
    breaks = np.flatnonzero(~in_key)
    if len(breaks) == count - 1:
        ends[1:-1], ends[-1] = breaks - np.arange(count - 1), len(lines) - len(breaks)
        return lines[in_key], ends
    texts = _each(keys, first, count)  # keys hold line ends
    np.cumsum(np.fromiter(map(len, texts), np.int64, count), out=ends[1:])
    return np.frombuffer(b"".join(texts), np.uint8), ends


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


def key_texts(keys: Keys, first: int, count: int) -> list[bytes]:
    """Return keys as text in UTF-8; of rows without keys, from `first` on, their numbers."""
    together = _lines(keys, first, count).split(b"\n")  # twice as fast as one by one
    return together if len(together) == count else _each(keys, first, count)


def _lines(keys: Keys, first: int, count: int) -> bytes:
    """Return the keys as text, a line end between any two."""
    try:
        return "\n".join(cast("list[str]", keys)).encode()
    except TypeError:  # none, or no strings
        return b"\n".join(_each(keys, first, count))


def _each(keys: Keys, first: int, count: int) -> list[bytes]:
    values = range(first, first + count) if keys is None else keys
    return [value if isinstance(value, bytes) else str(value).encode() for value in values]
