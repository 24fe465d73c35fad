"""A random rotation: spreads the energy of every vector evenly over its dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.axes import check_work
from vecstore.codecs.base import Arrays, Floats, TrainedTransform, Transform, frozen, named
from vecstore.codecs.products import decoded_products, row_products
from vecstore.errors import CodecError

__all__ = ["Rotate"]

WRITTEN_OUT = 2048  # dimensions up to which a product with the matrix is as fast


@dataclass(frozen=True)
class Rotate(Transform):
    """Multiply by a random orthogonal matrix.

    Where a Hadamard matrix of order d is at hand (d = 2**k times 1, 12 or 20) the rotation is that matrix with
    randomly flipped signs, stored as d signs (Ailon & Chazelle, The fast Johnson-Lindenstrauss transform, 2009);
    else, up to 4,096 dimensions, a matrix drawn uniformly, stored whole (Mezzadri, How to generate random matrices from
    the classical compact groups, 2007).
    """

    name = "rotate"
    summary = "random rotation (Hadamard with random signs where d allows)"
    usage = "rotate"

    def fit(self, x: Floats, *, seed: int) -> TrainedTransform:
        d = x.shape[1]
        rng = np.random.default_rng(seed)
        if _seed_order(d) is not None:
            return _by_signs(np.where(rng.random(d) < 0.5, -1, 1).astype("i1"))
        check_work(d, d)
        q, r = np.linalg.qr(rng.standard_normal((d, d)))
        return TrainedRotation((q * np.where(np.diag(r) < 0, -1, 1)).astype("<f4"))

    def restore(self, dimensions_in: int, arrays: Arrays) -> TrainedTransform:
        if "signs" in arrays:
            return _by_signs(*named(arrays, dtype="|i1", signs=(dimensions_in,)))
        return TrainedRotation(*named(arrays, matrix=(dimensions_in, dimensions_in)))


class TrainedRotation(TrainedTransform):
    def __init__(self, matrix: Floats) -> None:
        self.matrix = frozen(matrix)  # matrix[from, to]
        self.dimensions_in = self.dimensions = len(matrix)

    def apply(self, x: Floats) -> Floats:
        return row_products(x, self.matrix)

    def invert(self, z: Floats) -> Floats:
        return decoded_products(z, self.matrix.T)

    @property
    def arrays(self) -> Arrays:
        return {"matrix": self.matrix}


class TrainedHadamard(TrainedRotation):
    def __init__(self, signs: NDArray[np.int8]) -> None:
        self.signs = frozen(signs)
        super().__init__(self.signs[:, None] * hadamard(len(signs)) / np.float32(np.sqrt(len(signs))))

    @property
    def arrays(self) -> Arrays:
        return {"signs": self.signs}


class TrainedWideHadamard(TrainedTransform):
    """As `TrainedHadamard`, by d log d sums a row: the matrix would be far larger than what a file holds of it."""

    def __init__(self, signs: NDArray[np.int8]) -> None:
        self.signs = frozen(signs)
        self.dimensions_in = self.dimensions = len(signs)
        self._scale = np.float32(1 / np.sqrt(len(signs)))

    def apply(self, x: Floats) -> Floats:
        return hadamard_product(x * self.signs * self._scale)

    def invert(self, z: Floats) -> Floats:
        return hadamard_product(z, transposed=True) * self.signs * self._scale

    @property
    def arrays(self) -> Arrays:
        return {"signs": self.signs}


def _by_signs(signs: NDArray[np.int8]) -> TrainedTransform:
    if _seed_order(len(signs)) is None:
        raise CodecError(f"rotate: signs for {len(signs)} dimensions, of which there is no Hadamard matrix here")
    if not (np.abs(signs.astype(np.int16)) == 1).all():
        raise CodecError("rotate: signs in the file that are neither 1 nor -1; it is damaged")
    return TrainedHadamard(signs) if len(signs) <= WRITTEN_OUT else TrainedWideHadamard(signs)


def _seed_order(d: int) -> int | None:
    """Return the order of the matrix that doubling begins with, 1, 12 or 20; None if none leads to order d."""
    odd, twos = d, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    return None if odd not in (1, 3, 5) or (odd > 1 and twos < 2) else 4 * odd if odd > 1 else 1


def _seed(d: int) -> Floats:
    order = _seed_order(d)
    assert order is not None, "asked before"
    return _paley(order - 1) if order > 1 else np.ones((1, 1), np.float32)


def hadamard(d: int) -> Floats:
    """Return the Hadamard matrix of order d = 2**k * (1, 12 or 20), entries 1 and -1.

    Orders 12 and 20 by Paley's construction over the integers modulo 11 and 19, doubled by Sylvester's.
    """
    matrix = _seed(d)
    while len(matrix) < d:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


def hadamard_product(x: Floats, *, transposed: bool = False) -> Floats:
    """Return x (n, d) times the matrix that `hadamard` returns, or its transpose, without it: a new array."""
    n, d = x.shape
    seed = _seed(d)
    y = row_products(x.reshape(-1, len(seed)), seed.T if transposed else seed)
    width = len(seed)
    while width < d:
        pairs = y.reshape(n, d // (2 * width), 2, width)
        difference = pairs[:, :, 0] - pairs[:, :, 1]
        pairs[:, :, 0] += pairs[:, :, 1]
        pairs[:, :, 1] = difference
        width *= 2
    return y.reshape(n, d)


def _paley(q: int) -> Floats:
    """Return Paley's Hadamard matrix of order q + 1 for a prime q = 3 modulo 4 (J. Math. Phys. 12, 1933)."""
    squares = {i * i % q for i in range(1, q)}
    character = np.array([0] + [1 if i in squares else -1 for i in range(1, q)], np.float32)
    i = np.arange(q)
    matrix = np.ones((q + 1, q + 1), np.float32)
    matrix[1:, 0] = -1
    matrix[1:, 1:] = character[(i[None, :] - i[:, None]) % q] + np.eye(q, dtype=np.float32)
    return matrix
