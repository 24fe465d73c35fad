"""The head of a file: what opening it reads, which lies scattered over it, as one small object.

A head lies beside a file in a bucket, under the same name and ``.head``, so that one request opens the file; without
it, opening costs a request for every few megabytes. It is no part of the format of stores: whoever copies a store may
leave it behind. docs/format.md, section 8 (Sharded stores), has the bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import xxhash

__all__ = ["HEAD_SUFFIX", "Head", "Spans"]

HEAD_SUFFIX = ".head"
MAGIC = b"VECSHEAD"
_START = struct.Struct("<8sI")  # magic, length of the JSON
_END = struct.Struct("<Q")  # xxh3 of all before

Spans = list[tuple[int, bytes]]  # where bytes begin, and the bytes


@dataclass(frozen=True)
class Head:
    """What opening a file reads.

    Attributes
    ----------
    size : int
        Of the file, in bytes.
    mark : str or None
        Its ETag, where the head was made from the object.
    opening : list of (int, bytes)
        Pages of the tree, description, checksums.
    parts : list of (int, bytes)
        Pieces that the first lookup reads, too: the arrays of the codec.
    """

    size: int
    mark: str | None
    opening: Spans
    parts: Spans

    def to_bytes(self) -> bytes:
        """Return the object that holds this head."""
        about: dict[str, Any] = {
            "size": self.size,
            "mark": self.mark,
            "opening": [[at, len(body)] for at, body in self.opening],
            "parts": [[at, len(body)] for at, body in self.parts],
        }
        text = json.dumps(about, separators=(",", ":")).encode()
        whole = b"".join([_START.pack(MAGIC, len(text)), text, *(body for _, body in (*self.opening, *self.parts))])
        return whole + _END.pack(xxhash.xxh3_64_intdigest(whole))

    @classmethod
    def of_bytes(cls, body: bytes | None) -> Head | None:
        """Return a head, or None for what is none, or damaged: the file is opened without."""
        if body is None or len(body) < _START.size + _END.size:
            return None
        whole, (total,) = memoryview(body)[: -_END.size], _END.unpack(body[-_END.size :])
        magic, length = _START.unpack_from(body)
        if magic != MAGIC or xxhash.xxh3_64_intdigest(whole) != total:
            return None
        try:
            about = json.loads(bytes(whole[_START.size : _START.size + length]))
            at, spans = _START.size + length, []
            for kind in ("opening", "parts"):
                found: Spans = []
                for start, size in about[kind]:
                    found.append((int(start), bytes(whole[at : at + size])))
                    at += size
                spans.append(found)
            size, mark = int(about["size"]), about["mark"]
        except (ValueError, KeyError, TypeError):
            return None
        inside = all(0 <= start <= size - len(part) for part_spans in spans for start, part in part_spans)
        return cls(size, mark, *spans) if inside and at == len(whole) else None


def merged(spans: Iterable[tuple[int, int]], *, page_bytes: int, size: int) -> list[tuple[int, int]]:
    """Return (start, stop) of whole pages that hold these (start, stop), in order, without overlaps."""
    found: list[list[int]] = []
    for start, stop in sorted(spans):
        start, stop = start // page_bytes * page_bytes, min(-(-stop // page_bytes) * page_bytes, size)
        if found and start <= found[-1][1]:
            found[-1][1] = max(found[-1][1], stop)
        else:
            found.append([start, stop])
    return [(start, stop) for start, stop in found]
