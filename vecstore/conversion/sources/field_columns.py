"""A dump whose rows have fields, which are columns of its file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vecstore.errors import OptionError, require
from vecstore.fields.field import Field, sources_of
from vecstore.formats import Batch, Dump
from vecstore.formats.dump import DumpOf

__all__ = ["FieldDump", "columns_of_fields", "pieces_of"]


def columns_of_fields(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns that fields are made of; raises `OptionError` for a field of rows."""
    found: dict[str, None] = {}
    for name, field in fields.items():
        if isinstance(field, Field):
            if not field.columns:
                raise OptionError(f"fields: {name!r} holds rows; those of a dump are columns, vecstore.Multi('tokens')")
            found |= dict.fromkeys(field.columns)
    return tuple(found)


def pieces_of(dump: Dump, names: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    """Yield columns of a dump, as arrays of pyarrow, some rows after the other."""
    pa = require("pyarrow", purpose="reading columns")
    for batch in dump.batches():
        found = {}
        for name in names:
            column = batch.columns[name]
            column = column if hasattr(column, "type") else pa.array(column)
            found[name] = column.combine_chunks() if hasattr(column, "chunks") else column
        yield found


class FieldDump(DumpOf):
    """A dump, some of whose columns are fields.

    Parameters
    ----------
    dump : Dump
        Opened with the columns that fields are made of.
    fields : mapping of names to fields
    kept : tuple of str
        The columns that are kept as such.
    room : folder
        Token vectors lie there in a nameless file.
    seed : int
    """

    def __init__(self, dump: Dump, fields: Mapping[str, Any], kept: tuple[str, ...], *, room: Path, seed: int) -> None:
        super().__init__(dump)
        self.coded, self.columns = dump.coded, kept
        filled = {
            name: field.read(pieces_of(dump, field.columns), room) if isinstance(field, Field) else field
            for name, field in fields.items()
        }
        rows = next((len(field) for field in filled.values() if isinstance(field, Field)), 0)
        self.fields = sources_of(filled, rows, seed=seed)

    def _batches(self, rows: int) -> Iterator[Batch]:
        done = 0
        for batch in self._dump.batches(rows):
            fields = {name: source.rows[done : done + len(batch)] for name, source in self.fields.items()}
            yield replace(batch, fields=fields, columns={name: batch.columns[name] for name in self.columns})
            done += len(batch)
