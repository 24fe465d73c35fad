"""Lossless compression of blocks of codes, for archival layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import ByteStep
from vecstore.codecs.members import Among, Whole
from vecstore.errors import CodecError

__all__ = ["Zstd"]

SHUFFLES = ("byte", "bit", "none")


@dataclass(frozen=True)
class Zstd(ByteStep):
    """Shuffle the bytes (or bits) of a block by significance, then compress it with Zstandard.

    Shuffling brings the exponents of floating-point numbers together, where they repeat (Blosc; Masui et al., A
    compression scheme for radio data in high performance computing, 2015, for bits).
    """

    level: Annotated[int, Whole(1, 22)] = 3
    shuffle: Annotated[str, Among(*SHUFFLES)] = "byte"

    name = "zstd"
    summary = "Zstandard after a byte or bit shuffle; lossless, for layers that are not scanned"
    usage = "zstd, zstd:LEVEL or zstd:LEVEL:byte|bit|none"

    @classmethod
    def from_arguments(cls, *arguments: str) -> Self:
        if len(arguments) > 2:
            raise CodecError(f"zstd takes at most two arguments: {cls.usage}")
        return cls(cls.integer(arguments[0]), *arguments[1:]) if arguments else cls()

    def __str__(self) -> str:
        if self.shuffle != "byte":
            return f"zstd:{self.level}:{self.shuffle}"
        return "zstd" if self.level == 3 else f"zstd:{self.level}"

    def pack(self, block: bytes, item_bytes: int) -> bytes:
        import zstandard

        compressor = zstandard.ZstdCompressor(level=self.level, write_content_size=True)
        return compressor.compress(_shuffled(block, item_bytes, self.shuffle))

    def unpack(self, packed: bytes, size: int, item_bytes: int) -> bytes:
        import zstandard

        try:
            # The frame says how much to allocate; more than all rows, packed once to no avail, is no honest block.
            if not 0 <= zstandard.frame_content_size(packed) <= size + (size >> 7) + 1024:
                raise CodecError(f"zstd: a block of more than {size} bytes; it is damaged")
            block = zstandard.ZstdDecompressor().decompress(packed, max_output_size=size, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise CodecError(f"zstd: {error}; the block is damaged") from None
        return _unshuffled(block, item_bytes, self.shuffle)


def _bits(block: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.unpackbits(block, axis=1, bitorder="little")


def _shuffled(block: bytes, item_bytes: int, shuffle: str) -> bytes:
    """Return all first bytes (or bits) of the items, then all second ones, and so on; a partial item stays last."""
    whole = len(block) // item_bytes * item_bytes
    items = np.frombuffer(block, np.uint8, whole).reshape(-1, item_bytes)
    if shuffle == "byte" and item_bytes > 1:
        return items.T.tobytes() + block[whole:]
    if shuffle == "bit":
        return np.packbits(_bits(items).T.reshape(-1), bitorder="little").tobytes() + block[whole:]
    return block


def _unshuffled(block: bytes, item_bytes: int, shuffle: str) -> bytes:
    whole = len(block) // item_bytes * item_bytes
    items = np.frombuffer(block, np.uint8, whole)
    if shuffle == "byte" and item_bytes > 1:
        return items.reshape(item_bytes, -1).T.tobytes() + block[whole:]
    if shuffle == "bit":
        bits = np.unpackbits(items, bitorder="little").reshape(8 * item_bytes, -1).T
        return np.packbits(bits, axis=1, bitorder="little").tobytes() + block[whole:]
    return block
