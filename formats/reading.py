"""What can be said about how a dump is read: in one place, for Python and the command line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal, TypedDict, get_args

from vecstore.errors import FormatError, OptionError, did_you_mean

__all__ = ["EncodingErrors", "KeyType", "ReadingOptions", "checked_options"]

KeyType = Literal["str", "bytes", "int64"]
EncodingErrors = Literal["strict", "replace", "backslashreplace"]


class ReadingOptions(TypedDict, total=False):
    """How a file is read; all are optional.

    Attributes
    ----------
    format : str
        A name in `FORMATS`. Without it the content tells.
    keys : path
        For arrays: a file of as many keys, one a line, or a 1-D ``.npy`` array; or a URL of one.
    key_type : {"str", "bytes", "int64"}
        Read the keys as this type instead of the one the file stands for.
    key_column, vector_column : str
        For tables and databases: the columns, where they are not obvious.
    columns : names
        For tables: columns that batches carry beside vectors and keys, see `Batch`.
    array : str
        For files of several arrays, tables or collections: the one of the vectors.
    dtype : str
        For ``raw``: the type of its numbers, such as ``float32``.
    dimensions : int
        For ``raw`` and ``annoy``, which do not say it themselves.
    encoding_errors : {"strict", "replace", "backslashreplace"}
        What to do with keys that are not UTF-8: bad rows (strict), or replace the bytes that are not.
    """

    format: str | None
    keys: str | os.PathLike[str] | None
    key_type: KeyType | None
    key_column: str | None
    vector_column: str | None
    columns: Sequence[str] | None
    array: str | None
    dtype: str | None
    dimensions: int | None
    encoding_errors: EncodingErrors | None


# What says something to every format; of the others each format names those that it takes.
GENERAL = ("format", "key_type", "encoding_errors")


def checked_options(given: dict[str, Any]) -> ReadingOptions:
    """Return the options that are not None.

    Raises
    ------
    OptionError
        One is not known.
    FormatError
        A key type or a way with encoding errors that is not known.
    """
    known = list(ReadingOptions.__annotations__)
    for name in given:
        if name not in known:
            raise OptionError(f"no option {name}={did_you_mean(name, known)}; a dump is read with {', '.join(known)}")
    kept = {name: value for name, value in given.items() if value is not None}
    choices = {"key_type": ("key type", get_args(KeyType)), "encoding_errors": ("way", get_args(EncodingErrors))}
    for name, (what, values) in choices.items():
        if name in kept and kept[name] not in values:
            nearest = did_you_mean(str(kept[name]), values)
            raise FormatError(f"unknown {what} {kept[name]!r}{nearest}; known: {', '.join(values)}")
    return ReadingOptions(**kept)  # type: ignore[typeddict-item]
