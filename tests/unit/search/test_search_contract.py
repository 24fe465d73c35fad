"""The contract of search: every kind of code in every place, against brute force over the decoded vectors.

Kinds are those of `TrainedQuantizer.code_kind`. Places: alone, as coarse layer, in cells, in shards; searched with and
without filters, one by one and in batches, truncated, by score. A new kind is one line in KINDS.
"""

from __future__ import annotations

from functools import cache
from math import ceil

import numpy as np
import pytest
import reference

import vecstore
from vecstore.errors import CodecError
from vecstore.metric import METRICS
from vecstore.search.batch import Batch
from vecstore.search.cell_scanner import CellScanner
from vecstore.search.decoded_scanner import DecodedScanner
from vecstore.search.number_scanner import NumberScanner
from vecstore.search.selection import Selection
from vecstore.search.table_scanner import TableScanner
from vecstore.search.trellis_scanner import TrellisScanner
from vecstore.shard.sizes import bytes_beside, fixed_bytes

ROWS, SHARD_ROWS, K = 900, 300, 10
# kind of code: a codec that makes it, what scans it, and in cells
KINDS = {
    "tables16": ("pq:48x4", TableScanner, CellScanner),
    "tables256": ("pq:48", TableScanner, CellScanner),
    "numbers": ("sq:8", NumberScanner, CellScanner),
    "trellis": ("tcq:64", TrellisScanner, TrellisScanner),
    "decoded": ("lvq:4", DecodedScanner, DecodedScanner),
}
PLACES = {"alone": "{}", "coarse": "{}/f16", "cells": "cells:6,{}", "coarse in cells": "cells:6,{}/f16"}
LAYOUTS = ["file", "shards"]

every_kind = pytest.mark.parametrize("kind", KINDS)
every_place = pytest.mark.parametrize("place", PLACES)
every_layout = pytest.mark.parametrize("layout", LAYOUTS)
every_metric = pytest.mark.parametrize("metric", METRICS)

pytestmark = pytest.mark.filterwarnings("ignore::vecstore.conversion.certification.RescoringWarning")


@pytest.fixture(scope="module")
def open_store(tmp_path_factory, docs):
    """Return a function that opens a store of a kind of code in a place; each is written once."""

    @cache
    def trained(kind, place):
        return vecstore.codec(PLACES[place].format(KINDS[kind][0])).fit(docs[ROWS:], rows=ROWS)

    @cache
    def build(kind, place, layout, metric):
        path, codec = tmp_path_factory.mktemp("stores") / "a.vecs", trained(kind, place)
        row = codec.code_bytes + ceil(bytes_beside(codec, keep_norms=False, keep_order=True))
        shard_bytes = None if layout == "file" else fixed_bytes(codec) + SHARD_ROWS * row
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("vecstore.conversion.writer.FIXED_BYTES", 0)  # lets shards be as small as this
            with vecstore.Writer(path, codec, metric=metric, shard_bytes=shard_bytes) as writer:
                writer.add(docs[:ROWS])
        return path

    return lambda kind, place, layout="file", metric="cosine": vecstore.open(build(kind, place, layout, metric))


def brute_force(store, queries, metric):
    """Return the scores of all rows, larger being better: (q, n)."""
    scores = reference.scores(np.atleast_2d(queries), np.asarray(store.vectors), metric)
    return -scores if metric == "l2" else scores


def require_best(found, scores, metric, *, kind, may=None):
    """Hold a result against brute force (q, n); a scan of trellis codes may lose a row that is almost as good."""
    scores = scores if may is None else np.where(may, scores, -np.inf)
    rows, got = np.atleast_2d(found.rows), np.atleast_2d(found.scores)
    got = -got if metric == "l2" else got
    for own, own_rows, own_scores in zip(scores, rows, got, strict=True):
        best = np.sort(own)[::-1][:K]
        best = best[np.isfinite(best)]
        assert len(own_rows) == len(set(own_rows.tolist())) == len(best) and (own_rows >= 0).all()
        np.testing.assert_allclose(own_scores, own[own_rows], atol=2e-5)
        np.testing.assert_allclose(own_scores, best, atol=2e-3 if kind == "trellis" else 2e-5)


