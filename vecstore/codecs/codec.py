"""A trained codec: one or two layers, each a chain of trained steps."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.codecs.base import Arrays, ByteStep, Codes, Floats, TrainedQuantizer, TrainedTransform
from vecstore.codecs.dataset import Dataset
from vecstore.codecs.partition import COUNT_BYTES, Cells, Partition
from vecstore.codecs.spec import CodecSpec, LayerSpec
from vecstore.errors import CodecError, ShapeError
from vecstore.keys.packed import PackedKeys

__all__ = [
    "LARGEST",
    "AffineMap",
    "Codec",
    "Layer",
    "as_queries",
    "as_vectors",
    "check_seed",
    "code_bytes_of",
    "fit",
    "sound_rows",
]

FEW_ROWS = 64
LARGEST = 1e15  # up to here squares of values, summed over dimensions and rows, stay far inside float32


@dataclass(frozen=True, eq=False)
class AffineMap:
    """How a layer's decoded code z becomes a vector: x = z @ linear + offset.

    Scoring needs no more of the transforms than this. `gram` is linear @ linear.T, so |x|^2 = z gram z + ...; its
    diagonal alone is kept when the rest is zero to rounding (rotations, PCA, whitening).
    """

    linear: Floats  # linear[code dimension, dimension]
    offset: Floats

    def weights(self, queries: Floats) -> Floats:
        """Return what q . (z @ linear) makes of z for queries (q, dimensions): (q, code dimension)."""
        return queries if self._identity else np.asarray(queries @ self.linear.T, np.float32)

    @cached_property
    def _identity(self) -> bool:
        return self.linear.shape[0] == self.linear.shape[1] and bool((self.linear == np.eye(len(self.linear))).all())

    @cached_property
    def gram(self) -> Floats:
        product = self.linear @ self.linear.T
        diagonal = np.diag(product)
        rest = np.abs(product - np.diag(diagonal)).max(initial=0)
        return diagonal.copy() if rest <= 1e-5 * np.abs(diagonal).max(initial=0) else product


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

    @property
    def byte_steps(self) -> tuple[ByteStep, ...]:
        """The steps that pack whole blocks of codes."""
        return self.spec.byte_steps

    def encode(self, x: Floats, rows: NDArray[np.int64] | None = None) -> Codes:
        """Return the codes of checked vectors: (n, code_bytes) uint8."""
        for transform in self.transforms:
            x = transform.apply(x)
        return self.quantizer.encode(x, rows)

    def decode(self, codes: Codes, rows: NDArray[np.int64] | None = None) -> Floats:
        """Return the vectors of codes: (n, dimensions) float32; the array may share memory with `codes`."""
        return self.inverted(self.quantizer.decode(codes, rows))

    def encode_keyed(self, x: Floats, keys: PackedKeys, rows: NDArray[np.int64]) -> Codes:
        """Return the codes of checked vectors that have keys: (n, code_bytes) uint8."""
        if not self.quantizer.by_key:
            return self.encode(x, rows)
        for transform in self.transforms:
            x = transform.apply(x)
        return self.quantizer.encode_keys(x, keys, rows)

    def decode_keyed(self, codes: Codes, keys: PackedKeys, rows: NDArray[np.int64]) -> Floats:
        """Return the vectors of codes of rows that have keys."""
        if not self.quantizer.by_key:
            return self.decode(codes, rows)
        return self.inverted(self.quantizer.decode_keys(keys, codes))

    def inverted(self, z: Floats) -> Floats:
        """Return the vectors of what the quantizer decodes to."""
        for transform in reversed(self.transforms):
            z = transform.invert(z)
        return z

    @cached_property
    def affine(self) -> AffineMap:
        """The inverse of the transforms as one affine map, found by inverting the unit vectors."""
        k = self.quantizer.dimensions
        x = np.concatenate([np.zeros((1, k), np.float32), np.eye(k, dtype=np.float32)])
        for transform in reversed(self.transforms):
            x = transform.invert(x)
        return AffineMap(x[1:] - x[0], x[0].copy())

    @cached_property
    def norm_tables(self) -> tuple[Floats, float] | None:
        """Tables whose entries picked by a code add up, with the number, to |x|^2; None if the code is not additive."""
        affine = self.affine
        if affine.gram.ndim != 1:
            return None
        linear = 2 * (affine.linear @ affine.offset)
        tables = self.quantizer.tables(linear[None], affine.gram)
        return None if tables is None else (tables[0], float(affine.offset @ affine.offset))

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
    def restore(cls, spec: LayerSpec, dimensions: int, arrays: Arrays) -> Layer:
        """Rebuild from the specification and what `arrays` gave."""
        transforms: list[TrainedTransform] = []
        width = dimensions
        for i, step in enumerate(spec.transforms):
            transforms.append(step.restore(width, _of_step(arrays, i)))
            width = transforms[-1].dimensions
        quantizer = spec.quantizer.restore(width, _of_step(arrays, len(transforms)))
        return cls(spec, transforms, quantizer, dimensions)


def _of_step(arrays: Arrays, step: int | str) -> Arrays:
    prefix = f"{step}."
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


class Codec:
    """A trained codec.

    Attributes
    ----------
    spec : CodecSpec
    layers : tuple of Layer
        One, or coarse and fine.
    dimensions : int
        Of the vectors it takes and gives.
    partition : Partition or None
        The cells whose centroids are taken away before the layers code what is left.
    code_bytes : int
        Bytes a row takes in a store, all layers together, before byte steps.
    cell_bytes : int
        Bytes that the number of a row's cell takes before its code where the row is alone: what `encode` gives. In a
        store the cell follows from the position.
    model_bytes : int
        Bytes of its trained arrays, centroids included, and of the number of rows in each cell.
    cut : bool
        It reads the first bytes of the codes of `spec`.
    """

    def __init__(
        self, spec: CodecSpec, layers: Sequence[Layer], partition: Partition | None = None, *, cut: bool = False
    ) -> None:
        self.spec, self.layers, self.partition, self.cut = spec, tuple(layers), partition, cut
        self.dimensions = self.layers[0].dimensions
        self.code_bytes = sum(layer.code_bytes for layer in self.layers)
        self.cell_bytes = partition.cell_bytes if partition else 0
        self.model_bytes = sum(array.nbytes for array in self.arrays.values())
        if partition:
            self.model_bytes += COUNT_BYTES * partition.count

    def refuse_if_cut(self) -> None:
        """Raise `CodecError` if this reads the first bytes of codes only: a store of such codes could not be opened."""
        if self.cut:
            raise CodecError(
                f"the codec of a truncated store reads the first bytes of {self.spec} codes, but does not make stores; "
                f"train one for {self.code_bytes} bytes, or take the codec of the whole store"
            )

    @property
    def shared(self) -> bool:
        """Whether rows share tables, so that it depends on their numbers or keys what codes stand for."""
        return any(layer.quantizer.shared for layer in self.layers)

    def encode(self, x: ArrayLike, rows: NDArray[np.int64] | None = None) -> Codes:
        """Return the codes of vectors.

        Parameters
        ----------
        x : (n, dimensions) array of numbers
        rows : (n,) int64, optional
            Row numbers; only table codecs look at them.

        Returns
        -------
        (n, cell_bytes + code_bytes) uint8
            The number of the cell, little-endian, and the layers' codes side by side.

        Raises
        ------
        ShapeError
            Wrong width, NaN or infinity, or values that the codec cannot hold.
        """
        vectors = as_vectors(x, self.dimensions)
        pieces: list[Codes] = []
        if self.partition is not None:
            cells = self.partition.assign(vectors)
            vectors = vectors - self.partition.centroids[cells]
            pieces.append(cells.astype("<u8")[:, None].view(np.uint8)[:, : self.cell_bytes])
        return np.concatenate([*pieces, *(layer.encode(vectors, rows) for layer in self.layers)], axis=1)

    def decode(self, codes: ArrayLike, rows: NDArray[np.int64] | None = None) -> Floats:
        """Return the vectors that codes stand for, from the finest layer: (n, dimensions) float32, a new array."""
        given, width = np.asarray(codes), self.cell_bytes + self.code_bytes
        if given.ndim != 2 or given.shape[1] != width or given.dtype != np.uint8:
            raise ShapeError(f"codes of {self.spec} are (n, {width}) uint8, found {given.shape} {given.dtype}")
        fine = self.layers[-1]
        vectors = fine.decode(given[:, width - fine.code_bytes :].copy(), rows)
        return vectors if self.partition is None else self.partition.add(self._cells(given), vectors)

    def decoded(self, x: Floats) -> list[Floats]:
        """Return what each layer makes of checked vectors (n, dimensions), coded and decoded."""
        centroids = np.float32(0) if self.partition is None else self.partition.centroids[self.partition.assign(x)]
        return [layer.decode(layer.encode(x - centroids)) + centroids for layer in self.layers]

    def _cells(self, codes: Codes) -> NDArray[np.int64]:
        assert self.partition is not None
        wide = np.zeros((len(codes), 8), np.uint8)
        wide[:, : self.cell_bytes] = codes[:, : self.cell_bytes]
        cells = wide.view("<i8")[:, 0]
        if int(cells.max(initial=0)) >= self.partition.count:
            raise ShapeError(
                f"codes of {self.spec} begin with a cell below {self.partition.count:,}, found {cells.max():,}"
            )
        return cells

    def approximate(
        self, x: ArrayLike, rows: NDArray[np.int64] | None = None, keys: PackedKeys | None = None
    ) -> Floats:
        """Return what vectors (n, dimensions) become, encoded and decoded; only table codecs look at rows and keys."""
        if keys is None or rows is None:
            return self.decode(self.encode(x, rows), rows)
        vectors, fine = as_vectors(x, self.dimensions), self.layers[-1]
        return fine.decode_keyed(fine.encode_keyed(vectors, keys, rows), keys, rows)

    def span(self, row: int) -> tuple[Codec, int, int | None]:
        """Return the codec of a row, and the first and the end of the rows that have it; None for no end."""
        return self, 0, None

    def prefix(self, dimensions: int) -> Codec:
        """Return the codec that reads only the first dimensions of what this one has encoded.

        Raises
        ------
        CodecError
            `dimensions` is out of range, or a step mixes dimensions, so that no prefix of a code stands alone.
        """
        if not 1 <= dimensions <= self.dimensions:
            raise CodecError(f"{dimensions} dimensions out of {self.dimensions}; choose 1 to {self.dimensions}")
        layers = [layer.prefix(dimensions) for layer in self.layers]
        found = [layer for layer in layers if layer is not None]
        if len(found) < len(layers):
            raise CodecError(
                f"{self.spec} mixes dimensions, so its vectors cannot be truncated where they lie; convert with "
                f"truncate:{dimensions} as the first step instead"
            )
        return Codec(self.spec, found, self.partition.prefix(dimensions) if self.partition else None)

    def first_bytes(self, size_bytes: int) -> Codec:
        """Return the codec that reads only the first bytes of codes, at most so many.

        Raises
        ------
        CodecError
            Too few bytes, or the codec has other codes than `tcq` in one layer.
        """
        layer = self.layers[0].first_bytes(size_bytes) if len(self.layers) == 1 else None
        if layer is None:
            raise CodecError(f"{self.spec}: the first bytes of a code are no coarser code; of tcq codes they are")
        return Codec(self.spec, [layer], self.partition, cut=True)

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All trained arrays; names are ``<layer>.<step>.<array>``, and ``cells.<array>``."""
        arrays = {f"{i}.{name}": array for i, layer in enumerate(self.layers) for name, array in layer.arrays.items()}
        cells = self.partition.arrays if self.partition else {}
        return arrays | {f"cells.{name}": array for name, array in cells.items()}

    @classmethod
    def restore(cls, spec: CodecSpec, dimensions: int, arrays: Mapping[str, NDArray[Any]]) -> Codec:
        """Rebuild from the specification and what `arrays` gave."""
        layers = [Layer.restore(layer, dimensions, _of_step(arrays, i)) for i, layer in enumerate(spec.layers)]
        partition = spec.cells.restore(dimensions, _of_step(arrays, Cells.name)) if spec.cells else None
        return cls(spec, layers, partition)

    def __repr__(self) -> str:
        return f"<Codec {self.spec}: {self.dimensions} dimensions in {self.code_bytes} bytes>"


