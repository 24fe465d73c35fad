"""Local search quantization: additive codebooks trained together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vecstore.codecs.base import Arrays, Floats, TrainedQuantizer, named
from vecstore.codecs.evaluation import split_sample
from vecstore.codecs.product.rq import RQ, K, TrainedAdditive, residual_codebooks

__all__ = ["LSQ"]

TRAINING_ROWS = 1 << 15
TURNS = 6  # of codes and codebooks
EXCHANGES = 8  # rounds over a row's codes, at most; most rows need two or three
RIDGE = 1e-2  # of the mean count of a codeword, so that rare ones stay where they are


@dataclass(frozen=True)
class LSQ(RQ):
    """Code as `rq`, but train all codebooks together, and exchange single codes after the beam search.

    Martinez, Clement, Hoos & Little, Revisiting additive quantization, ECCV 2016; Martinez, Zakhmi, Hoos & Little,
    LSQ++, ECCV 2018: in turns, codes by iterated conditional modes (each code given the others) and codebooks by least
    squares. Begun at the codebooks of `rq`, and ended when rows held out no longer gain. Codes: a byte a stage.
    """

    name = "lsq"
    summary = "additive quantizer: as rq, with codebooks trained together"
    usage = "lsq:M with M up to 64, such as lsq:16"

    def fit(self, z: Floats, *, seed: int) -> TrainedQuantizer:
        held_out, sample = split_sample(z[:TRAINING_ROWS], queries=len(z) // 10, base=TRAINING_ROWS, seed=seed)
        best = TrainedAdditive(residual_codebooks(sample, self.m, seed=seed), rounds=EXCHANGES)
        least = _error(best, held_out)
        for _ in range(TURNS):
            trained = TrainedAdditive(fitted_codebooks(sample, best), rounds=EXCHANGES)
            error = _error(trained, held_out)
            if not error < least:
                break
            best, least = trained, error
        return best

    def restore(self, dimensions: int, arrays: Arrays) -> TrainedQuantizer:
        return TrainedAdditive(*named(arrays, codebooks=(self.m, K, dimensions)), rounds=EXCHANGES)


def _error(trained: TrainedAdditive, z: Floats) -> float:
    return float(np.square((trained.decode(trained.encode(z)) - z).astype(np.float64)).sum())


def fitted_codebooks(z: Floats, trained: TrainedAdditive) -> Floats:
    """Return the codebooks (m, 256, d) with which the codes that `trained` gives rows `z` have the least error."""
    m, k, d = trained.codebooks.shape
    codes = trained.encode(z)
    left = (z - trained.decode(codes)).astype(np.float64)
    # Normal equations of the change: counts[word, other] of rows in which both words occur.
    words = codes + k * np.arange(m)
    counts = np.zeros((m * k, m * k))
    for stage in range(m):
        for other in range(m):
            pairs = codes[:, stage].astype(np.int64) * k + codes[:, other]
            block = np.bincount(pairs, minlength=k * k).reshape(k, k)
            counts[stage * k : (stage + 1) * k, other * k : (other + 1) * k] = block
    sums = np.zeros((m * k, d))
    for stage in range(m):
        order = np.argsort(codes[:, stage], kind="stable")
        present, starts = np.unique(words[order, stage], return_index=True)
        sums[present] = np.add.reduceat(left[order], starts, axis=0)
    counts[np.diag_indices(m * k)] += RIDGE * max(len(z) / k, 1)
    change = np.linalg.solve(counts, sums)
    return (trained.codebooks + change.reshape(m, k, d)).astype("<f4")
