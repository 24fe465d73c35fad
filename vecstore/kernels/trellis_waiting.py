"""Rows that wait for more bytes of their codes to be looked at, since they score well by the first ones."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vecstore.kernels.arguments import Stage
from vecstore.kernels.borrowing import borrowing
from vecstore.kernels.gather import tile_of
from vecstore.kernels.heap import push
from vecstore.kernels.layout import LANES
from vecstore.kernels.trellis_planes import CHUNK, copy_chunk, fetch
from vecstore.kernels.trellis_rows import Lying, room_of, sum_rows, sums_of

__all__ = ["LEAST", "MOST", "Scoring", "Waiting", "is_due", "judge", "nobody", "settle", "settle_some"]

MOST, LEAST = 65536, 8192  # rows that may wait, of all queries and of one
SOON = 2048  # rows that wait when the best of them are scored by all bytes for the first time
FIRST = 128  # of them
BATCH = 256  # rows whose codes are fetched together
BINS = 512


class Waiting(NamedTuple):
    """The rows that wait, of each query, and the best scores by all bytes so far.

    Attributes
    ----------
    rows, scores : (q, room) int64, (q, room) float32
    counts : (q,) int64
        How many wait.
    judged : (q,) int64
        After how many of them new ones begin.
    patience : (q,) int64
        How many new ones there are when the best of them are next scored by all bytes.
    reached, held : (q, wanted) float64, (q, wanted) int64
        A heap of the best scores by all bytes, of rows that were offered in this call or before.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    counts: NDArray[np.int64]
    judged: NDArray[np.int64]
    patience: NDArray[np.int64]
    reached: NDArray[np.float64]
    held: NDArray[np.int64]


class Scoring(NamedTuple):
    """What scores are made of, as `trellis_tables.tables_of` says.

    Attributes
    ----------
    stages : of each, the items of a `Stage`; there may be more than are used
    tables : (stages, q, lookups, 64) uint8
    scales : (stages, q, 3) float64
    biases : (q, cells) float64
    """

    stages: tuple[Any, ...]
    tables: NDArray[np.uint8]
    scales: NDArray[np.float64]
    biases: NDArray[np.float64]


@njit(cache=True, nogil=True)
def nobody(room, queries, heap):
    """Return `Waiting` of no rows, with the best scores of a heap."""
    count, wanted = len(heap.sizes), queries.wanted
    reached, held = np.full((count, wanted), -np.inf), np.zeros((count, wanted), np.int64)
    for q in range(count):
        for i in range(heap.sizes[q]):
            if heap.scores[q, i] > reached[q, 0]:
                push(reached[q], held[q], wanted, heap.scores[q, i], heap.rows[q, i])
    return Waiting(
        np.empty((count, room), np.int64),
        np.empty((count, room), np.float32),
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
        np.full(count, SOON),
        reached,
        held,
    )


@borrowing
def is_due(q, waiting, tile_rows):
    """Return whether many of the rows of a query that wait are new, or there is no room for those of another tile."""
    count = waiting.counts[q]
    return count - waiting.judged[q] >= waiting.patience[q] or count > waiting.rows.shape[1] - tile_rows


@njit(cache=True, nogil=True)
def settle_some(level, q, waiting, queries, scoring, tiles, heap):
    """Score the best new rows of a query by all bytes, and settle all that wait where room is short."""
    room = waiting.rows.shape[1]
    full = waiting.counts[q] > room - tiles.tile_rows
    judge(level, q, waiting, scoring, tiles, heap)
    if full:
        rows, scores, least = waiting.rows[q], waiting.scores[q], waiting.reached[q, 0] - queries.margins[0, q]
        waiting.counts[q] = keep(rows, scores, waiting.counts[q], least)
        if waiting.counts[q] > (room - tiles.tile_rows) // 2:
            settle(level, q, waiting, queries, scoring, tiles, heap)
    waiting.judged[q], waiting.patience[q] = waiting.counts[q], min(2 * waiting.patience[q], room)


@njit(cache=True, nogil=True)
def judge(level, q, waiting, scoring, tiles, heap):
    """Score the best of the new rows of a query by all bytes, and offer them; the others go on waiting."""
    first, count = waiting.judged[q], waiting.counts[q] - waiting.judged[q]
    if count <= FIRST:
        return
    rows, scores = waiting.rows[q, first : first + count], waiting.scores[q, first : first + count]
    found = best_first(rows, scores, best_of(scores, FIRST))
    rescore(level, q, len(scoring.scales) - 1, rows, scores, found, scoring, tiles)
    offer(q, rows, scores, found, waiting, heap)
    for i in range(min(found, count - found)):
        rows[i], scores[i] = rows[count - 1 - i], scores[count - 1 - i]
    waiting.counts[q] = first + count - found


