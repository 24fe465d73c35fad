"""The key map of a conversion: ranges of hashes are tasks, and what they leave is put together.

Shards leave the hashes of their keys sorted. So a range is a slice of each, and all are read once however many ranges
there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vecstore.container.mapped_file import mapped_numbers
from vecstore.conversion.tasks.site import Site, appearing, digest
from vecstore.keys.map import KeyMapWriter, Segment, made_segment, segment_bits_of
from vecstore.progress import Listener

__all__ = ["map_keys", "segment_ranges", "write_keys"]

RANGE_SEGMENTS = 4  # of a task, at most: about four million keys
LEAST_TASKS = 16  # if there are as many segments: work for so many processors


@dataclass(frozen=True)
class KeyRange:
    """A task: make some segments of the key map.

    Attributes
    ----------
    name : str
        A digest of all that they are made of; their file has it.
    hashes : tuple of Path
        The files of hashes, one a shard.
    first, stop : int
        Numbers of the segments.
    segment_bits, value_bits : int
        Of the key map.
    directory : Path
        Where the file appears.
    """

    name: str
    hashes: tuple[Path, ...]
    first: int
    stop: int
    segment_bits: int
    value_bits: int
    directory: Path

    @property
    def path(self) -> Path:
        """The file of cells, segment by segment."""
        return self.directory / f"{self.name}.cells"


@dataclass(frozen=True)
class Mapped:
    """Segments that were made: (third, seed, bytes in the file) of each, and the hashes that several shards hold."""

    segments: list[tuple[int, int, int]]
    collisions: dict[str, list[int]]

    def saved(self) -> tuple[dict[str, Any], Mapping[str, NDArray[Any]]]:
        """Return it as JSON."""
        return {"segments": self.segments, "collisions": self.collisions}, {}

    @classmethod
    def restored(cls, document: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Undo `saved`."""
        return cls([(third, seed, size) for third, seed, size in document["segments"]], document["collisions"])


def segment_ranges(keys: int) -> list[range]:
    """Return the numbers of the segments that each task makes of so many keys."""
    count = 1 << segment_bits_of(keys)
    step = max(min(count // LEAST_TASKS, RANGE_SEGMENTS), 1)  # both are powers of two
    return [range(first, first + step) for first in range(0, count, step)]


def write_keys(
    path: Path, hashes: Sequence[Path], names: Sequence[str], site: Site, report: Listener
) -> dict[str, list[int]]:
    """Write the key map of shards whose sorted hashes are in files, and which are made of what their names tell.

    Returns the hashes that several shards hold, as `vecstore.keys.map.write_key_map` does.
    """
    total = sum(file.stat().st_size for file in hashes) // 8
    writer = KeyMapWriter(path, len(hashes), total)
    common = digest("key map", list(names))
    works = [
        KeyRange(
            f"{common}-{own.start:06d}",
            tuple(hashes),
            own.start,
            own.stop,
            writer.segment_bits,
            writer.value_bits,
            site.directory,
        )
        for own in segment_ranges(total)
    ]
    found = dict(
        site.each(
            map_keys,
            works,
            report,
            form=Mapped,
            named=lambda work: work.name,
            usable=lambda work, _: work.path.is_file(),
        )
    )
    for number, work in enumerate(works):
        with open(work.path, "rb") as file:
            for at, (third, seed, size) in enumerate(found[number].segments):
                writer.add(Segment(third, seed, file.read(size), {} if at else found[number].collisions))
    return writer.close()


def map_keys(work: KeyRange, report: Listener) -> Mapped:
    """Make the segments of a range."""
    shards = [mapped_numbers(path) for path in work.hashes]
    segments: list[tuple[int, int, int]] = []
    collisions: dict[str, list[int]] = {}
    with appearing(work.path) as file:
        for number in range(work.first, work.stop):
            made = made_segment(*_within(shards, number, work.segment_bits), work.value_bits)
            file.write(made.cells)
            segments.append((made.third, made.seed, len(made.cells)))
            collisions |= made.collisions
    return Mapped(segments, collisions)


def _within(
    shards: list[NDArray[np.uint64]], number: int, segment_bits: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint16]]:
    """Return the hashes of a segment, shard by shard, and the shard of each."""
    low, high = (edge << (64 - segment_bits) for edge in (number, number + 1))
    own = []
    for hashes in shards:
        start = np.searchsorted(hashes, np.uint64(low))
        stop = np.searchsorted(hashes, np.uint64(high - 1), side="right")
        own.append(np.array(hashes[start:stop], np.uint64))
    values = np.repeat(np.arange(len(own)), [len(hashes) for hashes in own]).astype(np.uint16)
    return np.concatenate([np.empty(0, np.uint64), *own]), values
