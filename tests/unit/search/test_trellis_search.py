"""Search on `tcq` codes where they lie, against plain decoding: kernels on every instruction set, then stores."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import reference

import vecstore
from vecstore.codecs.transforms.normalize import unit
from vecstore.codecs.trellis.layout import PARITY, CodeLayout
from vecstore.codecs.trellis.lookups import Lookups, coarse_levels
from vecstore.container.container import Container
from vecstore.errors import CodecError, CorruptError, OptionError
from vecstore.kernels import levels
from vecstore.kernels.arguments import PRODUCT, SQUARED, UNIT, Stage, Tiles, TrellisQueries
from vecstore.kernels.scans import scan_trellis
from vecstore.kernels.trellis_tables import fill
from vecstore.search.cascade import Cascade
from vecstore.search.options import SearchOptions
from vecstore.search.plan import Plan
from vecstore.search.ranking import raw_scores
from vecstore.search.resolve import resolve
from vecstore.search.scan_bytes import LEAST_ROWS, plan_of
from vecstore.search.topk import TopK
from vecstore.search.trellis import Trellis
from vecstore.shard.shard import Shard

RNG = np.random.default_rng(0)
EVERYTHING = np.empty(0, np.uint32)
DATA = Path(__file__).parents[2] / "data"
# bits of each step, widths of each step
LAYOUTS = {
    "one bit": ([1] * 8, [1] * 8),
    "two bits": ([2] * 16, [1] * 16),
    "three bits": ([3] * 16, [1] * 16),
    "falling": ([8, 7, 6, 6, 5, 5, 5, 6, 4, 3, 3, 3, 3, 3, 3, 2, *[2] * 8, *[1] * 24], [1] * 40 + [2] * 8),
    "short group": ([4] * 8 + [5, 3], [1] * 10),
    "one step": ([8], [1]),
}

every_level = pytest.mark.parametrize("level", levels.levels())


class Coded:
    """Random codes of a layout with random levels, in blocks of tiles as a file has them."""

    def __init__(self, layout, states, rows, *, tile_rows=128, block_rows=256, coarse=False):
        bits, widths = LAYOUTS[layout]
        self.layout, self.states, self.rows = CodeLayout(np.uint8(bits), np.uint8(widths)), states, rows
        self.tile_rows, self.block_rows, self.size = tile_rows, block_rows, self.layout.code_bytes
        self.levels = RNG.normal(size=int(self.layout.starts[-1])).astype(np.float32)
        self.coarse = coarse
        of_each = np.split(self.levels.astype(np.float64), self.layout.starts[1:-1])
        self.codes = RNG.integers(0, 256, (rows, self.size), np.uint8)

        def decoded(levels):
            of_row = (code.tobytes() for code in self.codes)
            return np.array([reference.trellis_decode(code, bits, widths, levels, PARITY[states]) for code in of_row])

        # The upper two bits of a sub-index, nothing of the path: what the first bytes say.
        known = np.repeat(np.minimum(np.array(bits) - 1, 2), widths)
        upper = [
            own.reshape(1 << k, -1).mean(axis=1).repeat(own.size >> k) for own, k in zip(of_each, known, strict=True)
        ]
        np.testing.assert_allclose(coarse_levels(self.layout, self.levels), np.concatenate(upper), rtol=1e-6)
        self.rough = decoded(upper).reshape(rows, -1)
        self.y = self.rough if coarse else decoded(reference.trellis_means(of_each, bits, widths, 5)).reshape(rows, -1)
        pieces, offsets, at = [b"\xaa" * 5], [], 5
        for start in range(0, rows, block_rows):
            offsets.append(at)
            pieces.append(reference.tiled(self.codes[start : start + block_rows], tile_rows).tobytes() + b"\xbb" * 3)
            at += len(pieces[-1])
        self.data = np.frombuffer(b"".join(pieces)[:-3], np.uint8)  # nothing lies behind the last row
        self.offsets = np.array(offsets, np.int64)

    def lookups(self, size_bytes):
        part = size_bytes if self.coarse or size_bytes < self.size else None
        return Lookups.of(self.layout, self.states, self.levels, part)

    def count(self, size_bytes):
        return int(self.layout.firsts[self.layout.steps_in(size_bytes)])

    def scan(self, level, weights, k, *, sizes=None, limit=-np.inf, margin=np.inf, wanted=1, kind=PRODUCT,
              first=0, last=None, allowed=EVERYTHING, edges=None, biases=None, floors=None, typical=1.0):  # fmt: skip
        """Return a sorted heap and, for each stage, what one step of the tables is worth."""
        queries, sizes = len(weights), sizes or [self.size]
        lookups = [self.lookups(size) for size in sizes]
        terms = [found.terms(weights) for found in lookups]
        squares = [
            found.terms(np.zeros((1, weights.shape[1]), np.float32), np.ones(weights.shape[1], np.float32))[0]
            for found in lookups
        ]
        best, shape = TopK(queries, k), (len(sizes), queries)
        counts = np.minimum(self.block_rows, self.rows - np.arange(len(self.offsets)) * self.block_rows)
        ends = np.full(len(counts), len(self.data))
        tiles = Tiles(self.data, self.offsets, ends, counts, self.block_rows, self.tile_rows, self.size, 8)
        stages = [
            Stage(size, found.kernel, found.owners, found.levels, norms, 0.0, float(typical))
            for size, found, norms in zip(sizes, lookups, squares, strict=True)
        ]
        biases = np.zeros((queries, 1)) if biases is None else biases
        edges = np.array([0, self.rows]) if edges is None else edges
        reached = np.zeros(shape), np.full(queries, limit), np.full(shape, margin)
        asked = TrellisQueries(kind, weights, biases, edges, *reached, wanted)
        heap = best.heap(np.full(queries, -np.inf) if floors is None else floors)
        ranges = np.array([[first, self.rows if last is None else last]])
        scan_trellis(tiles, stages, asked, heap, ranges, allowed, level)
        everything = TopK(queries, k)
        everything.merge(best)
        room = np.empty(terms[-1][0].shape, np.uint8)
        worths = [
            fill(kind, 0.0, float(typical), terms[-1][q], squares[-1], 0.0, lookups[-1].passes, room)[2]
            for q in range(queries)
        ]
        return everything, 0.5 * len(lookups[-1].planes) * np.array(worths) + 1e-5


def held_to(found, scores, slack, may=None):
    """Every score is right to the slack, and no row that is better by more than twice the slack is left out."""
    for q in range(len(scores)):
        allowed = np.ones(scores.shape[1], bool) if may is None else may
        rows = found.rows[q][: found.sizes[q]]
        assert len(set(rows.tolist())) == len(rows) == min(found.k, allowed.sum()) and allowed[rows].all()
        np.testing.assert_allclose(found.scores[q][: len(rows)], scores[q, rows], atol=slack[q])
        if len(rows):
            left = np.setdiff1d(np.flatnonzero(allowed), rows)
            assert scores[q, left].max(initial=-np.inf) <= scores[q, rows].min() + 2 * slack[q]


@every_level
@pytest.mark.parametrize("states", PARITY)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_sums_stand_for_products(level, layout, states):
    coded = Coded(layout, states, 70)
    weights = RNG.normal(size=(1, coded.y.shape[1])).astype(np.float32)
    found, slack = coded.scan(level, weights, 70)
    held_to(found, weights @ coded.y.T, slack)


@every_level
@pytest.mark.parametrize("queries", [1, 3, 4, 5, 9])
@pytest.mark.parametrize("rows", [1, 31, 33, 64, 65, 127, 129, 257, 500])
def test_odd_sizes(level, rows, queries):
    coded = Coded("falling", 64, rows)
    weights = RNG.normal(size=(queries, coded.y.shape[1])).astype(np.float32)
    found, slack = coded.scan(level, weights, 7)
    held_to(found, weights @ coded.y.T, slack)


@every_level
@pytest.mark.parametrize("kind", [PRODUCT, UNIT, SQUARED])
def test_kinds_of_score(level, kind):
    coded = Coded("falling", 8, 300)
    weights = RNG.normal(size=(2, coded.y.shape[1])).astype(np.float32)
    found, slack = coded.scan(level, weights, 20, kind=kind, typical=3.0)
    products, norms = weights @ coded.y.T, (coded.y**2).sum(axis=1)
    held_to(found, {PRODUCT: products, UNIT: products / 3.0, SQUARED: 2 * products - norms}[kind], slack)


@every_level
@pytest.mark.parametrize(("first", "last"), [(0, 500), (32, 500), (96, 301), (128, 129), (480, 500)])
def test_pieces_and_selections(level, first, last):
    coded = Coded("two bits", 64, 500)
    weights = RNG.normal(size=(2, coded.y.shape[1])).astype(np.float32)
    chosen = RNG.random(512) < 0.2
    chosen[160:320] = False  # whole tiles without one
    piece = (np.arange(500) >= first) & (np.arange(500) < last)
    for allowed, may in [(EVERYTHING, piece), (reference.bits_of(chosen.reshape(-1, 32)), piece & chosen[:500])]:
        found, slack = coded.scan(level, weights, 9, first=first, last=last, allowed=allowed)
        held_to(found, weights @ coded.y.T, slack, may)


@every_level
def test_cells(level):
    coded = Coded("falling", 64, 400)
    weights = RNG.normal(size=(3, coded.y.shape[1])).astype(np.float32)
    edges = np.array([0, 0, 5, 64, 65, 65, 300, 390, 400])
    biases = 10 * RNG.normal(size=(3, len(edges) - 1))
    found, slack = coded.scan(level, weights, 50, edges=edges, biases=biases)
    held_to(found, weights @ coded.y.T + biases[:, np.searchsorted(edges, np.arange(400), side="right") - 1], slack)


@every_level
@pytest.mark.parametrize("layout", ["falling", "three bits", "short group"])
@pytest.mark.parametrize("size", [1, 3, 4, 8, 11])
def test_rows_that_reach_the_limit_go_on(level, layout, size):
    coded = Coded(layout, 64, 450)
    if size >= coded.size:
        return
    weights = RNG.normal(size=(2, coded.y.shape[1])).astype(np.float32)
    count = coded.count(size)
    partial, scores = weights[:, :count] @ coded.rough[:, :count].T, weights @ coded.y.T
    limit = float(np.quantile(partial, 0.4))
    found, slack = coded.scan(level, weights, 450, sizes=[size, coded.size], limit=limit)
    for q in range(2):
        near = slack[q] / 3  # roundings cancel: three standard deviations
        rows = found.rows[q][: found.sizes[q]]
        assert (partial[q, rows] >= limit - near).all()
        assert np.isin(np.flatnonzero(partial[q] > limit + near), rows).all()
        np.testing.assert_allclose(found.scores[q][: len(rows)], scores[q, rows], atol=slack[q])


@every_level
@pytest.mark.parametrize("rows", [300, 20_000])
def test_rows_near_the_best_are_all_found(level, rows):
    coded = Coded("two bits", 8, rows)
    weights = RNG.normal(size=(3, coded.y.shape[1])).astype(np.float32)
    weights[:, coded.count(3) :] *= 0.1
    partial, scores = weights[:, : coded.count(3)] @ coded.rough[:, : coded.count(3)].T, weights @ coded.y.T
    margin, wanted = float((scores - partial).max()), 10
    found, slack = coded.scan(level, weights, 40, sizes=[3, 3, coded.size], margin=margin + 0.1, wanted=wanted)
    for q in range(3):
        best = np.sort(scores[q])[-wanted]
        assert np.isin(np.flatnonzero(scores[q] > best + 2 * slack[q]), found.rows[q]).all()
        np.testing.assert_allclose(found.scores[q], scores[q, found.rows[q]], atol=slack[q])


@every_level
def test_tiles_of_many_rows_do_not_overflow_what_waits(level):
    """Rows that go on waiting and those of the next tile have room together, however large the tiles of a file are."""
    coded = Coded("one step", 8, 30_000, tile_rows=8192, block_rows=8192)
    weights = RNG.normal(size=(9, coded.y.shape[1])).astype(np.float32)
    # Half of the rows are near enough to the best one to go on waiting.
    margins = np.quantile(weights[:, :1] @ coded.rough.T, [0.5, 1.0], axis=1)
    margin = float((margins[1] - margins[0]).min())
    found, _ = coded.scan(level, weights, 10, sizes=[1, 1], margin=margin)
    assert (found.sizes == 10).all() and (found.rows < 30_000).all()


@every_level
def test_floors(level):
    coded = Coded("falling", 64, 300)
    weights = RNG.normal(size=(1, coded.y.shape[1])).astype(np.float32)
    scores = weights @ coded.y.T
    found, _ = coded.scan(level, weights, 300, floors=np.quantile(scores, [0.9]))
    assert 20 <= found.sizes[0] <= 40


@pytest.mark.parametrize("level", levels.levels()[1:])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_instruction_set_finds_the_same(level, layout):
    coded = Coded(layout, 64, 900)
    weights = RNG.normal(size=(5, coded.y.shape[1])).astype(np.float32)
    for sizes in ([coded.size], [max(coded.size // 3, 1), coded.size]):
        found, expected = (coded.scan(name, weights, 60, sizes=sizes, limit=0.0)[0] for name in (level, "plain"))
        np.testing.assert_array_equal(found.rows, expected.rows)
        np.testing.assert_array_equal(found.scores, expected.scores)


# Stores


@pytest.fixture(scope="module")
def summaries():
    x, queries = (np.load(DATA / f"pypi_{name}_f16.npy").astype(np.float32) for name in ("docs", "queries"))
    return unit(x), unit(queries)


@pytest.fixture(scope="module")
def path(tmp_path_factory, summaries):
    path = tmp_path_factory.mktemp("trellis") / "a.vecs"
    vecstore.write(path, summaries[0], [f"key {i}" for i in range(2000)], "tcq:48:8")
    return path


@pytest.fixture(scope="module")
def store(path):
    return vecstore.open(path)


def same_rows(found, expected, atol=1e-5):
    np.testing.assert_allclose(found.scores, expected.scores, atol=atol)
    assert (found.rows == expected.rows).mean() > 0.99  # ties, and what rounding of sums makes of near ones


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("count", [1, 3, 70])
def test_a_scan_of_all_bytes_finds_what_decoding_does(store, summaries, metric, count):
    queries = summaries[1][:count]
    same_rows(store.search(queries, scan_bytes=48, metric=metric), store.search(queries, exact=True, metric=metric))


@pytest.fixture(scope="module")
def measured(store):
    """Numbers of bytes that may be scanned, rising."""
    return sorted(map(int, store.info()["certificate"]["prefixes"]["limits"]))


@pytest.mark.parametrize("which", ["auto", 0, 2, -1])
def test_prefixes_keep_recall(store, summaries, measured, which):
    x, queries = summaries
    size = which if which == "auto" else measured[which]
    true = np.argsort(-(queries @ x.T), axis=1)[:, :10]

    def recall(**options):
        rows = store.search(queries, **options).rows
        return np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(rows, true, strict=True)])

    assert abs(recall(scan_bytes=size) - recall(exact=True)) <= 0.002


def test_a_lower_recall_looks_at_less(store, measured):
    plans = [plan_of([store.info()], 48, recall, measured[1], rows=2000) for recall in (0.9, 0.99, None)]
    assert all(a.threshold > b.threshold and a.margins < b.margins for a, b in pairwise(plans))
    assert plans[0].sizes[0] == measured[1] and plan_of([store.info()], 48, None, 48, rows=2000) == Plan()


def test_fewer_bytes_are_scanned_where_a_recall_is_given_for_many_rows(store):
    def auto(recall, rows):
        return plan_of([store.info()], 48, recall, "auto", rows=rows)

    assert auto(None, LEAST_ROWS) == auto(0.99, LEAST_ROWS - 1) == Plan()
    assert auto(0.99, LEAST_ROWS).sizes[0] == store.info()["certificate"]["prefixes"]["swept"]["0.99"] < 48


def test_first_bytes_of_a_coarse_layer(tmp_path, summaries, monkeypatch):
    """Single queries read first bytes of many rows, batches all bytes; both find what the fine layer does."""
    x, queries = summaries
    monkeypatch.setattr("vecstore.search.scan_bytes.LEAST_ROWS", 1000)
    monkeypatch.setattr("vecstore.search.resolve._scans_faster", lambda *_: False)
    vecstore.write(tmp_path / "a.vecs", x, codec="tcq:48:8/sq:8")
    with vecstore.open(tmp_path / "a.vecs") as store:
        strategy = resolve(SearchOptions(metric="cosine"), store._snapshot.prepared, 10)
        assert isinstance(strategy, Cascade) and strategy.plan.sizes and strategy.fine == -1
        true = np.argsort(-(unit(queries) @ unit(np.asarray(store.vectors)).T), axis=1)[:, :10]
        for found in (store.search(queries).rows, [store.search(query).rows for query in queries]):
            assert np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(found, true, strict=True)]) > 0.99


@pytest.mark.parametrize(
    "options",
    [{"k": 300}, {"rows": np.arange(7, 2000, 100)}, {"exclude": np.arange(1900)}, {"rows": np.arange(2000) < 100}],
    ids=["many are wanted", "few numbers", "nearly all left out", "mask"],
)
def test_all_bytes_are_scanned_where_first_ones_were_not_measured(store, summaries, measured, options):
    queries = summaries[1][:9]
    found, expected = (store.search(queries, scan_bytes=size, recall=0.3, **options) for size in (measured[0], 48))
    np.testing.assert_array_equal(found.rows, expected.rows)


def test_no_query_gets_fewer_rows_than_there_are(store, summaries, measured):
    """At a low recall the limit leaves too few rows of some queries, such as those that are like no row."""
    x, queries = summaries
    odd = np.concatenate([queries, -x[:50], RNG.normal(size=(50, x.shape[1])).astype(np.float32)])
    for options in ({}, {"rescore": 0}):
        found = store.search(odd, scan_bytes=measured[0], recall=0.3, **options)
        assert found.rows.shape == (len(odd), 10) and (found.rows >= 0).all()
        assert all(len(set(rows)) == 10 for rows in found.rows.tolist())
        assert (np.diff(found.scores, axis=1) <= 0).all()


def test_selections_and_limits(store, summaries):
    queries = summaries[1][:5]
    mask = np.arange(2000) % 3 == 0
    for options in [{"rows": mask}, {"exclude": [1, 2, 3]}, {"rows": np.arange(20)}, {"min_score": 0.4}]:
        same_rows(store.search(queries, scan_bytes=48, **options), store.search(queries, exact=True, **options))
    within = store.range_search(queries[0], min_score=0.35)
    assert within.rows.tolist() == store.search(queries[0], 2000, exact=True, min_score=0.35).rows.tolist()
    assert store.most_similar("key 7", 3)[0][0] != "key 7"


def test_approximate_scores_as_they_are(store, summaries):
    rough, exact = (store.search(summaries[1][:9], **options) for options in ({"rescore": 0}, {"exact": True}))
    assert 0 < np.abs(rough.scores - exact.scores).max() < 0.1 and (rough.rescored == 0).all()


def test_several_shards(tmp_path, summaries):
    x, queries = summaries
    trained = vecstore.codec("tcq:48:8").fit(x[:800])
    vecstore.write(tmp_path / "s.vecs", x, codec=trained, shard_bytes=2**17)
    with vecstore.open(tmp_path / "s.vecs") as store:
        assert store.info()["shards"] > 1
        same_rows(store.search(queries, scan_bytes=48), store.search(queries, exact=True))


def test_limits_are_those_of_the_store_whatever_its_shards_hold(tmp_path):
    """A dump by topics: where a shard's rows are all alike, the best of all score no better than its others."""
    centers = RNG.normal(size=(8, 48)) * np.linspace(1.5, 0.3, 48)
    x = np.repeat(centers, 750, axis=0) + 0.8 * RNG.normal(size=(6000, 48)) * np.linspace(1.5, 0.3, 48)
    x = x.astype(np.float32)
    queries = x[::120] + 0.1 * RNG.normal(size=(50, 48)).astype(np.float32)
    trained = vecstore.codec("tcq:48:8").fit(x[RNG.permutation(6000)[:2000]])
    found = []
    for name, shard_bytes in (("one", 2**30), ("some", 2**17)):
        vecstore.write(tmp_path / name, x, codec=trained, metric="l2", shard_bytes=shard_bytes)
        with vecstore.open(tmp_path / name) as store:
            assert (store.info()["shards"] > 3) == (name == "some")
            expected = store.search(queries, scan_bytes=48).rows
            rows = [store.search(queries, scan_bytes=8, recall=recall).rows for recall in (0.998, 0.6, 0.6)]
            found.append([np.mean([np.isin(a, b).mean() for a, b in zip(expected, own, strict=True)]) for own in rows])
            np.testing.assert_array_equal(rows[1], rows[2])  # whichever thread was first
    assert min(found[0][0], found[1][0]) > 0.99 and abs(found[0][1] - found[1][1]) < 0.1


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("offset", [0, 2])
def test_what_scores_differ_by_is_known_from_moments(tmp_path, summaries, metric, offset):
    x, queries = summaries
    vecstore.write(tmp_path / "a.vecs", x[:600] + offset / 20, codec="tcq:48:8", metric=metric)
    trellis, queries = Trellis.of(Shard(tmp_path / "a.vecs").layers[0]), queries[:20] + np.float32(offset / 20)
    raw = {"cosine": "unit", "dot": "product", "l2": "squared"}[metric]
    own, weights = trellis.coefficients, trellis.coefficients.weights(queries)
    size, given = 16, own.feature_weights(weights[0], weights[1][:, None], raw)

    def scores(size_bytes):
        y = trellis.stage(size_bytes).sample
        products = weights[0][:, : y.shape[1]] @ y.T + weights[1][:, None]
        return raw_scores(raw, products, own.norms(y))

    for moments, expected in (
        (trellis.scores(size, raw), scores(size)),
        (trellis.gaps(size, raw), scores(48) - scores(size)),
    ):
        mean, variance = moments.along(given[:, : len(moments.mean)])
        np.testing.assert_allclose(mean, expected.mean(axis=1), atol=1e-4)
        assert 0.8 < np.median(variance / expected.var(axis=1)) < 1.5


