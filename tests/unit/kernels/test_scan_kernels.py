"""The search kernels against their plain twins, for every instruction set this processor has and sizes that divide
nothing."""

from __future__ import annotations

import numpy as np
import pytest
import reference

from vecstore.codecs.packing import join
from vecstore.codecs.products import row_products
from vecstore.kernels import byte, entries, levels, nibble
from vecstore.kernels import numbers as plain_numbers
from vecstore.kernels.arguments import PRODUCT, SQUARED, UNIT, Heap, NumberQueries, TableQueries, Tiles
from vecstore.kernels.heap import push
from vecstore.kernels.numbers import KINDS as NUMBERS
from vecstore.kernels.numbers import RUN, SHAPES, aligned, whole_weights
from vecstore.kernels.scans import scan_batch, scan_numbers, scan_tiles

RNG = np.random.default_rng(0)
KINDS = {"product": PRODUCT, "unit": UNIT, "squared": SQUARED}
EVERYTHING = np.empty(0, np.uint32)

every_level = pytest.mark.parametrize("level", levels.levels())
every_kind = pytest.mark.parametrize("kind", KINDS)


class Codes:
    """Codes in tiles, in blocks behind a few bytes of something else, as they lie in a file."""

    def __init__(self, rows, width, block_rows, *, tile_rows=32, row_bytes=None):
        row_bytes = row_bytes or width
        self.codes = RNG.integers(0, 256, (rows, row_bytes), np.uint8)
        pieces, self.offsets, at = [b"\xaa" * 16], [], 16
        for start in range(0, rows, block_rows):
            block = self.codes[start : start + block_rows]
            raw = (reference.tiled(block, 32) if tile_rows == 32 else block).tobytes() + b"\xbb" * 16
            self.offsets.append(at)
            at += len(raw)
            pieces.append(raw)
        self.data = np.frombuffer(b"".join(pieces)[:-16], np.uint8)  # nothing lies behind the last row
        self.offsets = np.array(self.offsets, np.int64)
        self.tiles = tiles_of(self.data, self.offsets, rows, block_rows, tile_rows, row_bytes)
        self.codes = self.codes[:, :width]


def tiles_of(data, offsets, rows, block_rows, tile_rows, row_bytes):
    """Return where rows lie, block after block."""
    ends = np.full(len(offsets), len(data))
    counts = np.clip(rows - np.arange(len(offsets)) * block_rows, 0, block_rows)
    return Tiles(data, np.asarray(offsets, np.int64), ends, counts, block_rows, tile_rows, row_bytes, 1)


def heaps(queries, k):
    return np.full((queries, k), -np.inf), np.full((queries, k), -1, np.int64), np.zeros(queries, np.int64)


def require_best(found, scores, k, floors, chosen):
    """Hold heaps against all scores: exactly these rows, equal scores in row order."""
    for q, own in enumerate(scores):
        rows = np.flatnonzero(chosen & (own >= floors[q]))
        expected = rows[np.lexsort((rows, -own[rows]))[:k]]
        size = found[2][q]
        got = found[1][q, :size][np.lexsort((found[1][q, :size], -found[0][q, :size]))]
        np.testing.assert_array_equal(got, expected)


def additive(codes, terms):
    """Return sums (q, n) of table entries picked by codes."""
    halves = np.stack([codes & 15, codes >> 4], axis=2).reshape(len(codes), 2 * codes.shape[1])
    picked = halves if terms.shape[2] == 16 else codes
    return sum(terms[:, j, picked[:, j]].astype(float) for j in range(terms.shape[1]))


def raw(kind, product, norm):
    if kind == "product":
        return product
    if kind == "squared":
        return 2 * product - norm
    return np.divide(product, np.sqrt(np.maximum(norm, 0)), out=np.zeros_like(product), where=norm > 1e-30)


