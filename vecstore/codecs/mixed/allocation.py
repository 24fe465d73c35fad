"""Which codec each block of rows gets, for a number of bytes in all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.codec import codec
from vecstore.codecs.mixed.sample import BlockSample
from vecstore.errors import BudgetError

__all__ = ["Option", "allocate", "allocated", "projected"]

LADDER = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
REACH = 6.0  # how many times the average a row may get, or a fraction of it, by transform coding
TRAINING_ROWS = 4096
EVENLY = 0.5  # share of the importance that all rows have alike: any row may be the neighbour that a query looks for
COMPONENT_BYTES = 4  # of a number in a stored projection


@dataclass(frozen=True)
class Option:
    """A codec that a block may get: what all of its rows take together with the model, and the weighted error left."""

    codec: str
    size_bytes: float
    error: float


def allocated(samples: Sequence[BlockSample], row_bytes: float, *, seed: int) -> list[str]:
    """Return the codec of each block, so that all rows take `row_bytes` each on average and little is lost.

    Raises
    ------
    BudgetError
        The bytes are too few for the least codec of every block.
    """
    total, weight = sum(sample.rows for sample in samples), sum(sample.weight for sample in samples)
    shares = [(1 - EVENLY) * sample.weight / weight + EVENLY * sample.rows / total for sample in samples]
    menus = [_options(sample, share, row_bytes, seed) for sample, share in zip(samples, shares, strict=True)]
    return allocate(menus, row_bytes * total)


def allocate(menus: Sequence[Sequence[Option]], size_bytes: float) -> list[str]:
    """Return one codec a menu so that little error is left within `size_bytes`.

    Greedy: from the smallest options on, the step along a block's convex hull that takes away most error for its bytes
    (Shoham & Gersho, Efficient bit allocation for an arbitrary set of quantizers, 1988), as long as one fits.
    """
    hulls = [_hull(menu) for menu in menus]
    at = [0] * len(hulls)
    spent = sum(hull[0].size_bytes for hull in hulls)
    if spent > size_bytes:
        raise BudgetError(
            f"the smallest codecs of all blocks take {spent:,.0f} bytes with their models, more than {size_bytes:,.0f}"
        )
    while True:
        steps = []
        for block, hull in enumerate(hulls):
            if at[block] + 1 < len(hull):
                now, then = hull[at[block]], hull[at[block] + 1]
                more = then.size_bytes - now.size_bytes
                if spent + more <= size_bytes:
                    steps.append(((now.error - then.error) / more, block, more))
        if not steps:
            return [hull[place].codec for hull, place in zip(hulls, at, strict=True)]
        _, block, more = max(steps)
        at[block] += 1
        spent += more


def _hull(menu: Sequence[Option]) -> list[Option]:
    """Return the options on the lower convex hull, smallest first."""
    hull: list[Option] = []
    for option in sorted(menu, key=lambda option: (option.size_bytes, option.error)):
        if hull and option.error >= hull[-1].error:
            continue
        while len(hull) > 1 and _slope(hull[-2], option) <= _slope(hull[-2], hull[-1]):
            hull.pop()
        hull.append(option)
    return hull


def _slope(a: Option, b: Option) -> float:
    return (b.error - a.error) / (b.size_bytes - a.size_bytes) if b.size_bytes > a.size_bytes else -np.inf


def _options(sample: BlockSample, share: float, row_bytes: float, seed: int) -> list[Option]:
    """Return what a block may get, with measured errors: sq:8, f16, and tcq of every size in reach.

    A few sizes are trained and measured on rows held out of the training; between them the logarithm of the error is
    taken to be linear in the size, which it is to within a few percent.
    """
    d, half = sample.train.shape[1], max(len(sample.train) // 5, 1)
    train, test = sample.train[half : half + TRAINING_ROWS], sample.train[: min(half, 1024)]
    if not len(train):
        train = test
    scale = share / len(test)

    def measured(name: str) -> tuple[int, int, float]:
        fitted = codec(name).fit(train, seed=seed)
        error = float(((fitted.approximate(test) - test).astype(np.float64) ** 2).sum()) * scale
        return fitted.code_bytes, fitted.model_bytes, error

    def option(name: str, code_bytes: float, model_bytes: float, error: float) -> Option:
        return Option(name, sample.rows * code_bytes + model_bytes, error)

    options = [option(name, *measured(name)) for name in ("sq:8", "f16")]
    rungs = [size for size in LADDER if row_bytes / REACH <= size <= min(row_bytes * REACH, d)] or [1]
    found = [measured(f"tcq:{size}:8") for size in rungs]
    options.append(option(f"tcq:{rungs[0]}", *found[0]))
    for (low, low_model, low_error), (high, high_model, high_error) in pairwise(found):
        for size in range(low + 1, high + 1):
            part = (size - low) / (high - low)
            error = np.exp((1 - part) * np.log(low_error + 1e-300) + part * np.log(high_error + 1e-300))
            model = max(low_model, high_model) if size < high else high_model
            options.append(option(f"tcq:{size}", size, model, float(error)))
    return options


def projected(samples: Sequence[BlockSample], row_bytes: float, *, alpha: float, power_of_two: bool) -> list[str]:
    """Return principal components of 8 bits each, in numbers proportional to a power of the blocks' popularity.

    Raises
    ------
    BudgetError
        The bytes are too few for one component a row.
    """
    d = samples[0].train.shape[1]
    popularity = np.array([sample.weight / sample.rows for sample in samples])
    shape = (popularity / popularity[0]) ** alpha
    rows = np.array([sample.rows for sample in samples])
    size_bytes = row_bytes * int(rows.sum())
    best: list[int] | None = None
    for factor in np.geomspace(d / shape.min(), 0.5, 400):  # of the first block, from much to little
        widths = np.clip(np.rint(factor * shape), 1, d)
        if power_of_two:
            widths = np.minimum(2.0 ** np.rint(np.log2(factor * shape).clip(0)), 2.0 ** np.floor(np.log2(d)))
        if _projected_bytes(rows, widths, d) <= size_bytes:
            best = [int(width) for width in widths]
            break
    if best is None:
        least = float((rows + COMPONENT_BYTES * (2 * d + 2)).sum())
        raise BudgetError(f"one dimension a row takes {least:,.0f} bytes with the models, more than {size_bytes:,.0f}")
    for block in range(len(best) if power_of_two else 0):  # rounding leaves bytes: double what they suffice for
        wider = [*best[:block], 2 * best[block], *best[block + 1 :]]
        most = best[block - 1] if block else d
        if wider[block] <= most and _projected_bytes(rows, np.array(wider), d) <= size_bytes:
            best = wider
    return [f"pca:{width},sq:8" for width in best]


def _projected_bytes(rows: NDArray[np.int64], widths: NDArray[Any], d: int) -> float:
    """Return what blocks take that keep some of d dimensions in a byte each, with projections, means and scales."""
    return float((rows * widths + COMPONENT_BYTES * (d * (widths + 1) + 2 * widths)).sum())
