"""What scanning kernels take: arrays and numbers that belong together. Read without loading compiled code.

At every call from Python numba spells out a named tuple, 0.15 us a field, which doubles the time of a short call. So
public functions hand plain tuples over, and compiled ones name their fields again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "PRODUCT",
    "SQUARED",
    "UNIT",
    "Centroids",
    "Decoding",
    "Heap",
    "Lists",
    "NumberQueries",
    "Pieces",
    "Stage",
    "TableQueries",
    "Tiles",
    "TrellisQueries",
    "TrellisScores",
    "WholeNumbers",
    "WholeQueries",
]

PRODUCT, UNIT, SQUARED = 0, 1, 2  # a score is q . x; q . x / |x|; 2 q . x - |x|^2


class Tiles(NamedTuple):
    """Where the rows of a part lie, as `vecstore.container.part.Part` says.

    Kernels know a row by its slot: row j of block i has slot i * block_rows + j. Blocks that are not full leave slots
    empty, the last one of every file, so scans are told in which ranges rows are.

    Attributes
    ----------
    data : (bytes,) uint8
        Of which nothing may be read but blocks.
    offsets, ends, counts : (blocks,) int64
        Block i begins at data[offsets[i]], may be read, with what lies behind it, up to data[ends[i]], and holds
        counts[i] rows.
    block_rows, tile_rows, row_bytes, together : int
        A block has room for `block_rows`, in tiles of `tile_rows` rows of `row_bytes` bytes, of which `together` lie
        together.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    ends: NDArray[np.int64]
    counts: NDArray[np.int64]
    block_rows: int
    tile_rows: int
    row_bytes: int
    together: int


class Heap(NamedTuple):
    """The best k rows of each query so far.

    Attributes
    ----------
    scores, rows, sizes : (q, k) float64, (q, k) int64, (q,) int64
        See `heap`.
    floors : (q,) float64
        Rows that score less do not count. Scans by tables and by numbers raise them to the worst of each full heap, so
        threads that share them learn from each other.
    """

    scores: NDArray[np.float64]
    rows: NDArray[np.int64]
    sizes: NDArray[np.int64]
    floors: NDArray[np.float64]


class Lists(NamedTuple):
    """The inverted lists of a group of sparse rows; docs/format.md, section 5 (Shards), says how they lie.

    Attributes
    ----------
    data : (bytes,) uint8
    begins : (lists + 1,) int64
        List t is data[begins[t]:begins[t + 1]], which is in data.
    terms, counts : (lists,) uint32, (lists,) int64
        Of what each list is, ascending, and how many rows it has; -1 for lists that are cut by segments.
    rows : int
    bits : 0, 4 or 8
        Of a weight.
    """

    data: NDArray[np.uint8]
    begins: NDArray[np.int64]
    terms: NDArray[np.uint32]
    counts: NDArray[np.int64]
    rows: int
    bits: int


class TableQueries(NamedTuple):
    """Queries as tables: what a code picks of them adds up to its score.

    Attributes
    ----------
    terms : (q, tables, entries) float32
        Tables of 16 entries are for the low and the high half of each byte of code, those of 256 for one byte each.
        The sum over a code, with the query's of `biases`, is q . x.
    norm_terms : (tables, entries) float32
        The same, with `norm_bias`, for |x|^2; empty where `kind` is PRODUCT.
    biases : (q,) float64
    norm_bias : float
    least, largest : float
        Lengths of the rows.
    kind : PRODUCT, UNIT or SQUARED
    two_digits : bool
        Round entries to two digits of 8 bits, not to one. With many tables what is lost by rounding adds up, so where
        several rows of a tile pass by the first digits, the second ones are added up too. For 16 entries only.
    """

    terms: NDArray[np.float32]
    norm_terms: NDArray[np.float32]
    biases: NDArray[np.float64]
    norm_bias: float
    least: float
    largest: float
    kind: int
    two_digits: bool


class NumberQueries(NamedTuple):
    """Queries as weights of plain numbers.

    Attributes
    ----------
    weights : (q, d) float32
        Their inner product with the numbers, and the query's of `biases`, is q . x.
    whole_weights : (q, d up to a multiple of 64) int8 or int16
        See `numbers.whole_weights`; of bytes only, and of few queries, else (0, 0).
    packed : (bytes,) uint8
        Of many queries, see `numbers.pack`; else empty.
    bounds : (q, 2) float64
        Of the one or the other, if there are.
    biases : (q,) float64
    norm_weights : (2, d) float32
        norm_bias + sum of (norm_weights[0] + norm_weights[1] * number) * number is |x|^2.
    norm_bias : float
    least : float
        Length of a row.
    kind : PRODUCT, UNIT or SQUARED
    shortest : (runs of `RUN` slots,) float32
        Length of the shortest row of each, -1 where scans still have to see: rows' lengths differ more from one end of
        a store to the other than in one place, and a single short row would have a scan score most others in full.
        Empty where that is not worth it.
    """

    weights: NDArray[np.float32]
    whole_weights: NDArray[Any]
    packed: NDArray[np.uint8]
    bounds: NDArray[np.float64]
    biases: NDArray[np.float64]
    norm_weights: NDArray[np.float32]
    norm_bias: float
    least: float
    kind: int
    shortest: NDArray[np.float32]


