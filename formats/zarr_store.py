"""A folder of Zarr as its library reads it, but for chunks that claim to be larger than they may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vecstore.errors import require

__all__ = ["guarded_store"]

_ZSTD = b"\x28\xb5\x2f\xfd"
_HEAD_BYTES = 18  # of a frame or block, with its sizes
_DOCUMENTS = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")


def guarded_store(path: Path, most_bytes: int, most_strings: int | None = None) -> Any:
    """Return the store of a folder, for its library, which believes the sizes that a chunk tells.

    Reading a chunk that claims to unpack to more bytes, or to hold more strings, raises ValueError before that is done.
    """
    storage = require("zarr.storage", purpose="reading zarr")

    class Guarded(storage.LocalStore):  # type: ignore[misc, name-defined]
        async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
            found = await super().get(key, prototype, byte_range)
            if found is None or key.endswith(_DOCUMENTS):
                return found
            if (size := _unpacked(found[:_HEAD_BYTES].to_bytes(), len(found))) > most_bytes:
                raise ValueError(f"{key} claims to unpack to {size} bytes, more than {most_bytes}")
            if most_strings is not None and (count := _strings(found.to_bytes())) > most_strings:
                raise ValueError(f"{key} claims to hold {count} strings, more than {most_strings}")
            return found

    return Guarded(str(path), read_only=True)


def _strings(chunk: bytes) -> int:
    """Return how many strings a chunk says that it holds, if it is plain or of Zstandard; damage is left to others."""
    import zstandard

    if chunk.startswith(_ZSTD):
        try:
            with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(chunk) as reader:
                chunk = reader.read(4)
        except zstandard.ZstdError:
            return 0
    return int.from_bytes(chunk[:4], "little")


def _unpacked(head: bytes, size: int) -> int:
    """Return what a chunk of Zstandard or Blosc says that it unpacks to; otherwise 0."""
    import zstandard

    if head.startswith(_ZSTD):
        try:
            return zstandard.frame_content_size(head)
        except zstandard.ZstdError:
            return 0
    blosc = len(head) >= 16 and head[0] in (1, 2) and int.from_bytes(head[12:16], "little") == size
    return int.from_bytes(head[4:8], "little") if blosc else 0