@pytest.mark.parametrize("codec", ["center,tcq:20:8", "rotate,tcq:20:8", "pca:100,tcq:20:8"])
def test_behind_transforms(tmp_path, summaries, codec):
    x, queries = summaries
    vecstore.write(tmp_path / "a.vecs", 3 * x[:800] + 0.1, codec=codec, metric="l2")
    with vecstore.open(tmp_path / "a.vecs") as store:
        for metric in ("cosine", "dot", "l2"):
            found, expected = (store.search(queries, metric=metric, **o) for o in ({"scan_bytes": 20}, {"exact": True}))
            same_rows(found, expected, atol=1e-3)


def test_lengths_kept_apart_are_searched_by_decoding(tmp_path, summaries):
    x, queries = summaries
    scaled = x[:600] * np.linspace(1, 9, 600, dtype=np.float32)[:, None]
    vecstore.write(tmp_path / "a.vecs", scaled, codec="tcq:20:8", keep_norms=True, metric="dot")
    with vecstore.open(tmp_path / "a.vecs") as store:
        scores = queries[:4] @ store.vectors[:].T
        np.testing.assert_allclose(store.search(queries[:4]).scores, -np.sort(-scores, axis=1)[:, :10], rtol=1e-4)
        with pytest.raises(OptionError, match="scan_bytes is for tcq codes"):
            store.search(queries[0], scan_bytes=20)


