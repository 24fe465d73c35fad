"""What users give as a field: the rows, and how they are to be coded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vecstore.errors import OptionError, ShapeError
from vecstore.shard.field import FieldRows, TrainedField, check_source

__all__ = ["Derived", "Field", "FieldSource", "sources_of", "trained_fields"]


class Field(ABC):
    """Rows of a field as they are given, and how to code them: `vecstore.fields.multi.multi.Multi`, for one.

    Attributes
    ----------
    columns : tuple of str
        Of a file, that hold the rows; empty where rows were given.
    """

    columns: tuple[str, ...] = ()

    @abstractmethod
    def read(self, pieces: Iterable[Mapping[str, Any]], room: Path) -> Field:
        """Return the field with the rows of its columns, some after the other; `room` is a folder for large ones.

        Raises `ShapeError` for columns that hold something else.
        """

    @abstractmethod
    def __len__(self) -> int:
        """Return how many rows there are."""

    @abstractmethod
    def fit(self, *, seed: int = 0) -> TrainedField:
        """Train on the rows that were given, and measure; raises `OptionError` or `CodecError`."""

    @abstractmethod
    def rows(self, trained: TrainedField) -> FieldRows:
        """Return the rows, to be coded by what was trained."""


class Derived(ABC):
    """A field that is made of another one: `vecstore.fields.dense.muvera.Muvera`, for one.

    Attributes
    ----------
    of : str
        The name of the other.
    """

    of: str

    @abstractmethod
    def fit(self, source: Any, *, seed: int = 0) -> TrainedField:
        """Train on what rows have in the other field; raises as `Field.fit`."""


class FieldSource(NamedTuple):
    """A field of a dump: how it is coded, and what all its rows have."""

    trained: TrainedField
    rows: FieldRows


def sources_of(given: Mapping[str, Any] | None, rows: int, *, seed: int) -> dict[str, FieldSource]:
    """Return fields that were given for so many rows, trained.

    Raises
    ------
    OptionError
        What is no field.
    ShapeError
        A field of another number of rows.
    """
    given, found = dict(given or {}), {}
    for name, field in given.items():
        if isinstance(field, Derived):
            continue
        if not isinstance(field, Field):
            raise OptionError(
                f"fields: {name!r} is {type(field).__name__}; give fields={{{name!r}: vecstore.Multi(list_of_arrays)}}"
            )
        if field.columns:
            raise OptionError(f"fields: {name!r} names columns, which convert() reads; here give its rows")
        trained = field.fit(seed=seed)
        own = field.rows(trained)
        if len(own) != rows:
            raise ShapeError(f"fields: {name!r} has {len(own):,} rows for {rows:,} vectors")
        found[name] = FieldSource(trained, own)
    plain = {name: source.trained for name, source in found.items()}
    for name, field in given.items():
        if isinstance(field, Derived):
            check_source(name, field.of, plain)
            source = found[field.of].rows
            trained = field.fit(source, seed=seed)
            found[name] = FieldSource(trained, trained.derived(source))
    return {name: found[name] for name in given}


def trained_fields(given: Mapping[str, Any] | None, *, keep_order: bool) -> dict[str, TrainedField]:
    """Return trained fields of a store to be written; raises `OptionError` for others."""
    found = dict(given or {})
    for name, field in found.items():
        if not isinstance(field, TrainedField):
            raise OptionError(
                f"fields: {name!r} is {type(field).__name__}, no trained field; give vecstore.Multi(sample).fit()"
            )
        if field.of is not None:
            check_source(name, field.of, found)
    if found and not keep_order:
        raise OptionError("rows with fields keep their numbers: leave keep_order=False away")
    return found
