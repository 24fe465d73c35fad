"""The key map of a sharded store: which shard holds a key, in one step however many shards there are.

A static function (Bloomier filter: Chazelle, Kilian, Rubinfeld & Tal, SODA 2004; in the form of Graf & Lemire's xor
filter, JEA 2020): the xor of three cells picked by the hash of the key is the number of its shard. It holds no keys,
so it answers something for unknown ones too, and the shard it names then says no. 1.23 cells a key; a cell has 1,
2, 4, 8 or 16 bits, as the number of shards needs: with up to 16 shards 0.62 bytes a key.

Keys are cut into segments of about a million by the top bits of their hash, so that building stays in bounded memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.container.container import ContainerWriter
from vecstore.container.document import refuse_features, whole
from vecstore.container.opener import open_container
from vecstore.errors import CorruptError, FormatError
from vecstore.kernels import entries
from vecstore.remote.urls import Place

__all__ = ["KeyMap", "KeyMapWriter", "Segment", "made_segment", "segment_bits_of", "write_key_map"]

SEGMENT_KEYS = 1 << 20
VALUE_BITS = (1, 2, 4, 8, 16)
MOST_CELLS = 1 << 32  # of a segment: its third is multiplied by 32 bits of hash in 64
KNOWN_FEATURES: frozenset[str] = frozenset()  # what a key map may require of its reader; none yet
M64 = (1 << 64) - 1
ENTRY = np.dtype([("hash", "<u8"), ("shard", "<u2")])  # of a key, while segments are made


def write_key_map(path: str | Path, hashes: Sequence[NDArray[np.uint64]]) -> dict[str, list[int]]:
    """Write the key map of shards whose keys have these hashes.

    Parameters
    ----------
    path : path
    hashes : sequence of (n,) uint64
        XXH64 of the keys, shard by shard; may be mapped from disk.

    Returns
    -------
    dict
        Hashes (16 hexadecimal digits) that occur in several shards, with those shards. Two different keys with one
        hash are expected once in 10**10 keys; the same key twice is for the caller to find there.
    """
    total = sum(map(len, hashes))
    writer = KeyMapWriter(path, len(hashes), total)
    for keys, values in _segments(hashes, writer.segment_bits, Path(path).parent):
        writer.add(made_segment(keys, values, writer.value_bits))
    return writer.close()


def segment_bits_of(keys: int) -> int:
    """Return how many bits of their hashes say in which segment keys are: there are so many segments as these count."""
    return max(-(-keys // SEGMENT_KEYS) - 1, 0).bit_length()


@dataclass(frozen=True)
class Segment:
    """The part of a key map for the keys whose hashes begin with the same bits.

    Attributes
    ----------
    third : int
        A third of its cells.
    seed : int
    cells : bytes
    collisions : dict
        As `write_key_map` returns them.
    """

    third: int
    seed: int
    cells: bytes
    collisions: dict[str, list[int]]


def made_segment(keys: NDArray[np.uint64], values: NDArray[np.uint16], value_bits: int) -> Segment:
    """Return the segment of keys by hashes (n,) and shards (n,), those of one hash in the order of shards."""
    collisions: dict[str, list[int]] = {}
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], values[order]
    repeated = np.concatenate([[False], keys[1:] == keys[:-1]])[: len(keys)]
    several = np.unique(keys[repeated])
    firsts, ends = np.searchsorted(keys, several, "left"), np.searchsorted(keys, several, "right")
    for key, first, end in zip(several.tolist(), firsts.tolist(), ends.tolist(), strict=True):
        collisions[f"{key:016x}"] = values[first:end].tolist()
    keys, values = keys[~repeated], values[~repeated]
    third = len(keys) * 41 // 100 + 16
    cells, seed = np.zeros(3 * third, np.uint16), 0
    while not entries.peel(keys, values, np.uint64(seed), third, cells):
        seed += 1
    return Segment(third, seed, _packed(cells, value_bits), collisions)


class KeyMapWriter:
    """Write a key map, segment by segment.

    Attributes
    ----------
    value_bits : int
        Of a cell.
    segment_bits : int
        There are so many segments as these count.
    """

    def __init__(self, path: str | Path, shards: int, keys: int) -> None:
        self.value_bits = next(bits for bits in VALUE_BITS if shards <= 1 << bits)
        self.segment_bits = segment_bits_of(keys)
        self._container, self._shards = ContainerWriter(path), shards
        self._shape: list[tuple[int, int]] = []
        self._collisions: dict[str, list[int]] = {}

    def add(self, segment: Segment) -> None:
        """Append the next segment."""
        self._shape.append((segment.third, segment.seed))
        self._collisions |= segment.collisions
        self._container.put_block("cells", segment.cells)

    def close(self) -> dict[str, list[int]]:
        """Finish the file, and return all collisions."""
        self._container.declare("cells", "|u1", (len(self._shape),), block_rows=1, encoding="xor-cells")
        self._container.put_array("segments", np.array(self._shape, "<i8"))
        self._container.close(
            {
                "kind": "key-map",
                "features": [],
                "segment_bits": self.segment_bits,
                "value_bits": self.value_bits,
                "shards": self._shards,
            }
        )
        return self._collisions


def _segments(
    hashes: Sequence[NDArray[np.uint64]], segment_bits: int, directory: Path
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.uint16]]]:
    """Yield the hashes of each segment, and which shard each is of; within a segment in the order of shards.

    All are read once, however many segments there are, and written to a temporary file in sorted runs.
    """
    if not segment_bits:  # no more than one run has
        every = np.concatenate([np.empty(0, ENTRY), *_runs(hashes)])
        yield every["hash"].copy(), every["shard"].copy()
        return
    numbers, edges, first = np.arange((1 << segment_bits) + 1), [], 0
    with tempfile.TemporaryFile(dir=directory) as file:
        for run in _runs(hashes):
            segments = (run["hash"] >> np.uint64(64 - segment_bits)).astype(np.int64)
            order = np.argsort(segments, kind="stable")
            edges.append(first + np.searchsorted(segments[order], numbers))
            file.write(run[order].data)
            first += len(run)
        file.flush()
        runs, cuts = np.memmap(file, ENTRY, "r"), np.stack(edges, axis=1)  # cuts[segment, run]
        for lows, highs in pairwise(cuts):
            own = np.concatenate([runs[low:high] for low, high in zip(lows.tolist(), highs.tolist(), strict=True)])
            yield own["hash"].copy(), own["shard"].copy()


def _runs(hashes: Sequence[NDArray[np.uint64]]) -> Iterator[NDArray[Any]]:
    """Yield the entries of all shards, about as many at a time as a segment has."""
    waiting: list[NDArray[Any]] = []
    held = 0
    for shard, own in enumerate(hashes):
        for start in range(0, len(own), SEGMENT_KEYS):
            piece = np.empty(min(len(own) - start, SEGMENT_KEYS), ENTRY)
            piece["hash"], piece["shard"] = own[start : start + SEGMENT_KEYS], shard
            if held + len(piece) > SEGMENT_KEYS:
                yield np.concatenate(waiting)
                waiting, held = [], 0
            waiting.append(piece)
            held += len(piece)
    if waiting:
        yield np.concatenate(waiting)


def _packed(cells: NDArray[np.uint16], bits: int) -> bytes:
    """Return cells of `bits` bits side by side, lowest first, and two bytes of zeros so that a pair can be read."""
    if bits == 16:
        return cells.astype("<u2").tobytes() + b"\0\0"
    per_byte = 8 // bits
    padded = np.zeros(-(-len(cells) // per_byte) * per_byte, np.uint8)
    padded[: len(cells)] = cells
    joined = padded[0::per_byte].copy()
    for place in range(1, per_byte):
        joined |= padded[place::per_byte] << np.uint8(bits * place)
    return joined.tobytes() + b"\0\0"


class KeyMap:
    """A key map, mapped read-only."""

    def __init__(self, path: str | Place, *, check: bool = True, safe: bool = False) -> None:
        self.container = open_container(path, check=check, safe=safe)
        about: dict[str, Any] = self.container.description
        if about.get("kind") != "key-map":
            raise FormatError("not the key map of a store", path=path)
        refuse_features(about, KNOWN_FEATURES, path)
        self.shards = whole(about, "shards", path, least=1, most=1 << 16)
        self._value_bits = whole(about, "value_bits", path, least=1, most=16)
        self._segment_bits = whole(about, "segment_bits", path, most=32)
        self._cells = self.container.expect("cells", "|u1", encoding="xor-cells")
        count = 1 << self._segment_bits
        segments = self.container.expect("segments", "<i8", (count, 2)).array()
        if self._cells.blocks != count:
            raise CorruptError("the key map lacks segments", path=path, expected=str(count))
        self._thirds, self._seeds = segments[:, 0].copy(), segments[:, 1].copy()
        needed = (3 * self._thirds * self._value_bits + 7) // 8 + 2
        in_range = (self._thirds >= 1) & (self._thirds <= MOST_CELLS // 3)
        if self._value_bits not in VALUE_BITS or not (in_range & (self._cells.sizes >= needed)).all():
            raise CorruptError("the key map is shorter than described", path=path)
        # Of each segment that was read: its cells, a third of them, and what its seed adds to hashes.
        self._read: list[tuple[memoryview, int, int] | None] = [None] * len(segments)

    def shard(self, h: int) -> int:
        """Return the shard of the key with hash `h`; any number below 2**16 for unknown keys."""
        segment, bits = h >> 64 - self._segment_bits, self._value_bits
        view, third, added = self._read[segment] or self._segment(segment)
        g = (h + added) & M64
        g = ((g ^ g >> 33) * 0xFF51AFD7ED558CCD) & M64
        g = ((g ^ g >> 33) * 0xC4CEB9FE1A85EC53) & M64
        g ^= g >> 33
        a = ((g & 0xFFFFFFFF) * third >> 32) * bits
        b = (third + ((g >> 21 & 0xFFFFFFFF) * third >> 32)) * bits
        c = (2 * third + ((g >> 32) * third >> 32)) * bits
        i, j, k = a >> 3, b >> 3, c >> 3  # spelled out three times: calls would take longer than all of this
        found = (view[i] | view[i + 1] << 8) >> (a & 7)
        found ^= (view[j] | view[j + 1] << 8) >> (b & 7)
        found ^= (view[k] | view[k + 1] << 8) >> (c & 7)
        return found & (1 << bits) - 1

    def _segment(self, segment: int) -> tuple[memoryview, int, int]:
        """Check a segment, and keep what `shard` needs of it."""
        added = int(self._seeds[segment]) * 0x9E3779B97F4A7C15 & M64
        found = self._cells.block_bytes(segment), int(self._thirds[segment]), added
        self._read[segment] = found
        return found

    def shards_of(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """As `shard`, for many hashes, compiled."""
        if self._cells.unchecked:
            for segment in range(self._cells.blocks):
                self._cells.check_block(segment)
        out = np.empty(len(hashes), np.int64)
        where = (self.container.data, self._cells.offsets, self._thirds, self._seeds)
        entries.find_values(*where, self._segment_bits, self._value_bits, hashes, out)
        return out

    def verify(self) -> int:
        """Check every byte; return how many."""
        return self.container.verify()