@njit(cache=True, nogil=True)
def settle(level, q, waiting, queries, scoring, tiles, heap):
    """Take the rows of a query that wait and still matter through all stages, and offer what is left of them."""
    rows, scores, reached, margins = waiting.rows[q], waiting.scores[q], waiting.reached[q], queries.margins
    last = len(scoring.scales) - 1
    count = keep(rows, scores, waiting.counts[q], reached[0] - margins[0, q])
    for stage in range(1, last):
        rescore(level, q, stage, rows, scores, count, scoring, tiles)
        count = keep(rows, scores, count, reached[0] - margins[stage, q])
    rescore(level, q, last, rows, scores, count, scoring, tiles)
    offer(q, rows, scores, count, waiting, heap)
    waiting.counts[q] = 0


@borrowing
def best_first(rows, scores, least):
    """Move those rows that score at least so much to the front, others to where they were; return how many they are."""
    found = 0
    for i in range(len(rows)):
        if scores[i] >= least:
            rows[i], rows[found] = rows[found], rows[i]
            scores[i], scores[found] = scores[found], scores[i]
            found += 1
    return found


@borrowing
def keep(rows, scores, count, least):
    """Move those rows that score at least so much to the front; return how many they are."""
    kept = 0
    for i in range(count):
        rows[kept], scores[kept] = rows[i], scores[i]
        kept += scores[i] >= least  # no branch: nothing could predict it
    return kept


@borrowing
def offer(q, rows, scores, count, waiting, heap):
    """Offer rows that are scored by all bytes to the heaps of a query."""
    best, best_rows, reached, held = heap.scores[q], heap.rows[q], waiting.reached[q], waiting.held[q]
    for i in range(count):
        score, row = np.float64(scores[i]), rows[i]
        if score >= heap.floors[q]:
            heap.sizes[q] = push(best, best_rows, heap.sizes[q], score, row)
            if score > reached[0]:
                push(reached, held, len(reached), score, row)


@njit(cache=True, nogil=True)
def best_of(scores, count):
    """Return a score that at least `count` of the scores reach, and not many more."""
    low, high = scores[0], scores[0]
    for score in scores:
        low, high = min(low, score), max(high, score)
    step = BINS / max(np.float64(high) - np.float64(low), 1e-30) * (1 - 1e-6)
    bins = np.zeros(BINS + 1, np.int64)
    for score in scores:
        bins[np.int64((np.float64(score) - low) * step)] += 1
    at, found = BINS, 0
    while at > 0 and found + bins[at] < count:
        found += bins[at]
        at -= 1
    return low + at / step


@njit(cache=True, nogil=True)
def rescore(level, q, stage, rows, scores, count, scoring, tiles):
    """scores[:count] = the scores of rows by the bytes of a stage."""
    by = Stage(*scoring.stages[stage])
    chunks = -(-by.size_bytes // CHUNK)
    codes, places = np.zeros(chunks * BATCH * CHUNK, np.uint8), np.empty((BATCH, 3), np.int64)
    tables, scale, bias = scoring.tables[stage, q : q + 1], scoring.scales[stage, q], scoring.biases[q, 0]
    room, sums = room_of(level, by.size_bytes, len(by.norm_terms), BATCH), sums_of(level, 1, BATCH)
    for first in range(0, count, BATCH):
        some = min(BATCH, count - first)
        copy_codes(tiles, rows[first : first + some], chunks, places, codes)
        copied = Lying(codes, 0, BATCH, chunks * CHUNK)
        sum_rows(level, copied, 0, (some + LANES - 1) // LANES, by, tables, room, sums, 0, 0)
        for lane in range(some):
            scores[first + lane] = bias * scale[0] + scale[1] + scale[2] * sums[0, lane]


@borrowing
def copy_codes(tiles, rows, chunks, places, codes):
    """codes[chunk, row, byte] = the first chunks of up to BATCH rows, which are all fetched before one is read.

    `places` is room for where a row's tile begins, which row of the tile it is, and how many the tile holds.
    """
    row_bytes, base, into = tiles.row_bytes, tiles.data.ctypes.data, codes.ctypes.data
    for lane in range(len(rows)):
        tile, held, start = tile_of(tiles, rows[lane])
        at = rows[lane] - tile
        places[lane, 0], places[lane, 1], places[lane, 2] = start, at, held
        for byte in range(0, chunks * CHUNK, CHUNK):
            fetch(base + start + byte * held + at * min(CHUNK, row_bytes - byte))
    for lane in range(len(rows)):
        start, at, held = places[lane, 0], places[lane, 1], places[lane, 2]
        for chunk in range(chunks):
            byte, target = chunk * CHUNK, (chunk * BATCH + lane) * CHUNK
            wide = min(CHUNK, row_bytes - byte)
            source = start + byte * held + at * wide
            if wide == CHUNK:
                copy_chunk(base + source, into + target)
            else:
                for j in range(wide):
                    codes[target + j] = tiles.data[source + j]
