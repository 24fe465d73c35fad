"""Codes whose bytes are numbers, or stand for a few dimensions each, as what a kernel multiplies side by side."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats, Numbers, TrainedQuantizer
from vecstore.codecs.layer import AffineMap
from vecstore.kernels import levels
from vecstore.kernels.arguments import PRODUCT, UNIT, NumberQueries, Pieces
from vecstore.kernels.numbers import KINDS, MOST, NumberKind, arithmetic, pack, rounded, whole_type
from vecstore.shard.layers import LayerCodes

__all__ = ["Panels"]

BYTES, WORD = 256, 8  # values of a byte, and dimensions of a piece
TILE_ROWS = 32
MOST_NUMBER = 1e15  # as vectors may hold
NONE = np.empty(0, np.int64)
AS_THEY_LIE = Pieces(NONE, NONE, NONE, np.empty((0, BYTES), np.uint64))


@dataclass(frozen=True)
class Panels:
    """How codes become numbers: z[order] = numbers.offset + numbers.scale * number.

    Attributes
    ----------
    affine : AffineMap
        Makes a vector of z.
    numbers : Numbers
    pieces : Pieces
        None where codes are numbers as they lie.
    order : (dimensions,) int64
    """

    affine: AffineMap
    numbers: Numbers
    pieces: Pieces
    order: NDArray[np.int64]

    @classmethod
    def of(cls, codes: LayerCodes) -> Panels | None:
        """Return them, unless codes are others, or steps mix dimensions unevenly."""
        quantizer, affine = codes.layer.quantizer, codes.layer.affine
        if quantizer.rotated is not None:
            quantizer, rows, offset = quantizer.rotated
            affine = AffineMap(rows @ affine.linear, offset @ affine.linear + affine.offset)
        numbers = quantizer.numbers
        if codes.packed or affine.gram.ndim != 1 or not np.isfinite(affine.gram).all():
            return None
        if quantizer.code_kind == "numbers" and numbers is not None and _sound(numbers.scale, numbers.offset):
            return cls(affine, numbers, AS_THEY_LIE, np.arange(len(numbers.scale)))
        if not quantizer.code_kind.startswith("tables") or codes.part.tile_rows != TILE_ROWS:
            return None
        found = _pieces_of(quantizer)
        return None if found is None else cls(affine, *found)

    @property
    def kind(self) -> NumberKind:
        """What is multiplied."""
        return KINDS[self.numbers.dtype]

    @property
    def _lengths_stay(self) -> bool:
        """Whether coding leaves lengths as they were, but for some thousandths."""
        return not len(self.pieces.owners) and self.numbers.dtype != "u6" and len(self.order) == len(self.affine.offset)

    @cached_property
    def _norms(self) -> tuple[Floats, float]:
        """What makes |x|^2 of numbers, as `NumberQueries` has it."""
        affine, numbers = self.affine, self.numbers
        gram, linear = (own[self.order].astype(np.float64) for own in (affine.gram, 2 * affine.inward))
        offset = numbers.offset.astype(np.float64)
        once = (2 * gram * offset + linear) * numbers.scale
        bias = float(affine.offset @ affine.offset + gram @ offset**2 + linear @ offset)
        return np.stack([once, gram * numbers.scale**2]).astype(np.float32), bias

    def queries(self, given: Floats, *, unit: bool) -> NumberQueries:
        """Return queries (q, d), of cosines with rows where `unit` is set, else of products."""
        affine, numbers, level = self.affine, self.numbers, levels.best_level()
        z_weights = affine.weights(given)[:, self.order].astype(np.float64)
        weights = np.ascontiguousarray(z_weights * numbers.scale, np.float32)
        biases = given.astype(np.float64) @ affine.offset + z_weights @ numbers.offset
        how = arithmetic(level, of_bytes=self.kind.of_bytes)
        packed, bounds = pack(weights, how, level)
        if level in MOST and self.kind.of_bytes:  # what rounding takes from the middle of a dimension is added
            whole, bounds = rounded(weights, MOST[level], np.int8)
            middle = np.clip(-numbers.offset / numbers.scale, 0, BYTES - 1)
            biases = biases + (weights - whole * bounds[:, 1:]) @ middle
        unit = unit and not self._lengths_stay
        norms, bias = self._norms
        return NumberQueries(
            weights=weights,
            whole_weights=np.empty((0, 0), whole_type(level)),
            packed=packed,
            bounds=bounds,
            biases=biases,
            norm_weights=norms,
            norm_bias=bias,
            least=0.0,
            kind=UNIT if unit else PRODUCT,
            shortest=np.empty(0, np.float32),
        )


def _pieces_of(quantizer: TrainedQuantizer) -> tuple[Numbers, Pieces, NDArray[np.int64]] | None:
    """Return what bytes of codes stand for, as bytes; None where a dimension hangs on several of them."""
    codes = np.zeros((BYTES, quantizer.code_bytes), np.uint8)
    low = quantizer.decode(codes[:1])[0].copy()
    scale, offset = np.ones(len(low), np.float32), low.copy()
    owner = np.full(len(low), -1)
    found: list[tuple[NDArray[np.int64], Floats]] = []
    for byte in range(quantizer.code_bytes):
        codes[:, byte] = np.arange(BYTES)
        z = quantizer.decode(codes)
        if not _sound(z):  # a forged file
            return None
        own = np.flatnonzero((z != low).any(axis=0))
        codes[:, byte] = 0
        if (owner[own] >= 0).any():
            return None
        owner[own] = byte
        offset[own] = z[:, own].min(axis=0)
        scale[own] = np.maximum(z[:, own].max(axis=0) - offset[own], 1e-30) / (BYTES - 1)
        found.append((own, np.rint((z[:, own] - offset[own]) / scale[own]).astype(np.uint8)))
    rest = np.flatnonzero(owner < 0)
    order = np.concatenate([*(own for own, _ in found), rest])
    pieces, words, place = [], [], 0
    for byte, (own, numbers) in enumerate(found):
        for first in range(0, len(own), WORD):
            wide = numbers[:, first : first + WORD]
            word = np.zeros((BYTES, WORD), np.uint8)
            word[:, : wide.shape[1]] = wide
            pieces.append((byte, place + first))
            words.append(word.view("<u8")[:, 0])
        place += len(own)
    if not pieces:
        return None
    tables, which = np.unique(np.stack(words), axis=0, return_inverse=True)
    owners, places = (np.array(own, np.int64) for own in zip(*pieces, strict=True))
    laid = Pieces(owners, places, which.reshape(-1).astype(np.int64), np.ascontiguousarray(tables, np.uint64))
    return Numbers("u1", scale[order], offset[order]), laid, order


def _sound(*numbers: Floats) -> bool:
    """Return whether numbers are finite, and so small that their products are."""
    return all(bool((np.abs(own) < MOST_NUMBER).all()) for own in numbers)
