"""Vectors become what a shard keeps of their rows: columns of bytes and numbers, one row each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Codes, Floats
from vecstore.codecs.codec import Codec
from vecstore.codecs.packing import number_bytes
from vecstore.codecs.transforms.normalize import unit
from vecstore.keys.packed import PackedKeys
from vecstore.metric import Metric
from vecstore.shard.layer_distances import distances

__all__ = ["DISTANCES", "NORMS", "Columns", "Encoder", "Sample", "Watch", "codes_of"]

NORMS, DISTANCES = "norms", "gaps"
DECODED_BYTES = 1 << 19

Watch: TypeAlias = Callable[[NDArray[np.int64], Floats, Floats], None]
"""Is told of the numbers of rows (n,) as they are encoded, their vectors and what these are decoded to (n, d)."""


def codes_of(layer: int) -> str:
    """Return the name of the column of a layer's codes."""
    return f"codes.{layer}"


@dataclass(frozen=True)
class Columns:
    """Encoded rows: the cell of each (n,), and by name what is kept of each (n, ...)."""

    cells: NDArray[np.int64]
    by_name: dict[str, NDArray[Any]]


class Sample(NamedTuple):
    """Some of the encoded rows: as the codec was given them, their codes, and what these decode to."""

    vectors: Floats
    codes: Codes
    decoded: Floats


class Encoder:
    """Encodes rows with a trained codec.

    Attributes
    ----------
    samples : list of Sample
        Every so many rows, where `sampled` says how many.
    lengths : list of (float, float)
        Least and largest length of what each layer decodes to, of all rows so far.
    """

    def __init__(
        self, codec: Codec, *, metric: Metric, keep_norms: bool, sampled: int = 0, watch: Watch | None = None
    ) -> None:
        self.codec, self._metric, self._keep_norms, self._sampled = codec, metric, keep_norms, sampled
        self._watch = watch
        self.samples: list[Sample] = []
        self.lengths = [(float("inf"), 0.0)] * len(codec.layers)

    def encode(self, x: Floats, rows: NDArray[np.int64], keys: PackedKeys | None) -> Columns:
        """Return the columns of vectors (n, d) with these numbers in the store, and keys where the codec looks at them.

        They may share memory with `x`.
        """
        codec, kept, given = self.codec, None, x
        if self._keep_norms:
            kept = np.linalg.norm(x, axis=1)
            x = unit(x)
        partition = codec.partition
        cells = np.zeros(len(x), np.int64) if partition is None else partition.assign(x)
        centroids = None if partition is None else partition.centroids[cells]
        columns: dict[str, NDArray[Any]] = {} if kept is None else {NORMS: kept}
        decoded: list[Floats] = []
        for i, layer in enumerate(codec.layers):
            codes = layer.encode(x if centroids is None else x - centroids, rows, keys)
            columns[codes_of(i)] = codes
            if self._lengths_only:
                self._note_each(codes, centroids)
                continue
            vectors = layer.decode(codes, rows, keys)
            decoded.append(vectors if centroids is None else vectors + centroids)
            self._note(i, decoded[i])
        if self._sampled:
            every = slice(None, None, self._sampled)
            pieces = [number_bytes(cells[every], codec.cell_bytes)] if partition else []
            pieces += [columns[codes_of(i)][every] for i in range(len(decoded))]
            self.samples.append(Sample(x[every].copy(), np.concatenate(pieces, axis=1), decoded[-1][every].copy()))
        if self._watch is not None:
            self._watch(rows, given, decoded[-1] if kept is None else unit(decoded[-1]) * kept[:, None])
        if len(codec.layers) > 1:
            both = (layer if kept is None else unit(layer) * kept[:, None] for layer in decoded)
            columns[DISTANCES] = distances(*both, directions=self._metric == "cosine")
        return Columns(cells, columns)

    @property
    def _lengths_only(self) -> bool:
        """Whether what rows are decoded to is looked at for its lengths alone."""
        return not (self.codec.shared or self._sampled or self._watch or len(self.codec.layers) > 1)

    def _note_each(self, codes: Codes, centroids: Floats | None) -> None:
        """Decode a few rows at a time, which stay in the cache of a processor, and note their lengths."""
        step = max(DECODED_BYTES // (4 * self.codec.dimensions), 1)
        for start in range(0, len(codes), step):
            part = slice(start, start + step)
            vectors = self.codec.layers[0].decode(codes[part])
            self._note(0, vectors if centroids is None else vectors + centroids[part])

    def _note(self, layer: int, decoded: Floats) -> None:
        squares = np.einsum("ij,ij->i", decoded, decoded)
        self.note_lengths(layer, float(np.sqrt(squares.min())), float(np.sqrt(squares.max())))

    def note_lengths(self, layer: int, least: float, largest: float) -> None:
        """Widen the layer's `lengths` to what other rows have."""
        before = self.lengths[layer]
        self.lengths[layer] = min(before[0], least), max(before[1], largest)
