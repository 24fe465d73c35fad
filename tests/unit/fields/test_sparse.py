"""Sparse terms: what is written is read, and searches find what a product of scipy's matrices does."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

import vecstore
from vecstore.errors import OptionError, ShapeError
from vecstore.fields.sparse.entries import as_entries
from vecstore.fields.sparse.trained import CodedTerms, step_of

TERMS = 300


def matrix(rows: int, seed: int = 0, terms: int = TERMS) -> scipy.sparse.csr_array:
    """Return rows whose terms are as uneven as words: some in most rows, most in few; some rows have none."""
    rng = np.random.default_rng(seed)
    often = np.minimum(0.97, 3 / np.arange(1, terms + 1))
    there = rng.random((rows, terms)) < often
    there[rng.integers(0, max(rows, 1), 3) if rows else []] = False
    return scipy.sparse.csr_array(np.where(there, rng.gamma(2, 0.4, (rows, terms)), 0).astype(np.float32))


def mappings(x: scipy.sparse.csr_array) -> list[dict[int, float]]:
    pairs = zip(x.indptr[:-1], x.indptr[1:], strict=True)
    return [dict(zip(x.indices[a:b].tolist(), x.data[a:b].tolist(), strict=True)) for a, b in pairs]


def dense(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, 4)).astype(np.float32)


def write(path: Path, x: scipy.sparse.csr_array, bits: int = 8, **options: object) -> Path:
    names = [f"key {i}" for i in range(x.shape[0])]
    field = vecstore.Sparse(x, weight_bits=bits)
    vecstore.write(path, dense(x.shape[0]), names, **({"codec": "sq:8", "fields": {"terms": field}} | options))
    return path


def decoded(field: object, rows: int, terms: int = TERMS) -> scipy.sparse.csr_array:
    """Return what a store holds, as a float64 matrix with sorted terms."""
    items = field.of_rows(range(rows))
    lengths = np.cumsum([0, *map(len, items)])
    flat = [(term, weight) for item in items for term, weight in item.items()]
    indices, data = np.array([f[0] for f in flat], np.int64), np.array([f[1] for f in flat], np.float64)
    return scipy.sparse.csr_array((data, indices, lengths), shape=(rows, terms))


def expected(x: scipy.sparse.csr_array, bits: int) -> np.ndarray:
    step = step_of(float(x.data.max(initial=0)) or 1.0, bits)
    codes = np.clip(np.rint(x.data.astype(np.float64) / step), 1, max(2**bits - 1, 1)) if bits else np.ones(x.nnz)
    return codes * step


@pytest.mark.parametrize("bits", [0, 4, 8])
@pytest.mark.parametrize("rows", [1, 31, 400, 4097])
def test_what_was_written_is_read(tmp_path: Path, bits: int, rows: int) -> None:
    x = matrix(rows)
    with vecstore.open(write(tmp_path / "a.vecs", x, bits, accept_dominated=True)) as store:
        field = store.field("terms")
        assert field.kind == "sparse" and len(field) == rows
        found = decoded(field, rows)
        assert (found.indptr == x.indptr).all() and (found.indices == x.indices).all()
        np.testing.assert_array_equal(found.data, expected(x, bits))
        items = field.of_rows(range(rows))
        for row in {*range(0, rows, rows // 60 + 1), rows - 1}:  # read by another kernel
            assert field[f"key {row}"] == items[row]
        assert store.verify(deep=True) > 0
        (told,) = store.info()["fields"]
        assert told["entries"] == x.nnz and told["weight_bits"] == bits and told["terms"] == len(set(x.indices))
        assert pickle.loads(pickle.dumps(store)).field("terms").of_rows([0]) == field.of_rows([0])


@pytest.mark.parametrize("bits", [0, 4, 8])
def test_searches_find_what_scipy_does(tmp_path: Path, bits: int) -> None:
    rows = 4500  # more than a segment
    x, queries = matrix(rows), matrix(20, seed=1)
    with vecstore.open(write(tmp_path / "a.vecs", x, bits)) as store:
        weights = decoded(store.field("terms"), rows)
        for query in mappings(queries):
            found = store.search({"terms": query}, 10)
            full = np.zeros(TERMS)
            full[list(query)] = list(query.values())
            scores = weights @ full
            best = np.lexsort((np.arange(rows), -scores))[: min(10, (scores > 0).sum())]
            assert found.rows.tolist() == best.tolist()
            np.testing.assert_array_equal(found.scores, scores[best].astype(np.float32))
            assert found.keys == [f"key {row}" for row in best]
        batch = store.search({"terms": queries}, 10)
        assert [one.rows.tolist() for one in batch] == [
            store.search({"terms": query}, 10).rows.tolist() for query in mappings(queries)
        ]


def test_weights_below_zero_and_unknown_terms(tmp_path: Path) -> None:
    x = matrix(300)
    with vecstore.open(write(tmp_path / "a.vecs", x)) as store:
        scores = (
            decoded(store.field("terms"), 300) @ np.eye(TERMS)[7]
            - decoded(store.field("terms"), 300) @ np.eye(TERMS)[2]
        )
        found = store.search({"terms": {7: 1.0, 2: -1.0, 1 << 31: 5.0}}, 300)
        best = np.lexsort((np.arange(300), -scores))[: (scores > 0).sum()]
        assert found.rows.tolist() == best.tolist()
        assert len(store.search({"terms": {TERMS + 9: 1.0}})) == 0 == len(store.search({"terms": {}}))


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_blocks_are_left_out(tmp_path: Path, alpha: float) -> None:
    """Segments about other things than the query are not looked at; with alpha below 1 others may be missed."""
    rows = 3 * 4096
    about = np.repeat(np.arange(3), 4096)
    weights = np.random.default_rng(0).gamma(2, 0.5, rows).astype(np.float32) + 10 * (about == 1)
    x = scipy.sparse.csr_array((weights, about * 5, np.arange(rows + 1)), shape=(rows, 20))
    with vecstore.open(write(tmp_path / "a.vecs", x)) as store:
        scores = decoded(store.field("terms"), rows, 20) @ np.array([1.0] * 20)
        found = store.search({"terms": dict.fromkeys(range(20), 1.0)}, 5, alpha=alpha)
        best = np.lexsort((np.arange(rows), -scores))[:5]
        if alpha == 1:
            assert found.rows.tolist() == best.tolist()
        assert set(found.rows.tolist()) <= set(np.flatnonzero(about == about[best[0]]))


def test_what_may_be_found(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    rows, query = 5000, max(mappings(matrix(4, seed=1)), key=len)
    columns = {"even": [i % 2 == 0 for i in range(rows)]}
    path = write(tmp_path / "a.vecs", matrix(rows), columns=columns, shard_bytes=250_000)
    with vecstore.edit(path) as e:
        e.delete([f"key {i}" for i in range(100)])
    with vecstore.open(path) as store:
        assert store.info()["shards"] > 1
        full = store.search({"terms": query}, rows)
        assert min(full.rows) >= 100
        even = store.search({"terms": query}, rows, where="even = true")
        assert even.rows.tolist() == [row for row in full.rows.tolist() if row % 2 == 0]
        some = store.search({"terms": query}, rows, rows=np.arange(50, 150), exclude=[101])
        assert some.rows.tolist() == [row for row in full.rows.tolist() if 100 <= row < 150 and row != 101]


def test_edited_and_merged(tmp_path: Path) -> None:
    x, more = matrix(300), matrix(60, seed=1)
    path = write(tmp_path / "a.vecs", x, shard_bytes=1 << 22)
    with vecstore.edit(path) as e:
        e.append(dense(50, 1), [f"new {i}" for i in range(50)], fields={"terms": more[:50]})
        e.append(dense(2, 2), ["bare", "empty"])
        e.upsert(dense(10, 3), [f"key {i}" for i in range(10)], fields={"terms": mappings(more[50:])})
        e.delete([f"key {i}" for i in range(20, 120)])
    with vecstore.open(path) as store:
        names = list(store.keys)
        before = dict(zip(names, store.field("terms")[names], strict=True))
        assert before["bare"] == {} and before["key 3"].keys() == mappings(more[50:])[3].keys()
        query = mappings(more)[4]
        scores = list(store.search({"terms": query}, 300))
    vecstore.compact(path)
    with vecstore.open(path) as store:
        assert store.info()["shards"] == 1
        assert dict(zip(names, store.field("terms")[names], strict=True)) == before
        assert list(store.search({"terms": query}, 300)) == scores
        store.verify(deep=True)


def test_what_models_give() -> None:
    x = matrix(50)
    reference = as_entries(x)
    for given in (
        x.tocsc(),
        scipy.sparse.csr_matrix(x),
        x.tocoo(),
        mappings(x),
        [{str(term): weight for term, weight in one.items()} for one in mappings(x)],  # BGE-M3
        [dict(reversed(one.items())) for one in mappings(x)],
        [one | {TERMS + 1: 0.0} for one in mappings(x)],
    ):
        for found, same in zip(as_entries(given), reference, strict=True):
            np.testing.assert_array_equal(found, same)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([{"word": 1.0}], "number your words"),
        ([{-1: 1.0}], "whole numbers below"),
        ([{1 << 32: 1.0}], "whole numbers below"),
        ([{1: "x"}], "weights numbers"),
        ([{1: -0.5}], "row 0: weights are numbers of 0 or more"),
        ([{}, {1: np.nan}], "row 1: weights"),
        ([{1: 1.0, "1": 2.0}], "row 0: term 1 comes twice"),
        ([[1, 2]], "row 0: a mapping of terms"),
        ({1: 1.0}, "one mapping of terms to weights a row"),
        (np.ones((2, 2)), "scipy matrix in CSR"),
        (7, "scipy matrix in CSR"),
    ],
)
def test_what_is_refused(given: object, told: str) -> None:
    with pytest.raises(ShapeError, match=told):
        vecstore.Sparse(given)


def test_refused_options(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="weight_bits is 0, 4 or 8"):
        vecstore.Sparse(matrix(3), weight_bits=5)
    with vecstore.open(write(tmp_path / "a.vecs", matrix(60))) as store, pytest.raises(OptionError, match="alpha"):
        store.search({"terms": {1: 1.0}}, alpha=2)


def test_groups_end_at_rows_and_entries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from vecstore.fields.sparse import trained

    monkeypatch.setattr(trained, "GROUP_ENTRIES", 500)
    x = matrix(200)
    with vecstore.open(write(tmp_path / "a.vecs", x)) as store:
        assert len(store.field("terms").readers[0].groups) > 3
        assert (decoded(store.field("terms"), 200).indices == x.indices).all()
        query = mappings(x)[5]
        weights = decoded(store.field("terms"), 200)
        full = np.zeros(TERMS)
        full[list(query)] = list(query.values())
        assert (
            store.search({"terms": query}, 3).rows.tolist() == np.argsort(-(weights @ full), kind="stable")[:3].tolist()
        )


def test_coded_rows_move() -> None:
    coded = vecstore.Sparse(matrix(40)).fit().rows(matrix(40)).coded()
    order = np.random.default_rng(0).permutation(40)
    back = coded.take(order).take(np.argsort(order))
    assert all((one == other).all() for one, other in zip(vars(back).values(), vars(coded).values(), strict=True))
    joined = CodedTerms.joined([coded.take(np.arange(10)), coded.take(np.arange(10, 40))])
    assert (joined.indptr == coded.indptr).all() and (joined.codes == coded.codes).all()
