"""What a format of dumps is: how it is told, read and written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.dump import Dump, Keys, KeyType
from vecstore.formats.head import Head
from vecstore.formats.reading import ReadingOptions
from vecstore.formats.replacement import Replacement

__all__ = ["SURE", "Format", "Output", "Pair"]

Pair: TypeAlias = tuple[Keys, NDArray[np.float32]]

SURE = 1.0  # a magic number; .9: a structure that fits to the last byte; below .5: only if nothing else fits


@dataclass(frozen=True)
class Output:
    """What is to be written: keys and vectors, checked, in batches, and where they go.

    Attributes
    ----------
    path : Path
    pairs : iterator of (keys, vectors)
        Vectors (n, d) float32; as many keys of `key_type`, or None.
    dimensions, rows : int
        Of all batches together.
    key_type : {"str", "bytes", "int64"} or None
    force : bool
        Replace a file that exists.
    columns : pyarrow.Table or None
        What else the rows have, where the format keeps that.
    keys : iterable of str, bytes or int, or None
        The keys of all batches, where they can be had before any vector.
    """

    path: Path
    pairs: Iterator[Pair]
    dimensions: int
    rows: int
    key_type: KeyType | None
    force: bool = False
    columns: Any = None
    keys: Iterable[Any] | None = None

    def file(self, path: Path | None = None) -> Replacement:
        """Return a file that takes its place when it is complete; `path` is another one beside the first."""
        return Replacement(path or self.path, force=self.force)


def never(head: Head) -> float:
    """Tell nothing: for formats that have to be named."""
    return 0.0


@dataclass(frozen=True)
class Format:
    """One format of dumps.

    Attributes
    ----------
    name : str
        What `open_dump(format=...)` and `--from` take.
    suffixes : tuple of str
        Usual endings of file names. They decide only where content does not.
    description : str
    open : callable or None
        Takes the `Head` of a file or folder and `ReadingOptions`, and returns the `Dump`. None: not read.
    sniff : callable
        Takes a `Head` and returns how sure it is, 0 to 1, that this is the format.
    write : callable or None
        Takes an `Output` and writes it. None: not written.
    options : tuple of str
        The reading options that say something to it, beside the general ones.
    streamed : bool
        Read from start to end, and so from compressed files too.
    table : bool
        Holds trained tables instead of vectors: `vecstore.convert` imports them as they are.
    keeps_columns : bool
        Other columns of the rows are written, too.
    library : str or None
        What has to be installed to read or write it.
    """

    name: str
    suffixes: tuple[str, ...]
    description: str
    open: Callable[[Head, ReadingOptions], Dump] | None = None
    sniff: Callable[[Head], float] = never
    write: Callable[[Output], None] | None = None
    options: tuple[str, ...] = ()
    streamed: bool = False
    table: bool = False
    keeps_columns: bool = False
    library: str | None = None

    @property
    def readable(self) -> bool:
        """Whether it is read."""
        return self.open is not None or self.table

    @property
    def writable(self) -> bool:
        """Whether it is written."""
        return self.write is not None