@pytest.mark.parametrize("metric", ["cosine", "dot"])
def test_stores_in_cells(tmp_path, summaries, metric):
    x, queries = summaries
    vecstore.write(tmp_path / "a.vecs", x, codec="cells:9,tcq:24", metric=metric)
    with vecstore.open(tmp_path / "a.vecs") as store:
        shard = Shard(tmp_path / "a.vecs")
        assert Trellis.of(shard.layers[0]).serves(metric) and len(Trellis.of(shard.layers[0]).edges) == 10
        found, exact = store.search(queries), store.search(queries, exact=True)
        assert np.mean([np.isin(a, b).mean() for a, b in zip(found.rows, exact.rows, strict=True)]) > 0.995
        for some in ({"nprobe": 3}, {"rows": np.arange(0, 2000, 3)}, {"nprobe": 3, "exclude": found.rows[0]}):
            same_rows(store.search(queries[:9], **some), store.search(queries[:9], exact=True, **some))


def test_distances_in_cells_need_even_lengths(tmp_path, summaries):
    x, queries = summaries
    for name, given in (("even", x), ("uneven", x * np.linspace(1, 3, len(x), dtype=np.float32)[:, None])):
        vecstore.write(tmp_path / name, given, codec="cells:9,tcq:96", metric="l2")
        assert Trellis.of(Shard(tmp_path / name).layers[0]).serves("l2") == (name == "even")
        with vecstore.open(tmp_path / name) as store:
            distances = ((store.vectors[:][None] - queries[:5, None]) ** 2).sum(axis=2)
            np.testing.assert_allclose(store.search(queries[:5]).scores, np.sort(distances)[:, :10], atol=1e-3)


