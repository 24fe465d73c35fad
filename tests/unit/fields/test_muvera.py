"""Fixed dimensional encodings of token vectors, and the fields that are made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vecstore
from vecstore.errors import OptionError, ShapeError
from vecstore.fields.dense.encoding import Encoding
from vecstore.fields.multi.agreement import maxsim

ROWS, D = 300, 16
SMALL = {"repetitions": 6, "simhash": 3, "projection": 8}


def items(rows: int = ROWS, seed: int = 0, least: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    found = [rng.normal(size=(least + i % 9, D)).astype(np.float32) for i in range(rows)]
    return [each / np.maximum(np.linalg.norm(each, axis=1, keepdims=True), 1e-9) for each in found]


def joined(tokens: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(tokens), np.array([len(each) for each in tokens])


def by_loops(encoding: Encoding, x: np.ndarray, *, document: bool) -> np.ndarray:
    """Return the encoding of one item as section 2 of the paper says it, number by number."""
    parts = []
    for repetition in range(encoding.repetitions):
        bits = [[int(plane @ token > 0) for plane in encoding.planes[repetition]] for token in x]
        small = x
        if encoding.signs is not None:
            small = [encoding.signs[repetition] @ token / np.sqrt(len(encoding.signs[repetition])) for token in x]
        for cell in range(2**encoding.simhash):
            wanted = [cell >> i & 1 for i in range(encoding.simhash)]
            inside = [own for own, its in zip(small, bits, strict=True) if its == wanted]
            if not document:
                parts.append(np.sum(inside, axis=0) if inside else np.zeros(len(small[0])))
            elif inside:
                parts.append(np.mean(inside, axis=0))
            else:
                far = [sum(a != b for a, b in zip(its, wanted, strict=True)) for its in bits]
                parts.append(small[far.index(min(far))])
    return np.concatenate(parts)


@pytest.mark.parametrize("repetitions, simhash, projection", [(3, 3, 4), (2, 5, None), (1, 0, 5), (2, 1, 1), (1, 6, 7)])
def test_as_the_paper_says(repetitions: int, simhash: int, projection: int | None) -> None:
    encoding = Encoding.random(D, repetitions=repetitions, simhash=simhash, projection=projection, seed=5)
    tokens = [*items(25), items(1, least=40)[0]]
    assert encoding.dimensions == repetitions * 2**simhash * (projection or D)
    for document, encode in ((True, encoding.documents), (False, encoding.queries)):
        expected = np.stack([by_loops(encoding, each, document=document) for each in tokens])
        np.testing.assert_allclose(encode(*joined(tokens)), expected, atol=2e-6)
    empty = encoding.documents(np.empty((0, D), np.float32), np.zeros(3, np.int64))
    assert empty.shape == (3, encoding.dimensions) and not empty.any()


def test_rows_without_tokens_among_others() -> None:
    encoding, tokens = Encoding.random(D, **SMALL, seed=0), items(6)
    tokens[0] = tokens[3] = np.empty((0, D), np.float32)
    found = encoding.documents(*joined(tokens))
    assert [bool(each.any()) for each in found] == [False, True, True, False, True, True]
    np.testing.assert_allclose(found[4], encoding.documents(*joined(tokens[4:5]))[0], atol=1e-6)


def write(path: Path, tokens: list[np.ndarray], codec: str = "f32", **options: object) -> Path:
    fields = {
        "fde": vecstore.Muvera(of="tokens", codec=codec, **SMALL),  # before the field that it is made of
        "tokens": vecstore.Multi(tokens, codec="f32"),
    }
    x = np.random.default_rng(1).normal(size=(len(tokens), 4))
    columns = {"even": np.arange(len(tokens)) % 2 == 0}
    vecstore.write(
        path,
        x,
        [f"key {i}" for i in range(len(tokens))],
        columns=columns,
        fields=fields,
        **({"codec": "f32"} | options),
    )
    return path


@pytest.mark.parametrize("options", [{}, {"shard_bytes": 200_000}], ids=str)
def test_candidates_of_encodings(tmp_path: Path, options: dict) -> None:
    tokens = items(4500)
    queries = [each[:4] + 0.01 for each in tokens[::450]]
    with vecstore.open(write(tmp_path / "a.vecs", tokens, **options)) as store:
        assert (store.info()["shards"] > 1) == bool(options)
        encoding = store.field("fde").readers[0].encoding
        products = encoding.queries(*joined(queries)) @ encoding.documents(*joined(tokens)).T
        candidates = np.argsort(-products, axis=1)[:, :40]
        found = store.search(queries, k=5, field="tokens", candidates=("fde", 40))
        listed = store.search(queries, k=40, field="fde")
        assert [set(row) for row in listed.rows.tolist()] == [set(row) for row in candidates.tolist()]
        for query, own, chosen in zip(queries, found.rows, candidates, strict=True):
            scores = maxsim(query, *joined([tokens[row] for row in chosen]))
            assert own.tolist() == chosen[np.argsort(-scores)[:5]].tolist()
        odd = store.search(queries, k=5, field="tokens", candidates=("fde", 40), where="even = false")
        assert (odd.rows % 2 == 1).all()
        one = store.search(queries[2], k=1, field="tokens", candidates=("fde", 9))
        assert one.keys == ["key 900"]
        fused = store.search({"fde": queries[2], "tokens": queries[2]}, k=2, fuse={"fde": 0, "tokens": 1})
        assert fused.keys[0] == "key 900"


@pytest.mark.parametrize("codec", ["sq:8", "pca:20,sq:8", "pq:24", "tcq:192"])
def test_any_codec(tmp_path: Path, codec: str) -> None:
    tokens = items()
    with vecstore.open(write(tmp_path / "a.vecs", tokens, codec)) as store:
        found = store.search(tokens[::30], k=3, field="tokens", candidates=("fde", 100))
        assert np.mean(found.rows[:, 0] == np.arange(0, ROWS, 30)) >= 0.9
        assert store.info()["fields"][0]["muvera"]["of"] == "tokens"


def test_appended_rows_are_encoded(tmp_path: Path) -> None:
    tokens, more = items(), items(20, seed=2, least=3)
    path, x = write(tmp_path / "a.vecs", tokens, shard_bytes=1 << 20), np.ones((20, 4))
    with vecstore.edit(path) as e:
        e.append(x, [f"more {i}" for i in range(20)], fields={"tokens": more})
        e.append(x[:2], ["none 0", "none 1"])
        e.upsert(x[:1], ["key 0"], fields={"tokens": [more[3][::-1]]})
        with pytest.raises(OptionError, match="made of 'tokens'"):
            e.append(x[:1], ["no"], fields={"fde": more[:1]})
        e.delete(["key 8"])
    for step in ("edited", "merged"):
        if step == "merged":
            vecstore.compact(path)
        with vecstore.open(path) as store:
            assert store.search(more[7], k=1, field="tokens", candidates=("fde", 20)).keys == ["more 7"]
            assert "key 8" not in store.search(tokens[8], k=400, field="fde").keys
            assert len(store.search(more[7], k=999, field="fde").keys) == ROWS + 20 - 1
            encoding = store.field("fde").readers[0].encoding
            np.testing.assert_allclose(
                store.field("fde")["key 0"], encoding.documents(*joined([more[3][::-1]]))[0], atol=1e-6
            )
            assert store.field("fde")["none 1"] is None
            store.verify(deep=True)


def test_row_by_row(tmp_path: Path) -> None:
    tokens, x = items(), np.random.default_rng(0).normal(size=(ROWS, 4)).astype(np.float32)
    trained = {
        "tokens": vecstore.Multi(tokens, codec="f32").fit(),
        "fde": vecstore.Muvera(of="tokens", codec="f32", **SMALL).fit(tokens),
    }
    codec = vecstore.codec("f32").fit(x)
    with vecstore.Writer(tmp_path / "a.vecs", codec, fields=trained) as writer:
        for start in range(0, ROWS, 100):
            writer.add(x[start : start + 100], fields={"tokens": tokens[start : start + 100]})
    with vecstore.open(tmp_path / "a.vecs") as store:
        assert store.search(tokens[170], k=1, field="tokens", candidates=("fde", 10)).rows == [170]
    with pytest.raises(OptionError, match="made of 'tokens', which is no field"):
        vecstore.Writer(tmp_path / "b.vecs", codec, fields={"fde": trained["fde"]})


def test_what_is_refused(tmp_path: Path) -> None:
    tokens, x = items(40), np.ones((40, 4))
    for given in ({"simhash": 13}, {"repetitions": 0}, {"projection": 0}, {"of": 3}, {"repetitions": True}):
        with pytest.raises(OptionError):
            vecstore.Muvera(**given)
    with pytest.raises(OptionError, match="131,072 at most"):
        vecstore.Muvera(repetitions=1000).fit(tokens)
    with pytest.raises(ShapeError, match="no row of 'tokens'"):
        vecstore.Muvera().fit([np.empty((0, D))])
    with pytest.raises(OptionError, match="'fde' is made of 'tokens', which is no field"):
        vecstore.write(tmp_path / "b.vecs", x, fields={"fde": vecstore.Muvera()})
    with vecstore.open(write(tmp_path / "a.vecs", tokens)) as store:
        for candidates, told in (
            (("fd", 5), "no field 'fd'"),
            (("tokens", 5), "write the field with cells"),
            (("fde", 0), "posit"),
        ):
            with pytest.raises(OptionError, match=told):
                store.search(tokens[0], field="tokens", candidates=candidates)
        with pytest.raises(ShapeError, match="queries"):
            store.search(np.ones((0, D)), field="fde")
        with pytest.raises(OptionError, match="token vectors"):
            store.search(tokens[0], field="fde", candidates=5)