@every_metric
@every_layout
@every_place
@every_kind
def test_best_rows(open_store, queries, kind, place, layout, metric):
    """All candidates of a coarse layer are scored by the fine one, so that the result is the fine layer's."""
    store = open_store(kind, place, layout, metric)
    scores = brute_force(store, queries[:20], metric)
    options = {"rescore": ROWS} if "coarse" in place else {}
    spread, few = np.arange(ROWS) % 5 < 2, np.arange(ROWS) % 300 == 7
    for some in (slice(0, 1), slice(0, 3), slice(0, 20)):
        asked = queries[some] if some.stop > 1 else queries[0]
        for may in (None, spread, few):
            found = store.search(asked, K, rows=may, **options)
            require_best(found, scores[some], metric, kind=kind, may=may)
    nearest, others = np.argsort(-scores[0])[:3], np.ones(ROWS, bool)
    others[nearest] = False
    for given, may in (
        ({"exclude": np.flatnonzero(spread)}, ~spread),
        ({"exclude": nearest}, others),  # so few that as many more are looked for
        ({"rows": np.flatnonzero(few)[::-1]}, few),  # so few that they are picked out
        ({"rows": spread, "exclude": nearest}, spread & others),
    ):
        require_best(store.search(queries[:20], K, **given, **options), scores, metric, kind=kind, may=may)


@every_layout
@every_place
@every_kind
def test_all_rows_that_reach_a_score(open_store, queries, kind, place, layout):
    store = open_store(kind, place, layout)
    scores = brute_force(store, queries[:5], "cosine")
    least = float(np.quantile(scores, 0.98))
    for own, found in zip(scores, store.range_search(queries[:5], min_score=least), strict=True):
        sure, maybe = np.flatnonzero(own > least + 1e-5), np.flatnonzero(own > least - 1e-5)
        assert set(sure) <= set(found.rows.tolist()) <= set(maybe)
    limited = store.search(queries[:5], K, min_score=least, **({"rescore": ROWS} if "coarse" in place else {}))
    assert (limited.rows >= 0).sum() >= np.minimum((scores > least + 1e-5).sum(axis=1), K).sum() - 1


@every_layout
@every_kind
def test_coarse_layers(open_store, queries, kind, layout):
    """By default few rows are rescored and hardly one is lost; exact=True loses none; rescore=0 is the layer itself."""
    for place in ("coarse", "coarse in cells"):
        store, alone = open_store(kind, place, layout), open_store(kind, place.replace("coarse in cells", "cells"))
        scores = brute_force(store, queries, "cosine")
        require_best(store.search(queries, K, exact=True), scores, "cosine", kind="exact")
        found, best = store.search(queries, K), np.sort(scores)[:, -K][:, None]
        np.testing.assert_allclose(found.scores, np.take_along_axis(scores, found.rows, axis=1), atol=2e-5)
        assert np.mean(found.scores >= best - 1e-5) > 0.98 and found.rescored.max() < ROWS
        if place == "coarse":
            coarse, itself = store.search(queries, K, rescore=0), open_store(kind, "alone", layout).search(queries, K)
            assert np.mean(coarse.rows == itself.rows) > 0.99
            np.testing.assert_allclose(coarse.scores, itself.scores, atol=2e-3)
        assert len(alone) == ROWS


@every_layout
@every_place
@every_kind
def test_codes_are_scanned_where_they_lie(open_store, queries, kind, place, layout):
    store = open_store(kind, place, layout)
    prepared = store._snapshot.prepared
    batch = Batch(prepared, queries[:1], "cosine", Selection(prepared.shards, prepared.edges, None, None), None)
    _, alone, in_cells = KINDS[kind]
    for scanner in batch.fast_scanners(wanted=K):
        assert type(scanner) is (in_cells if "cells" in place else alone)


@every_metric
@every_layout
@every_place
@every_kind
def test_scores_of_listed_rows(open_store, queries, kind, place, layout, metric):
    """Lists of rows of several queries are scored in one call for each shard, whatever their lengths."""
    store = open_store(kind, place, layout, metric)
    scores, prepared, rng = brute_force(store, queries[:9], metric), store._snapshot.prepared, np.random.default_rng(0)
    batch = Batch(prepared, queries[:9], metric, Selection(prepared.shards, prepared.edges, None, None), None)
    counts = [0, 1, 31, 0, 64, 65, 300, 2, 0]
    candidates = np.full((9, 300), -1)
    for own, count in zip(candidates, counts, strict=True):
        own[rng.permutation(300)[:count]] = rng.permutation(ROWS)[:count]
    found = batch.score(candidates, 300, batch.scorers(0 if "coarse" not in place else -1))
    assert found.sizes.tolist() == batch.rescored.tolist() == counts
    for query, count in enumerate(counts):
        rows = batch.numbered(found.rows[query, :count])
        got = batch.ranking.final(found.scores)[query, :count]
        assert set(found.rows[query, :count]) == set(candidates[query][candidates[query] >= 0])
        np.testing.assert_allclose(got, scores[query, rows], atol=2e-5)
        assert (np.diff(got) <= 0).all()


