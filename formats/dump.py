"""What every dump is, whatever family its file belongs to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray
from vecstore.formats.reading import KeyType

from vecstore.errors import FormatError, OptionError

__all__ = ["Batch", "Coded", "Dump", "DumpOf", "KeyType", "Keys", "Problem", "read_batch", "to_float32"]

Keys = list[str] | list[bytes] | NDArray[np.int64] | None

_MOST_DIMENSIONS = 1 << 20
_BATCH_ROWS, _BATCH_BYTES = 8192, 128 * 1024 * 1024  # whichever is less: a header may claim any width
_READ_BYTES = 1 << 20


class Problem(str):
    """Why a row could not be read, with its place; `kind` is what such rows are counted under.

    Attributes
    ----------
    kind : str
        ``"wrong number of numbers"``, ``"not a number"``, ``"null"``, ``"key is not UTF-8"`` and so on.
    """

    kind: str
    __slots__ = ("kind",)

    def __new__(cls, kind: str, text: str) -> Problem:
        made = super().__new__(cls, text)
        made.kind = kind
        return made


@dataclass(frozen=True)
class Batch:
    """Some consecutive rows of a dump.

    Attributes
    ----------
    vectors : ndarray, shape (n, d), float32, C-contiguous
        A row that could not be read is all NaN. NaN and infinities of the file are passed on. The array is
        the caller's own: no other batch shares it.
    keys : list of str, list of bytes, ndarray of int64, or None
        Where a key could not be read: its bytes with the bad ones escaped (str), or empty, or 0 (int64).
    problems : dict of int to Problem
        Index in the batch -> why that row could not be read, with the place in the file.
    columns : dict
        What else was asked for of the rows, by name: n values each, a `pyarrow.Array` or a list.
    fields : dict
        What the rows have in fields of a store, by name: n rows each, which are cut by slices.
    fraction_read : float
        How much of the dump is behind once this batch is done, 0 to 1: by rows where the file says how many
        it holds, else by its (compressed) bytes. What a progress bar needs.
    """

    vectors: NDArray[np.float32]
    keys: Keys
    problems: dict[int, Problem] = field(default_factory=dict)
    fraction_read: float = 0.0
    columns: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.vectors)

    def after(self, start: int, stop: int | None = None) -> Batch:
        """Return the rows from `start` on, up to `stop`, without their problems; the batch itself where that is all."""
        if start == 0 and (stop is None or stop >= len(self)):
            return self
        keys = None if self.keys is None else self.keys[start:stop]
        columns = {name: values[start:stop] for name, values in self.columns.items()}
        fields = {name: rows[start:stop] for name, rows in self.fields.items()}
        vectors = self.vectors[start:stop]
        return replace(self, vectors=vectors, keys=keys, problems={}, columns=columns, fields=fields)


@dataclass(frozen=True)
class Coded:
    """How the vectors of a file are coded, where a codec of this package has the same codes.

    Coding what they decode to by that codec gives the codes of the file again.

    Attributes
    ----------
    spec : str
        Of the codec, such as ``"pq:48"``.
    arrays : mapping of str to ndarray
        What it is trained to, by the names that the codec gives them.
    """

    spec: str
    arrays: Mapping[str, NDArray[Any]]


class Dump(ABC):
    """A file of vectors, with or without keys. Made by `open_dump`.

    Attributes
    ----------
    path : Path
    format : str
        A name in `FORMATS`.
    rows : int or None
        As the file declares; None when only reading it to the end tells.
    dimensions : int
    key_type : {"str", "bytes", "int64"} or None
        The type of the keys in every batch; None for a dump without keys.
    columns : tuple of str
        What its batches carry beside: those asked for when it was opened.
    fields : mapping
        Fields of a store that rows have, by name: how each is coded, and what all rows have in it.
    dtype : str
        Of the numbers in the file; batches have float32.
    left_out : tuple of str
        Columns, arrays or tables of the file that are no part of the dump.
    notes : dict of str to str
        What is remarkable about the file as a whole: what -> where it was seen first. Complete once it was read.
    coded : Coded or None
        The codec that the file has: a conversion that is told no other takes it over.
    """

    _key_bytes = 0  # that a key takes in the file, where all take as many
    left_out: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    fields: Mapping[str, Any] = MappingProxyType({})
    coded: Coded | None = None
    held: Any = None  # what has to stay while this does

    def __init__(
        self,
        path: Path,
        *,
        format: str,
        rows: int | None,
        dimensions: int,
        key_type: KeyType | None,
        dtype: str = "float32",
    ) -> None:
        if not 1 <= dimensions <= _MOST_DIMENSIONS:
            raise FormatError(
                "no vectors of a usable width: the file is damaged, or not of this format",
                path=path,
                expected=f"1 to {_MOST_DIMENSIONS} dimensions",
                found=str(dimensions),
            )
        self.path, self.format = path, format
        self.rows, self.dimensions, self.key_type, self.dtype = rows, dimensions, key_type, dtype
        self.notes: dict[str, str] = {}

    @property
    def name(self) -> str:
        """What a store says it was made of: the name of the file, without its folder."""
        return self.path.name

    @property
    def source(self) -> Path | str:
        """What opens it again, with the same options: its path, or a URL."""
        return self.path

    @property
    def files(self) -> list[Path]:
        """The files that are read, in order."""
        if not self.path.is_dir():
            return [self.path]
        return sorted(file for file in self.path.rglob("*") if file.is_file() and not file.is_symlink())

    @property
    def size_bytes(self) -> int:
        """Size of the files on disk."""
        return sum(file.stat().st_size for file in self.files)

    @property
    def parts(self) -> Sequence[Dump]:
        """Dumps that make this one, one behind the other: what several workers read at a time."""
        return (self,)

    def digest(self) -> str:
        """Return the XXH3 (128 bits) of the files, one after the other, in hexadecimal."""
        found = xxhash.xxh3_128()
        for path in self.files:
            with open(path, "rb") as file:
                while piece := file.read(_READ_BYTES):
                    found.update(piece)
        return found.hexdigest()

    def batches(self, rows: int = _BATCH_ROWS) -> Iterator[Batch]:
        """Read the dump from its first row, `rows` rows at a time (the last batch may be shorter).

        Batches of very wide rows have fewer: their vectors take 128 MiB at most, or are of one row.

        Every call starts anew; several may be under way at once. Memory is bounded by the batch.

        Raises
        ------
        FormatError
            The file is truncated or damaged, or its rows are not as many as it declares. Rows that are
            malformed one by one raise nothing: see `Batch.problems`.
        OptionError
            `rows` is below 1.
        """
        if rows < 1:
            raise OptionError(f"a batch has at least 1 row, not {rows}")
        most = _BATCH_BYTES // max(4 * self.dimensions, self._key_bytes)
        return self._batches(max(min(rows, most), 1))

    def batches_from(self, first: int) -> Iterator[Batch]:
        """Read the dump from row `first` on; what is wrong with rows is not told again.

        Formats that can be entered at any row read nothing before it; others do, and leave it out.
        """
        skipped = 0
        for batch in self.batches():
            if skipped + len(batch) > first:
                yield batch.after(max(first - skipped, 0))
            skipped += len(batch)

    @abstractmethod
    def _batches(self, rows: int) -> Iterator[Batch]: ...

    def __repr__(self) -> str:
        rows = "?" if self.rows is None else self.rows
        return f"<{type(self).__name__} {str(self.path)!r}: {self.format}, {rows} x {self.dimensions}>"


class DumpOf(Dump):
    """A dump that is another one, seen otherwise: its size and digest are that one's."""

    def __init__(self, dump: Dump) -> None:
        super().__init__(
            dump.path,
            format=dump.format,
            rows=dump.rows,
            dimensions=dump.dimensions,
            key_type=dump.key_type,
            dtype=dump.dtype,
        )
        self.left_out, self._dump = dump.left_out, dump

    @property
    def size_bytes(self) -> int:
        """That of the other dump."""
        return self._dump.size_bytes

    def digest(self) -> str:
        """Return that of the other dump, in its own order."""
        return self._dump.digest()


def read_batch(
    vectors: NDArray[np.float32],
    keys: Keys,
    problems: dict[int, Problem],
    fraction_read: float,
    columns: dict[str, Any] | None = None,
) -> Batch:
    """Return the batch, with the rows that have a problem set to NaN."""
    if problems:
        vectors[list(problems)] = np.nan
    return Batch(vectors, keys, dict(sorted(problems.items())), min(fraction_read, 1.0), columns or {})


def to_float32(array: NDArray[Any]) -> NDArray[np.float32]:
    """Copy to C-contiguous float32; what is too large for it becomes an infinity."""
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype("=f4", order="C")
