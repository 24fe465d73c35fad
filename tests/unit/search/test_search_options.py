"""Filters, limits, recall and rescoring: what options mean, and which make no sense."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import vecstore
from vecstore.errors import OptionError
from vecstore.search.resolve import RESCORED_BYTES, _scans_faster

ROWS = 2000
LAYOUTS = {"file": {}, "shards": {"shard_bytes": 190_000}}

every_layout = pytest.mark.parametrize("layout", LAYOUTS)


@pytest.fixture
def open_words(make_store):
    return lambda *spec, **options: vecstore.open(make_store(*spec, **options))


@pytest.fixture(scope="session")
def asked(words):
    return words[ROWS : ROWS + 20]


@pytest.mark.parametrize("options", [{"rows": []}, {"rows": np.zeros(ROWS, bool)}, {"exclude": np.ones(ROWS, bool)}])
def test_nothing_selected(open_words, asked, options):
    for spec in ("sq:8", "bin/sq:8"):
        store = open_words(spec)
        batch, single = store.search(asked[:3], **options), store.search(asked[0], **options)
        assert batch.rows.shape == (3, 0) and batch.keys == [[], [], []] and single.keys == []


def test_an_empty_exclusion_excludes_nothing(open_words, asked):
    store = open_words("sq:8")
    np.testing.assert_array_equal(store.search(asked, exclude=[]).rows, store.search(asked).rows)


def test_a_fine_bound_touches_few_rows(make_store, asked):
    tight, loose = (vecstore.open(make_store(spec)) for spec in ("sq:8/f32", "bin/f32"))
    assert np.median(tight.search(asked, exact=True).rescored) < 60
    assert np.median(loose.search(asked, exact=True).rescored) > 200


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


@pytest.mark.parametrize(
    ("spec", "single", "batch"), [("bin/sq:8", False, True), ("pq:4x4/sq:8", False, False), ("bin/f16", False, False)]
)
def test_batches_scan_the_fine_layer_where_numbers_are_multiplied_faster(spec, single, batch):
    codec = vecstore.codec(spec).fit(np.random.default_rng(0).normal(size=(2000, 64)).astype(np.float32), seed=0)
    prepared = SimpleNamespace(rows=1_000_000, sections=[SimpleNamespace(codec=codec)])
    assert [_scans_faster(100, prepared, queries) for queries in (1, 64)] == [single, batch]
