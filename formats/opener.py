"""Opening a dump."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from vecstore.formats.catalog import format_named
from vecstore.formats.dump import Dump, KeyType
from vecstore.formats.key_column import open_keys
from vecstore.formats.npy import ArrayDump, NpyArray
from vecstore.formats.npz import open_npz
from vecstore.formats.sniffer import Head
from vecstore.formats.text import TextDump, infer_dimensions
from vecstore.formats.word2vec import Word2vecBinaryDump

from vecstore.errors import FormatError, did_you_mean

__all__ = ["open_dump"]

# Which option says something to which formats.
_OPTIONS = {
    "keys": ("npy", "npz"),
    "array": ("npz",),
    "key_column": ("parquet", "arrow"),
    "vector_column": ("parquet", "arrow"),
    "columns": ("parquet", "arrow"),
}
_READ_IN_PLACE = ("npz", "parquet", "arrow")


def open_dump(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    keys: str | os.PathLike[str] | None = None,
    key_type: KeyType | None = None,
    key_column: str | None = None,
    vector_column: str | None = None,
    array: str | None = None,
    columns: Sequence[str] | None = None,
) -> Dump:
    """Open a file of vectors that another program wrote.

    Parameters
    ----------
    path : path
        Text, binary and ``.npy`` files may be compressed by gzip, bzip2, xz or zstd.
    format : str, optional
        A name in `FORMATS`. Without it the content tells.
    keys : path, optional
        For ``npy`` and ``npz``: a file of as many keys, one a line, or a 1-D ``.npy`` array.
    key_type : {"str", "bytes", "int64"}, optional
        Read the keys as this type instead of the one the file stands for.
    key_column, vector_column : str, optional
        For ``parquet`` and ``arrow``: the columns, where they are not obvious.
    array : str, optional
        For ``npz``: the array of the vectors.
    columns : names, optional
        For ``parquet`` and ``arrow``: columns that batches carry beside vectors and keys, see `Batch`.

    Raises
    ------
    FormatError
        The file is in no known format, or not in the one named, or an option does not apply to it.
    MissingExtraError
        Reading the format needs a package that is not installed.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "pets.vec"
    >>> _ = path.write_text("2 3\\ncat 1 2 3\\ndog 4 5 6\\n")
    >>> dump = open_dump(path)
    >>> dump.format, dump.rows, dump.dimensions
    ('word2vec', 2, 3)
    >>> [batch.keys for batch in dump.batches()]
    [['cat', 'dog']]
    """
    if format is not None:
        format_named(format)
    known: tuple[str, ...] = get_args(KeyType)
    if key_type is not None and key_type not in known:
        raise FormatError(f"unknown key type {key_type!r}{did_you_mean(key_type, known)}; known: {', '.join(known)}")
    head = Head.read(Path(path))
    path, name = head.path, format or head.identify()
    given = {"keys": keys, "array": array, "key_column": key_column, "vector_column": vector_column, "columns": columns}
    for option, names in _OPTIONS.items():
        if given[option] is not None and name not in names:
            raise FormatError(f"{option}= is for {' and '.join(names)}, not for {name}", path=path)
    if head.compression is not None and name in _READ_IN_PLACE:
        raise FormatError(f"{name} inside {head.compression} cannot be read in place; decompress it first", path=path)
    keys_path = None if keys is None else Head.read(Path(keys)).path
    match name:
        case "npy":
            column = None if keys_path is None else open_keys(keys_path, key_type)
            return ArrayDump(NpyArray.open(path), column, format=name)
        case "npz":
            return open_npz(path, array=array, keys=keys_path, key_type=key_type)
        case "parquet" | "arrow":
            from vecstore.formats.columnar import ArrowDump, ParquetDump

            kind = ParquetDump if name == "parquet" else ArrowDump
            return kind(
                path,
                format=name,
                key_type=key_type,
                key_column=key_column,
                vector_column=vector_column,
                columns=columns or (),
            )
        case "word2vec-binary":
            return Word2vecBinaryDump(path, header=head.header(), key_type=key_type)
        case "word2vec":
            return _open_word2vec(head, key_type)
        case _:
            return _open_glove(head, key_type)


def _open_word2vec(head: Head, key_type: KeyType | None) -> Dump:
    header = head.header()
    found = infer_dimensions(head.lines()[1:])
    if found is not None and found != header[1]:
        raise FormatError(
            "the header contradicts the lines that follow; correct it",
            path=head.path,
            where="line 1",
            expected=f"{header[1]} numbers a line, as the header declares",
            found=str(found),
        )
    return TextDump(head.path, format="word2vec", header=header, dimensions=header[1], key_type=key_type)


def _open_glove(head: Head, key_type: KeyType | None) -> Dump:
    dimensions = infer_dimensions(head.lines())
    if dimensions is None:
        raise FormatError(
            "not GloVe text; name the right format",
            path=head.path,
            expected="lines of a key and as many numbers each",
            found=head.shown(),
        )
    return TextDump(head.path, format="glove", header=None, dimensions=dimensions, key_type=key_type)
