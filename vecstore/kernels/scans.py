"""Find the best rows of codes as they lie, and score single ones: what search calls.

How it is done is said where it is done: in `table_scan`, `number_scan`, `number_batch`, `trellis_scan` and
`trellis_scores`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vecstore.kernels import entries, levels
from vecstore.kernels.arguments import (
    Centroids,
    Decoding,
    Heap,
    NumberQueries,
    Pieces,
    Stage,
    TableQueries,
    Tiles,
    TrellisQueries,
    TrellisScores,
    WholeNumbers,
    WholeQueries,
)
from vecstore.kernels.levels import BITS, tag
from vecstore.kernels.numbers import SHAPES, NumberKind, arithmetic

__all__ = [
    "NO_CENTROIDS",
    "maxsim_cells",
    "maxsim_decoded",
    "maxsim_panels",
    "maxsim_trellis",
    "maxsim_whole",
    "scan_batch",
    "scan_numbers",
    "scan_tiles",
    "scan_trellis",
    "score_numbers",
    "score_tiles",
    "score_trellis",
]

MOST_STAGES = 3
NO_CENTROIDS = Centroids(np.empty(0, np.uint8), 1, np.empty((0, 0), np.float32))


def scan_tiles(
    tiles: Tiles,
    queries: TableQueries,
    heap: Heap,
    ranges: NDArray[np.int64],
    allowed: NDArray[np.uint32],
    level: str | None = None,
) -> int:
    """Offer the rows in some ranges to the heaps of all queries; return how many scores were computed exactly.

    Parameters
    ----------
    tiles : Tiles
        Of 32 rows.
    queries : TableQueries
    heap : Heap
        Its floors are raised.
    ranges : (n, 2) int64
        The first and the end of each, in slots (see `Tiles`). They hold rows only, and do not overlap.
    allowed : (multiples of 32 of all slots,) uint32, or empty
        Bit i of item t: the row with slot 32 t + i may be found.
    level : str, optional
        See `levels`; the best there is.
    """
    small = queries.terms.shape[2] == 16
    found: int = entries.scan_tiles(BITS[4 if small else 8], tag(level), tiles, queries, heap, ranges, allowed)
    return found


def score_tiles(
    tiles: Tiles,
    queries: TableQueries,
    indptr: NDArray[np.int64],
    rows: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """out[i]: the exact score of the row with slot rows[i] for query q, where indptr[q] <= i < indptr[q + 1].

    Others are left as they are. The rest as in `scan_tiles`.
    """
    entries.score_tiles(tiles, queries, indptr, rows, out)


def scan_numbers(
    kind: NumberKind,
    tiles: Tiles,
    queries: NumberQueries,
    heap: Heap,
    ranges: NDArray[np.int64],
    allowed: NDArray[np.uint32],
    level: str | None = None,
) -> int:
    """Offer the rows in some ranges to the heaps of all queries; return how many scores were computed in full.

    Parameters
    ----------
    kind : one of `KINDS`
    tiles : Tiles
        Of one row.
    queries : NumberQueries
        With whole weights for this level.
    heap, ranges, allowed, level
        As in `scan_tiles`.
    """
    found: int = entries.scan_numbers(kind, tag(level), tiles, queries, heap, ranges, allowed)
    return found


def scan_batch(
    kind: NumberKind,
    tiles: Tiles,
    queries: NumberQueries,
    heap: Heap,
    ranges: NDArray[np.int64],
    allowed: NDArray[np.uint32],
    level: str | None = None,
) -> int:
    """Do what `scan_numbers` does for many queries at once, with the weights `numbers.pack` gives for this level."""
    level = level or levels.best_level()
    how = arithmetic(level, of_bytes=kind.of_bytes), tag(level), SHAPES[level]
    found: int = entries.scan_batch(kind, *how, tiles, queries, heap, ranges, allowed)
    return found


def score_numbers(
    kind: NumberKind,
    tiles: Tiles,
    queries: NumberQueries,
    indptr: NDArray[np.int64],
    rows: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """out[i]: the score of row rows[i], listed as in `score_tiles`; the rest as in `scan_numbers`."""
    entries.score_numbers(kind, tiles, queries, indptr, rows, out)


def score_trellis(
    tiles: Tiles,
    decoding: Decoding,
    queries: TrellisScores,
    indptr: NDArray[np.int64],
    rows: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """out[i]: the exact score of row rows[i], listed as in `score_tiles`; the rest as in `scan_trellis`."""
    entries.score_trellis(tiles, decoding, queries, indptr, rows, out)


def maxsim_decoded(
    tiles: Tiles,
    decoding: Decoding,
    queries: TrellisScores,
    cells: NDArray[np.int64],
    rows: NDArray[np.int64],
    ends: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Score items of several rows: the sum over all queries of the best product with one of an item's rows, exactly.

    Parameters
    ----------
    tiles
        As in `scan_trellis`.
    decoding : Decoding
    queries : TrellisScores
        The query's vectors.
    cells : (t,) int64, or empty
        The cell of each of `rows`; empty where all are in one.
    rows, ends : (t,) int64, (n,) int64
        The slots of item i's rows are rows[ends[i - 1]:ends[i]].
    out : (n,) float64
        The scores; -inf for an item without rows.
    """
    entries.maxsim_decoded(tiles, decoding, queries, cells, rows, ends, out)