def test_exact_and_recall_where_codes_are_not_scanned(tmp_path, summaries):
    """By l2 in cells rows of uneven lengths are decoded anyway: both ask for no more."""
    x, queries = summaries
    uneven = x * np.linspace(1, 3, len(x), dtype=np.float32)[:, None]
    vecstore.write(tmp_path / "a.vecs", uneven, codec="cells:9,tcq:48", metric="l2")
    with vecstore.open(tmp_path / "a.vecs") as store:
        for options in ({"exact": True}, {"recall": 0.9}):
            np.testing.assert_array_equal(store.search(queries, **options).rows, store.search(queries).rows)
        with pytest.raises(OptionError, match="scan_bytes is for stores without cells"):
            store.search(queries, scan_bytes=8)


def test_what_is_not_measured_is_refused(store, tmp_path, summaries, measured):
    with pytest.raises(OptionError, match=rf"was measured, or all: {measured[0]}, .*48; found 1$"):
        store.search(summaries[1][0], scan_bytes=1)
    with pytest.raises(OptionError, match="recall is a share"):
        store.search(summaries[1][0], recall=1.0)
    with pytest.raises(OptionError, match="without exact="):
        store.search(summaries[1][0], recall=0.9, exact=True)
    vecstore.write(tmp_path / "b.vecs", summaries[0][:50], codec="sq:8")
    with vecstore.open(tmp_path / "b.vecs") as other, pytest.raises(OptionError, match="scan_bytes is for tcq codes"):
        other.search(summaries[1][0], scan_bytes=12)


