"""Searches of token vectors, against MaxSim in numpy over what the codes decode to."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import vecstore
from vecstore.codecs.codec import Codec
from vecstore.errors import KeyNotFoundError, OptionError, ShapeError
from vecstore.kernels.levels import levels
from vecstore.search.maxsim import MaxSim
from vecstore.search.panels import Panels
from vecstore.store.fields import readers_of

ROWS, D = 700, 16
RNG = np.random.default_rng(5)
# Of many lengths, so that items begin and end everywhere in tiles and in the 64 rows that are scanned at once.
TOKENS = [RNG.normal(size=(int(size), D)).astype(np.float32) for size in RNG.integers(0, 40, ROWS)]
TOKENS[10:13] = [np.empty((0, D), np.float32)] * 3
for item in TOKENS:
    item[:, 5] = 0.25  # a constant dimension
    item /= np.maximum(np.linalg.norm(item, axis=1, keepdims=True), 1e-9)
DENSE = np.array([item.mean(axis=0) if len(item) else np.full(D, 0.01) for item in TOKENS])
QUERIES = [RNG.normal(size=(size, D)).astype(np.float32) for size in (1, 3, 7, 12, 40)]
KEYS = [f"key {i}" for i in range(ROWS)]
PANELS = ["sq:8", "sq:6", "sq:4", "f32", "bf16", "pq:4", "opq:4", "pq:8x4", "center,pq:1", "rotate,bin", "pca:11,sq:4"]
CELLS = ["cells:40,tcq:6", "cells:300,sq:8", "cells:9,pca:14,f16", "cells:5,rq:3"]
CODECS = ["tcq:6", "tcq:10", "pca:8,tcq:4", "rq:3", *PANELS, *CELLS]


def expected(query: np.ndarray, items: list[np.ndarray]) -> np.ndarray:
    """Return the score of every row, the plain way."""
    return np.array([(query @ item.T).max(axis=1).sum() if len(item) else -np.inf for item in items])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores")
    columns = {"n": list(range(ROWS))}
    for codec in CODECS:
        field = vecstore.Multi(TOKENS, codec=codec)
        vecstore.write(folder / f"{codec}.vecs", DENSE, KEYS, "sq:8", columns=columns, fields={"tokens": field})
    return folder


@pytest.mark.parametrize("codec", CODECS)
def test_exact_scores(folder: Path, codec: str) -> None:
    with vecstore.open(folder / f"{codec}.vecs") as store:
        items = list(store.field("tokens"))
        for query in QUERIES:
            scores = expected(query, items)
            found = store.search(query, 20, field="tokens", exact=True)
            best = np.lexsort((np.arange(ROWS), -scores))[:20]
            np.testing.assert_allclose(found.scores, scores[best], rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(scores[found.rows], scores[best], rtol=1e-4, atol=1e-4)
            keys = [KEYS[i] for i in (300, 5, 11, 699, 5)]
            np.testing.assert_allclose(store.maxsim(query, keys), scores[[300, 5, 11, 699, 5]], rtol=1e-4, atol=1e-4)
            found = store.search(query, 10, field="tokens")
            assert len(set(found.rows) & set(best[:10])) >= 9  # of codes of a trellis, by approximate scores
            np.testing.assert_allclose(found.scores, scores[found.rows], rtol=1e-4, atol=1e-4)
            assert len(store.search(query, ROWS, field="tokens")) == sum(len(item) > 0 for item in TOKENS)


@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("most", [4, 1 << 40])
def test_approximate_scores_are_near(folder: Path, monkeypatch: pytest.MonkeyPatch, level: str, most: int) -> None:
    monkeypatch.setenv("VECSTORE_SIMD", level)
    from vecstore.kernels.levels import best_level

    best_level.cache_clear()
    try:
        with vecstore.open(folder / "tcq:10.vecs") as store:
            items = [item[:most] for item in store.field("tokens")]
            (shard,) = MaxSim(readers_of(store._snapshot.shards, "tokens", ""), [0, ROWS])._shards
            assert shard.trellis is not None
            some = np.array([0, 1, 2, 10, 11, 12, 13, 50, 350, 351, 352, 699])
            for query in QUERIES:
                scores = expected(query, items)
                for rows in (np.arange(ROWS), some):
                    found, there = shard.scores(query, rows, most), scores[rows] > -np.inf
                    assert ((found > -np.inf) == there).all()
                    errors = found[there] - scores[rows][there]  # tables are made for the best scores
                    assert np.sqrt((errors**2).mean()) < 0.3 * scores[scores > -np.inf].std()
    finally:
        monkeypatch.undo()
        best_level.cache_clear()


@pytest.mark.parametrize("codec", ["tcq:6", "tcq:10", "pca:8,tcq:4"])
@pytest.mark.parametrize("unit", [True, False], ids=["unit", "lengths"])
def test_whole_numbers_are_near_on_every_level(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, unit: bool
) -> None:
    path = folder / f"{codec}.vecs"
    if not unit:
        path, longer = tmp_path / "a.vecs", [item * (1 + i % 7) for i, item in enumerate(TOKENS)]
        vecstore.write(path, DENSE, codec="sq:8", fields={"tokens": vecstore.Multi(longer, codec=codec)})
    monkeypatch.setattr("vecstore.search.maxsim.IN_WHOLE_NUMBERS", levels())
    with vecstore.open(path) as store:
        items = [item[:20] for item in store.field("tokens")]
        (shard,) = MaxSim(readers_of(store._snapshot.shards, "tokens", ""), [0, ROWS])._shards
        assert shard.trellis is not None
        for query in QUERIES:
            scores, by_level = expected(query, items), []
            for rows in (np.arange(ROWS), np.array([0, 1, 2, 10, 11, 12, 13, 50, 350, 351, 352, 699])):
                for level in levels():
                    monkeypatch.setattr("vecstore.kernels.levels.best_level", lambda level=level: level)
                    by_level.append(shard.scores(query, rows, 20))
                    np.testing.assert_array_equal(by_level[-1], by_level[0][rows])
                there = scores[rows] > -np.inf
                assert ((by_level[-1] > -np.inf) == there).all()
                errors = by_level[-1][there] - scores[rows][there]
                most = np.linalg.norm(query, axis=1).sum() * max(
                    np.linalg.norm(item, axis=1).max(initial=0) for item in items
                )
                assert (
                    np.abs(errors).max() < (0.1 if codec == "tcq:10" else 0.02) * most
                )  # indices have 6 bits, its steps 7


def store_of(codec: str, folder: Path | None, scratch: Path) -> vecstore.Store:
    """Return the store of a codec in a folder; without one, another whose vectors have several lengths."""
    if folder is not None:
        return vecstore.open(folder / f"{codec}.vecs")
    longer = [item * (1 + i % 3) for i, item in enumerate(TOKENS)]
    vecstore.write(scratch / "a.vecs", DENSE, codec="sq:8", fields={"tokens": vecstore.Multi(longer, codec=codec)})
    return vecstore.open(scratch / "a.vecs")


@pytest.mark.parametrize("codec", PANELS)
@pytest.mark.parametrize("unit", [True, False], ids=["unit", "lengths"])
def test_panels_are_near_on_every_level(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, unit: bool
) -> None:
    with store_of(codec, folder if unit else None, tmp_path) as store:
        items = [item[:20] for item in store.field("tokens")]
        (shard,) = MaxSim(readers_of(store._snapshot.shards, "tokens", ""), [0, ROWS])._shards
        assert shard.panels is not None
        for query in QUERIES:
            scores = expected(query, items)
            scale = np.linalg.norm(query, axis=1).sum() * (1 if unit else 3)
            for rows in (np.arange(ROWS), np.array([0, 1, 2, 10, 11, 12, 13, 50, 350, 351, 352, 699])):
                there = scores[rows] > -np.inf
                for level in levels():
                    monkeypatch.setattr("vecstore.kernels.levels.best_level", lambda level=level: level)
                    found = shard.scores(query, rows, 20)
                    assert ((found > -np.inf) == there).all()
                    most = 1e-5 if codec == "f32" else 0.02
                    assert np.abs(found[there] - scores[rows][there]).max() < most * scale


@pytest.mark.parametrize("codec", CELLS[:3])
@pytest.mark.parametrize("unit", [True, False], ids=["unit", "lengths"])
def test_cells_are_near_on_every_level(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, unit: bool
) -> None:
    with store_of(codec, folder if unit else None, tmp_path) as store:
        (reader,) = readers_of(store._snapshot.shards, "tokens", "")
        (shard,) = MaxSim([reader], [0, ROWS])._shards
        vectors = reader.codes.decode(reader.codes.gather(np.arange(reader.vectors)), np.arange(reader.vectors))
        centroids = reader.cells.offsets(np.arange(reader.vectors))
        if unit:
            centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
        items, near = ([own[:20] for own in np.split(x, reader.starts[1:-1])] for x in (vectors, centroids))
        some = np.array([0, 1, 2, 10, 11, 12, 13, 50, 350, 351, 352, 699])
        for (query, rows), level in product(product(QUERIES, (np.arange(ROWS), some)), levels()):
            monkeypatch.setattr("vecstore.kernels.levels.best_level", lambda level=level: level)
            monkeypatch.setattr("vecstore.search.maxsim.best_level", lambda level=level: level)
            scores, scale = expected(query, items)[rows], np.linalg.norm(query, axis=1).sum() * (1 if unit else 3)
            found, there = shard.scores(query, rows, 20), scores > -np.inf
            assert ((found > -np.inf) == there).all()
            assert np.abs(found[there] - scores[there]).max() < (0.15 if "tcq" in codec else 0.02) * scale
            by_cells = shard.cells.scores(query, reader.starts, rows, 20)
            np.testing.assert_allclose(by_cells, expected(query, near)[rows], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 3e38])
def test_codebooks_that_no_kernel_multiplies_are_decoded(folder: Path, wrong: float) -> None:
    with vecstore.open(folder / "pq:4.vecs") as store:
        (reader,) = readers_of(store._snapshot.shards, "tokens", "")
        codec = reader.codec
        arrays = {name: array.copy() for name, array in codec.arrays.items()}
        name = next(name for name, array in arrays.items() if array.dtype.kind == "f")
        arrays[name].flat[3] = wrong
        layer = Codec.restore(codec.spec, codec.dimensions, arrays).layers[0]
        assert Panels.of(reader.codes) is not None
        assert Panels.of(SimpleNamespace(layer=layer, packed=False, part=reader.codes.part)) is None


def test_batches_filters_and_limits(folder: Path) -> None:
    with vecstore.open(folder / "tcq:10.vecs") as store:
        batch = store.search(QUERIES, 5, field="tokens")
        assert len(batch) == len(QUERIES)
        for query, found in zip(QUERIES, batch, strict=True):
            alone = store.search(query, 5, field="tokens")
            assert found.keys == alone.keys and alone.single
        query, rows = QUERIES[2], np.arange(100, 300)
        assert set(store.search(query, 8, field="tokens", rows=rows).rows) <= set(rows)
        assert set(store.search(query, 8, field="tokens", where="n < 50").rows) <= set(range(50))
        first = store.search(query, 8, field="tokens")
        without = store.search(query, 8, field="tokens", exclude=first.rows[:3])
        assert without.keys[:5] == first.keys[3:]
        limit = float(first.scores[2])
        assert store.search(query, 8, field="tokens", min_score=limit).keys == first.keys[:3]
        assert (
            store.search(QUERIES[1].tolist(), 3, field="tokens").keys
            == store.search(QUERIES[1], 3, field="tokens").keys
        )
        assert first.columns["n"].to_pylist() == first.rows.tolist()


def test_candidates(folder: Path) -> None:
    with vecstore.open(folder / "tcq:10.vecs") as store:
        query = QUERIES[2]
        dense = store.search(query.mean(axis=0), 30)
        found = store.search(query, 5, field="tokens", candidates=30)
        assert set(found.keys) <= set(dense.keys)
        assert found.keys == store.search(query, 5, field="tokens", candidates=30, dense=query.mean(axis=0)).keys
        by = store.search(query, 5, field="tokens", candidates=30, dense=DENSE[7])
        assert set(by.keys) <= set(store.search(DENSE[7], 30).keys)
        every = store.search(query, 5, field="tokens", candidates=ROWS)
        assert every.keys == store.search(query, 5, field="tokens").keys
        some = store.search(query, 5, field="tokens", candidates=30, rows=np.arange(40))
        assert set(some.rows) <= set(range(40))


def test_candidates_by_centroids(folder: Path, tmp_path: Path) -> None:
    with vecstore.open(folder / "cells:300,sq:8.vecs") as store:
        query = QUERIES[2]
        every = store.search(query, 5, field="tokens", candidates=("tokens", ROWS))
        assert every.keys == store.search(query, 5, field="tokens").keys
        near = TOKENS[7][:12] + 0.02 * RNG.normal(size=(len(TOKENS[7][:12]), D))
        assert store.search(near, 5, field="tokens", candidates=("tokens", 20)).keys[0] == "key 7"
        few = store.search([query, QUERIES[1]], 5, field="tokens", candidates=("tokens", 5), where="n < 40")[0]
        assert len(few) == 5 and set(few.rows) <= set(range(40))
        with pytest.raises(OptionError, match="leave dense= away"):
            store.search(query, 5, field="tokens", candidates=("tokens", 5), dense=DENSE[0])
    with (
        vecstore.open(folder / "sq:8.vecs") as store,
        pytest.raises(OptionError, match="write the field with cells"),
    ):
        store.search(query, 5, field="tokens", candidates=("tokens", 5))


def test_first_vectors(folder: Path) -> None:
    with vecstore.open(folder / "f32.vecs") as store:
        scores = expected(QUERIES[1], [item[:4] for item in TOKENS])
        found = store.search(QUERIES[1], 10, field="tokens", vectors=4)
        assert found.rows.tolist() == np.argsort(-scores, kind="stable")[:10].tolist()


@pytest.mark.parametrize("codec", ["tcq:10", "cells:300,tcq:10"])
def test_edited_stores(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "a.vecs"
    field = vecstore.Multi(TOKENS[:600], codec=codec)
    vecstore.write(path, DENSE[:600], KEYS[:600], "sq:8", shard_bytes=1 << 20, fields={"tokens": field})
    query = QUERIES[2]
    with vecstore.open(path) as store:
        gone = store.search(query, 2, field="tokens").keys
    with vecstore.edit(path) as e:
        e.append(DENSE[600:], KEYS[600:], fields={"tokens": TOKENS[600:]})
        e.delete(gone)
    with vecstore.open(path) as store:
        assert len(store._snapshot.shards) == 2
        items = dict(zip(store, store.field("tokens"), strict=True))
        scores = dict(zip(items, expected(query, list(items.values())), strict=True))
        found = store.search(query, 10, field="tokens", exact=True)
        assert found.keys == sorted(scores, key=lambda key: -scores[key])[:10] and not set(found.keys) & set(gone)
        keys = ["key 650", "key 3", "key 699", "key 5"]
        np.testing.assert_allclose(store.maxsim(query, keys), [scores[key] for key in keys], rtol=1e-4)
    vecstore.compact(path)
    with vecstore.open(path) as store:
        np.testing.assert_array_equal(np.concatenate(list(store.field("tokens"))), np.concatenate(list(items.values())))
        assert store.search(query, 10, field="tokens", exact=True).keys == found.keys


def test_wrong_options(folder: Path, tmp_path: Path) -> None:
    with vecstore.open(folder / "sq:8.vecs") as store:
        for options, told in (
            ({"field": "token"}, "no field 'token'"),
            ({"field": "tokens", "metric": "l2"}, "for dense vectors"),
            ({"field": "tokens", "nprobe": 3}, "nprobe="),
            ({"field": "tokens", "candidates": 0}, "positive number of rows"),
            ({"field": "tokens", "vectors": 0}, "positive number of first vectors"),
            ({"field": "tokens", "dense": DENSE[0]}, "give both"),
            ({"candidates": 4}, "for queries by field"),
            ({"field": "tokens", "k": 0}, "positive whole number"),
        ):
            with pytest.raises(OptionError, match=told):
                store.search(QUERIES[1], **options)
        for query, told in (
            (np.ones((2, D + 1)), f"queries: item 0: token vectors are a .t, {D}. array"),
            (np.full((2, D), np.nan), "NaN"),
            (np.empty((0, D)), "one has none"),
            (np.ones(D), "a list of"),
            ([], "one has none"),
        ):
            with pytest.raises(ShapeError, match=told):
                store.search(query, field="tokens")
        with pytest.raises(KeyNotFoundError, match="no key 'x'"):
            store.maxsim(QUERIES[0], ["x"])
    vecstore.write(tmp_path / "a.vecs", np.ones((5, 3)), fields={"tokens": vecstore.Multi(TOKENS[:5], codec="f32")})
    with vecstore.open(tmp_path / "a.vecs") as store, pytest.raises(OptionError, match="of 3 dimensions; give"):
        store.search(QUERIES[0], field="tokens", candidates=2)


def test_pooled(tmp_path: Path) -> None:
    field = vecstore.Multi(TOKENS, codec="f32", pool=3)
    vecstore.write(tmp_path / "a.vecs", DENSE, KEYS, fields={"tokens": field})
    with vecstore.open(tmp_path / "a.vecs") as store:
        pooled = list(store.field("tokens"))
        assert [len(item) for item in pooled] == [-(-len(item) // 3) for item in TOKENS]
        assert all(np.abs(np.linalg.norm(item, axis=1) - 1).max(initial=0) < 1e-4 for item in pooled)
        few = next(i for i in range(ROWS) if len(TOKENS[i]) == 1)
        np.testing.assert_allclose(pooled[few], TOKENS[few], atol=1e-6)
        with pytest.raises(OptionError, match="merged"):
            store.search(QUERIES[0], field="tokens", vectors=2)


class Tensor:
    """What a tensor of torch offers here, of a type that numpy lacks."""

    dtype = "torch.bfloat16"

    def __init__(self, array: np.ndarray) -> None:
        self._array, self.ndim, self.shape = array, array.ndim, array.shape

    def __len__(self) -> int:
        return len(self._array)

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return self

    def float(self) -> np.ndarray:
        return self._array


def test_what_models_return(folder: Path) -> None:
    kinds = (TOKENS, tuple(TOKENS), [Tensor(item) for item in TOKENS], [item.tolist() or item for item in TOKENS])
    flat = np.concatenate(TOKENS)
    fields = [vecstore.Multi(kind, codec="f32") for kind in kinds]
    fields.append(vecstore.Multi(flat, [len(item) for item in TOKENS], codec="f32"))
    for field in fields:
        rows = field.rows(field.fit()).coded()
        assert rows.counts.tolist() == [len(item) for item in TOKENS] and (rows.codes.view("<f4") == flat).all()
    square = RNG.normal(size=(20, 3, D))
    assert vecstore.Multi(square, codec="f32").fit().rows(square).coded().counts.tolist() == [3] * 20
    with pytest.raises(ShapeError, match="counts="):
        vecstore.Multi(flat, [1, 2])
    with vecstore.open(folder / "f32.vecs") as store:
        assert (
            store.search(Tensor(QUERIES[1]), 3, field="tokens").keys == store.search(QUERIES[1], 3, field="tokens").keys
        )
