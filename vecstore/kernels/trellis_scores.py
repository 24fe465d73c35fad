"""Score single rows of trellis codes exactly: copied out of their tiles, decoded, and multiplied, some at a time.

Or items of several rows, by the sum of each query's best product with one of them.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from vecstore.kernels.arguments import PRODUCT, Decoding, Tiles, TrellisScores
from vecstore.kernels.borrowing import borrowing
from vecstore.kernels.gather import tile_of
from vecstore.kernels.number_scan import score_of
from vecstore.kernels.trellis import DECODED, LANE_ARRAYS, decode_lanes, lane_bytes
from vecstore.kernels.trellis_planes import CHUNK, copy_chunk, fetch

__all__ = ["maxsim_decoded", "score_trellis"]

SUMMED = 32  # coefficients that are added up in float32, before digits get lost
FEW = 4  # queries that coefficients are multiplied by at once


@njit(cache=True, nogil=True)
def score_trellis(where, how, asked, indptr, rows, out):
    tiles, plan, queries = Tiles(*where), Decoding(*how), TrellisScores(*asked)
    size_bytes, last = queries.size_bytes, indptr[len(indptr) - 1]
    codes = np.zeros((DECODED, lane_bytes(plan, size_bytes)), np.uint8)
    y, lanes = np.empty((queries.weights.shape[1], DECODED), np.float32), np.empty((LANE_ARRAYS, DECODED), np.uint64)
    part, sums, squares = np.empty(DECODED, np.float32), np.empty(DECODED), np.zeros(DECODED)
    cells = np.zeros(DECODED, np.int64)
    fetch_codes(tiles, rows, indptr[0], min(indptr[0] + DECODED, last), size_bytes)
    for q in range(len(indptr) - 1):
        for first in range(indptr[q], indptr[q + 1], DECODED):
            end = min(first + DECODED, indptr[q + 1])
            fetch_codes(tiles, rows, end, min(end + DECODED, last), size_bytes)
            copy_codes(tiles, rows, first, end, size_bytes, codes)
            decode_lanes(plan, codes, end - first, lanes, y)
            add_up(y, 0.0, queries.weights[q], part, sums)
            if len(queries.edges) > 2:
                for i in range(first, end):
                    cells[i - first] = cell_of(queries.edges, rows[i]) % len(queries.constants)
            if queries.kind != PRODUCT and len(queries.edges) > 2:
                add_up_in_cells(y, queries.scale, queries.linear, cells, part, squares)
            elif queries.kind != PRODUCT:
                add_up(y, queries.scale, queries.linear[0], part, squares)
            for lane in range(end - first):
                product = sums[lane] + queries.biases[q, cells[lane]]
                square = max(squares[lane] + queries.constants[cells[lane]], 0.0)
                out[first + lane] = score_of(product, square, queries.kind)


@njit(cache=True, nogil=True)
def maxsim_decoded(where, how, asked, in_cells, rows, ends, out):
    """out[i] = the score of an item that has the rows rows[ends[i - 1]:ends[i]]; -inf of one without rows.

    in_cells[i] is the cell of rows[i]; empty where all are in one.
    """
    tiles, plan, queries = Tiles(*where), Decoding(*how), TrellisScores(*asked)
    size_bytes, count = queries.size_bytes, len(queries.weights)
    codes = np.zeros((DECODED, lane_bytes(plan, size_bytes)), np.uint8)
    y, lanes = np.empty((queries.weights.shape[1], DECODED), np.float32), np.empty((LANE_ARRAYS, DECODED), np.uint64)
    part, squares = np.empty(FEW * DECODED, np.float32), np.zeros(DECODED)
    products = np.empty((count, DECODED))
    best, item, cells = np.full(count, -np.inf), 0, np.zeros(DECODED, np.int64)
    out[:] = -np.inf
    fetch_codes(tiles, rows, 0, min(DECODED, len(rows)), size_bytes)
    for first in range(0, len(rows), DECODED):
        end = min(first + DECODED, len(rows))
        fetch_codes(tiles, rows, end, min(end + DECODED, len(rows)), size_bytes)
        copy_codes(tiles, rows, first, end, size_bytes, codes)
        decode_lanes(plan, codes, end - first, lanes, y)
        for i in range(first, end if len(in_cells) else first):
            cells[i - first] = in_cells[i]
        if queries.kind != PRODUCT and len(in_cells):
            add_up_in_cells(y, queries.scale, queries.linear, cells, part, squares)
        elif queries.kind != PRODUCT:
            add_up(y, queries.scale, queries.linear[0], part, squares)
        begun = item
        multiply(y, queries.weights, part, products)
        for q in range(count):
            sums, item, at = products[q], begun, first
            while at < end:
                while ends[item] <= at:
                    item += 1
                stop = min(end, ends[item])
                for lane in range(at - first, stop - first):
                    cell = cells[lane]
                    product, square = sums[lane] + queries.biases[q, cell], squares[lane] + queries.constants[cell]
                    best[q] = max(best[q], score_of(product, max(square, 0.0), queries.kind))
                if stop == ends[item]:
                    out[item] = best[q] + (out[item] if q else 0.0)
                    best[q] = -np.inf
                at = stop


@borrowing
def fetch_codes(tiles, rows, first, end, size_bytes):
    """Ask for the codes of rows[first:end]."""
    base = tiles.data.ctypes.data
    for i in range(first, end):
        tile, held, start = tile_of(tiles, rows[i])
        for byte in range(0, size_bytes, CHUNK):
            fetch(base + start + byte * held + (rows[i] - tile) * min(CHUNK, tiles.row_bytes - byte))


@borrowing
def copy_codes(tiles, rows, first, end, size_bytes, codes):
    """codes[i, :size_bytes] = the first bytes of row rows[first + i]."""
    base, into = tiles.data.ctypes.data, codes.ctypes.data
    for i in range(first, end):
        tile, held, start = tile_of(tiles, rows[i])
        for byte in range(0, size_bytes, CHUNK):
            source = start + byte * held + (rows[i] - tile) * min(CHUNK, tiles.row_bytes - byte)
            wide = min(CHUNK, size_bytes - byte)
            if wide == CHUNK:
                copy_chunk(base + source, into + (i - first) * codes.shape[1] + byte)
            else:
                for j in range(wide):
                    codes[i - first, byte + j] = tiles.data[source + j]


@borrowing
def cell_of(edges, row):
    """Return the cell that a row is in."""
    low, high = 0, len(edges) - 1
    while high - low > 1:
        middle = (low + high) >> 1
        if edges[middle] <= row:
            low = middle
        else:
            high = middle
    return low


@borrowing
def multiply(y, weights, part, out):
    """out[q, lane] = the sum over j of weights[q, j] y[j, lane]."""
    for query in range(0, len(weights), FEW):
        few = min(FEW, len(weights) - query)
        for i in range(few):
            for lane in range(DECODED):
                out[query + i, lane] = 0
        for first in range(0, len(y), SUMMED):
            for lane in range(FEW * DECODED):
                part[lane] = 0
            for j in range(first, min(first + SUMMED, len(y))):
                own = y[j]
                w0, w1 = weights[query, j], weights[min(query + 1, len(weights) - 1), j]
                w2, w3 = weights[min(query + 2, len(weights) - 1), j], weights[min(query + 3, len(weights) - 1), j]
                for lane in range(DECODED):
                    number = own[lane]
                    part[lane] += w0 * number
                    part[lane + DECODED] += w1 * number
                    part[lane + 2 * DECODED] += w2 * number
                    part[lane + 3 * DECODED] += w3 * number
            for i in range(few):
                for lane in range(DECODED):
                    out[query + i, lane] += part[i * DECODED + lane]


@borrowing
def add_up(y, scale, weights, part, sums):
    """sums[lane] = the sum over j of (scale y[j, lane] + weights[j]) y[j, lane]."""
    for lane in range(DECODED):
        sums[lane] = 0
    scale = np.float32(scale)
    for first in range(0, len(y), SUMMED):
        for lane in range(DECODED):
            part[lane] = 0
        for j in range(first, min(first + SUMMED, len(y))):
            own, weight = y[j], weights[j]
            for lane in range(DECODED):
                part[lane] += (scale * own[lane] + weight) * own[lane]
        for lane in range(DECODED):
            sums[lane] += part[lane]


@borrowing
def add_up_in_cells(y, scale, weights, cells, part, sums):
    """Do what `add_up` does with weights[cell] of each lane."""
    for lane in range(DECODED):
        sums[lane] = 0
    scale = np.float32(scale)
    for first in range(0, len(y), SUMMED):
        for lane in range(DECODED):
            part[lane] = 0
        for j in range(first, min(first + SUMMED, len(y))):
            own = y[j]
            for lane in range(DECODED):
                part[lane] += (scale * own[lane] + weights[cells[lane], j]) * own[lane]
        for lane in range(DECODED):
            sums[lane] += part[lane]
