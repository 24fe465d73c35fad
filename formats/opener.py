"""Opening a dump."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from vecstore.formats.catalog import FOLDER, format_named, identify
from vecstore.formats.decoding import DecodedDump
from vecstore.formats.dump import Dump
from vecstore.formats.format import Format
from vecstore.formats.head import Head
from vecstore.formats.reading import GENERAL, ReadingOptions, checked_options
from vecstore.formats.remote import fetched
from vecstore.formats.remote_files import RemoteFiles, RemotePart
from vecstore.formats.several import SeveralDumps, matching, parts_of

from vecstore.errors import FormatError

if TYPE_CHECKING:
    from typing import Any

__all__ = ["open_dump", "recognised"]


def open_dump(path: str | os.PathLike[str], **options: Unpack[ReadingOptions]) -> Dump:
    """Open a file of vectors that another program wrote.

    Parameters
    ----------
    path : path
        Or a URL that fsspec knows (``s3://``, ``https://``, ``hf://``): copied to a temporary file, as a pipe is.
        Also a pattern such as ``part-*.parquet``, or a folder of files of one kind: read as one, sorted by name. Of a
        URL each file is fetched when it is read, and kept while there is room.
        Files that are read from start to end (text, word2vec binary, ``.npy``, arrays of rows) may be compressed by
        gzip, bzip2, xz or zstd.
    **options
        How it is read, where the content does not tell; see `ReadingOptions`.

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
    path = fetched(path)
    if isinstance(path, RemoteFiles):
        opened = partial(_opened, **options)
        return SeveralDumps(Path(path.url), [RemotePart(path, name, opened) for name in path.names])
    keys = options.get("keys")
    if isinstance(keys, (str, os.PathLike)):  # else it is refused below
        options["keys"] = fetched(keys)
    dump = _opened(path, **options)
    dump.held = path, options.get("keys")  # copies stay while the dump does
    return dump


def _opened(path: str | os.PathLike[str], **options: Unpack[ReadingOptions]) -> Dump:
    files = matching(Path(path))
    if files:
        return SeveralDumps(Path(path), [open_dump(file, **options) for file in files])
    entry, head, given = recognised(path, **options)
    if entry is FOLDER:
        dumps = [open_dump(file, **options) for file in parts_of(head.path)]
        return SeveralDumps(head.path, dumps)
    if entry.table:
        raise FormatError(f"{entry.name} holds trained tables, not vectors: vecstore.convert imports them", path=path)
    assert entry.open is not None
    errors = given.pop("encoding_errors", None) if given.get("key_type") in (None, "str") else None
    if errors in (None, "strict"):
        return entry.open(head, given)
    as_str = entry.open(head, given)  # the type of its keys is known only now
    return DecodedDump(entry.open(head, {**given, "key_type": "bytes"}), errors) if as_str.key_type == "str" else as_str


def recognised(path: str | os.PathLike[str], **options: Unpack[ReadingOptions]) -> tuple[Format, Head, ReadingOptions]:
    """Return the format of a file, its beginning, and the options that are given; they fit the format."""
    given = checked_options(dict(options))
    name = given.pop("format", None)
    named = None if name is None else format_named(name)
    head = Head.read(Path(path))
    entry = identify(head) if named is None else named
    if entry is FOLDER:
        return entry, head, given
    if not entry.readable:
        raise FormatError(f"{entry.name} is written, not read", path=path)
    for option in given:
        if option not in (*GENERAL, *entry.options):
            raise FormatError(f"{option}= is for {_takers(option)}, not for {entry.name}", path=path)
    if head.compression is not None and not entry.streamed:
        raise FormatError(
            f"{entry.name} inside {head.compression} cannot be read in place; decompress it first", path=path
        )
    return entry, head, given


def _takers(option: str) -> str:
    from vecstore.formats.catalog import all_formats

    takers: list[Any] = [entry.name for entry in all_formats().values() if option in entry.options]
    return " and ".join(filter(None, [", ".join(takers[:-1]), *takers[-1:]]))