@every_layout
@every_kind
def test_cells_that_are_probed(open_store, queries, kind, layout):
    for place, options in (("cells", {}), ("coarse in cells", {"rescore": ROWS})):
        store = open_store(kind, place, layout)
        scores, snapshot = brute_force(store, queries[:8], "cosine"), store._snapshot
        for query, own in zip(queries[:8], scores, strict=True):
            may = np.zeros(ROWS, bool)
            for shard, first in zip(snapshot.shards, snapshot.edges, strict=False):
                positions = shard.cells.nearest(query, 2, by_product=False)
                may[(positions if shard.order is None else shard.order.rows(positions)) + first] = True
            for chosen in (None, np.arange(ROWS) % 3 > 0):
                found = store.search(query, K, rows=chosen, nprobe=2, **options)
                require_best(found, own[None], "cosine", kind=kind, may=may if chosen is None else may & chosen)


@every_layout
@every_place
@every_kind
def test_truncated_stores_or_one_line(open_store, queries, kind, place, layout):
    store = open_store(kind, place, layout)
    ways = [{"dimensions": 96}, {"bytes": 32}]
    served = 0
    for way in ways:
        try:
            cut = store.truncated(**way)
        except CodecError as error:
            assert "\n" not in str(error)
            continue
        served += 1
        asked = queries[:5, : cut.dimensions]
        options = {"rescore": ROWS} if "coarse" in place else {}
        found = cut.search(asked, K, **options)
        require_best(found, brute_force(cut, asked, "cosine"), "cosine", kind=kind)
    assert served == {"numbers": 1, "trellis": int("coarse" not in place)}.get(kind, 0)


def test_a_shard_of_uneven_lengths_has_all_decoded(tmp_path, docs, queries):
    """Scores of a scan by trellis are no measure of others: shards are scanned alike."""
    x = docs[:ROWS] * np.where(np.arange(ROWS) < SHARD_ROWS, 1, np.linspace(1, 4, ROWS))[:, None].astype(np.float32)
    codec = vecstore.codec("cells:4,tcq:24/sq:8").fit(x)
    row = codec.code_bytes + ceil(bytes_beside(codec, keep_norms=False, keep_order=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vecstore.conversion.writer.FIXED_BYTES", 0)
        with vecstore.Writer(tmp_path / "a", codec, shard_bytes=fixed_bytes(codec) + SHARD_ROWS * row) as writer:
            writer.add(x)
    with vecstore.open(tmp_path / "a") as store:
        assert store.info()["shards"] == 3
        found = store.search(queries, K, rescore=ROWS)
        require_best(found, brute_force(store, queries, "cosine"), "cosine", kind="exact")


@every_layout
def test_scores_of_cells_are_those_of_the_metric(open_store, queries, layout):
    """A scan in cells compares products; what comes out, filtered or not, are cosines."""
    store = open_store("trellis", "cells", layout)
    scores = brute_force(store, queries[:10], "cosine")
    dense_then_sparse = (np.arange(ROWS) < SHARD_ROWS) | (np.arange(ROWS) % 150 == 3)
    for options in ({}, {"rescore": 0}):
        require_best(store.search(queries[:10], K, **options), scores, "cosine", kind="trellis")
        found = store.search(queries[:10], K, rows=dense_then_sparse, **options)
        require_best(found, scores, "cosine", kind="trellis", may=dense_then_sparse)


def test_hamming_distance_of_kept_lengths(tmp_path, words):
    vecstore.write(tmp_path / "a.vecs", words[:500], codec="bin:mean", keep_norms=True)
    with vecstore.open(tmp_path / "a.vecs") as store:
        found = store.search(words[:50], 1, metric="hamming")
        assert found.rows[:, 0].tolist() == list(range(50)) and not found.scores.any()
