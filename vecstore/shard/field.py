"""What a shard takes of a field: rows that know how to be coded, and what writes their codes.

A field is one more kind of payload that every row has beside its vector, such as token vectors. What kinds there are,
and how they are read, is the business of `vecstore.fields`. docs/format.md, section 5 (Shards), specifies the parts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from vecstore.container.container import ContainerWriter
from vecstore.errors import OptionError, ShapeError, did_you_mean

__all__ = ["Coded", "FieldRows", "FieldWriter", "FieldWriters", "TrainedField", "check_source", "coded_rows"]

MOST_FIELDS = 64


class FieldRows(ABC):
    """What some rows have in a field, raw or coded."""

    @abstractmethod
    def __len__(self) -> int:
        """Return how many rows there are."""

    @abstractmethod
    def take(self, rows: NDArray[np.int64]) -> FieldRows:
        """Return what these rows have, in this order."""

    def __getitem__(self, rows: slice) -> FieldRows:
        """Return consecutive rows."""
        start, stop, step = rows.indices(len(self))
        return self if (start, stop, step) == (0, len(self), 1) else self.take(np.arange(start, stop, step))

    @property
    @abstractmethod
    def row_bytes(self) -> NDArray[np.int64]:
        """Bytes that each row takes in a shard, at most: (n,)."""

    @abstractmethod
    def coded(self) -> Coded:
        """Return the rows as a shard keeps them; raises `ShapeError` for what the field does not hold."""


class Coded(FieldRows):
    """What some rows have in a field, as a shard keeps it: it moves from shard to shard without being decoded."""

    @abstractmethod
    def take(self, rows: NDArray[np.int64]) -> Self:
        """Return what these rows have, in this order."""

    @classmethod
    @abstractmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return rows one behind the other; of one part at least."""

    def coded(self) -> Self:
        """Return these rows."""
        return self


class FieldWriter(ABC):
    """Writes a field of a shard: rows come in the order of their numbers, some at a time."""

    @abstractmethod
    def add(self, rows: Any) -> None:
        """Append rows, coded by the trained field that made this writer."""

    @abstractmethod
    def close(self) -> dict[str, Any]:
        """Write what is left; return what the description says of the field, beside its name and kind."""

    def abort(self) -> None:
        """Give up: remove temporary files, if there are any."""
        return


class TrainedField(ABC):
    """How the rows of a field are coded: it makes rows of what users give, and writes them.

    Attributes
    ----------
    kind : str
        Its name in a description.
    of : str or None
        The field that it is made of: rows are not given for it.
    """

    kind: ClassVar[str]
    of: str | None = None

    @abstractmethod
    def rows(self, given: Any) -> FieldRows:
        """Return rows of what users give for them; raises `ShapeError` for what is none."""

    def derived(self, source: FieldRows) -> FieldRows:
        """Return the rows that are made of what rows have in the field `of`; raises `OptionError` for another kind."""
        raise NotImplementedError

    @abstractmethod
    def empty(self, rows: int) -> Coded:
        """Return so many rows that have nothing in the field."""

    @abstractmethod
    def writer(self, container: ContainerWriter, prefix: str) -> FieldWriter:
        """Return what writes rows into parts whose names begin with `prefix`."""

    @property
    @abstractmethod
    def model_bytes(self) -> int:
        """Bytes that it takes in a shard beside its rows, about."""


class FieldWriters:
    """Writes the fields of a shard."""

    def __init__(self, container: ContainerWriter, fields: Mapping[str, TrainedField]) -> None:
        if len(fields) > MOST_FIELDS or not all(
            isinstance(name, str) and name.isprintable() and name for name in fields
        ):
            raise OptionError(f"fields have printable names, {MOST_FIELDS} at most; found {list(fields)!s:.80}")
        self._kinds = {name: field.kind for name, field in fields.items()}
        self._writers = {
            name: field.writer(container, f"fields.{number}.") for number, (name, field) in enumerate(fields.items())
        }

    def add(self, rows: Mapping[str, Coded]) -> None:
        """Append rows, the same number of every field."""
        for name, writer in self._writers.items():
            writer.add(rows[name])

    def close(self) -> dict[str, Any]:
        """Write what is left; return the member of the description, none where there are no fields."""
        entries = [
            {**writer.close(), "name": name, "kind": self._kinds[name]} for name, writer in self._writers.items()
        ]
        return {"fields": entries} if entries else {}

    def abort(self) -> None:
        """Give up."""
        for writer in self._writers.values():
            writer.abort()


def coded_rows(given: Mapping[str, Any] | None, fields: Mapping[str, TrainedField], rows: int) -> dict[str, Coded]:
    """Return what so many rows have in each field, coded; those that a field is not given for have nothing in it.

    Raises
    ------
    OptionError
        A field that is none of these.
    ShapeError
        Other numbers of rows, or what a field does not hold.
    """
    given = given or {}
    for name in given:
        if name not in fields:
            known = f"fields are {', '.join(fields)}" if fields else "there are none; give fields= when it is written"
            raise OptionError(f"no field {name!r}{did_you_mean(name, fields)}; {known}")
    made: dict[str, FieldRows] = {}
    for name, field in sorted(fields.items(), key=lambda each: each[1].of is not None):  # what others are made of first
        own = given.get(name)
        if own is None and field.of is not None and given.get(field.of) is not None:
            made[name] = field.derived(made[field.of])
        else:
            made[name] = field.empty(rows) if own is None else own if isinstance(own, FieldRows) else field.rows(own)
        if len(made[name]) != rows:
            raise ShapeError(f"fields: {name!r} has {len(made[name]):,} rows for {rows:,} vectors")
    return {name: made[name].coded() for name in fields}


def check_source(name: str, of: str, fields: Mapping[str, TrainedField]) -> None:
    """Raise `OptionError` unless a field that others are made of is there, and is made of none itself."""
    if of not in fields or fields[of].kind != "multi":
        raise OptionError(f"fields: {name!r} is made of {of!r}, which is no field of token vectors here; add it")
