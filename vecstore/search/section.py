"""A section: shards, one behind the other, that hold the same trained model, searched as if they were one file."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.transforms.normalize import unit
from vecstore.container.joined_part import join
from vecstore.container.part import Part
from vecstore.shard.cells import CellRuns
from vecstore.shard.groups import groups
from vecstore.shard.layer_distances import PART as DISTANCES
from vecstore.shard.layer_distances import LayerDistances
from vecstore.shard.layers import LayerCodes
from vecstore.shard.shard import Shard

__all__ = ["Section", "sections_of"]

MOST_BLOCK_ROWS = 1 << 20  # of a part that is joined with others: what a filter takes grows with them


class Section:
    """Shards that hold the same trained model and lie alike. Positions of rows are counted through them.

    Attributes
    ----------
    shards : sequence of Shard
    rows : int
    codec : Codec
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.shards, self.codec = shards, shards[0].codec
        self._edges = np.cumsum([0, *(shard.rows for shard in shards)])
        self.rows = int(self._edges[-1])

    @cached_property
    def layers(self) -> tuple[LayerCodes, ...]:
        """The codes, coarse layer first."""
        return tuple(map(LayerCodes.joined, zip(*(shard.layers for shard in self.shards), strict=True)))

    @cached_property
    def cells(self) -> CellRuns | None:
        """The positions that lie in the same cell, if rows lie in that order."""
        found = [shard.cells for shard in self.shards if shard.cells is not None]
        return CellRuns.joined(found, self._edges[:-1]) if found else None

    @property
    def keeps_lengths(self) -> bool:
        """Whether rows have lengths that are kept apart from their codes."""
        return self.shards[0].norms is not None and self.shards[0].prefix is None

    @property
    def fixes_lengths(self) -> bool:
        """Whether a vector's length is known apart from its code; see `Shard`."""
        return self.shards[0].fixes_lengths

    def lengths(self, positions: NDArray[np.int64]) -> Floats:
        """Return the lengths of rows, where they are kept: (n,) float32."""
        part = self._norms
        return np.asarray(part.values(part.slots_of(positions)), np.float32)

    def row_lengths(self, layer: int) -> Callable[[NDArray[np.int64]], Floats] | None:
        """Return what tells the lengths of rows by their slots in a layer, where lengths are kept."""
        if not self.keeps_lengths:
            return None
        part = self.layers[layer].part
        return lambda slots: self.lengths(part.rows_at(slots))

    @cached_property
    def _norms(self) -> Part:
        return join([shard.norms for shard in self.shards if shard.norms is not None])

    @cached_property
    def bounds(self) -> list[tuple[float, float] | None]:
        """Bounds of the lengths of what each layer decodes to, where all shards know them."""
        return [self._together(own) for own in zip(*(shard.bounds for shard in self.shards), strict=True)]

    @staticmethod
    def _together(each: Sequence[tuple[float, float] | None]) -> tuple[float, float] | None:
        known = [lengths for lengths in each if lengths is not None]
        return (min(least for least, _ in known), max(most for _, most in known)) if len(known) == len(each) else None

    @cached_property
    def layer_distances(self) -> LayerDistances | None:
        """Bounds of how far the two layers' vectors lie apart, if all shards keep them."""
        found = [shard.layer_distances for shard in self.shards if shard.layer_distances is not None]
        return LayerDistances.joined(found) if len(found) == len(self.shards) else None

    def vectors(self, rows: NDArray[np.int64]) -> Floats:
        """Return the vectors of rows in range, decoded from the finest layer: (n, d) float32, a new array."""
        if len(self.shards) == 1:
            return self.shards[0].vectors(rows)
        positions, fine = rows, self.layers[-1]
        if not self.in_order:
            order = np.argsort(rows)
            positions = np.empty_like(rows)
            positions[order] = self.positions(rows[order])
        slots = fine.part.slots_of(positions)
        x = fine.decode(fine.gather(slots, compiled=True), slots)
        if not self.fixes_lengths:
            return x
        return unit(x) * self.lengths(positions)[:, None] if self.keeps_lengths else unit(x)

    # Numbers of rows and their positions

    @cached_property
    def in_order(self) -> bool:
        """Whether the number of every row is its position."""
        return all(shard.order is None for shard in self.shards)

    def numbered(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows at positions: (n,)."""
        rows = positions.copy()
        for number, chosen in groups(np.searchsorted(self._edges, positions, side="right") - 1):
            order, first = self.shards[number].order, self._edges[number]
            if order is not None:
                rows[chosen] = order.rows(positions[chosen] - first) + first
        return rows

    def positions(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions of rows, given rising: (n,)."""
        positions = rows.copy()
        for shard, first, own in zip(self.shards, self._edges, self._cuts(rows), strict=False):
            if shard.order is not None and own.start < own.stop:
                positions[own] = shard.order.positions(rows[own] - first) + first
        return positions

    def place(self, of_rows: NDArray[Any]) -> None:
        """Bring values (rows,) by row into the order of positions."""
        for shard, first, end in zip(self.shards, self._edges, self._edges[1:], strict=False):
            if shard.order is not None:
                of_rows[first:end] = shard.order.placed(of_rows[first:end])

    def _cuts(self, rows: NDArray[np.int64]) -> list[slice]:
        """Return where rows, given rising, of each shard lie."""
        return [slice(*own) for own in pairwise(np.searchsorted(rows, self._edges).tolist())]


def sections_of(shards: Sequence[Shard]) -> list[Section]:
    """Return the sections of shards, as long as they can be."""
    return [Section(list(own)) for _, own in groupby(shards, _likeness)]


def _likeness(shard: Shard) -> Hashable:
    """Return what is equal for shards that can be searched as if they were one."""
    codec, kept = shard.codec, bool(shard.description.get("residuals"))
    parts = [codes.part for codes in shard.layers]
    parts += [shard.norms] if shard.norms is not None else []
    parts += [shard.container.part(DISTANCES)] if kept else []
    if any(layer.table is not None or layer.by_key for layer in codec.layers) or any(
        part.block_rows > MOST_BLOCK_ROWS or not part.blocks for part in parts
    ):
        return id(shard)  # table codecs know rows by their numbers in the store, or by their keys
    lies = [(part.block_rows, part.tile_rows, part.row_bytes) for part in parts]
    return id(codec), shard.norms is None, kept, *(own is None for own in shard.bounds), *lies