@pytest.mark.parametrize(
    "prefixes",
    [
        None,
        3,
        {"limits": 1},
        {"limits": {"x": {}, "8": 1, "16": {"0.998": "high"}}, "margins": {"16": {"0.998": 1}}, "swept": {"0.99": 16}},
    ],
)
def test_descriptions_that_tell_nothing_lead_to_a_full_scan(prefixes):
    assert plan_of([{"certificate": {"prefixes": prefixes}}], 48, 0.99, "auto", rows=LEAST_ROWS) == Plan()


def test_the_layout_of_format_1_1_is_searched_by_decoding():
    with vecstore.open(Path(__file__).parents[2] / "compat/1.1/trellis.vecs") as old:
        assert old.info()["format"] == "1.1" and old.search(old.vectors[5], 1).rows.tolist() == [5]
        with pytest.raises(OptionError, match=r"layout of format 1\.2"):
            old.search(old.vectors[5], scan_bytes=5)


def test_damage_is_found_where_it_is_read(tmp_path, path, summaries):
    part, data = Container(path).part("codes.0"), bytearray(path.read_bytes())
    data[int(part.offsets[0]) + 9 * 2048 + 5] ^= 1
    (tmp_path / "a.vecs").write_bytes(data)
    with vecstore.open(tmp_path / "a.vecs") as store, pytest.raises(CorruptError, match="damaged"):
        store.search(summaries[1][0])


