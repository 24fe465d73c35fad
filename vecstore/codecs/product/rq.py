"""Residual quantization: stage after stage, a centroid for what the stages before have left."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np

from vecstore.codecs.base import Arrays, Codes, Floats, Quantizer, TrainedQuantizer, frozen, named
from vecstore.codecs.kmeans import progressive_kmeans
from vecstore.codecs.members import Whole
from vecstore.codecs.products import row_products
from vecstore.kernels import entries
from vecstore.parallel import over_slices

__all__ = ["RQ", "K", "TrainedAdditive", "residual_codebooks"]

K = 256
BEAM = 8  # beginnings kept while encoding
TRAINING_ROWS = 1 << 15
ENCODED_ROWS = 256  # at once: their products with all codewords stay in the cache
DECODED_ROWS = 1024
MOST_STAGES = 64  # products of all pairs of codewords take up to 1 GiB while encoding


@dataclass(frozen=True)
class RQ(Quantizer):
    """Add up one of 256 vectors from each of m codebooks; each is trained by k-means on what those before have left.

    Chen, Guan & Wang, Approximate nearest neighbor search by residual vector quantization, Sensors 2010; beam search
    as in Babenko & Lempitsky 2014; k-means in growing dimensions, by faiss, as in Liu, Lu & Guo, Improved residual
    vector quantization, 2015. The codebooks, m times 256 whole vectors, are the largest of all models. Codes: a byte a
    stage.
    """

    m: Annotated[int, Whole(1, MOST_STAGES)]

    name = "rq"
    summary = "residual quantizer: a sum of M whole vectors, a byte each"
    usage = "rq:M with M up to 64, such as rq:16"

    def fit(self, z: Floats, *, seed: int) -> TrainedQuantizer:
        return TrainedAdditive(residual_codebooks(z[:TRAINING_ROWS], self.m, seed=seed))

    def restore(self, dimensions: int, arrays: Arrays) -> TrainedQuantizer:
        return TrainedAdditive(*named(arrays, codebooks=(self.m, K, dimensions)))


def residual_codebooks(z: Floats, m: int, *, seed: int) -> Floats:
    """Return codebooks (m, 256, d), each trained on what a beam search with those before has left of rows (n, d)."""
    codebooks = np.zeros((m, K, z.shape[1]), np.float32)
    largest = float(np.abs(z).max(initial=0))
    unit = z / np.float32(largest) if largest > 0 else z  # so that squares neither vanish nor overflow
    beams = Beams(len(z), m)
    left = unit
    for stage in range(m):
        codebooks[stage] = progressive_kmeans(left, K, seed=seed + stage)
        products = unit @ codebooks[stage].T
        beams.extend(products, products_with(codebooks[:stage], codebooks[stage]), _squares(codebooks[stage]))
        left = unit - TrainedAdditive(codebooks[: stage + 1]).decode(beams.best)
    return codebooks * np.float32(largest if largest > 0 else 1)


class Beams:
    """The best beginnings of the codes of n rows."""

    def __init__(self, n: int, m: int) -> None:
        self._costs = np.zeros((n, BEAM), np.float32)
        self._codes = np.zeros((n, BEAM, m), np.uint8)
        self._stage, self._kept = 0, 1

    def extend(self, products: Floats, shared: Floats, squares: Floats) -> None:
        """Append a stage, given its codewords' products with the rows, with the codewords before, and themselves."""

        def extend_part(part: slice) -> None:
            entries.extend_codes(stage, kept, products[part], shared, squares, self._costs[part], self._codes[part])

        stage, kept = self._stage, self._kept
        over_slices(extend_part, len(products), at_least=64)
        self._stage, self._kept = stage + 1, min(kept * K, BEAM)

    @property
    def best(self) -> Codes:
        """The cheapest codes as far as they go: (n, stages)."""
        return self._codes[:, 0, : self._stage]


def products_with(before: Floats, codebook: Floats) -> Floats:
    """Return the products of codewords k of codebooks j (m, 256, d) with codewords i of another: (m, 256, 256)."""
    return row_products(before.reshape(-1, before.shape[-1]), codebook.T).reshape(*before.shape[:2], len(codebook))


def _squares(codebook: Floats) -> Floats:
    return np.square(codebook).sum(axis=-1)


class TrainedAdditive(TrainedQuantizer):
    """Codebooks (m, 256, d), from each of which a code adds one vector.

    `rounds` says how often encoding goes over all stages again after the beam search, to exchange single codes.
    """

    tile_rows = 32
    code_kind = "tables256"

    def __init__(self, codebooks: Floats, *, rounds: int = 0) -> None:
        self.codebooks, self.rounds = frozen(codebooks.astype("<f4", copy=False)), rounds
        self.code_bytes, _, self.dimensions = codebooks.shape

    def encode(self, z: Floats) -> Codes:
        out = np.empty((len(z), self.code_bytes), np.uint8)
        self._encode(z[:0] * self._unit)  # computes what threads share

        def encode_part(part: slice) -> None:
            for start in range(part.start, part.stop, ENCODED_ROWS):
                block = slice(start, min(start + ENCODED_ROWS, part.stop))
                out[block] = self._encode(z[block] * self._unit)

        over_slices(encode_part, len(z), at_least=ENCODED_ROWS)
        return out

    def _encode(self, z: Floats) -> Codes:
        products = row_products(z, self._words.reshape(-1, self.dimensions).T).reshape(len(z), self.code_bytes, K)
        beams = Beams(len(z), self.code_bytes)
        for m in range(self.code_bytes):
            beams.extend(products[:, m], self._shared[m], self._squares[m])
        codes = np.ascontiguousarray(beams.best)
        if self.rounds:
            entries.exchange_codes(products, self._whole, self._squares, self.rounds, codes)
        return codes

    def decode(self, codes: Codes) -> Floats:
        out = np.zeros((len(codes), self.dimensions), np.float32)
        for start in range(0, len(codes), DECODED_ROWS):
            block = out[start : start + DECODED_ROWS]
            for m in range(self.code_bytes):
                block += self.codebooks[m].take(codes[start : start + DECODED_ROWS, m], axis=0)
        return out

    def tables(self, linear: Floats, quadratic: Floats | None = None) -> Floats | None:
        if quadratic is not None:  # |z|^2 has terms for pairs of codes
            return None
        products = linear @ self.codebooks.reshape(-1, self.dimensions).T
        return np.ascontiguousarray(products, np.float32).reshape(len(linear), self.code_bytes, K)

    @cached_property
    def _unit(self) -> np.float32:
        """What codewords are multiplied by while encoding, so that squares neither vanish nor overflow."""
        largest = float(np.abs(self.codebooks).max(initial=0))
        return np.float32(1 / largest if largest > 0 else 1)

    @cached_property
    def _words(self) -> Floats:
        return self.codebooks * self._unit

    @cached_property
    def _squares(self) -> Floats:
        return _squares(self._words)

    @cached_property
    def _shared(self) -> list[Floats]:
        """Of each stage, the products of its codewords with those of the stages before."""
        return [products_with(self._words[:m], words) for m, words in enumerate(self._words)]

    @cached_property
    def _whole(self) -> Floats:
        """Of each stage, the products of its codewords with those of all stages; empty where none is exchanged."""
        if not self.rounds:
            return np.empty((0, 0, K, K), np.float32)
        return np.stack([products_with(self._words, words) for words in self._words])

    @property
    def arrays(self) -> Arrays:
        return {"codebooks": self.codebooks}