def scan(level, codes, terms, norm_terms, kind, k, *, first=0, floors=None, chosen=None, bias=0.0, norm_bias=0.0):
    small = terms.shape[2] == 16
    rows, queries = len(codes.codes), len(terms)
    norm = norm_bias + additive(codes.codes, norm_terms[None])[0]
    scores = raw(kind, bias + additive(codes.codes, terms), np.broadcast_to(norm, (queries, rows)))
    lengths = (np.sqrt(norm.min(initial=1) * 0.999), np.sqrt(norm.max(initial=0) * 1.001))
    floors = np.full(queries, -np.inf) if floors is None else np.quantile(scores, floors, axis=1) - 1e-9
    found = heaps(queries, k)
    allowed = EVERYTHING if chosen is None else bits(chosen)
    norms = norm_terms if kind != "product" else np.zeros((0, 0), np.float32)
    two_digits = small and width_of(codes) >= 7
    asked = TableQueries(terms, norms, np.full(queries, bias), norm_bias, *lengths, KINDS[kind], two_digits)
    exact = scan_tiles(codes.tiles, asked, Heap(*found, floors), np.array([[first, rows]]), allowed, level)
    wanted = np.ones(rows, bool) if chosen is None else chosen.copy()
    wanted[:first] = False
    require_best(found, scores, k, floors, wanted)
    return exact


def width_of(codes):
    return codes.codes.shape[1]


def bits(chosen):
    padded = np.zeros(-(-len(chosen) // 32) * 32, bool)
    padded[: len(chosen)] = chosen
    return np.packbits(padded, bitorder="little").view("<u4")


def tables(queries, width, entries, scale=1.0):
    shape = (queries, 2 * width if entries == 16 else width, entries)
    norms = RNG.uniform(0, 2, shape[1:]).astype(np.float32) / shape[1]
    return (RNG.normal(size=shape) * scale).astype(np.float32), norms


@every_level
@every_kind
@pytest.mark.parametrize("entries", [16, 256])
@pytest.mark.parametrize("rows", [0, 1, 31, 33, 700])
@pytest.mark.parametrize(("width", "row_bytes"), [(1, 1), (5, 5), (7, 9)])
def test_the_best_rows_by_tables(level, kind, entries, rows, width, row_bytes):
    codes = Codes(rows, width, 96, row_bytes=row_bytes)
    for queries in (1, 5):
        scan(level, codes, *tables(queries, width, entries), kind, 3, bias=0.25, norm_bias=0.5)


@every_level
def test_all_scores_are_minus_infinity(level):
    """As codebooks of forged files have them: the bound of a full heap is then the one that there is at first."""
    codes, (terms, norms) = Codes(100, 7, 96, row_bytes=9), tables(5, 7, 16)
    scan(level, codes, terms, np.full_like(norms, np.inf), "squared", 3)


@every_level
def test_rows_that_second_digits_pass_over_at_first_are_looked_at_again(level):
    for _ in range(60):
        codes = Codes(100, 7, 96, row_bytes=9)
        scan(level, codes, *tables(5, 7, 16), "unit", 3, bias=0.25, norm_bias=0.5)


@every_level
@every_kind
@pytest.mark.parametrize("entries", [16, 256])
def test_few_scores_are_computed_exactly(level, kind, entries):
    codes = Codes(20_000, 12, 4096)
    exact = scan(level, codes, *tables(1, 12, entries), kind, 10)
    assert 10 <= exact < 3000


@every_level
@pytest.mark.parametrize("entries", [16, 256])
@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e18])
def test_tables_of_any_size(level, entries, scale):
    codes = Codes(500, 3, 96)
    for kind in ("product", "unit"):
        scan(level, codes, *tables(2, 3, entries, scale), kind, 7)


@every_level
@every_kind
def test_equal_rows_come_in_order(level, kind):
    codes = Codes(300, 1, 96)  # no more than 256 different codes
    scan(level, codes, *tables(2, 1, 16), kind, 40)
    terms, norms = np.zeros((1, 2, 16), np.float32), np.ones((2, 16), np.float32)
    assert scan(level, codes, terms, norms, kind, 40) == 300


@every_level
@every_kind
@pytest.mark.parametrize("floor", [0.0, 0.5, 0.99])
def test_scores_below_a_floor_do_not_count(level, kind, floor):
    codes = Codes(700, 4, 96)
    for k in (1, 10, 700):
        scan(level, codes, *tables(3, 4, 16), kind, k, floors=floor)


