"""Several stores opened as one."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import vecstore
from vecstore.errors import ClosedError, CodecError, KeyNotFoundError, OptionError

D = 100


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(900, D)).astype(np.float32)


@pytest.fixture
def make(tmp_path, x):
    """Return a function that writes rows of `x` as a store."""

    def made(name, rows, keys=True, **options):
        numbers = range(*rows.indices(len(x)))
        given = [f"key {row}" for row in numbers] if keys is True else keys
        vecstore.write(tmp_path / name, x[rows], given, **{"codec": "f32", **options})
        return tmp_path / name

    return made


LAYOUTS = {"files": {}, "shards": {"shard_bytes": 183_000}}


@pytest.fixture(params=LAYOUTS)
def paths(make, request):
    return [make("a", slice(0, 500)), make("b", slice(500, 900), **LAYOUTS[request.param])]


def test_rows_and_keys_are_counted_through(paths, x):
    store = vecstore.open(paths)
    assert len(store) == 900 and store.dimensions == D and store.path == f"{paths[0]} + {paths[1]}"
    np.testing.assert_array_equal(store.vectors, x)
    keys = [f"key {row}" for row in range(900)]
    assert list(store) == store.keys[:] == keys and store.key_of(700) == "key 700"
    np.testing.assert_array_equal(store[keys], x)
    assert store.rows_of(["key 899", "none", "key 3"]).tolist() == [899, -1, 3]
    assert store.rows_of(np.array(keys * 2)).tolist() == list(range(900)) * 2
    np.testing.assert_array_equal(store["key 620"], x[620])
    assert "none" not in store and store.get("none") is None
    with pytest.raises(KeyNotFoundError, match=r"no key 'none' in .*a \+ "):
        store["none"]


def test_the_first_store_that_holds_a_key_answers(make, x):
    store = vecstore.open([make("a", slice(100, 300)), make("b", slice(0, 300))])
    np.testing.assert_array_equal(store["key 100"], x[100])
    assert store.rows_of(["key 100", "key 0"]).tolist() == [0, 200]
    assert store.search(x[100], 2).keys == ["key 100", "key 100"]  # both rows are there
    assert store.verify() > 0


def test_stores_without_keys(make, x):
    store = vecstore.open([make("a", slice(0, 500), keys=None), make("b", slice(500, 900), keys=None)])
    np.testing.assert_array_equal(store[620], x[620])
    assert 900 not in store and store.rows_of([3, 899, 900]).tolist() == [3, 899, -1]


def test_one_of_them_is_reordered(make, x):
    cells = make("a", slice(0, 500), codec="cells:4,f32", keep_order=False)
    store = vecstore.open([cells, make("b", slice(500, 900))])
    assert store.renumbered and store.info()["row_order"] == "cells"
    with pytest.raises(OptionError, match=r"store\.rows_of"):
        store.search(x[5], rows=[1, 2])
    assert store.search(x[5], rows=store.rows_of(["key 5", "key 620"])).keys == ["key 5", "key 620"]
    found = store.search(x[5])
    assert store.search(x[5], exclude=found.rows[:1]).keys[0] == found.keys[1]


def test_what_is_said_of_them(paths):
    store, each = vecstore.open(paths), [vecstore.open(path).info() for path in paths]
    about = store.info()
    assert about["bytes"]["stored"] == sum(one["bytes"]["stored"] for one in each)
    assert about["shards"] == sum(one["shards"] for one in each)
    assert about["certificate"] is about["provenance"] is None and about["user"] == {}
    assert "900 x 100, f32, cosine" in repr(store)
    assert store.verify() == sum(vecstore.open(path).verify() for path in paths)
    with pytest.raises(OptionError, match="each with a codec of its own"):
        _ = store.codec


def test_handles_survive_pickling_fork_threads_and_closing(paths, x):
    store = vecstore.open(paths)
    again = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(again["key 620"], x[620])
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda row: store.search(x[row], 1).keys[0], range(0, 900, 50)))
    assert found == [f"key {row}" for row in range(0, 900, 50)]
    child = os.fork()
    if not child:
        os._exit(0 if np.array_equal(store["key 620"], x[620]) else 1)
    assert os.waitpid(child, 0)[1] == 0
    store.close()
    for use in (lambda: store["key 1"], lambda: store.search(x[0]), lambda: store.keys):
        with pytest.raises(ClosedError, match="is closed"):
            use()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(store)).vectors[5], x[5])


def test_truncated(paths, x):
    short = vecstore.open(paths).truncated(8)
    np.testing.assert_allclose(short["key 620"], x[620, :8] / np.linalg.norm(x[620, :8]), rtol=1e-6)
    with pytest.raises(CodecError):
        vecstore.open(paths).truncated(D + 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "dot"}, "other metrics: cosine and dot"),
        ({"keys": None}, "other types of keys: str and none"),
        ({"keys": list(range(400))}, "other types of keys: str and int64"),
        ({"codec": "bin/sq:8"}, "other numbers of layers: 1 and 2"),
    ],
)
def test_stores_that_do_not_go_together(make, options, message):
    with pytest.raises(OptionError, match=rf"a and .*b have {message}"):
        vecstore.open([make("a", slice(0, 500)), make("b", slice(500, 900), **options)])


def test_other_dimensions_and_nothing(make, tmp_path, x):
    vecstore.write(tmp_path / "b", x[:, :8], [f"key {row}" for row in range(900)], codec="f32")
    with pytest.raises(OptionError, match="other dimensions: 100 and 8"):
        vecstore.open([make("a", slice(0, 500)), tmp_path / "b"])
    with pytest.raises(OptionError, match="no store to open in an empty list"):
        vecstore.open([])


def test_calibrated_scores_are_those_of_one_store(make, x):
    paths = [make("a", slice(0, 500), codec="pq:10"), make("b", slice(500, 900), codec="pq:10")]
    with pytest.raises(OptionError, match="a map of their own"):
        vecstore.open(paths).search(x[0], calibrated=True)