def fit(spec: CodecSpec, x: ArrayLike, *, seed: int, rows: int | None = None, dataset: Dataset | None = None) -> Codec:
    """Train the cells and all layers of `spec` on a sample; see `CodecSpec.fit`."""
    sample = as_vectors(x)
    if not len(sample):
        raise ShapeError("training needs at least one vector")
    partition = None
    everyone = dataset or Dataset.of(sample)
    if spec.cells is not None:
        code_bytes = code_bytes_of(spec, sample, seed=seed)
        partition = spec.cells.fit(sample, seed=seed, rows=rows or len(sample), code_bytes=code_bytes)
        spec = replace(spec, cells=Cells(partition.count))
        sample = sample - partition.centroids[partition.assign(sample)]
    return Codec(spec, [_fit_layer(layer, sample, everyone, seed) for layer in spec.layers], partition)


def code_bytes_of(spec: CodecSpec, sample: Floats, *, seed: int) -> int:
    """Return how many bytes a code will take, from layers trained on a handful of rows.

    Raises
    ------
    CodecError
        Rows share tables by their numbers or keys, which goes with no cells.
    """
    few = sample[:FEW_ROWS]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is to be said of the data, is said when all of it is trained on
        layers = [_fit_layer(layer, few, Dataset.of(few), seed) for layer in spec.layers]
    if any(layer.quantizer.shared for layer in layers):
        raise CodecError(
            f"{spec}: cells put rows in another order, by which table codecs know them; use one or the other"
        )
    return sum(layer.code_bytes for layer in layers)


