"""A trained layer: transforms, then one quantizer, then byte steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Arrays, ByteStep, Codes, Floats, TrainedQuantizer, TrainedTransform
from vecstore.codecs.dataset import Dataset
from vecstore.codecs.products import decoded_products
from vecstore.codecs.spec import LayerSpec
from vecstore.codecs.tables.table import TrainedTable, decode_rows, encode_rows, fit_quantizer
from vecstore.keys.packed import PackedKeys

__all__ = ["AffineMap", "Layer", "of_step"]


class Layer:
    """One trained layer.

    Attributes
    ----------
    spec : LayerSpec
    dimensions : int
        Of the vectors it takes and gives.
    code_bytes : int
        Bytes a row, before byte steps.
    quantizer : TrainedQuantizer
    byte_steps : tuple of ByteStep
    """

    def __init__(
        self, spec: LayerSpec, transforms: Sequence[TrainedTransform], quantizer: TrainedQuantizer, dimensions: int
    ) -> None:
        self.spec, self.transforms, self.quantizer = spec, tuple(transforms), quantizer
        self.dimensions, self.code_bytes = dimensions, quantizer.code_bytes

    @cached_property
    def is_plain(self) -> bool:
        """Whether codes are the vectors themselves, in float32."""
        return str(self.spec) == "f32"

    @property
    def byte_steps(self) -> tuple[ByteStep, ...]:
        """The steps that pack whole blocks of codes."""
        return self.spec.byte_steps

    @property
    def table(self) -> TrainedTable | None:
        """The quantizer, if it looks at the numbers or keys of rows."""
        return self.quantizer if isinstance(self.quantizer, TrainedTable) else None

    @property
    def by_key(self) -> bool:
        """Whether vectors come from the keys of rows, where they have any."""
        return self.table is not None and self.table.by_key

    @property
    def shared(self) -> bool:
        """Whether rows share tables, so that it depends on their numbers or keys what codes stand for."""
        return self.table is not None and self.table.shared

    def encode(self, x: Floats, rows: NDArray[np.int64] | None = None, keys: PackedKeys | None = None) -> Codes:
        """Return the codes of checked vectors: (n, code_bytes) uint8; only table codecs look at rows and keys."""
        for transform in self.transforms:
            x = transform.apply(x)
        return encode_rows(self.quantizer, x, rows, keys)

    def decode(self, codes: Codes, rows: NDArray[np.int64] | None = None, keys: PackedKeys | None = None) -> Floats:
        """Return the vectors of codes: (n, dimensions) float32; the array may share memory with `codes`."""
        return self.inverted(self.quantized(codes, rows, keys))

    def quantized(self, codes: Codes, rows: NDArray[np.int64] | None = None, keys: PackedKeys | None = None) -> Floats:
        """Return what the quantizer decodes codes to, before transforms are inverted."""
        return decode_rows(self.quantizer, codes, rows, keys)

    def unknown(self, keys: PackedKeys) -> Floats | None:
        """Return the vectors of keys that the store does not hold, (n, dimensions); None where there are none."""
        return self.inverted(self.table.unknown(keys)) if self.table is not None and self.by_key else None

    def inverted(self, z: Floats) -> Floats:
        """Return the vectors of what the quantizer decodes to."""
        for transform in reversed(self.transforms):
            z = transform.invert(z)
        return z

    @cached_property
    def affine(self) -> AffineMap:
        """The inverse of the transforms as one affine map, found by inverting the unit vectors."""
        k = self.quantizer.dimensions
        offset = self.inverted(np.zeros((1, k), np.float32))[0].copy()
        if all(transform.shifts for transform in self.transforms):
            return AffineMap(None, offset)
        return AffineMap(self.inverted(np.eye(k, dtype=np.float32)) - offset, offset)

    @cached_property
    def norm_tables(self) -> tuple[Floats, float] | None:
        """Tables whose entries picked by a code add up, with the number, to |x|^2; None if the code is not additive."""
        affine = self.affine
        if affine.gram.ndim != 1:
            return None
        linear = 2 * affine.inward
        tables = self.quantizer.tables(linear[None], affine.gram)
        return None if tables is None else (tables[0], float(affine.offset @ affine.offset))

    @cached_property
    def norm_weights(self) -> tuple[Floats, float]:
        """What makes |x|^2 of the numbers c of a code: bias + sum of (weights[0] + weights[1] * c) * c, (2, d) float32.

        For quantizers whose codes are plain numbers, behind steps that do not mix dimensions unevenly.
        """
        numbers, affine = self.quantizer.numbers, self.affine
        assert numbers is not None
        gram, linear = affine.gram.astype(np.float64), 2 * affine.inward.astype(np.float64)
        offset = numbers.offset.astype(np.float64)
        once = (2 * gram * offset + linear) * numbers.scale
        bias = float(affine.offset @ affine.offset + gram @ offset**2 + linear @ offset)
        return np.stack([once, gram * numbers.scale**2]).astype(np.float32), bias

    def prefix(self, dimensions: int) -> Layer | None:
        """Return the layer that reads only the first dimensions, or None where the steps mix dimensions."""
        transforms: list[TrainedTransform] = []
        width = dimensions
        for transform in self.transforms:
            shorter = transform.prefix(width)
            if shorter is None:
                return None
            transforms.append(shorter)
            width = shorter.dimensions
        quantizer = self.quantizer.prefix(width)
        return None if quantizer is None else Layer(self.spec, transforms, quantizer, dimensions)

    def first_bytes(self, size_bytes: int) -> Layer | None:
        """Return the layer that reads only the first bytes of codes, or None where they do not stand for a vector."""
        quantizer = None if self.byte_steps else self.quantizer.first_bytes(size_bytes)
        return None if quantizer is None else Layer(self.spec, self.transforms, quantizer, self.dimensions)

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays of all steps; names are ``<step number>.<array>``."""
        steps: list[TrainedTransform | TrainedQuantizer] = [*self.transforms, self.quantizer]
        return {f"{i}.{name}": array for i, step in enumerate(steps) for name, array in step.arrays.items()}

    @classmethod
    def fit(cls, spec: LayerSpec, x: Floats, dataset: Dataset, *, seed: int) -> Layer:
        """Train all steps, each on what those before it make of the sample (n, d); `dataset` are all rows to come."""
        dimensions = x.shape[1]
        transforms = []
        for step in spec.transforms:
            step.check_width(x.shape[1])
            transforms.append(step.fit(x, seed=seed))
            x = transforms[-1].apply(x)
            dataset = dataset.mapped(transforms[-1].apply)
        spec.quantizer.check_width(x.shape[1])
        quantizer = fit_quantizer(spec.quantizer, x, dataset, seed=seed)
        for byte_step in spec.byte_steps:
            byte_step.check(quantizer.code_bytes)
        return cls(spec, transforms, quantizer, dimensions)

    @classmethod
    def restore(cls, spec: LayerSpec, dimensions: int, arrays: Arrays) -> Layer:
        """Rebuild from the specification and what `arrays` gave."""
        transforms: list[TrainedTransform] = []
        width = dimensions
        for i, step in enumerate(spec.transforms):
            step.check_width(width)
            transforms.append(step.restore(width, of_step(arrays, i)))
            width = transforms[-1].dimensions
        spec.quantizer.check_width(width)
        quantizer = spec.quantizer.restore(width, of_step(arrays, len(transforms)))
        for byte_step in spec.byte_steps:
            byte_step.check(quantizer.code_bytes)
        return cls(spec, transforms, quantizer, dimensions)


