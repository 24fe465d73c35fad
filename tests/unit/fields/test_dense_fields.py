"""Dense fields: one more vector a row, written, searched, edited, merged; and encodings of token vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vecstore
from vecstore.codecs.transforms.normalize import unit
from vecstore.errors import CodecError, OptionError, ShapeError

ROWS, D = 900, 24


def vectors(rows: int = ROWS, d: int = D, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, d)).astype(np.float32)


def keys(rows: int, first: int = 0) -> list[str]:
    return [f"key {i}" for i in range(first, first + rows)]


def write(path: Path, *, other: np.ndarray, codec: str = "f32", metric: str = "cosine", **options: object) -> Path:
    field = vecstore.Dense(other, codec=codec, metric=metric)
    x = vectors(len(other), 6, seed=7)
    columns = {"even": np.arange(len(other)) % 2 == 0}
    vecstore.write(path, x, keys(len(other)), "sq:8", columns=columns, fields={"other": field}, **options)
    return path


def scores_of(x: np.ndarray, q: np.ndarray, metric: str) -> np.ndarray:
    if metric == "l2":
        return -((x[None] - q[:, None]) ** 2).sum(axis=2)
    return unit(q) @ unit(x).T if metric == "cosine" else q @ x.T


def best(scores: np.ndarray, k: int) -> list[list[int]]:
    return np.argsort(-scores, axis=1, kind="stable")[:, :k].tolist()


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("options", [{}, {"shard_bytes": 200_000}, {"codec": "cells:5,sq:8"}], ids=str)
def test_searched_as_the_stores_own_vectors(tmp_path: Path, metric: str, options: dict) -> None:
    other, q = vectors(4000), vectors(5, seed=1)
    own = {"codec": "f32"} if "codec" not in options else {}
    field = vecstore.Dense(other, codec="f32", metric=metric)
    x = vectors(len(other), 6, seed=7)
    columns = {"even": np.arange(len(other)) % 2 == 0}
    vecstore.write(
        tmp_path / "a.vecs", x, keys(len(other)), columns=columns, fields={"other": field}, **(own | options)
    )
    scores = scores_of(other, q, metric)
    with vecstore.open(tmp_path / "a.vecs") as store:
        assert (store.info()["shards"] > 1) == ("shard_bytes" in options)
        found = store.search(q, k=7, field="other")
        assert found.rows.tolist() == best(scores, 7)
        sign = -1 if metric == "l2" else 1
        np.testing.assert_allclose(sign * found.scores, np.take_along_axis(scores, found.rows, 1), rtol=2e-4, atol=2e-5)
        assert store.search(q[0], k=1, field="other").keys == [f"key {best(scores, 1)[0][0]}"]
        odd, some = scores.copy(), np.full_like(scores, -np.inf)
        odd[:, ::2], some[:, 100:1700] = -np.inf, scores[:, 100:1700]
        assert store.search(q, k=7, field="other", where="even = false").rows.tolist() == best(odd, 7)
        assert store.search(q, k=7, field="other", rows=np.arange(100, 1700)).rows.tolist() == best(some, 7)
        by_dot = store.search(q, k=3, field="other", metric="dot").rows.tolist()
        assert by_dot == best(q @ (unit(other) if metric == "cosine" else other).T, 3)
        store.verify(deep=True)


@pytest.mark.parametrize(
    "codec", ["f16", "sq:8", "pca:20,sq:8", "rotate,sq:8", "tcq:24", "opq:12", "rabitq:4", "f32,zstd", "bin/sq:8"]
)
def test_any_codec_without_cells(tmp_path: Path, codec: str) -> None:
    other = vectors()
    with vecstore.open(write(tmp_path / "a.vecs", other=other, codec=codec)) as store:
        field, (told,) = store.field("other"), store.info()["fields"]
        decoded = np.stack(field[keys(ROWS)])
        assert ((decoded - unit(other)) ** 2).sum() < 0.25 * ROWS
        found = store.search(decoded[:8], k=5, field="other", rescore=100)
        assert found.rows.tolist() == best(unit(decoded[:8]) @ unit(decoded).T, 5)
        assert told["dimensions"] == D and told["codec"] == codec and told["missing"] == 0
        assert 0 < field.certificate["agreement"] <= 1 and told["size_bytes"] > 0


def test_added_deleted_and_merged(tmp_path: Path) -> None:
    other, more = vectors(), vectors(40, seed=3)
    path = write(tmp_path / "a.vecs", other=other, shard_bytes=1 << 20)
    with vecstore.edit(path) as e:
        e.append(vectors(40, 6), keys(40, ROWS), fields={"other": more})
        e.append(vectors(3, 6), keys(3, ROWS + 40))  # with nothing in the field
        e.upsert(vectors(1, 6), ["key 5"], fields={"other": more[:1] * -1})
        e.delete(["key 6", f"key {ROWS + 1}"])
    for step in ("edited", "merged"):
        if step == "merged":
            assert vecstore.compact(path).after == 1
        with vecstore.open(path) as store:
            field = store.field("other")
            assert field[f"key {ROWS + 41}"] is None
            np.testing.assert_allclose(field["key 5"], -unit(more[:1])[0], atol=1e-6)
            assert store.search(other[6], k=1, field="other").keys != ["key 6"]
            assert store.search(more[7], k=1, field="other").keys == [f"key {ROWS + 7}"]
            assert len(store.search(more[7], k=2000, field="other").keys) == ROWS + 43 - 2 - 3
            both = store.search({"dense": vectors(1, 6)[0], "other": more[7]}, k=999, fuse={"dense": 0.5, "other": 1})
            assert np.isnan(both.by_field["other"]).sum() == 3 and len(both.keys) == ROWS + 41
            store.verify(deep=True)


def test_two_models_of_one_text(tmp_path: Path) -> None:
    other, q, own = vectors(), vectors(4, seed=1), vectors(4, 6, seed=2)
    x = vectors(ROWS, 6, seed=7)
    with vecstore.open(write(tmp_path / "a.vecs", other=other, metric="dot")) as store:
        decoded = store.vectors[:]
        total = unit(own) @ unit(decoded).T + 0.3 * (q @ other.T)
        found = store.search({"dense": own, "other": q}, k=10, fuse={"dense": 1, "other": 0.3})
        assert found.rows.tolist() == best(total, 10) and found.certain.all()
        np.testing.assert_allclose(found.by_field["other"], np.take_along_axis(q @ other.T, found.rows, 1), rtol=1e-4)
        assert len(x) == len(store)


def test_what_is_refused(tmp_path: Path) -> None:
    other = vectors(60)
    for codec in ("cells:4,sq:8", "hash:40"):
        with pytest.raises(CodecError, match="field"):
            vecstore.Dense(other, codec=codec).fit()
    with pytest.raises(ShapeError, match="dense field is an"):
        vecstore.Dense([1, 2, 3])
    with pytest.raises(OptionError, match="metric"):
        vecstore.Dense(other, metric="hamming")
    with pytest.raises(ShapeError, match="row 3"):
        write(tmp_path / "a.vecs", other=np.where(np.arange(60)[:, None] == 3, np.nan, other))
    with vecstore.open(write(tmp_path / "a.vecs", other=other)) as store:
        with pytest.raises(ShapeError, match="dimensions"):
            store.search(np.ones(5), field="other")
        with pytest.raises(OptionError, match="token vectors"):
            store.search(other[0], field="other", candidates=5)
        with pytest.raises(OptionError, match="is dense"):
            store.maxsim(other[:2], ["key 1"], field="other")