def maxsim_trellis(
    tiles: Tiles,
    stage: Stage,
    queries: TrellisQueries,
    centroids: Centroids,
    starts: NDArray[np.int64],
    items: NDArray[np.int64],
    most: int,
    out: NDArray[np.float64],
    level: str | None = None,
) -> None:
    """Score items of several rows: the sum over all queries of the best product with one of an item's rows, about.

    Parameters
    ----------
    tiles, level
        As in `scan_trellis`.
    stage : Stage
        That looks at all bytes.
    queries : TrellisQueries
        Of products, the query's vectors.
    centroids : Centroids
        With products (q, cells); `NO_CENTROIDS` where codes stand for whole vectors. Rows in cells are not divided by
        their lengths, whatever queries ask for.
    starts : (all items + 1,) int64
        An item has the rows with slots starts[item] to starts[item + 1].
    items : (n,) int64
        Rising.
    most : int
        How many of an item's rows count, the first ones.
    out : (n,) float64
        The scores; -inf for an item without rows.
    """
    entries.maxsim_trellis(tag(level), tiles, MOST_STAGES * (stage,), queries, centroids, starts, items, most, out)


def maxsim_whole(
    tiles: Tiles,
    stage: Stage,
    numbers: WholeNumbers,
    queries: WholeQueries,
    centroids: Centroids,
    starts: NDArray[np.int64],
    items: NDArray[np.int64],
    most: int,
    out: NDArray[np.float64],
    level: str | None = None,
) -> None:
    """Do what `maxsim_trellis` does, in whole numbers.

    Parameters
    ----------
    numbers : WholeNumbers
        Of as many coefficients as `queries` have weights.
    centroids : Centroids
        Products are divided by the queries' factors.
    tiles, stage, queries, starts, items, most, out, level
        As in `maxsim_trellis`.
    """
    looks = tuple(stage.lookups)
    entries.maxsim_whole(
        tag(level), tiles, stage.size_bytes, looks, numbers, queries, centroids, starts, items, most, out
    )


def maxsim_panels(
    kind: NumberKind,
    tiles: Tiles,
    pieces: Pieces,
    queries: NumberQueries,
    centroids: Centroids,
    starts: NDArray[np.int64],
    items: NDArray[np.int64],
    most: int,
    out: NDArray[np.float64],
    level: str | None = None,
) -> None:
    """Do what `maxsim_trellis` does for codes that are numbers, or whose bytes stand for a few dimensions each.

    Parameters
    ----------
    kind : one of `KINDS`
        Bytes, where there are pieces.
    pieces : Pieces
        None where rows are numbers as they lie.
    queries : NumberQueries
        Of products or cosines, with the weights that `numbers.pack` gives for this level.
    centroids : Centroids
        With products (cells, q up to a multiple of twice the level's lanes), and the queries' biases with them, all
        divided by the queries' factors.
    tiles, starts, items, most, out, level
        As in `maxsim_trellis`.
    """
    level = level or levels.best_level()
    how = arithmetic(level, of_bytes=kind.of_bytes), tag(level), SHAPES[level]
    entries.maxsim_panels(kind, *how, tiles, pieces, queries, centroids, starts, items, most, out)


def maxsim_cells(
    centroids: Centroids,
    starts: NDArray[np.int64],
    items: NDArray[np.int64],
    most: int,
    out: NDArray[np.float64],
    level: str | None = None,
) -> None:
    """Score items of several rows by the centroids of their rows' cells alone.

    Parameters
    ----------
    centroids : Centroids
        With products (cells, q up to a multiple of the level's lanes), zeros where there is no query.
    starts, items, most, out, level
        As in `maxsim_trellis`.
    """
    level = level or levels.best_level()
    entries.maxsim_cells(tag(level), SHAPES[level], centroids, starts, items, most, out)


def scan_trellis(
    tiles: Tiles,
    stages: Sequence[Stage],
    queries: TrellisQueries,
    heap: Heap,
    ranges: NDArray[np.int64],
    allowed: NDArray[np.uint32],
    level: str | None = None,
) -> None:
    """Offer the rows in some ranges to the heaps of all queries, by approximate scores.

    The first of several stages scans the first bytes of all rows. Rows whose scores by these reach a limit wait. Now
    and then, and at the end, those that score best among the new ones are scored by all bytes and offered: the
    `wanted`-th best score so far says what rows have to reach from then on. In the end those that wait and may still
    matter are looked at by the bytes of the next stage, what still matters by those of the one after it. One stage
    alone offers what it scans. Several need rows that are all in one cell.

    Parameters
    ----------
    tiles : Tiles
        Of more than LANES rows, the last of a block holding as many as there are, rounded up to LANES.
    stages : sequence of Stage
        The last one looks at all bytes.
    queries : TrellisQueries
    heap : Heap
        Its floors are left as they are.
    ranges, allowed
        As in `scan_tiles`.
    level : str, optional
        See `levels`; the best there is.
    """
    looks = tuple(stages)
    looks += (MOST_STAGES - len(looks)) * looks[-1:]  # one type, so one compilation, for any number of stages
    entries.scan_trellis(tag(level), len(stages), tiles, looks, queries, heap, ranges, allowed)