class Pieces(NamedTuple):
    """What bytes of codes stand for, as bytes: up to eight dimensions a piece; see `maxsim_panels`.

    Attributes
    ----------
    owners, places, tables : (pieces,) int64
        Piece i is words[tables[i]] at byte owners[i] of a code. It begins at dimension places[i], which rise.
    words : (tables, 256) uint64
    """

    owners: NDArray[np.int64]
    places: NDArray[np.int64]
    tables: NDArray[np.int64]
    words: NDArray[np.uint64]


class Centroids(NamedTuple):
    """The cells of rows, by number, and what their centroids add to products with queries; see `centroids`.

    Attributes
    ----------
    ids : (bytes,) uint8
        Numbers of `id_bytes` bytes, of all slots, lowest byte first; empty where codes stand for whole vectors.
    id_bytes : 1 or 2
    products : (q, cells) or (cells, q up to a multiple of lanes) float32
        What a centroid adds to the sums of a query, as the kernel takes them.
    """

    ids: NDArray[np.uint8]
    id_bytes: int
    products: NDArray[np.float32]


class Decoding(NamedTuple):
    """How a trellis code is decoded; `kernels.trellis` says what the arrays are."""

    bits: NDArray[np.uint8]
    firsts: NDArray[np.int64]
    starts: NDArray[np.int64]
    levels: NDArray[np.float32]
    places: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
    high: NDArray[np.int64]
    low: NDArray[np.int64]
    memory: int


class Stage(NamedTuple):
    """The first bytes of trellis codes, as a scan looks at them.

    Attributes
    ----------
    size_bytes : int
    lookups : (passes, planes, matrices, counts, halves, maps)
        See `vecstore.codecs.trellis.lookups.Kernel`.
    owners, levels : (some coefficients,) int64, (some coefficients, 64) float32
        See `vecstore.codecs.trellis.lookups.Lookups`.
    norm_terms : (lookups, 64) float32
        Tables that add up, with `norm_bias`, to |x|^2.
    norm_bias : float
    typical : float
        Length of a vector of which so many bytes are known.
    """

    size_bytes: int
    lookups: tuple[NDArray[Any], ...]
    owners: NDArray[np.int64]
    levels: NDArray[np.float32]
    norm_terms: NDArray[np.float32]
    norm_bias: float
    typical: float


class TrellisQueries(NamedTuple):
    """Queries as weights of coefficients, and what their scores by each stage have to be.

    Attributes
    ----------
    kind : PRODUCT, UNIT or SQUARED
    weights : (q, coefficients) float32
        Of coefficients, in q . x.
    biases : (q, cells) float64
        What is to be added to q . x in each cell.
    edges : (files * cells + 1,) int64
        Rows edges[i] to edges[i + 1] are in cell i % cells: the cells of each file lie one behind the other.
    made_for : (stages, q) float64
        About which score tables are most exact, where `kind` is UNIT.
    limits : (q,) float64
        What a row's score by the first of several stages has to be at least.
    margins : (stages, q) float64
        By how much its score by each stage but the last may be less than the `wanted`-th best by all bytes.
    wanted : int
    """

    kind: int
    weights: NDArray[np.float32]
    biases: NDArray[np.float64]
    edges: NDArray[np.int64]
    made_for: NDArray[np.float64]
    limits: NDArray[np.float64]
    margins: NDArray[np.float64]
    wanted: int


class TrellisScores(NamedTuple):
    """Queries as weights of coefficients, and how lengths follow from coefficients y.

    Attributes
    ----------
    kind, weights, biases, edges
        As of `TrellisQueries`.
    size_bytes : int
        Of a code.
    scale : float
    linear : (cells, coefficients) float32
    constants : (cells,) float64
        |x|^2 is scale |y|^2 + linear[cell] . y + constants[cell].
    """

    kind: int
    weights: NDArray[np.float32]
    biases: NDArray[np.float64]
    edges: NDArray[np.int64]
    size_bytes: int
    scale: float
    linear: NDArray[np.float32]
    constants: NDArray[np.float64]


class WholeNumbers(NamedTuple):
    """Which bytes stand for the coefficients of trellis codes, see `whole_panels`; as many as a multiple of 8.

    Attributes
    ----------
    owners, shifts : (coefficients,) int64, (coefficients,) int32
        The look-up that each is in, and, where four bits of the index tell it, which one of these is the lowest.
    wide, narrow : (some, 64) uint8, (the others, 16) uint8
        The byte at each index, and at each value of the four bits. Of wide ones there are a multiple of 4.
    """

    owners: NDArray[np.int64]
    shifts: NDArray[np.int32]
    wide: NDArray[np.uint8]
    narrow: NDArray[np.uint8]


class WholeQueries(NamedTuple):
    """Queries as whole weights of coefficients that are bytes, see `whole_panels`.

    Attributes
    ----------
    weights : (q, coefficients up to a multiple of 8) uint8
        Read as int8. Where lengths count, there is one more behind them: what |x|^2 has beside |y|^2.
    shifts, factors : (q,) float32, (q,) float64
        factors[q] * (weights[q] . bytes + shifts[q]) is q . x.
    square : (3,) float64
        |x|^2 is square[0] |y|^2 + square[1] (weights[-1] . bytes) + square[2], y being the bytes less ZERO; empty where
        a score is q . x.
    """

    weights: NDArray[np.uint8]
    shifts: NDArray[np.float32]
    factors: NDArray[np.float64]
    square: NDArray[np.float64]
