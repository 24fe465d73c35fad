"""Filters, limits, range search, exact search and rescoring, against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import reference

import vecstore
from vecstore.errors import OptionError
from vecstore.kernels import levels
from vecstore.metric import METRICS
from vecstore.search.resolve import RESCORED_BYTES

ROWS = 2000
LAYOUTS = {"file": {}, "shards": {"shard_bytes": 190_000}}

every_layout = pytest.mark.parametrize("layout", LAYOUTS)
every_metric = pytest.mark.parametrize("metric", METRICS)
one_layer = pytest.mark.parametrize(
    "spec", ["pq:10x4", "pq:10", "bin", "sq:4", "sq:8", "sq:6", "f16", "whiten:20,sq:8"]
)
two_layers = pytest.mark.parametrize("spec", ["bin/sq:8", "sq:8/f32", "pq:10x4/f16", "bin/pq:25", "sq:4/f32,zstd"])


@pytest.fixture
def open_words(make_store):
    return lambda *spec, **options: vecstore.open(make_store(*spec, **options))


@pytest.fixture(scope="session")
def asked(words):
    return words[ROWS : ROWS + 20]


def truth(store, queries, metric):
    """Return scores of all rows, larger being better: (q, n)."""
    scores = reference.scores(np.atleast_2d(queries), np.asarray(store.vectors), metric)
    return -scores if metric == "l2" else scores


def require_best(store, found, queries, metric, k, chosen=None, least=-np.inf):
    scores = truth(store, queries, metric)
    if chosen is not None:
        scores[:, ~chosen] = -np.inf
    scale = max(float(np.abs(scores[np.isfinite(scores)]).max(initial=0)), 1) * 2e-5
    rows, got = np.atleast_2d(found.rows), np.atleast_2d(found.scores)
    for q, own in enumerate(scores):
        best = -np.sort(-own[np.isfinite(own)])[:k]
        best = best[best >= least + (scale if np.isfinite(least) else 0)]
        kept = rows[q] >= 0
        assert 0 <= kept.sum() - len(best) <= np.isclose(own, least, atol=scale).sum()
        np.testing.assert_allclose((-got if metric == "l2" else got)[q, : len(best)], best, rtol=2e-5, atol=scale)
        np.testing.assert_allclose(own[rows[q, : len(best)]], best, rtol=2e-5, atol=scale)
        assert np.isnan(got[q, ~kept]).all() and len(set(rows[q, kept].tolist())) == kept.sum()


@every_metric
@one_layer
@every_layout
@pytest.mark.parametrize("share", [0.002, 0.4])
def test_only_selected_rows_are_found(open_words, asked, spec, metric, layout, share):
    store = open_words(spec, **LAYOUTS[layout])
    chosen = np.random.default_rng(1).random(ROWS) < share
    for given in (asked, asked[0]):
        for options in ({"rows": chosen}, {"rows": np.flatnonzero(chosen)[::-1]}, {"exclude": ~chosen}):
            require_best(store, store.search(given, metric=metric, **options), given, metric, 10, chosen)
        found = store.search(given, metric=metric, rows=chosen, exclude=np.flatnonzero(chosen)[:2])
        chosen_less = chosen.copy()
        chosen_less[np.flatnonzero(chosen)[:2]] = False
        require_best(store, found, given, metric, 10, chosen_less)


@pytest.mark.parametrize("options", [{"rows": []}, {"rows": np.zeros(ROWS, bool)}, {"exclude": np.ones(ROWS, bool)}])
def test_nothing_selected(open_words, asked, options):
    for spec in ("sq:8", "bin/sq:8"):
        store = open_words(spec)
        batch, single = store.search(asked[:3], **options), store.search(asked[0], **options)
        assert batch.rows.shape == (3, 0) and batch.keys == [[], [], []] and single.keys == []


def test_an_empty_exclusion_excludes_nothing(open_words, asked):
    store = open_words("sq:8")
    np.testing.assert_array_equal(store.search(asked, exclude=[]).rows, store.search(asked).rows)


@every_metric
@one_layer
def test_limits_of_scores(open_words, asked, spec, metric):
    store = open_words(spec)
    for given in (asked, asked[0]):
        least = float(np.quantile(truth(store, given, metric), 0.998))
        limit = {"max_distance": -least} if metric == "l2" else {"min_score": least}
        found = store.search(given, metric=metric, **limit)
        require_best(store, found, given, metric, 10, least=least)
        for query, own in enumerate(np.atleast_2d(found.rows)):
            keys = found.keys[query] if given.ndim == 2 else found.keys
            assert keys == [store.keys[row] for row in own[own >= 0].tolist()]


@every_metric
@one_layer
@every_layout
def test_everything_within_a_limit(open_words, asked, spec, metric, layout):
    store = open_words(spec, **LAYOUTS[layout])
    scores = truth(store, asked, metric)
    least = float(np.quantile(scores, 0.97))
    limit = {"max_distance": -least} if metric == "l2" else {"min_score": least}
    chosen = np.arange(ROWS) % 3 > 0
    edge = max(float(np.abs(scores).max()), 1) * 1e-5
    results = store.range_search(asked, metric=metric, rows=chosen, **limit)
    assert isinstance(results, list) and len(results) == len(asked)
    for found, own in zip(results, scores, strict=True):
        sure = np.flatnonzero(chosen & (own > least + edge))
        maybe = np.flatnonzero(chosen & (own > least - edge))
        assert set(sure) <= set(found.rows.tolist()) <= set(maybe)
        assert (np.diff(found.scores) >= 0).all() if metric == "l2" else (np.diff(found.scores) <= 0).all()
        assert found.keys == [store.keys[row] for row in found.rows.tolist()]
    single = store.range_search(asked[0], metric=metric, rows=chosen, **limit)
    assert isinstance(single, vecstore.SearchResult)
    assert abs(len(single.rows) - len(results[0].rows)) <= np.isclose(scores[0], least, atol=edge).sum()


@every_metric
@two_layers
@every_layout
def test_exact_search_is_a_search_of_the_fine_layer(make_store, asked, spec, metric, layout):
    store = vecstore.open(make_store(spec, metric=metric, **LAYOUTS[layout]))
    for given in (asked, asked[0]):
        found = store.search(given, exact=True)
        require_best(store, found, given, metric, 10)
        touched = np.atleast_1d(found.rescored)
        assert (touched >= 10).all() and (touched <= ROWS).all()
    chosen = np.arange(ROWS) % 5 == 0
    require_best(store, store.search(asked, exact=True, rows=chosen), asked, metric, 10, chosen)
    require_best(store, store.search(asked, ROWS, exact=True), asked, metric, ROWS)


@every_metric
@two_layers
def test_everything_within_a_limit_of_the_fine_layer(make_store, asked, spec, metric):
    store = vecstore.open(make_store(spec, metric=metric))
    scores = truth(store, asked, metric)
    least = float(np.quantile(scores, 0.99))
    limit = {"max_distance": -least} if metric == "l2" else {"min_score": least}
    edge = max(float(np.abs(scores).max()), 1) * 1e-5
    for found, own in zip(store.range_search(asked, **limit), scores, strict=True):
        assert (
            set(np.flatnonzero(own > least + edge))
            <= set(found.rows.tolist())
            <= set(np.flatnonzero(own > least - edge))
        )
        assert found.rescored >= len(found.rows)


def test_a_fine_bound_touches_few_rows(make_store, asked):
    tight, loose = (vecstore.open(make_store(spec)) for spec in ("sq:8/f32", "bin/f32"))
    assert np.median(tight.search(asked, exact=True).rescored) < 60
    assert np.median(loose.search(asked, exact=True).rescored) > 200


@every_metric
def test_exact_search_with_kept_lengths(make_store, asked, metric):
    store = vecstore.open(make_store("sq:4/f32", metric=metric, keep_norms=True))
    require_best(store, store.search(asked, exact=True), asked, metric, 10)


def test_recall_decides_how_many_rows_are_rescored(open_words, asked, monkeypatch):
    store, small = open_words("bin/sq:8"), RESCORED_BYTES
    monkeypatch.setattr("vecstore.search.resolve.RESCORED_BYTES", 0)
    counts = [int(store.search(asked[0], recall=recall).rescored) for recall in (0.8, 0.95, 0.99, 0.999)]
    assert counts == sorted(counts) and counts[0] < counts[2]
    assert store.search(asked[0]).rescored == counts[2]
    assert store.search(asked[0], rescore=3).rescored == 30
    exact = store.search(asked, rescore=ROWS).rows
    for recall in (0.8, 0.95):
        found = store.search(asked, recall=recall).rows
        assert (
            np.mean([len(set(a) & set(b)) for a, b in zip(found.tolist(), exact.tolist(), strict=True)]) > 10 * recall
        )
    # Few rows take less time to be scanned by the fine layer than to be rescored.
    monkeypatch.setattr("vecstore.search.resolve.RESCORED_BYTES", small)
    whole = store.search(asked)
    assert np.array_equal(whole.rows, exact) and not whole.rescored.any()


@pytest.mark.parametrize("level", levels.levels())
@one_layer
def test_every_instruction_set_finds_the_same(open_words, asked, spec, level, monkeypatch):
    store = open_words(spec)
    expected = store.search(asked[:5])
    monkeypatch.setattr(levels, "best_level", lambda: level)
    found = store.search(asked[:5])
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-6)


@every_metric
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_change_nothing(open_words, words, monkeypatch, metric, threads):
    monkeypatch.setenv("VECSTORE_THREADS", str(threads))
    monkeypatch.setattr("vecstore.search.batch.PIECE_BYTES", 1)
    for spec in ("pq:10x4", "sq:8", "bin/sq:8"):
        store = open_words(spec, rows=4900)
        found = store.search(words[4900:], 30, metric=metric)
        monkeypatch.setenv("VECSTORE_THREADS", "1")
        np.testing.assert_array_equal(found.rows, store.search(words[4900:], 30, metric=metric).rows)


def test_a_store_without_recorded_lengths_is_searched_as_well(open_words, asked):
    for spec in ("pq:10x4", "bin", "sq:8", "f16"):
        store = open_words(spec)
        expected = store.search(asked)
        for shard in store._snapshot.shards:
            del shard.description["lengths"]
        np.testing.assert_array_equal(store.search(asked).rows, expected.rows)


def test_neighbours_of_a_key_leave_it_out(open_words):
    store = open_words("bin/sq:8")
    assert "king" not in [key for key, _ in store.most_similar("king", 50)]
    assert [key for key, _ in store.most_similar("king", 5)] == [
        key for key, _ in store.most_similar("king", 5, rescore=ROWS)
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": np.ones(5, bool)}, "a mask has one value a row, 2,000 here; found 5"),
        ({"rows": [0, 2000]}, "rows: 2000 is no row of a store with 2,000 rows"),
        ({"exclude": [-1]}, "exclude: -1 is no row"),
        ({"rows": ["king"]}, r"store.rows_of\(keys\) turns keys into row numbers"),
        ({"rows": [0.5]}, "found"),
        ({"min_score": 0.5, "metric": "l2"}, "give max_distance= instead of min_score="),
        ({"max_distance": 0.5}, "give min_score= instead of max_distance="),
        ({"min_score": float("nan")}, "a limit of scores is a number, found nan"),
        ({"exact": True}, "exact= is for two-layer stores"),
        ({"recall": 0.9}, "recall= is for"),
        ({"rescore": "all"}, "found 'all'"),
    ],
)
def test_options_that_make_no_sense(open_words, asked, arguments, message):
    with pytest.raises(OptionError, match=message):
        open_words("sq:8").search(asked[0], **arguments)


def test_options_that_make_no_sense_for_two_layers(open_words, asked):
    store = open_words("bin/sq:8")
    with pytest.raises(OptionError, match="their own metric, here cosine"):
        store.search(asked[0], exact=True, metric="l2")
    with pytest.raises(OptionError, match=r"recall is a share up to 0.999, found 1; exact=True misses nothing"):
        store.search(asked[0], recall=1)
    with pytest.raises(OptionError, match="recall= is for"):
        store.search(asked[0], recall=0.9, exact=True)
    with pytest.raises(OptionError, match="needs min_score"):
        store.range_search(asked[0])


@every_layout
def test_hamming_distance_counts_bits(open_words, asked, layout):
    for spec in ("bin", "center,rotate,bin", "bin/sq:8"):
        store = open_words(spec, **LAYOUTS[layout])
        layer = store._snapshot.shards[0].codec.layers[0]
        bits = np.unpackbits(layer.encode(np.asarray(open_words("f32").vectors)), axis=1)
        distances = (np.unpackbits(layer.encode(asked), axis=1)[:, None] != bits).sum(axis=2)
        chosen = np.arange(ROWS) % 200 == 7
        for selected, options in ((np.ones(ROWS, bool), {}), (chosen, {"rows": chosen})):
            order = np.argsort(np.where(selected, distances, 999), axis=1, kind="stable")[:, :10]
            found = store.search(asked, metric="hamming", **options)
            np.testing.assert_array_equal(found.rows, order)
            np.testing.assert_array_equal(found.scores, np.take_along_axis(distances, order, axis=1))
        within = store.range_search(asked[0], metric="hamming", max_distance=9)
        assert set(within.rows.tolist()) == set(np.flatnonzero(distances[0] <= 9).tolist())


def test_hamming_distance_needs_bits(open_words, asked):
    with pytest.raises(OptionError, match="hamming compares the bits of a bin layer that is scanned; this one is sq:8"):
        open_words("sq:8").search(asked[0], metric="hamming")
    with pytest.raises(OptionError, match="scores of hamming are distances"):
        open_words("bin").search(asked[0], metric="hamming", min_score=1)
