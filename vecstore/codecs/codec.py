"""A codec: what it is made of, and its trained form."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.codecs.base import Codes, Floats
from vecstore.codecs.checks import as_vectors
from vecstore.codecs.dataset import Dataset
from vecstore.codecs.layer import Layer, of_step
from vecstore.codecs.packing import number_bytes, whole_numbers
from vecstore.codecs.partition import COUNT_BYTES, Cells, Partition
from vecstore.codecs.spec import LayerSpec, cells_from_dict, parse
from vecstore.errors import CodecError, ShapeError
from vecstore.keys.packed import PackedKeys

__all__ = ["Codec", "CodecSpec", "code_bytes_of", "codec"]

FEW_ROWS = 64


def codec(spec: str | CodecSpec) -> CodecSpec:
    """Parse a codec specification.

    Parameters
    ----------
    spec : str
        Such as ``"opq:48"``, ``"pca:128,sq:8"``, ``"bin/sq:8"`` or ``"cells:256,tcq:48"``; ``vecstore codecs`` lists
        the steps.

    Raises
    ------
    UnknownCodecError
        A step of that name does not exist; the message names the nearest.
    CodecError
        The parameters or the order of the steps are wrong.

    Examples
    --------
    >>> codec("mrl:256, sq:8")
    codec('truncate:256,sq:8')
    >>> codec("bin/sq:8").layers[1].quantizer
    SQ(bits=8)
    >>> codec("cells:256, tcq:48").cells
    Cells(count=256)
    """
    if isinstance(spec, CodecSpec):
        return spec
    if not isinstance(spec, str):
        raise CodecError(f"a codec specification is a string such as 'pca:128,sq:8', found {type(spec).__name__}")
    return CodecSpec(*parse(spec))


@dataclass(frozen=True)
class CodecSpec:
    """What to train: one layer, or a coarse layer that is scanned and a fine one that rescoring and lookup read.

    With `cells` rows are stored cell by cell, and the layers code their residuals.
    """

    layers: tuple[LayerSpec, ...]
    cells: Cells | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.layers) <= 2:
            raise CodecError(f"{str(self)!r}: one layer, or two as coarse/fine")
        if len(self.layers) == 2 and self.layers[0].byte_steps:
            raise CodecError(f"{str(self)!r}: the coarse layer is scanned, so it cannot be compressed by byte steps")

    def fit(self, x: ArrayLike, *, seed: int = 0, rows: int | None = None, dataset: Dataset | None = None) -> Codec:
        """Train on a sample and return the trained codec.

        Parameters
        ----------
        x : (n, d) float32
            Sample of the vectors to come.
        seed : int
            Of everything random in training; the same sample and seed give the same codec.
        rows : int, optional
            Of the store to come (of each of its shards), by default those of `x`: the number of cells follows from
            them unless it is named.
        dataset : Dataset, optional
            All rows to come, for codecs whose rows share tables; by default they are taken to be `x`.

        Raises
        ------
        CodecError
            The specification does not fit `x`, such as more components than dimensions.
        ShapeError
            `x` is empty, not two-dimensional or holds NaN or infinity.
        """
        sample = as_vectors(x)
        if not len(sample):
            raise ShapeError("training needs at least one vector")
        spec, partition, everyone = self, None, dataset or Dataset.of(sample)
        if self.cells is not None:
            code_bytes = code_bytes_of(self, sample, seed=seed)
            partition = self.cells.fit(sample, seed=seed, rows=rows or len(sample), code_bytes=code_bytes)
            spec = replace(self, cells=Cells(partition.count))
            sample = sample - partition.centroids[partition.assign(sample)]
        layers = [Layer.fit(layer, sample, everyone, seed=seed) for layer in self.layers]
        return Codec(spec, layers, partition)

    def to_dict(self) -> list[list[dict[str, Any]]] | dict[str, Any]:
        """Return the JSON form: layers of steps, each ``{"name": ..., "configuration": {...}}``.

        With cells: ``{"cells": step, "layers": layers}``.
        """
        layers = [layer.to_list() for layer in self.layers]
        return layers if self.cells is None else {"cells": self.cells.to_dict(), "layers": layers}

    @classmethod
    def from_dict(cls, given: Sequence[Sequence[dict[str, Any]]] | dict[str, Any]) -> CodecSpec:
        """Undo `to_dict`; raises `CodecError` for anything that it does not give."""
        cells, layers = (given.get("cells"), given.get("layers")) if isinstance(given, dict) else (None, given)
        if not isinstance(layers, list) or not all(isinstance(steps, list) for steps in layers):
            raise CodecError(f"a codec is a list of layers, each a list of steps, found {layers!r}")
        return cls(tuple(map(LayerSpec.from_list, layers)), None if cells is None else cells_from_dict(cells))

    def __str__(self) -> str:
        layers = "/".join(map(str, self.layers))
        return layers if self.cells is None else f"{self.cells},{layers}"

    def __repr__(self) -> str:
        return f"codec({str(self)!r})"


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
        return any(layer.shared for layer in self.layers)

    @property
    def lossless(self) -> bool:
        """Whether `decode` gives vectors back as they were."""
        fine = self.layers[-1]
        return self.partition is None and not fine.transforms and fine.quantizer.lossless

    @property
    def by_key(self) -> bool:
        """Whether any layer takes vectors from the keys of rows."""
        return any(layer.by_key for layer in self.layers)

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
            pieces.append(number_bytes(cells, self.cell_bytes))
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
        centroids = self._centroids(x)
        return [layer.decode(layer.encode(x - centroids)) + centroids for layer in self.layers]

    def _cells(self, codes: Codes) -> NDArray[np.int64]:
        assert self.partition is not None
        cells = whole_numbers(codes[:, : self.cell_bytes])
        if int(cells.max(initial=0)) >= self.partition.count:
            raise ShapeError(
                f"codes of {self.spec} begin with a cell below {self.partition.count:,}, found {cells.max():,}"
            )
        return cells

    def approximate(
        self, x: ArrayLike, rows: NDArray[np.int64] | None = None, keys: PackedKeys | None = None
    ) -> Floats:
        """Return what vectors (n, dimensions) become, encoded and decoded; only table codecs look at rows and keys."""
        vectors, fine = as_vectors(x, self.dimensions), self.layers[-1]
        if self.partition is None:
            return fine.decode(fine.encode(vectors, rows, keys), rows, keys)
        centroids = self._centroids(vectors)
        return fine.decode(fine.encode(vectors - centroids, rows, keys), rows, keys) + centroids

    def _centroids(self, x: Floats) -> Floats | np.float32:
        """Return the centroid of each vector's cell."""
        return np.float32(0) if self.partition is None else self.partition.centroids[self.partition.assign(x)]

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
        layers = [Layer.restore(layer, dimensions, of_step(arrays, i)) for i, layer in enumerate(spec.layers)]
        partition = spec.cells.restore(dimensions, of_step(arrays, Cells.name)) if spec.cells else None
        return cls(spec, layers, partition)

    def __repr__(self) -> str:
        return f"<Codec {self.spec}: {self.dimensions} dimensions in {self.code_bytes} bytes>"


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
        layers = [Layer.fit(layer, few, Dataset.of(few), seed=seed) for layer in spec.layers]
    if any(layer.shared for layer in layers):
        raise CodecError(
            f"{spec}: cells put rows in another order, by which table codecs know them; use one or the other"
        )
    return sum(layer.code_bytes for layer in layers)
