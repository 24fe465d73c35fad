"""Rows of each block, drawn to train on and to test with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from vecstore.codecs.base import Floats
from vecstore.codecs.dataset import Dataset

__all__ = ["BlockSample", "draw_samples", "popularity_edges"]

SAMPLE_ROWS = 1 << 15  # of each block
SAMPLE_BYTES = 64 * 1024 * 1024
TESTED_ROWS = 1024


@dataclass(frozen=True)
class BlockSample:
    """Rows of one block: to train on, to test with, and how much all of its rows matter together."""

    first: int
    stop: int
    weight: float
    train: Floats
    test: Floats

    @property
    def rows(self) -> int:
        """Rows of the block."""
        return self.stop - self.first


def popularity_edges(total: int) -> tuple[int, ...]:
    """Return where blocks begin and the last one ends: two for each power of ten."""
    stops = [round(total * 10 ** (-half / 2)) for half in range(40)]
    return (0, *reversed([stop for stop in stops if stop >= 200 or stop == total]))


def draw_samples(dataset: Dataset, edges: Sequence[int], seed: int) -> list[BlockSample]:
    """Return samples of all blocks, drawn in one pass."""
    random, chosen = np.random.default_rng(seed), []
    dimensions = next(dataset.blocks()).vectors.shape[1]
    most = max(min(SAMPLE_ROWS, SAMPLE_BYTES // (4 * dimensions)), 256)
    for first, stop in pairwise(edges):
        rows = first + random.permutation(stop - first)[: most + TESTED_ROWS]
        held_out = min(TESTED_ROWS, len(rows) // 10)
        chosen += [np.sort(rows[held_out:]), np.sort(rows[:held_out])]
    found = dataset.take(np.sort(np.concatenate(chosen)))
    samples = []
    for (first, stop), train, test in zip(pairwise(edges), chosen[::2], chosen[1::2], strict=True):
        train = train[~np.isin(train, dataset.spared)] if len(train) > 2 * len(dataset.spared) else train
        trained, tested = (found.vectors[np.searchsorted(found.rows, rows)] for rows in (train, test))
        weight = sum(
            float(dataset.weights(np.arange(at, min(at + (1 << 20), stop))).sum()) for at in range(first, stop, 1 << 20)
        )
        trained = trained[random.permutation(len(trained))]  # training may look at the first rows only
        samples.append(BlockSample(first, stop, weight, trained, tested if len(tested) else trained))
    return samples
