"""Fields through a store's life: written, read, edited, merged. What they hold is that of token vectors."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from vecstore.bench.scripts.mutations import reseal

import vecstore
from vecstore.container.container import Container
from vecstore.errors import CodecError, KeyNotFoundError, OptionError, ShapeError
from vecstore.store.manifest import Manifest

ROWS, D = 400, 8
Items = list[np.ndarray]


def items(rows: int = ROWS, seed: int = 0) -> Items:
    """Return token vectors: none to six a row; the third dimension is constant."""
    rng = np.random.default_rng(seed)
    found = [rng.normal(size=(i % 7, D)).astype(np.float32) for i in range(rows)]
    for each in found:
        each[:, 2] = 0
    return found


def dense(rows: int = ROWS, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, 4)).astype(np.float32)


def keys(rows: int = ROWS, first: int = 0) -> list[str]:
    return [f"key {i}" for i in range(first, first + rows)]


def write(path: Path, tokens: Items | None = None, of: str = "f32", **options: object) -> Path:
    tokens = items() if tokens is None else tokens
    options = {"codec": "sq:8"} | options
    field = vecstore.Multi(tokens, codec=of)
    vecstore.write(path, dense(len(tokens)), keys(len(tokens)), fields={"tokens": field}, **options)
    return path


def same(found: Items, expected: Items, atol: float = 0) -> None:
    assert [one.shape for one in found] == [one.shape for one in expected]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


@pytest.mark.parametrize(
    "options", [{}, {"codec": "cells:5,sq:8"}, {"shard_bytes": 200_000}, {"codec": "bin/sq:8"}], ids=str
)
def test_what_was_written_is_read(tmp_path: Path, options: dict) -> None:
    with vecstore.open(write(tmp_path / "a.vecs", **options)) as store:
        field = store.field("tokens")
        assert (field.kind, len(field), field.name) == ("multi", ROWS, "tokens")
        same([field[key] for key in keys()[:20]], items()[:20])
        same(field[keys()[::-1]], items()[::-1])
        same(list(field), items())
        same(field.of_rows([3, 5, 3]), [items()[i] for i in (3, 5, 3)])
        assert store.verify(deep=True) > 0
        with pytest.raises(KeyNotFoundError, match="no key 'x'"):
            field["x"]
        with pytest.raises(KeyNotFoundError, match="no keys 'x', 'y'"):
            field[["x", "key 1", "y"]]
        (told,) = store.info()["fields"]
        assert told["vectors"] == sum(map(len, items())) and told["codec"] == "f32" and told["size_bytes"] > 0
        with pytest.raises(OptionError, match=r"no field 'token': did you mean 'tokens'\?|no field 'token'"):
            store.field("token")
        same(pickle.loads(pickle.dumps(store)).field("tokens")[keys()[:3]], items()[:3])


@pytest.mark.parametrize("codec", ["f16", "sq:8", "pca:5,sq:8", "rotate,sq:8", "tcq:6", "pq:4", "rabitq:2", "f32,zstd"])
def test_any_codec_of_one_layer(tmp_path: Path, codec: str) -> None:
    with vecstore.open(write(tmp_path / "a.vecs", of=codec)) as store:
        found = store.field("tokens")[keys()]
        assert [len(one) for one in found] == [len(one) for one in items()]
        x, y = np.concatenate(found), np.concatenate(items())
        assert np.isfinite(x).all() and ((x - y) ** 2).sum() < 0.6 * (y**2).sum()
        assert 0 < store.field("tokens").certificate["agreement"] <= 1


@pytest.mark.parametrize("codec", ["hash:40", "bin/sq:8", "cells:4,bin/sq:8", "qr:10"])
def test_codecs_that_need_rows_are_refused(codec: str) -> None:
    with pytest.raises(CodecError, match="token vectors"):
        vecstore.Multi(items(), codec=codec).fit()


def test_rows_that_are_left_out_or_moved(tmp_path: Path) -> None:
    x, tokens = dense(), items()
    x[5] = np.nan
    names = keys()
    names[9] = names[3]
    field = vecstore.Multi(tokens, codec="f32")
    options = {"on_bad": "skip", "on_duplicate": "first", "importance": np.arange(ROWS), "fields": {"tokens": field}}
    vecstore.write(tmp_path / "a.vecs", x, names, "sq:8", **options)
    with vecstore.open(tmp_path / "a.vecs") as store:
        assert len(store) == ROWS - 2 and next(iter(store)) == names[-1]
        for row in set(range(ROWS)) - {3, 5, 9}:
            same([store.field("tokens")[names[row]]], [tokens[row]])


def test_numbers_stay(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="keep_order"):
        write(tmp_path / "a.vecs", keep_order=False)
    assert not list(tmp_path.iterdir())


def test_row_by_row(tmp_path: Path) -> None:
    rows = 1200
    trained, tokens = vecstore.Multi(items(), codec="f32").fit(), items(rows)
    codec = vecstore.codec("sq:8").fit(dense())
    with vecstore.Writer(tmp_path / "a.vecs", codec, fields={"tokens": trained}, shard_bytes=160_000) as writer:
        for start in range(0, rows, 60):
            own = slice(start, start + 60)
            writer.add(dense(rows)[own], keys(rows)[own], fields={"tokens": tokens[own]})
        writer.add(dense(3, 1), keys(3, rows))  # with nothing in the field
    with vecstore.open(tmp_path / "a.vecs") as store:
        assert store.info()["shards"] > 1
        same(store.field("tokens")[keys(rows + 3)], [*tokens, *[np.empty((0, D))] * 3])
    with pytest.raises(OptionError, match="no trained field"):
        vecstore.Writer(tmp_path / "b.vecs", codec, fields={"tokens": vecstore.Multi(items())})


def test_edited_and_merged(tmp_path: Path) -> None:
    path = write(tmp_path / "a.vecs", shard_bytes=1 << 20)
    expected = dict(zip(keys(), items(), strict=True))
    more = items(60, seed=1)
    with vecstore.edit(path) as e:
        e.append(dense(50, 1), keys(50, ROWS), fields={"tokens": more[:50]})
        e.append(dense(2, 2), keys(2, ROWS + 50))
        e.upsert(dense(10, 3), [*keys(9), "key 0"], fields={"tokens": more[50:]})
        e.delete(keys(100, 20))
        e.delete([f"key {ROWS + 7}"])  # which waits still
    expected |= dict(zip(keys(50, ROWS), more[:50], strict=True))
    expected |= dict.fromkeys(keys(2, ROWS + 50), np.empty((0, D)))
    expected |= dict(zip(keys(9), more[50:59], strict=True)) | {"key 0": more[59]}
    for key in [*keys(100, 20), f"key {ROWS + 7}"]:
        del expected[key]
    for step in ("edited", "merged"):
        if step == "merged":
            assert vecstore.compact(path).after == 1
        with vecstore.open(path) as store:
            assert len(store) == len(expected)
            same(store.field("tokens")[list(expected)], list(expected.values()))
            store.verify(deep=True)
    assert [about["kind"] for about in Container(next(path.glob("shard-*.vecs"))).description["fields"]] == ["multi"]


def test_wrong_fields(tmp_path: Path) -> None:
    path = write(tmp_path / "a.vecs", shard_bytes=1 << 20)
    with vecstore.edit(path) as e:
        for given, error, told in (
            ({"token": items(3)}, OptionError, "no field 'token'"),
            ({"tokens": items(2)}, ShapeError, "2 rows for 3 vectors"),
            ({"tokens": [np.ones((2, D + 1))] * 3}, ShapeError, rf"item 0: token vectors are a \(t, {D}\) array"),
            ({"tokens": [np.full((2, D), np.nan)] * 3}, ShapeError, "item 0: .* NaN"),
            ({"tokens": "abc"}, ShapeError, "one a row"),
            ({"tokens": np.ones((3, D))}, ShapeError, r"found ndarray of shape \(3, 8\)"),
        ):
            with pytest.raises(error, match=told):
                e.append(dense(3, 1), keys(3, ROWS), fields=given)
    with pytest.raises(OptionError, match=r"give fields=.*Multi"):
        vecstore.write(tmp_path / "b.vecs", dense(), fields={"tokens": items()})
    with pytest.raises(ShapeError, match="399 rows for 400"):
        vecstore.write(tmp_path / "b.vecs", dense(), fields={"tokens": vecstore.Multi(items(399), codec="f32")})
    with pytest.raises(ShapeError, match="no row has a token vector"):
        vecstore.Multi([np.empty((0, D))] * 5).fit()
    vecstore.write(tmp_path / "c.vecs", dense())
    with vecstore.open(tmp_path / "c.vecs") as store, pytest.raises(OptionError, match="the store has none"):
        store.field("tokens")


def test_several_stores_as_one(tmp_path: Path) -> None:
    write(tmp_path / "a.vecs")
    more = items(30, seed=1)
    field = vecstore.Multi(more, codec="f16")
    vecstore.write(tmp_path / "b.vecs", dense(30), keys(30, ROWS), fields={"tokens": field})
    vecstore.write(tmp_path / "c.vecs", dense(5), keys(5, 2 * ROWS))
    with vecstore.open([tmp_path / name for name in ("a.vecs", "b.vecs", "c.vecs")]) as store:
        same(store.field("tokens")[[f"key {ROWS + 6}", "key 6"]], [more[6], items()[6]], atol=1e-2)
        with pytest.raises(OptionError, match="no field 'tokens'"):
            store.field("tokens")[f"key {2 * ROWS}"]


def test_old_readers_leave_what_they_do_not_know(tmp_path: Path) -> None:
    path = write(tmp_path / "a.vecs", shard_bytes=1 << 20)
    with vecstore.edit(path) as e:
        e.append(dense(50, 1), keys(50, ROWS), fields={"tokens": items(50)})
    for file in path.glob("shard*.vecs"):
        about = Container(file).description
        about["fields"][0]["kind"] = "of a later version"
        reseal(file, about)
    manifest = Manifest.read(path)
    shards = tuple({**entry, "fingerprint": Container(path / entry["file"]).fingerprint} for entry in manifest.shards)
    replace(manifest, shards=shards).write(path)
    assert vecstore.compact(path).generation is None
    with vecstore.open(path) as store:
        assert len(store) == ROWS + 50 and store.search(dense()[0], 1).keys == ["key 0"]
        store.verify(deep=True)
        with pytest.raises(OptionError, match="no field"):
            store.field("tokens")
