"""The table of least squared error for given entries of each row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.dataset import Block, Dataset
from vecstore.codecs.tables.incidence import Collisions, Incidence
from vecstore.kernels.entries import add_gram, add_targets

__all__ = ["fit_table"]

ITERATIONS = 300
TOLERANCE = 1e-6  # of the residual that conjugate gradients begin with


def fit_table(
    dataset: Dataset,
    incidence_of: Callable[[Block], Incidence],
    entries: int,
    *,
    mean: bool = False,
    weighted: bool = False,
) -> tuple[Floats, dict[str, Any]]:
    """Return the table (entries, d) whose sums (or means) have the least squared error, and what was found on the way.

    The data are read once: what least squares needs of them is A' W X, one vector an entry. The rest, the incidence, is
    kept (8 bytes an entry of a row), and conjugate gradients solve A' W A T = A' W X (Hestenes & Stiefel 1952), with
    the diagonal as preconditioner. `weighted` takes each row by its importance.

    An incidence does not depend on the data. So for data without structure in the order of rows the share of variance
    that is kept is that of a random subspace: rank / rows.
    """
    held: list[tuple[Incidence, NDArray[np.float64]]] = []
    collisions = Collisions()
    target: NDArray[np.float64] | None = None
    for block in dataset.blocks():
        incidence = incidence_of(block)
        scales = 1.0 / np.maximum(incidence.counts, 1) if mean else np.ones(len(block.rows))
        weights = dataset.weights(block.rows) if weighted else np.ones(len(block.rows))
        if target is None:
            target = np.zeros((entries, block.vectors.shape[1]))
        add_targets(incidence.indptr, incidence.indices, weights * scales, block.vectors, target)
        held.append((incidence, weights * scales**2))
        collisions.add(incidence)
    assert target is not None, "there is a row"
    diagonal = np.zeros(entries)
    for incidence, weights in held:
        np.add.at(diagonal, incidence.indices, np.repeat(weights, incidence.counts))
    row = np.empty(target.shape[1])

    def product(table: NDArray[np.float64]) -> NDArray[np.float64]:
        out = np.zeros_like(table)
        for incidence, weights in held:
            add_gram(incidence.indptr, incidence.indices, weights, table, row, out)
        return out

    table = _conjugate_gradients(product, target, np.where(diagonal > 0, diagonal, 1.0))
    used = float(np.mean(diagonal > 0))
    return table.astype("<f4"), {"collisions": round(collisions.rate, 6), "entries_used": round(used, 6)}


def _conjugate_gradients(
    product: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    target: NDArray[np.float64],
    diagonal: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Solve product(x) = target for every column at once."""
    x = np.zeros_like(target)
    residual = target.copy()
    z = residual / diagonal[:, None]
    direction = z.copy()
    energy = (residual * z).sum(axis=0)
    enough = TOLERANCE**2 * np.maximum(energy, 1e-300)
    for _ in range(ITERATIONS):
        if (energy <= enough).all():
            break
        image = product(direction)
        curvature = (direction * image).sum(axis=0)
        step = np.divide(energy, curvature, out=np.zeros_like(energy), where=curvature > 0)
        x += step * direction
        residual -= step * image
        z = residual / diagonal[:, None]
        renewed = (residual * z).sum(axis=0)
        direction = z + np.divide(renewed, energy, out=np.zeros_like(energy), where=energy > 0) * direction
        energy = renewed
    return x