def _fit_layer(spec: LayerSpec, x: Floats, dataset: Dataset, seed: int) -> Layer:
    dimensions = x.shape[1]
    transforms = []
    for step in spec.transforms:
        transforms.append(step.fit(x, seed=seed))
        x = transforms[-1].apply(x)
        dataset = dataset.mapped(transforms[-1].apply)
    quantizer = spec.quantizer.fit_all(x, dataset, seed=seed)
    for byte_step in spec.byte_steps:
        byte_step.check(quantizer.code_bytes)
    return Layer(spec, transforms, quantizer, dimensions)


def as_vectors(x: ArrayLike, dimensions: int | None = None) -> Floats:
    """Return `x` as (n, d) float32 or raise `ShapeError`: wrong shape, not numbers, NaN or infinity."""
    try:
        given = np.asarray(x)
    except ValueError:
        raise ShapeError("vectors must all have the same length") from None
    if given.ndim != 2 or given.dtype.kind not in "fiub":
        raise ShapeError(f"vectors are an (n, d) array of numbers, found shape {given.shape} of {given.dtype}")
    if given.shape[1] == 0 or (dimensions is not None and given.shape[1] != dimensions):
        raise ShapeError(f"vectors have {dimensions or 'one or more'} dimensions here, found {given.shape[1]}")
    if given.dtype == np.float32:
        vectors = np.ascontiguousarray(given)
    else:
        with np.errstate(over="ignore"):
            vectors = np.ascontiguousarray(given, np.float32)
    sound = sound_rows(vectors)
    if not sound.all():
        row = int(np.flatnonzero(~sound)[0])
        if np.isfinite(vectors[row]).all():
            raise ShapeError(f"row {row} holds a value beyond {LARGEST:g}; scale the vectors")
        raise ShapeError(f"row {row} holds NaN or infinity (or a value beyond float32)")
    return vectors


def as_queries(queries: ArrayLike, dimensions: int) -> Floats:
    """Return queries to measure with as (q, d) float32, or raise `ShapeError`: as vectors, and at least one."""
    found = as_vectors(queries, dimensions)
    if not len(found):
        raise ShapeError("there are no queries in what was given; leave it out to measure with held-out rows alone")
    return found


def check_seed(seed: int) -> None:
    """Raise `ShapeError` for what is no seed."""
    if not 0 <= seed < 2**31:
        raise ShapeError(f"a seed is a number from 0 to 2**31 - 1, found {seed!r}")


def sound_rows(x: Floats) -> NDArray[np.bool_]:
    """Return which rows hold numbers from -LARGEST to LARGEST only: no NaN, no infinity, no overflow later: (n,)."""
    return np.asarray((np.abs(x) <= LARGEST).all(axis=1))