# Truncated stores


def test_truncated_says_so_and_takes_whole_numbers(store, measured):
    assert f", first {measured[-1]} bytes" in repr(store.truncated(bytes=measured[-1]))
    for wrong in (1.5, "16", True):
        with pytest.raises(OptionError, match="a whole number of dimensions or bytes"):
            store.truncated(bytes=wrong)


def test_truncated_to_bytes(store, summaries, measured):
    queries, size = summaries[1][:20], measured[-1]
    shorter = store.truncated(bytes=size)
    assert shorter.info()["bytes"]["code"] == [size] and "tcq:48:8" in repr(shorter)
    x, given = shorter.vectors[:], summaries[0]
    errors = [((found - given) ** 2).sum() for found in (store.vectors[:], x, store.truncated(bytes=12).vectors[:])]
    assert errors[0] < errors[1] < errors[2]
    np.testing.assert_array_equal(shorter["key 3"], shorter.get(["key 3"])[0])
    np.testing.assert_allclose(shorter["key 3"], x[3], atol=1e-6)
    found, expected = shorter.search(queries, scan_bytes=size), shorter.search(queries, exact=True)
    same_rows(found, expected)
    np.testing.assert_allclose(expected.scores, -np.sort(-(queries @ unit(x).T), axis=1)[:, :10], atol=1e-5)
    assert shorter.search(queries, scan_bytes=measured[1]).rows.shape == (20, 10)
    assert [len(vecstore.open(store.path)), shorter.verify() > 0] == [2000, True]