@dataclass(frozen=True, eq=False)
class AffineMap:
    """How a layer's decoded code z becomes a vector: x = z @ linear + offset.

    Scoring needs no more of the transforms than this. `gram` is linear @ linear.T, so |x|^2 = z gram z + ...; its
    diagonal alone is kept when the rest is zero to rounding (rotations, PCA, whitening).
    """

    matrix: Floats | None  # matrix[code dimension, dimension]; None for the identity, which is not written out
    offset: Floats

    def weights(self, queries: Floats) -> Floats:
        """Return what q . (z @ linear) makes of z for queries (q, dimensions): (q, code dimension)."""
        return queries if self.matrix is None else decoded_products(queries, self.matrix.T)

    @property
    def linear(self) -> Floats:
        """The matrix, written out."""
        return np.eye(len(self.offset), dtype=np.float32) if self.matrix is None else self.matrix

    @cached_property
    def inward(self) -> Floats:
        """What offset . (z @ linear) makes of z: (code dimension,)."""
        return self.weights(self.offset[None])[0]

    @cached_property
    def gram(self) -> Floats:
        if self.matrix is None:
            return np.ones(len(self.offset), np.float32)
        product = self.matrix @ self.matrix.T
        diagonal = np.diag(product)
        rest = np.abs(product - np.diag(diagonal)).max(initial=0)
        return diagonal.copy() if rest <= 1e-5 * np.abs(diagonal).max(initial=0) else product


def of_step(arrays: Arrays, step: int | str) -> Arrays:
    """Return the arrays of one step, by their own names."""
    prefix = f"{step}."
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