@every_level
@every_kind
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 1])
def test_rows_that_are_not_selected(level, kind, share):
    codes = Codes(1500, 4, 96)
    chosen = RNG.random(1500) < share
    chosen[512:1024] = False
    scan(level, codes, *tables(3, 4, 16), kind, 5, chosen=chosen)
    scan(level, codes, *tables(1, 4, 256), kind, 5, chosen=chosen, first=224)


@every_level
def test_more_tables_than_small_sums_hold(level):
    codes = Codes(200, 600, 96)
    assert scan(level, codes, *tables(1, 600, 16), "product", 5) <= 200


@every_level
@pytest.mark.parametrize("tiles", [1, 2, 3, 8, 17])
@pytest.mark.parametrize("queries", [1, 4, 6])
@pytest.mark.parametrize("width", [1, 5, 8])
def test_masks_of_nibbles(level, tiles, queries, width):
    group, most, _ = nibble.LAYOUTS[level]
    entries = RNG.integers(0, most + 1, (queries, 2 * width, 16), np.uint8)
    codes = RNG.integers(0, 256, (tiles, width, 32), np.uint8)
    groups = -(-width // group)
    padded = np.zeros((queries, groups * group * 2, 16), np.uint8)
    padded[:, : 2 * width] = entries
    laid = padded.reshape(queries, groups, group, 2, 16).transpose(1, 0, 3, 2, 4)  # [group][q][side][byte][16]
    whole = queries - queries % nibble.BLOCK_QUERIES
    parts = [laid[:, q : q + 4] for q in range(0, whole, 4)] + [laid[:, q : q + 1] for q in range(whole, queries)]
    table = aligned((1, laid.size), np.uint8)[0]
    table[:] = np.concatenate([part.reshape(-1) for part in parts])
    data = np.concatenate([codes.reshape(-1), np.zeros(96, np.uint8)])
    sums = additive(codes.transpose(0, 2, 1).reshape(-1, width), entries.astype(float)).reshape(queries, tiles, 32)
    for limit in (-1, 0, int(sums.mean()), int(sums.max()), 70_000):
        masks = np.zeros((queries, tiles), np.uint32)
        limits = np.full(queries, limit, np.int32)
        run_masks(nibble.nibble_masks)(
            levels.tag(level), data, 0, 32 * width, tiles, table, groups * group * 32, limits, masks
        )
        np.testing.assert_array_equal(masks, reference.bits_of(sums >= limit))


@every_level
@pytest.mark.parametrize("tiles", [1, 2, 3, 8, 17])
@pytest.mark.parametrize("width", [1, 5, 8])
def test_masks_of_bytes(level, tiles, width):
    table = aligned((3, width * 256), np.uint8)
    table[:] = RNG.integers(0, 256, table.shape, np.uint8)
    codes = RNG.integers(0, 256, (tiles, width, 32), np.uint8)
    sums = additive(codes.transpose(0, 2, 1).reshape(-1, width), table.reshape(3, width, 256).astype(float))
    sums = sums.reshape(3, tiles, 32)
    for limit in (-1, 0, int(sums.mean()), int(sums.max()), 70_000):
        masks = np.zeros((3, tiles), np.uint32)
        run_masks(byte.byte_masks)(
            levels.tag(level),
            codes.reshape(-1),
            0,
            32 * width,
            tiles,
            table.reshape(-1),
            width * 256,
            np.full(3, limit, np.int32),
            masks,
        )
        np.testing.assert_array_equal(masks, reference.bits_of(sums >= limit))


def run_masks(kernel):
    from numba import njit

    @njit(nogil=True)
    def run(level, data, start, stride, tiles, tables, query_bytes, thresholds, masks):
        kernel(level, data, start, stride, tiles, tables, query_bytes, thresholds, masks)

    return RUNNERS.setdefault(kernel, run)


RUNNERS: dict[object, object] = {}


def numbers(kind, rows, d):
    """Return numbers as float32, and their bytes."""
    if kind == "u6":
        x = RNG.integers(0, 64, (rows, d), np.uint8)
        return x.astype(np.float32), np.concatenate([join(x >> 2, 2), join(x & 3, 4)], axis=1)
    if kind == "u1":
        x = RNG.integers(0, 256, (rows, d), np.uint8)
        return x.astype(np.float32), x
    x = RNG.normal(size=(rows, d)).astype(np.float32)
    if kind == "f2":
        x = x.astype(np.float16)
        return x.astype(np.float32), x.view(np.uint8)
    if kind == "bf2":
        upper = (x.view(np.uint32) >> 16).astype(np.uint16)
        return (upper.astype(np.uint32) << 16).view(np.float32), upper.view(np.uint8)
    return x, x.view(np.uint8)


def some_ranges(rows):
    """Return a few ranges of rows, wherever they begin and end, and which rows they hold."""
    edges = np.unique(RNG.integers(0, rows + 1, 12))
    ranges = (
        np.stack([edges[:-1:2], edges[1::2]], axis=1)
        if len(edges) % 2 == 0
        else np.stack([edges[:-2:2], edges[1:-1:2]], axis=1)
    )
    held = np.zeros(rows, bool)
    for start, stop in ranges:
        held[start:stop] = True
    return np.ascontiguousarray(ranges), held


@every_level
@pytest.mark.parametrize("entries", [16, 256])
def test_rows_of_ranges_alone_are_found(level, entries):
    for rows, queries in ((33, 1), (700, 2), (900, 5)):
        codes = Codes(rows, 6, 256)
        terms, norms = tables(queries, 6, entries)
        scores = raw("product", additive(codes.codes, terms), 1.0)
        asked = TableQueries(terms, norms[:0, :0], np.zeros(queries), 0.0, 0.0, 0.0, PRODUCT, False)
        for chosen in (None, RNG.random(rows) < 0.6):
            ranges, held = some_ranges(rows)
            found, floors = heaps(queries, 7), np.full(queries, -np.inf)
            allowed = EVERYTHING if chosen is None else bits(chosen)
            scan_tiles(codes.tiles, asked, Heap(*found, floors), ranges, allowed, level)
            require_best(found, scores, 7, np.full(queries, -np.inf), held if chosen is None else held & chosen)


@every_level
@pytest.mark.parametrize("dtype", NUMBERS)
def test_numbers_of_ranges_alone_are_found(level, dtype):
    for scan, queries in ((scan_numbers, 2), (scan_batch, 20)):
        case = NumberCase(dtype, "unit", 500, queries, 33, level)
        ranges, held = some_ranges(500)
        found = heaps(queries, 5)
        asked = case.one_by_one if scan is scan_numbers else case.together
        scan(case.kind, case.tiles, asked, Heap(*found, np.full(queries, -np.inf)), ranges, EVERYTHING, level)
        case.require_best(found, held)


class NumberCase:
    """Rows of numbers in blocks, queries with and without a scan of all together, and their scores."""

    def __init__(self, dtype, kind, rows, queries, d, level, *, lengths=1.0):
        x, codes = numbers(dtype, rows, d)
        if dtype == "f4":
            x *= np.linspace(1, lengths, rows, dtype=np.float32)[:, None]  # codes are a view of it
        block_rows, pieces, offsets = max(-(-rows // 2), 1), [b"\xff" * 16], []
        for start in range(0, max(rows, 1), block_rows):
            offsets.append(sum(map(len, pieces)))
            pieces.append(codes[start : start + block_rows].tobytes() + b"\xff" * 16)
        data = np.frombuffer(b"".join(pieces)[:-16], np.uint8)  # nothing lies behind the last row
        self.kind, self.rows, self.queries, self.level = NUMBERS[dtype], rows, queries, level
        self.tiles = tiles_of(data, offsets, rows, block_rows, 1, codes.shape[1])
        weights = RNG.normal(size=(queries, d)).astype(np.float32)
        gram, offset = RNG.uniform(0.1, 1, d), RNG.normal(size=d)
        norm_weights, norm_bias = np.stack([2 * gram * offset, gram]).astype(np.float32), 0.5 + gram @ offset**2
        norm = 0.5 + (gram * (x.astype(float) + offset) ** 2).sum(axis=1)
        biases = RNG.normal(size=queries)
        products = biases[:, None] + weights.astype(float) @ x.T.astype(float)
        self.scores = raw(kind, products, np.broadcast_to(norm, (queries, rows)))
        least = float(np.sqrt(norm.min(initial=1))) * 0.999
        of_bytes = self.kind.of_bytes
        whole, bounds = whole_weights(weights if of_bytes else weights[:0], level)
        none, how = np.empty(0, np.uint8), plain_numbers.arithmetic(level, of_bytes=of_bytes)
        packed, packed_bounds = plain_numbers.pack(weights, how, level)
        runs = 0 if self.kind.six else -(-2 * block_rows // RUN)
        rest = biases, norm_weights, norm_bias, least, KINDS[kind], np.full(runs, -1, np.float32)
        self.one_by_one = NumberQueries(weights, whole, none, bounds, *rest)
        self.together = NumberQueries(weights, whole_weights(weights[:0], level)[0], packed, packed_bounds, *rest)

    def best(self, scan, asked, k, allowed=EVERYTHING):
        found = heaps(self.queries, k)
        heap = Heap(*found, np.full(self.queries, -np.inf))
        scan(self.kind, self.tiles, asked, heap, np.array([[0, self.rows]]), allowed, self.level)
        return found

    def require_best(self, found, wanted):
        for q in range(self.queries):
            best = -np.sort(-self.scores[q, wanted])[: found[0].shape[1]]
            assert found[2][q] == len(best)
            np.testing.assert_allclose(-np.sort(-found[0][q, : len(best)]), best, rtol=2e-4, atol=2e-4)
            own = self.scores[q, found[1][q, : len(best)]]
            np.testing.assert_allclose(found[0][q, : len(best)], own, rtol=2e-4, atol=2e-4)


@every_level
@every_kind
@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("d", [1, 7, 33, 50, 130, 384])
def test_the_best_rows_of_numbers(level, dtype, kind, d):
    for rows, queries in ((0, 1), (1, 1), (33, 2), (300, 3)):
        case = NumberCase(dtype, kind, rows, queries, d, level)
        chosen = RNG.random(rows) < 0.7
        for allowed, wanted in ((EVERYTHING, np.ones(rows, bool)), (bits(chosen), chosen)):
            case.require_best(case.best(scan_numbers, case.one_by_one, 5, allowed), wanted)


@every_level
@every_kind
@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("d", [1, 7, 33, 130, 384])
def test_many_queries_find_what_single_ones_do(level, dtype, kind, d):
    for rows, queries in ((0, 4), (1, 5), (33, 16), (300, 33), (301, 70)):
        case = NumberCase(dtype, kind, rows, queries, d, level, lengths=30.0)
        chosen = RNG.random(rows) < 0.7
        for allowed, wanted in ((EVERYTHING, np.ones(rows, bool)), (bits(chosen), chosen)):
            found = case.best(scan_batch, case.together, 5, allowed)
            case.require_best(found, wanted)
            expected = case.best(scan_numbers, case.one_by_one, 5, allowed)
            np.testing.assert_allclose(np.sort(found[0]), np.sort(expected[0]), rtol=1e-6, atol=1e-6)


@every_level
@pytest.mark.parametrize("d", [1, 4, 7, 384])
def test_packed_weights_bound_the_product(level, d):
    weights = RNG.normal(size=(9, d)).astype(np.float32)
    codes = RNG.choice(np.array([0, 128, 255], np.uint8), (200, d))
    how = plain_numbers.arithmetic(level, of_bytes=True)
    packed, bounds = plain_numbers.pack(weights, how, level)
    lanes = plain_numbers.SHAPES[level].lanes
    dtype, step = (np.int8, 4) if how == plain_numbers.WHOLE else (np.float32, 1)
    assert packed.ctypes.data % 64 == 0 and packed.size == -(-9 // lanes) * lanes * -(-d // step) * 4
    unpacked, at = [], 0
    for first in range(0, 9, 2 * lanes):
        width = 2 * lanes if 9 - first > lanes else lanes
        group = packed.view(dtype)[at : at + width * -(-d // step) * step].reshape(-1, width, step)
        unpacked.append(group.swapaxes(0, 1).reshape(width, -1))
        at += group.size
    whole = np.concatenate(unpacked)[:9, :d].astype(np.float64)
    products, sums = weights.astype(float) @ codes.T.astype(float), whole @ codes.T.astype(float)
    assert (bounds[:, :1] + bounds[:, 1:] * sums >= products - 1e-6 * np.abs(products) - 1e-9).all()
    if how == plain_numbers.WHOLE:
        pairs = np.abs(whole[:, : d // 2 * 2]).reshape(9, -1, 2).sum(axis=2)
        assert level != "avx2" or (255 * pairs < 2**15).all()  # two products are added up in 16 bits


@every_level
@pytest.mark.parametrize("d", [1, 50, 384, 5000])
def test_whole_weights_bound_the_product(level, d):
    weights = RNG.normal(size=(3, d)).astype(np.float32)
    codes = RNG.choice(np.array([0, 128, 255], np.uint8), (200, d))
    whole, wholes = whole_weights(weights, level)
    products = weights.astype(float) @ codes.T.astype(float)
    sums = whole[:, :d].astype(np.int64) @ codes.T.astype(np.int64)
    assert np.abs(sums).max() < 2**31
    bounds = wholes[:, :1] + wholes[:, 1:] * sums
    assert (bounds >= products - 1e-6 * np.abs(products)).all()


@every_level
@pytest.mark.parametrize(("rows", "k", "m"), [(1, 1, 1), (3, 50, 50), (300, 24, 5), (517, 130, 77)])
def test_products_of_rows_depend_on_nothing_else(level, rows, k, m):
    x, matrix = RNG.normal(size=(rows, k)).astype(np.float32), RNG.normal(size=(m, k)).astype(np.float32).T

    def products(some, matrix):
        out = np.empty((len(some), m), np.float32)
        entries.multiply_rows(levels.tag(level), tuple(SHAPES[level]), some, matrix, out)
        return out

    found = products(x, matrix)
    np.testing.assert_allclose(found, x.astype(np.float64) @ matrix, atol=1e-5 * k)
    if level != "plain":  # which has no instruction that multiplies and adds
        np.testing.assert_array_equal(found, row_products(x, matrix))  # of the best level
    for step in (1, 7, 256):
        cut = [products(x[start : start + step], np.ascontiguousarray(matrix)) for start in range(0, rows, step)]
        np.testing.assert_array_equal(found, np.concatenate(cut))


@pytest.mark.parametrize("k", [1, 2, 7, 40])
def test_a_heap_keeps_the_best(k):
    scores, rows, size = np.full(k, -np.inf), np.full(k, -1, np.int64), 0
    given, numbers_of = RNG.integers(0, 9, 100).astype(float), RNG.permutation(100)
    for score, row in zip(given, numbers_of, strict=True):
        size = push(scores, rows, size, score, row)
    order = np.lexsort((numbers_of, -given))[:k]
    assert size == k and set(rows.tolist()) == set(numbers_of[order].tolist())
    assert scores[0] == given[order].min()


def test_scores_offered_at_once():
    found = RNG.normal(size=(3, 50))
    best = heaps(3, 4)
    for start in (0, 20):
        rows = np.arange(100 + start, 100 + min(start + 20, 50) if start == 0 else 150)
        entries.offer_all(found[:, rows - 100], rows, Heap(*best, np.array([-np.inf, 0.5, 9.0])))
    assert sorted(best[1][0].tolist()) == sorted((100 + np.argsort(-found[0])[:4]).tolist())
    assert (best[0][1, : best[2][1]] >= 0.5).all() and best[2][2] == 0


def test_levels_end_with_the_best_and_can_be_chosen(monkeypatch):
    assert levels.levels()[0] == "plain" and levels.best_level() in levels.levels()
    levels.best_level.cache_clear()
    monkeypatch.setenv("VECSTORE_SIMD", "plain")
    assert levels.best_level() == "plain"
    levels.best_level.cache_clear()
    monkeypatch.setenv("VECSTORE_SIMD", "mmx")
    with pytest.raises(levels.VecstoreError, match="this processor has plain"):
        levels.best_level()
    levels.best_level.cache_clear()
