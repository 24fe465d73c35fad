"""The contract of search: every kind of code in every place finds what brute force over the decoded vectors finds.

A store is a codec in a place, opened in some way. Each meets every metric, filter, batch, k, thoroughness, number of
threads and instruction set, in combinations that a seed draws; the tests that take long draw more. Brute force decodes
all vectors and computes in float64. What a store cannot do it refuses in one line. A new codec, place or filter is one
line.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from math import ceil

import numpy as np
import pytest
import reference

import vecstore
from vecstore.codecs.transforms.normalize import unit
from vecstore.errors import CodecError, OptionError
from vecstore.kernels import entries, levels
from vecstore.kernels.entry import Entry
from vecstore.metric import METRICS
from vecstore.search.batch import Batch
from vecstore.search.cell_scanner import CellScanner
from vecstore.search.decoded_scanner import DecodedScanner
from vecstore.search.number_scanner import NumberScanner
from vecstore.search.selection import Selection
from vecstore.search.table_scanner import TableScanner
from vecstore.search.trellis_scanner import TrellisScanner
from vecstore.shard.sizes import bytes_beside

ROWS, SHARD_ROWS, D = 900, 300, 150  # dimensions that no kernel divides
EVERYTHING = 10**6
NEAR = 3e-5  # what rounding changes
# What a row that a scan of trellis codes takes for one of the best scores less, at most: in cells, where lengths are
# nearly one, rows are scanned by products whatever the metric.
LOST, LOST_BY_PRODUCTS = 2e-3, 1e-2
NPROBE = 2

# what scans the codes where they lie, and in cells; beside each other: codecs that are opened as one store
SCANNERS = {
    "tables": (TableScanner, CellScanner),
    "numbers": (NumberScanner, CellScanner),
    "trellis": (TrellisScanner, TrellisScanner),
    "decoded": (DecodedScanner, DecodedScanner),
}
CODECS = {
    "pq:48x4": "tables",
    "bin": "tables",
    "pq:48": "tables",
    "sq:4": "tables",
    "sq:8": "numbers",
    "sq:6": "numbers",
    "f16": "numbers",
    "whiten:40,sq:8": "numbers",
    "tcq:96": "trellis",
    "tcq:24:8": "trellis",
    "lvq:4": "decoded",
    "f32,zstd": "decoded",
}


@dataclass(frozen=True)
class Place:
    """Where a codec stands, and what else is told a writer; the longest vector is `uneven` times the shortest."""

    spec: str
    metric: str
    uneven: float = 1.0
    keep_norms: bool = False
    keep_order: bool = True
    keyed: bool = False


PLACES = {
    "alone": Place("{}", "cosine", 1.3, keyed=True),
    "coarse": Place("{}/f16", "l2", 1.3),
    "fine": Place("bin/{}", "cosine", 3.0),
    "cells": Place("cells:6,{}", "l2"),
    "coarse in cells": Place("cells:6,{}/f16", "cosine", keyed=True),
    "any order": Place("cells:6,{}", "dot", 3.0, keep_norms=True, keep_order=False, keyed=True),
    "lengths kept": Place("{}", "l2", 3.0, keep_norms=True),
    "coarse, lengths kept": Place("{}/f16", "cosine", 3.0, keep_norms=True),
}
WAYS = ["file", "shards", "joined", "truncated"]
STORES = [*product(CODECS, PLACES, WAYS)]

every_codec = pytest.mark.parametrize("codec", CODECS)
every_place = pytest.mark.parametrize("place", PLACES)
every_way = pytest.mark.parametrize("way", WAYS)

# Rows that may be found, of n; the best row of the first query is `best`. How they are told is in the name.
EVERY_THIRD, FEW = (lambda n: np.arange(n) % 3 == 1), (lambda n: np.arange(n) % 200 == 7)
FILTERS = [
    "none",
    "mask",
    "mask of few",
    "numbers",
    "few numbers",
    "no numbers",
    "exclude mask",
    "exclude numbers",
    "exclude the best",
    "mask, exclude the best",
    "limit",
    "mask, limit",
    "nprobe",
    "nprobe, mask, exclude the best",
]
AXES = {
    "metric": METRICS,
    "filter": FILTERS,
    "queries": [0, 1, 3, 64],  # 0: one vector, not a batch of one
    "k": [1, 10, EVERYTHING],
    "thorough": ["default", "exact", "coarse"],
    "threads": ["1", "3"],
    "level": levels.levels(),
}


@dataclass(frozen=True)
class Case:
    """A search, one value of each axis."""

    metric: str
    filter: str
    queries: int
    k: int
    thorough: str
    threads: str
    level: str


def cases(store: tuple[str, str, str], seed: int) -> list[Case]:
    """Return searches of a store in which each value of each axis occurs, sorted by instruction set."""
    rng, count = np.random.default_rng([seed, STORES.index(store)]), max(map(len, AXES.values()))
    drawn = [[*rng.permutation(np.resize(np.arange(len(axis)), count))] for axis in AXES.values()]
    found = [Case(*(axis[at] for axis, at in zip(AXES.values(), one, strict=True))) for one in zip(*drawn, strict=True)]
    return sorted(found, key=lambda case: case.level)


@pytest.fixture(scope="module")
def asked(queries):
    return queries[:64, :D]


@pytest.fixture(scope="module")
def open_store(tmp_path_factory, docs, doc_keys):
    """Return a function that opens a codec in a place, in some way; each file is written once."""

    @cache
    def trained(codec, place):
        return vecstore.codec(PLACES[place].spec.format(codec)).fit(docs[ROWS:, :D], rows=ROWS)

    @cache
    def built(codec, place, shards):
        path, how = tmp_path_factory.mktemp("stores") / "a.vecs", PLACES[place]
        lengths = np.random.default_rng(0).uniform(1, how.uneven, (ROWS, 1)).astype(np.float32)
        options = {"keep_norms": how.keep_norms, "keep_order": how.keep_order}
        own, keys = trained(codec, place), [f"{codec} {key}" for key in doc_keys[:ROWS]]
        row_bytes = own.code_bytes + ceil(bytes_beside(own, **options)) + 20 * how.keyed
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("vecstore.conversion.shards.cutting.FIXED_BYTES", 0)  # lets shards be as small as this
            size = SHARD_ROWS * row_bytes if shards else None
            with vecstore.Writer(path, own, metric=how.metric, shard_bytes=size, **options) as writer:
                writer.add(unit(docs[:ROWS, :D]) * lengths, keys if how.keyed else None)
        return path

    def opened(codec, place, way):
        if way == "joined":
            other = [*CODECS][([*CODECS].index(codec) + 1) % (len(CODECS) - 1)]
            return vecstore.open([built(codec, place, False), built(other, place, True)])
        store = vecstore.open(built(codec, place, way == "shards"))
        assert (len(store._snapshot.shards) > 1) == (way == "shards")
        return cut(store, CODECS[codec]) if way == "truncated" else store

    return opened


def cut(store, scanner):
    return store.truncated(bytes=20) if scanner == "trellis" else store.truncated(dimensions=96)


@contextmanager
def compiled_for(level: str, threads: str = "1") -> Iterator[None]:
    """Let all compiled loops be those for an instruction set, as in a process that VECSTORE_SIMD tells so."""

    def forget():
        levels.best_level.cache_clear()
        for entry in vars(entries).values():
            if isinstance(entry, Entry):
                entry._call = entry._first_call

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VECSTORE_SIMD", level)
        patch.setenv("VECSTORE_THREADS", threads)
        patch.setattr("vecstore.search.batch.SHARED_BYTES", 1)  # a thread for each few rows
        patch.setattr("vecstore.search.batch.PIECE_BYTES", 1)
        forget()
        yield
    forget()


class BruteForce:
    """What a store should find: decoded vectors, scores in float64."""

    def __init__(self, store, queries):
        self.store, self.shards, self.metric = store, store._snapshot.shards, store.info()["metric"]
        self.queries = queries[:, : store.dimensions]
        self.keys, self.n = store.keys[:] if store._snapshot.shards[0].keys else range(len(store)), len(store)
        self.kinds = {shard.codec.layers[0].quantizer.code_kind for shard in self.shards}
        self.two_layers, self.trellis = len(self.shards[0].layers) == 2, self.kinds == {"trellis"}
        self.cells, self.reordered = self.shards[0].cells is not None, store.renumbered
        self.scores = cache(self.scores)

    def scores(self, metric, layer=-1):
        """Return scores, larger being better: (q, n)."""
        x = np.asarray(self.store.vectors) if layer == -1 else np.concatenate(list(map(self._coarse, self.shards)))
        found = reference.scores(self.queries, x, metric)
        return -found if metric == "l2" else found

    @staticmethod
    def _coarse(shard):
        at = np.arange(shard.rows) if shard.order is None else shard.order.positions(np.arange(shard.rows))
        return shard._scaled(shard.layers[0].decode(shard.layers[0].gather(at), at), at)

    def refuses(self, case):
        """Say whether a search is one that this store has to refuse."""
        bounded = self.metric == case.metric and self.shards[0].prefix is None
        if case.thorough == "exact" and not (bounded if self.two_layers else self.trellis):
            return True
        return "nprobe" in case.filter and not self.cells

    def options(self, case, k):
        """Return the options of a search, which rows it may find for each query (q, n), and what they have to score."""
        n, given = self.n, {"metric": case.metric}
        layer = 0 if self.two_layers and case.thorough == "coarse" else -1
        scores = self.scores(case.metric, layer)[: max(case.queries, 1)]
        may, least, best = np.ones(n, bool), -np.inf, np.argsort(-scores[0])[:3]
        for said in case.filter.split(", "):
            name = "exclude" if "exclude" in said else "rows"
            own = {"few": FEW(n), "best": np.isin(np.arange(n), best), "no": np.zeros(n, bool)}
            chosen = next((rows for word, rows in own.items() if word in said.split()), EVERY_THIRD(n))
            if said == "limit":
                least = float(np.quantile(scores, 0.99))
                given |= {"max_distance": -least} if case.metric == "l2" else {"min_score": least}
            elif said not in ("none", "nprobe"):
                given[name] = chosen if "mask" in said else np.flatnonzero(chosen)[::-1]
                may &= ~chosen if name == "exclude" else chosen
        if self.reordered:  # rows have the numbers that the store gives them
            for name in [name for name in ("rows", "exclude") if len(given.get(name, ()))]:
                refused(self.store, self.queries, **{name: given[name]})
                named = np.flatnonzero(given[name]) if given[name].dtype == bool else given[name]
                given[name] = self.store.rows_of([self.keys[row] for row in named])
        if case.thorough == "exact":
            given["exact"] = True
        elif self.two_layers:
            given["rescore"] = 0 if layer == 0 else EVERYTHING
        reach = np.broadcast_to(may, scores.shape)
        if "nprobe" in case.filter:
            given["nprobe"] = NPROBE
            if self.cells:
                selected = may if "rows" in given else None
                probed = [self._probed(query, case.metric, selected, k) for query in self.queries[: len(scores)]]
                reach = reach & np.stack(probed)
        return given, scores, reach, least

    def _probed(self, query, metric, selected, k):
        """Return which rows lie in the cells nearest to a query, by centroids: (n,).

        Where rows are selected, cells are looked into until as many of these were seen, at least k. A truncated store
        has unit vectors, so that the nearest cells are so by distance.
        """
        may = np.zeros(self.n, bool)
        q = unit(query[None])[0] if metric == "cosine" else query
        first = 0
        for section in self.store._snapshot.prepared.sections:
            centroids, by_product = section.codec.partition.centroids, metric == "dot" and self.shards[0].prefix is None
            near = centroids @ q if by_product else -((q - centroids) ** 2).sum(axis=1)
            sizes = sum(np.diff(shard.cells.edges) for shard in section.shards)
            near[sizes == 0] = -np.inf
            cells, start = np.argsort(-near)[:NPROBE], first
            if selected is not None:
                counts = np.zeros(len(sizes), int)
                for shard in section.shards:
                    at = np.arange(shard.rows)
                    own = selected[start + (at if shard.order is None else shard.order.rows(at))]
                    counts += np.add.reduceat(np.append(own, 0), shard.cells.edges[:-1]) * (
                        np.diff(shard.cells.edges) > 0
                    )
                    start += shard.rows
                wanted = max(sizes[cells].sum(), k)
                cells = [cell for cell in np.argsort(-near) if counts[cell]]
                seen = np.cumsum([0, *counts[cells]])
                cells = [cell for cell, before in zip(cells, seen, strict=False) if before < wanted]
            for shard in section.shards:
                for cell in cells:
                    at = np.arange(shard.cells.edges[cell], shard.cells.edges[cell + 1])
                    may[first + (at if shard.order is None else shard.order.rows(at))] = True
                first += shard.rows
        return may

    def require(self, case):
        """Search, and hold what is found against brute force."""
        given, scores, may, least = self.options(case, min(case.k, self.n))
        queries = self.queries[: len(scores)]
        if self.refuses(case):
            refused(self.store, queries, case.k, **given)
            return
        found = self.store.search(queries if case.queries else queries[0], case.k, **given)
        lost = LOST_BY_PRODUCTS if self.cells and case.metric == "l2" else LOST
        lost = NEAR if "trellis" not in self.kinds or given.get("exact") else lost
        results = found.rows, found.scores, found.keys
        rows, got, keys = results if case.queries else ([result] for result in results)
        for one in zip(scores, may, rows, -np.asarray(got) if case.metric == "l2" else got, keys, strict=True):
            self._require_best(*one, case.k, least, np.array([NEAR, lost]) * max(np.abs(scores).max(), 1))

    def require_all(self, case):
        """Search for all rows that reach a score, and hold them against brute force."""
        given, scores, may, _ = self.options(case, 0)
        least, near = float(np.quantile(scores, 0.97)), NEAR * max(np.abs(scores).max(), 1)
        given = {name: given[name] for name in ("metric", "rows", "exclude", "nprobe") if name in given}
        given |= {"rescore": 0} if case.thorough == "coarse" else {}
        given |= {"max_distance": -least} if case.metric == "l2" else {"min_score": least}
        queries = self.queries[: len(scores)]
        if "nprobe" in given and not self.cells:
            refused(self.store, queries, **given)
            return
        found = self.store.range_search(queries if case.queries else queries[0], **given)
        for own, reach, one in zip(scores, may, found if case.queries else [found], strict=True):
            sure, maybe = (set(np.flatnonzero(reach & (own > least + gap)).tolist()) for gap in (near, -near))
            rows = one.rows.tolist()
            assert sure <= set(rows) <= maybe and len(set(rows)) == len(rows)
            got = -one.scores if case.metric == "l2" else one.scores
            np.testing.assert_allclose(got, own[one.rows], atol=near)
            assert (np.diff(got) <= 0).all() and one.keys == [self.keys[row] for row in rows]

    def _require_best(self, scores, may, rows, got, keys, k, least, gaps):
        near, lost = gaps
        kept = rows >= 0
        rows, size = rows[kept], int(kept.sum())
        best = np.sort(scores[may])[::-1][:k]
        assert (best > least + lost).sum() <= size <= (best >= least - lost).sum()
        assert len(set(rows.tolist())) == size and may[rows].all() and np.isnan(got[~kept]).all()
        np.testing.assert_allclose(got[kept], scores[rows], atol=near)
        np.testing.assert_allclose(got[kept], best[:size], atol=lost)
        assert (np.diff(got[kept]) <= 0).all()
        assert keys == [self.keys[row] for row in rows.tolist()]


def refused(store, queries, k=10, **given):
    with pytest.raises(OptionError) as error:
        store.search(queries, k, **given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 4))])
@every_codec
@every_place
@every_way
def test_searches_find_what_brute_force_does(open_store, asked, codec, place, way, seed):
    try:
        brute_force = BruteForce(open_store(codec, place, way), asked)
    except CodecError as error:
        assert way == "truncated" or ("zstd" in codec and "coarse" in place)
        assert "\n" not in str(error)
        return
    for at, case in enumerate(cases((codec, place, way), seed)):
        with compiled_for(case.level, case.threads):
            try:
                brute_force.require(case)
                if at % 3 == 0:
                    brute_force.require_all(case)
            except Exception as error:
                error.add_note(str(case))
                raise


def test_all_pairs_of_values_meet():
    every = {case for store in STORES for case in cases(store, 0)}
    for a, b in combinations(AXES, 2):
        met = {(getattr(case, a), getattr(case, b)) for case in every}
        assert len(met) == len(AXES[a]) * len(AXES[b]), (a, b)


@every_way
@every_codec
@pytest.mark.parametrize("place", [place for place in PLACES if "/" in PLACES[place].spec])
def test_few_rows_are_rescored_by_default_and_hardly_one_is_lost(open_store, asked, codec, place, way):
    try:
        brute_force = BruteForce(open_store(codec, place, way), asked)
    except CodecError:
        return  # as above
    found = brute_force.store.search(asked[:, : brute_force.store.dimensions])
    scores = brute_force.scores(brute_force.metric)
    got = -found.scores if brute_force.metric == "l2" else found.scores
    np.testing.assert_allclose(got, np.take_along_axis(scores, found.rows, axis=1), atol=NEAR)
    assert np.mean(got >= np.sort(scores)[:, -10][:, None] - NEAR) > 0.97


@pytest.mark.parametrize("way", ["file", "shards"])
@every_codec
@every_place
def test_codes_are_scanned_where_they_lie(open_store, asked, codec, place, way):
    if "coarse" in place and "zstd" in codec:
        return  # as above
    store = open_store(codec, place, way)
    prepared = store._snapshot.prepared
    batch = Batch(prepared, asked[:1], "cosine", Selection(prepared.sections, prepared.edges, None, None), None)
    alone, in_cells = SCANNERS["tables" if place == "fine" else CODECS[codec]]
    for scanner in batch.fast_scanners(wanted=10):
        assert type(scanner) is (in_cells if store._snapshot.shards[0].cells else alone)


@pytest.mark.parametrize("way", ["file", "shards", "joined"])
@every_codec
@every_place
def test_scores_of_listed_rows(open_store, asked, codec, place, way):
    """Lists of rows of several queries are scored in one call for each shard, whatever their lengths."""
    if "coarse" in place and "zstd" in codec:
        return  # as above
    store, rng, counts = open_store(codec, place, way), np.random.default_rng(0), [0, 1, 31, 0, 64, 65, 300, 2, 0]
    prepared, brute_force = store._snapshot.prepared, BruteForce(store, asked[:9])
    candidates = np.full((9, 300), -1)
    for own, count in zip(candidates, counts, strict=True):
        own[rng.permutation(300)[:count]] = rng.permutation(len(store))[:count]
    for metric in METRICS:
        scores, selection = brute_force.scores(metric), Selection(prepared.sections, prepared.edges, None, None)
        batch = Batch(prepared, brute_force.queries, metric, selection, None)
        found = batch.score(candidates, 300, batch.scorers(-1))
        assert found.sizes.tolist() == batch.rescored.tolist() == counts
        for query, count in enumerate(counts):
            rows = prepared.numbered(found.rows[query, :count])
            got = batch.ranking.final(found.scores)[query, :count]
            assert set(found.rows[query, :count]) == set(candidates[query][candidates[query] >= 0])
            np.testing.assert_allclose(got, scores[query, rows], atol=NEAR * np.abs(scores).max())
            assert (np.diff(got) <= 0).all()


def test_approximate_scores_are_those_of_the_metric(open_store, asked):
    """A scan in cells compares products; what comes out, filtered or not, are cosines."""
    store = open_store("tcq:96", "cells", "shards")
    rows = (np.arange(ROWS) < SHARD_ROWS) | (np.arange(ROWS) % 150 == 3)
    for chosen in (None, rows):
        found = store.search(asked, metric="cosine", rows=chosen, rescore=0)
        scores = BruteForce(store, asked).scores("cosine")
        np.testing.assert_allclose(found.scores, np.take_along_axis(scores, found.rows, axis=1), atol=0.05)
        best = np.sort(scores if chosen is None else scores[:, chosen])[:, :-11:-1]
        assert np.abs(found.scores - best).mean() < 0.01


def test_a_shard_of_uneven_lengths_has_all_decoded(tmp_path, docs, asked):
    """Scores of a scan by trellis are no measure of others: shards are scanned alike."""
    uneven = np.where(np.arange(ROWS) < SHARD_ROWS, 1, np.linspace(1, 4, ROWS)).astype(np.float32)
    x = docs[:ROWS, :D] * uneven[:, None]
    codec, paths = vecstore.codec("cells:4,tcq:24/sq:8").fit(x), [tmp_path / "a", tmp_path / "b"]
    for path, part in zip(paths, (x[:SHARD_ROWS], x[SHARD_ROWS:]), strict=True):
        vecstore.write(path, part, codec=codec)
    brute_force = BruteForce(vecstore.open(paths), asked)
    brute_force.kinds = {"decoded"}
    brute_force.require(Case("cosine", "none", 64, 10, "default", "1", levels.levels()[-1]))


def test_hamming_distance_of_kept_lengths(tmp_path, words):
    vecstore.write(tmp_path / "a.vecs", words[:500], codec="bin:mean", keep_norms=True)
    with vecstore.open(tmp_path / "a.vecs") as store:
        found = store.search(words[:50], 1, metric="hamming")
        assert found.rows[:, 0].tolist() == list(range(50)) and not found.scores.any()
