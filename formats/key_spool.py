"""Keys that can be written only when the vectors are: they wait in a temporary file."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.dump import Keys
from vecstore.formats.format import Output

from vecstore.errors import FormatError

__all__ = ["KeySpool"]

_ROWS = 8192


class KeySpool:
    """The keys of an `Output`, taken batch by batch and given back as NumPy arrays of one type.

    Context manager: the file goes at its end.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._longest = 1  # characters of str, bytes of bytes
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._batches: list[tuple[int, int]] = []  # keys and bytes of each

    def __enter__(self) -> KeySpool:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    @property
    def dtype(self) -> str:
        """Of the arrays: once all keys were taken."""
        return {"int64": "<i8", "bytes": f"|S{self._longest}"}.get(self._output.key_type or "", f"<U{self._longest}")

    def taken(self, keys: Keys, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Keep the keys; return the vectors."""
        if isinstance(keys, np.ndarray):
            self._file.write(keys.astype("<i8", copy=False).tobytes())
        elif keys is not None:
            longest = max(map(len, keys), default=1)
            self._longest = max(self._longest, longest)
            texts = [key if isinstance(key, bytes) else key.encode() for key in keys]
            if any(text.endswith(b"\0") for text in texts):
                raise FormatError("a NumPy array cannot hold keys that end in a zero byte", path=self._output.path)
            lengths = struct.pack(f"<{len(texts)}I", *map(len, texts))
            self._batches.append((len(texts), len(lengths) + sum(map(len, texts))))
            self._file.write(lengths + b"".join(texts))
        return vectors

    def lists(self) -> Iterator[list[Any]]:
        """Yield all keys, as lists."""
        self._file.seek(0)
        if self._output.key_type == "int64":
            while data := self._file.read(8 * _ROWS):
                yield np.frombuffer(data, "<i8").tolist()
            return
        for texts in self._bytes():
            yield texts if self._output.key_type == "bytes" else [text.decode() for text in texts]

    def texts(self) -> Iterator[list[bytes]]:
        """Yield all keys as text in UTF-8: integers, and the numbers of rows that have no keys, as decimals."""
        if self._output.key_type in ("str", "bytes"):
            self._file.seek(0)
            yield from self._bytes()
            return
        numbers = self.lists() if self._output.key_type else [range(self._output.rows)]
        yield from ([b"%d" % number for number in some] for some in numbers)

    def _bytes(self) -> Iterator[list[bytes]]:
        for count, size in self._batches:
            data = self._file.read(size)
            ends = np.cumsum(np.frombuffer(data, "<u4", count), dtype=np.int64) + 4 * count
            yield [data[start:end] for start, end in zip([4 * count, *ends.tolist()], ends.tolist(), strict=False)]

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield all keys as arrays of `dtype`, of a few rows each where keys are long."""
        step = max(1, min(_ROWS, (16 << 20) // (4 * self._longest)))
        for keys in self.lists():
            for first in range(0, len(keys), step):
                yield np.array(keys[first : first + step], self.dtype)
