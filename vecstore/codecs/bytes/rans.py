"""Entropy coding of blocks of byte codes, a model a column, for archival and fine layers."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from math import isqrt
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import ByteStep
from vecstore.codecs.members import Whole
from vecstore.errors import CodecError
from vecstore.kernels import entries

__all__ = ["Rans", "cumulative_models"]

TOTAL = 1 << 16  # sum of the frequencies of a model
_HEAD = struct.Struct("<I")


@dataclass(frozen=True)
class Rans(ByteStep):
    """Give every column of a block the model of a family that codes it shortest, then code all bytes by these.

    The coder is Duda's (Asymmetric numeral systems, 2013) with a state of 32 bits and words of 16; models are
    two-sided geometric and discrete Gaussian distributions about a column's most frequent byte. A packed block:
    u4 length of the compressed header; the header, a Zstandard frame of that byte for each column and then the number
    of its model for each column; the words, u2, the two of the state first.
    """

    columns: Annotated[int, Whole(1)]

    name = "rans"
    summary = "entropy coding of byte codes, a model a column; D is the bytes of a code"
    usage = "rans:D behind a quantizer of D bytes, such as pca:384,uniform:64,rans:384"
    of_codes = True

    def check(self, code_bytes: int) -> None:
        if self.columns != code_bytes:
            raise CodecError(f"rans:{self.columns} behind codes of {code_bytes} bytes; write rans:{code_bytes}")

    def pack(self, block: bytes, item_bytes: int) -> bytes:
        import zstandard

        bytes_ = np.frombuffer(block, np.uint8)
        columns = np.arange(len(bytes_)) % self.columns
        counts = np.bincount(columns * 256 + bytes_, minlength=256 * self.columns).reshape(self.columns, 256)
        centers = counts.argmax(axis=1).astype(np.uint8)
        turned = np.take_along_axis(counts, (np.arange(256) - 128 + centers[:, None].astype(np.int64)) % 256, axis=1)
        sizes = -np.log2(np.diff(cumulative_models(), axis=1) / TOTAL)
        models = (turned @ sizes.T).argmin(axis=1).astype(np.uint8)
        words = np.empty(len(bytes_) + 2, "<u2")
        start = entries.encode_rans(bytes_ - centers[columns] + np.uint8(128), models, cumulative_models(), words)
        header = zstandard.ZstdCompressor(level=9).compress(centers.tobytes() + models.tobytes())
        return _HEAD.pack(len(header)) + header + words[start:].tobytes()

    def unpack(self, packed: bytes, size: int, item_bytes: int) -> bytes:
        centers, models, words = self._parts(packed)
        symbols = np.empty(size, np.uint8)
        if not entries.decode_rans(words, models, cumulative_models(), symbols):
            raise CodecError("rans: the words do not end where the block does; the block is damaged")
        return (symbols + np.resize(centers, size) - np.uint8(128)).tobytes()

    def _parts(self, packed: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint16]]:
        import zstandard

        length = _HEAD.unpack_from(packed)[0] if len(packed) >= _HEAD.size else len(packed)
        end = _HEAD.size + length
        if end > len(packed) or (len(packed) - end) % 2:
            raise CodecError("rans: the block is shorter than it says; it is damaged")
        try:
            if zstandard.frame_content_size(packed[_HEAD.size : end]) != 2 * self.columns:
                raise CodecError(f"rans: no header for {self.columns} columns; the block is damaged")
            header = zstandard.ZstdDecompressor().decompress(packed[_HEAD.size : end], allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise CodecError(f"rans: {error}; the block is damaged") from None
        centers, models = np.frombuffer(header, np.uint8).reshape(2, self.columns)
        if models.max() >= len(cumulative_models()):
            raise CodecError("rans: a model that there is none of; the block is damaged")
        return centers, models, np.frombuffer(packed[end:], "<u2")


@cache
def cumulative_models() -> NDArray[np.uint32]:
    """Return the sums of frequencies below each symbol, (models, 257); whole numbers throughout, so alike everywhere.

    Model by model, with a ratio of a / b: weights (in units of 2**-62) of symbols 128 + k and 128 - k are products of k
    ratios (geometric), then of 1 + 3 + ... + (2k - 1) ratios (Gaussian). A frequency is one, and the weight's share of
    the rest.
    """
    ratios = [(1, 1 << i) for i in range(1, 10)] + [(isqrt(1 << i), isqrt(1 << i) + 1) for i in range(2, 27)]
    tables = []
    for gaussian in (False, True):
        for a, b in ratios:
            weights, weight, ratio = [1 << 62], 1 << 62, (a << 62) // b
            square = ratio * ratio >> 62
            for _ in range(128):
                weight = weight * ratio >> 62
                weights.append(weight)
                ratio = ratio * square >> 62 if gaussian else ratio
            every = [weights[abs(k)] for k in range(-128, 128)]
            total = sum(every)
            frequencies = [1 + value * (TOTAL - 256) // total for value in every]
            frequencies[128] += TOTAL - sum(frequencies)
            tables.append(np.concatenate([[0], np.cumsum(frequencies)]))
    return np.array(tables, np.uint32)
