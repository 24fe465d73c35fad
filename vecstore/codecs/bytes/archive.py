"""Lossless compression by whichever of several ways is smallest, block by block."""

from __future__ import annotations

from dataclasses import dataclass

from vecstore.codecs.base import ByteStep
from vecstore.codecs.bytes.pco import DTYPES, Pco
from vecstore.codecs.bytes.zstd import Zstd
from vecstore.errors import CodecError

__all__ = ["Archive"]

WAYS: tuple[ByteStep, ...] = (
    Zstd(3, "none"),
    Zstd(3, "byte"),
    Zstd(3, "bit"),
    Pco(),
)  # a block's first byte says which


@dataclass(frozen=True)
class Archive(ByteStep):
    """Try Zstandard without, after a byte and after a bit shuffle, and pcodec on floats; keep the smallest."""

    name = "archive"
    summary = "the smallest of zstd and pco, chosen for every block; lossless, for layers that are not scanned"
    usage = "archive"

    def require(self) -> None:
        for way in WAYS:
            way.require()

    def pack(self, block: bytes, item_bytes: int) -> bytes:
        fitting = [way for way in WAYS if not isinstance(way, Pco) or item_bytes in DTYPES]
        packed = {WAYS.index(way): way.pack(block, item_bytes) for way in fitting}
        best = min(packed, key=lambda number: (len(packed[number]), number))
        return bytes([best]) + packed[best]

    def unpack(self, packed: bytes, size: int, item_bytes: int) -> bytes:
        if not packed or packed[0] >= len(WAYS):
            raise CodecError("archive: a block packed in no known way; it is damaged")
        return WAYS[packed[0]].unpack(packed[1:], size, item_bytes)