def test_codes_are_cut_anywhere(store):
    for size in (1, 7, 20, 47):
        assert store.truncated(bytes=size).info()["bytes"]["code"] == [size]
    for size in (0, 49):
        with pytest.raises(CodecError, match="choose 1 to 48"):
            store.truncated(bytes=size)


def test_a_truncated_codec_makes_no_stores(tmp_path, store, summaries):
    with pytest.raises(CodecError, match="train one for 16 bytes"):
        vecstore.write(tmp_path / "a.vecs", summaries[0], codec=store.truncated(bytes=16).codec)
    with pytest.raises(CodecError, match="train one for 16 bytes"):
        vecstore.Writer(tmp_path / "a.vecs", store.truncated(bytes=16).codec)
    assert not list(tmp_path.iterdir())


def test_truncated_cells_keep_their_centroids(tmp_path, summaries):
    x, queries = summaries[0], summaries[1][:20]
    vecstore.write(tmp_path / "a.vecs", x, codec="cells:8,tcq:24:8")
    with vecstore.open(tmp_path / "a.vecs") as whole:
        np.testing.assert_allclose(whole.truncated(bytes=24).vectors[:], whole.vectors[:], atol=1e-6)
        shorter = whole.truncated(bytes=16)
        errors = [((found.vectors[:] - x) ** 2).sum() for found in (whole, shorter, whole.truncated(bytes=8))]
        assert errors[0] < errors[1] < errors[2] < ((x - x.mean(axis=0)) ** 2).sum()
        expected = -np.sort(-(queries @ unit(shorter.vectors[:]).T), axis=1)[:, :10]
        np.testing.assert_allclose(shorter.search(queries, exact=True).scores, expected, atol=1e-5)
        np.testing.assert_allclose(shorter.search(queries).scores, expected, atol=1e-5)


def test_what_a_truncated_store_does_not_do(store, summaries):
    shorter = store.truncated(bytes=16)
    with pytest.raises(OptionError, match="no truncated store"):
        shorter.search(summaries[1][0], calibrated=True)
    with pytest.raises(OptionError, match="not truncated"):
        shorter.truncated(bytes=20)


def test_what_cannot_be_cut(tmp_path, store):
    with pytest.raises(OptionError, match="either dimensions or bytes"):
        store.truncated()
    vecstore.write(tmp_path / "a.vecs", np.eye(40, 8), codec="sq:8")
    with vecstore.open(tmp_path / "a.vecs") as other, pytest.raises(CodecError, match="no coarser code"):
        other.truncated(bytes=4)


@every_level
@pytest.mark.parametrize("states", PARITY)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_coarse_sums_stand_for_products_of_means(level, layout, states):
    coded = Coded(layout, states, 70, coarse=True)
    weights = RNG.normal(size=(1, coded.y.shape[1])).astype(np.float32)
    found, slack = coded.scan(level, weights, 70)
    held_to(found, weights @ coded.y.T, slack)
