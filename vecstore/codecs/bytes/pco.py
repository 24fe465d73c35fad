"""Lossless compression of blocks of numbers by pcodec, for archival layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from vecstore.codecs.base import ByteStep
from vecstore.codecs.members import Whole
from vecstore.errors import CodecError, require

__all__ = ["Pco"]

DTYPES = {2: "<f2", 4: "<f4"}  # by bytes of an item; bfloat16 is read as float16, which is as lossless


@dataclass(frozen=True)
class Pco(ByteStep):
    """Bin numbers by their order of magnitude and entropy-code the bins (pcodec, Loncaric 2024).

    Wins over shuffles and Zstandard on floating-point numbers that were short decimals, or that share a divisor.
    """

    level: Annotated[int, Whole(1, 12)] = 8

    name = "pco"
    summary = "pcodec; lossless, for layers of float numbers that are not scanned"
    usage = "pco or pco:LEVEL, 1 to 12"
    of_codes = True

    def __str__(self) -> str:
        return "pco" if self.level == 8 else f"pco:{self.level}"

    def require(self) -> None:
        require("pcodec", purpose="the codec pco")

    def pack(self, block: bytes, item_bytes: int) -> bytes:
        pcodec = require("pcodec", purpose="the codec pco")
        whole = len(block) // item_bytes * item_bytes  # a partial item stays first, as it is
        numbers = np.frombuffer(block[:whole], _dtype(item_bytes))
        options = pcodec.ChunkConfig(compression_level=self.level)
        return block[whole:] + bytes(pcodec.standalone.simple_compress(numbers, options))

    def unpack(self, packed: bytes, size: int, item_bytes: int) -> bytes:
        pcodec = require("pcodec", purpose="the codec pco")
        numbers = np.empty(size // item_bytes, _dtype(item_bytes))
        rest, packed = packed[: size % item_bytes], packed[size % item_bytes :]
        try:
            progress = pcodec.standalone.simple_decompress_into(packed, numbers)
        except (RuntimeError, TypeError) as error:
            raise CodecError(f"pco: {error}; the block is damaged") from None
        if not progress.finished or progress.n_processed != len(numbers):
            raise CodecError(f"pco: not a block of {len(numbers)} numbers; it is damaged")
        return numbers.tobytes() + rest


def _dtype(item_bytes: int) -> str:
    if item_bytes not in DTYPES:
        raise CodecError("pco packs the numbers of f32, f16 and bf16; for bytes take zstd or rans")
    return DTYPES[item_bytes]
