"""A dump whose keys are not all UTF-8, read as text all the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vecstore.formats.dump import Batch, Dump
from vecstore.formats.reading import EncodingErrors

__all__ = ["DecodedDump"]


class DecodedDump(Dump):
    """A dump of bytes as keys, seen as one of text in which bytes that are not UTF-8 are replaced.

    Parameters
    ----------
    dump : Dump
        Its keys are bytes.
    errors : {"replace", "backslashreplace"}
        By U+FFFD, or by how Python writes the byte: ``\\xff``.
    """

    def __init__(self, dump: Dump, errors: EncodingErrors) -> None:
        super().__init__(
            dump.path, format=dump.format, rows=dump.rows, dimensions=dump.dimensions, key_type="str", dtype=dump.dtype
        )
        self.left_out, self.columns, self.fields, self.coded = dump.left_out, dump.columns, dump.fields, dump.coded
        self._dump, self._errors = dump, errors

    def _batches(self, rows: int) -> Iterator[Batch]:
        for batch in self._dump.batches(rows):
            keys = [key.decode("utf-8", self._errors) for key in batch.keys or () if isinstance(key, bytes)]
            yield replace(batch, keys=keys)
