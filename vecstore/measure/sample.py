"""The rows of a conversion's sample, and what each of them is for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vecstore.codecs.base import Floats
from vecstore.codecs.dataset import Block, Dataset

__all__ = ["Sample"]


@dataclass(frozen=True)
class Sample:
    """What is done with the sampled rows.

    Attributes
    ----------
    measured : Block
        Rows to decode and to ask with.
    train : (n, d) float32
        Rows to train on.
    searched : Block
        Rows to search.
    held_out, unseen : bool
        Whether training does not see those that are measured, and those that are searched.
    """

    measured: Block
    train: Floats
    searched: Block
    held_out: bool
    unseen: bool

    def keyed(self, dataset: Dataset) -> Sample:
        """Return the same with the keys of the rows that are measured and searched."""
        return replace(self, measured=_keyed(self.measured, dataset), searched=_keyed(self.searched, dataset))


def _keyed(block: Block, dataset: Dataset) -> Block:
    order = np.argsort(block.rows)
    rows = block.rows[order]
    return Block(rows, block.vectors[order], dataset.take(rows).keys)
