"""The fields of a shard, read where they are mapped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.container.container import Container
from vecstore.container.document import field
from vecstore.errors import CorruptError
from vecstore.shard.field import MOST_FIELDS, Coded, TrainedField
from vecstore.shard.shard import Models, Shard

__all__ = ["KINDS", "FieldReader", "described_fields", "fields_of"]

KINDS = {
    "dense": "vecstore.fields.dense.reader:DenseReader",
    "multi": "vecstore.fields.multi.reader:MultiReader",
    "sparse": "vecstore.fields.sparse.reader:SparseReader",
}  # what reads each kind; others are passed over


class FieldReader(ABC):
    """A field of one shard.

    Attributes
    ----------
    about : dict
        What the description says of it.
    prefix : str
        What the names of its parts begin with.
    rows : int
    counted : tuple of str
        Facts that are numbers of things: those of several shards add up.
    """

    counted: tuple[str, ...] = ()

    def __init__(self, container: Container, about: dict[str, Any], prefix: str, rows: int, models: Models) -> None:
        self._container, self.about, self.prefix, self.rows, self._models = container, about, prefix, rows, models

    @property
    @abstractmethod
    def trained(self) -> TrainedField:
        """How its rows are coded."""

    @property
    @abstractmethod
    def likeness(self) -> Hashable:
        """Return what is equal for fields whose coded rows mean the same."""

    @abstractmethod
    def items(self, rows: NDArray[np.int64]) -> list[Any]:
        """Return what rows in range have, as users see it."""

    @abstractmethod
    def coded(self, rows: NDArray[np.int64]) -> Coded:
        """Return what rows in range have, as it is kept."""

    @abstractmethod
    def verify(self, *, deep: bool = False) -> None:
        """Raise `CorruptError` unless all that is not codes can be read; with `deep`, every row."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Return what there is to say of it: numbers and strings by name."""

    @property
    def size_bytes(self) -> int:
        """Bytes of its parts."""
        return sum(int(self._container.part(name).sizes.sum()) for name in self._container.names(self.prefix))


def described_fields(shard: Shard) -> dict[str, dict[str, Any]]:
    """Return what the description says of each field, by name, with its ``number``."""
    about, path = shard.description, shard.path
    found: dict[str, dict[str, Any]] = {}
    for number, entry in enumerate(field(about, "fields", list, path) if "fields" in about else ()):
        if not isinstance(entry, dict) or number >= MOST_FIELDS:
            raise CorruptError("member 'fields' is malformed", path=path)
        name, kind = field(entry, "name", str, path), field(entry, "kind", str, path)
        if not name or not name.isprintable() or name in found or not kind.isprintable():
            raise CorruptError(f"fields: {name[:40]!r} comes twice, or is no name", path=path)
        found[name] = {**entry, "number": number}
    return found


def fields_of(shard: Shard) -> dict[str, FieldReader]:
    """Return the fields of a shard whose kind is known, by name."""
    if shard.field_readers is None:  # two threads may both make them
        shard.field_readers = _made(shard)
    return shard.field_readers


def _made(shard: Shard) -> dict[str, FieldReader]:
    found: dict[str, FieldReader] = {}
    for name, about in described_fields(shard).items():
        home = KINDS.get(about["kind"])
        if home is not None:
            module, _, reader = home.partition(":")
            made = getattr(import_module(module), reader)
            found[name] = made(shard.container, about, f"fields.{about['number']}.", shard.rows, shard.models)
    return found
