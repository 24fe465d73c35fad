"""What may be tried: every family of codecs, with the specifications that fit so many bytes.

Families are declared here, one a line. Those whose codec is not registered are passed over, so that the table may name
codecs that another package brings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.codec import codec
from vecstore.errors import CodecError

__all__ = ["FAMILIES", "Family", "cell_counts", "known"]

Sizes: TypeAlias = Callable[[int, int], Iterator[tuple[int, str]]]
Model: TypeAlias = Callable[[int, int], int]
Floor: TypeAlias = Callable[[NDArray[np.float64], int], float]

CELL_SHARES = (0.01, 0.02, 0.04)  # of the budget, that centroids may take
CENTROID_BYTES = 0.25  # of a centroid's number, about
FEWEST_CELLS, ROWS_OF_A_CELL, TRAINED_ROWS = 8, 16, 20_000  # a centroid is the mean of some rows that train


def _nothing(size: int, d: int) -> int:
    """Guess nothing of a model: training tells what it takes."""
    return 0


@dataclass(frozen=True)
class Family:
    """Codecs that differ in their size only.

    Attributes
    ----------
    name : str
    sizes : callable
        Yields code bytes and specification for (bytes allowed, dimensions), largest first. Bytes are what
        the code takes at least; training tells.
    model : callable
        What the trained arrays take for (code bytes, dimensions), roughly: it saves a training.
    floor : callable or None
        The least squared error that a code of this kind can have for a Gaussian source, of (variances along the
        principal axes, code bytes); None for codecs that give bits to where the variance is, whose floor is the
        rate-distortion bound itself.
    cells : bool
        Whether to try it behind cells as well.
    """

    name: str
    sizes: Sizes
    model: Model = _nothing
    floor: Floor | None = None
    cells: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        return _named, (self.name,)  # its functions cannot be sent


def cell_counts(size_bytes: float, rows: int, dimensions: int) -> list[int]:
    """Return numbers of cells whose centroids take an acceptable share of the budget."""
    room = [share * size_bytes * rows / (CENTROID_BYTES * dimensions) for share in CELL_SHARES]
    most = min(rows, TRAINED_ROWS) // ROWS_OF_A_CELL
    return sorted({1 << int(np.log2(min(count, most))) for count in room if min(count, most) >= FEWEST_CELLS})


def known(spec: str) -> bool:
    """Return whether a specification names codecs that are registered, with parameters that they take."""
    try:
        codec(spec)
    except CodecError:
        return False
    return True


def _every(name: str, *, least: int = 1, per_byte: int = 1, suffix: str = "") -> Sizes:
    """Sizes of a codec that takes any number of parts, `per_byte` of them a byte, up to one a dimension."""

    def sizes(limit: int, d: int) -> Iterator[tuple[int, str]]:
        for size in range(min(limit, d // per_byte), least - 1, -1):
            yield size, f"{name}:{size * per_byte}{suffix}"

    return sizes


def _numbers(quantizer: str, bits: int, *, before: str = "pca") -> Sizes:
    """Sizes of numbers of so many bits, one a principal component (or one of the first dimensions)."""

    def sizes(limit: int, d: int) -> Iterator[tuple[int, str]]:
        for size in range(min(limit, -(-d * bits // 8)), 0, -1):
            kept = min(size * 8 // bits, d)
            if kept:
                yield size, f"{before}:{kept},{quantizer}"

    return sizes


def _whole(*specs: tuple[str, float]) -> Sizes:
    """Sizes of codecs that take so many bits a dimension, whatever the budget."""

    def sizes(limit: int, d: int) -> Iterator[tuple[int, str]]:
        for spec, bits in sorted(specs, key=lambda pair: -pair[1]):
            size = int(np.ceil(d * bits / 8))
            if size <= limit:
                yield size, spec

    return sizes


def _equal_bits(variances: NDArray[np.float64], size: int) -> float:
    """The least error when every dimension has the same bits, whatever its variance (Cover & Thomas, 10.3.2)."""
    return float(variances.sum()) * 2.0 ** (-2 * 8 * size / len(variances))


def _first_components(bits: int) -> Floor:
    """The least error when the first components have so many bits each and the others none."""

    def floor(variances: NDArray[np.float64], size: int) -> float:
        kept = min(size * 8 // bits, len(variances))
        return float(variances[:kept].sum()) * 2.0 ** (-2 * bits) + float(variances[kept:].sum())

    return floor


def _books(bits: int, *, axes: bool = True) -> Model:
    """Books of groups of equal width, all stored as wide as the widest, and a byte a number of a rotation."""

    def model(size: int, d: int) -> int:
        groups = size * 8 // bits
        return (d * d if axes else 0) + 4 * (1 << bits) * groups * -(-d // groups)

    return model


def _variable_books(bits: int) -> Model:
    """Packed axes, and books as wide as each group, were all components kept (the last ones often are not)."""
    return lambda size, d: int((0.6 * d + 4 * (1 << bits)) * d)


def _trellis(size: int, d: int) -> int:
    """Axes of half a byte a number, and the levels of each coefficient, more the more bits it has."""
    kept = min(3 * size + 64, d)
    return int((d / 2 + min(6 * 2 ** (8 * size / kept), 1024)) * kept)


FAMILIES = (
    Family("tcq", _every("tcq"), model=_trellis, cells=True),
    Family("opq", _every("opq"), model=_books(8), cells=True),
    Family("opq x4", _every("opq", per_byte=2, suffix="x4"), model=_books(4), cells=True),
    Family("vaq", _every("vaq"), model=_variable_books(8), cells=True),
    Family("vaq x4", _every("vaq", per_byte=2, suffix="x4"), model=_variable_books(4)),
    Family("pq", _every("pq"), model=_books(8, axes=False)),
    Family("rq", _every("rq"), model=lambda size, d: 1024 * d * size, cells=True),
    Family("lsq", _every("lsq"), model=lambda size, d: 1024 * d * size),
    Family("pca, sq:8", _numbers("sq:8", 8), floor=_first_components(8)),
    Family("pca, sq:6", _numbers("sq:6", 6), floor=_first_components(6)),
    Family("pca, sq:4", _numbers("sq:4", 4), floor=_first_components(4)),
    Family("pca, bin", _numbers("bin", 1), floor=_first_components(1)),
    Family("truncate, sq:8", _numbers("sq:8", 8, before="truncate"), floor=_first_components(8)),
    Family("sq", _whole(("sq:8", 8), ("sq:6", 6), ("sq:4", 4)), floor=_equal_bits),
    Family("bin", _whole(("bin", 1)), floor=_equal_bits),
    Family("rabitq", _whole(*((f"rabitq:{bits}", bits) for bits in range(1, 9))), floor=_equal_bits),
    Family("rotate, lloyd", _whole(*((f"rotate,lloyd:{bits}", bits) for bits in range(1, 9))), floor=_equal_bits),
    Family("lvq", _whole(("lvq:4", 4), ("lvq:8", 8), ("lvq:4x8", 12)), floor=_equal_bits),
    Family("floats", _whole(("f32", 32), ("f16", 16), ("bf16", 16)), floor=_equal_bits),
)


def _named(name: str) -> Family:
    return next(family for family in FAMILIES if family.name == name)
