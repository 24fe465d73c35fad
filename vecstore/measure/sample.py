"""The rows of a conversion's sample, and what each of them is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.dataset import Block, Dataset

__all__ = ["Sample"]


@dataclass(frozen=True)
class Sample:
    """What is done with the sampled rows.

    Attributes
    ----------
    rows : Block
        All that are searched, in random order; those that training did not see come first, if any are held out.
    held_out : int
        How many these are: they are decoded, and ask. 0 where there are too few: then all are, and do.
    train : (n, d) float32
        Rows to train on.
    total : int
        Rows of the store.
    """

    rows: Block
    held_out: int
    train: Floats
    total: int

    @property
    def measured(self) -> Block:
        """Rows to decode and to ask with."""
        return self.rows.part(slice(self.held_out or None))

    @property
    def searched(self) -> Block:
        """Rows to search, none of which asks."""
        return self.rows.part(slice(self.held_out, None))

    def saved(self) -> tuple[dict[str, Any], Mapping[str, NDArray[Any]]]:
        """Return it as JSON and arrays, without keys."""
        arrays: dict[str, NDArray[Any]] = {"rows": self.rows.rows, "vectors": self.rows.vectors, "train": self.train}
        return {"held_out": self.held_out, "total": self.total}, arrays

    @classmethod
    def restored(cls, document: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Undo `saved`."""
        return cls(Block(arrays["rows"], arrays["vectors"]), train=arrays["train"], **document)

    def keyed(self, dataset: Dataset) -> Sample:
        """Return the same with the keys of its rows."""
        order = np.argsort(self.rows.rows)
        keys = dataset.take(self.rows.rows[order]).keys
        return replace(self, rows=replace(self.rows, keys=None if keys is None else keys.take(np.argsort(order))))
