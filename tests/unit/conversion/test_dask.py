"""Conversions, searches and benches on a cluster of Dask, and conversions of Dask's collections."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from vecstore.bench.running import bench

import vecstore
from vecstore.distributed import Searcher
from vecstore.errors import OptionError

distributed = pytest.importorskip("distributed", reason="needs dask[distributed]")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

X = np.random.default_rng(5).normal(size=(4000, 16)).astype(np.float32)
OPTIONS = {"codec": "sq:4", "shard_bytes": 150_000}


@pytest.fixture(scope="module")
def client():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with (
            distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client


def files(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_files(client, tmp_path):
    for number in range(4):
        vectors = list(X[1000 * number : 1000 * (number + 1)])
        frame = pd.DataFrame({"key": [f"k{number}-{row}" for row in range(1000)], "vector": vectors})
        frame.to_parquet(tmp_path / f"part-{number}.parquet")
    vecstore.convert(tmp_path / "part-*.parquet", tmp_path / "a.vecs", **OPTIONS)
    executor = client.get_executor()
    vecstore.convert(tmp_path / "part-*.parquet", tmp_path / "b.vecs", executor=executor, **OPTIONS)
    assert files(tmp_path / "a.vecs") == files(tmp_path / "b.vecs")


def test_arrays_and_frames_of_dask(client, tmp_path):
    array = pytest.importorskip("dask.array", reason="needs dask[array]")
    whole = array.from_array(X, chunks=(900, 8))
    vecstore.convert(whole, tmp_path / "a.vecs", **OPTIONS)
    vecstore.convert(whole, tmp_path / "b.vecs", executor=client.get_executor(), **OPTIONS)
    assert files(tmp_path / "a.vecs") == files(tmp_path / "b.vecs")
    with vecstore.open(tmp_path / "b.vecs") as store:
        assert len(store) == len(X) and np.abs(store.vectors[:] - X).mean() < 0.15
    with pytest.raises(OptionError, match="two dimensions, found 1"):
        vecstore.convert(whole[:, 0], tmp_path / "c.vecs")
    frames = pytest.importorskip("dask.dataframe", reason="needs dask[dataframe]")
    numbers = {f"x{number}": X[:, number] for number in range(16)}  # Dask makes text of columns that hold arrays
    frame = pd.DataFrame({"id": range(4000), "price": range(4000)} | numbers)
    options = OPTIONS | {"columns": ["price"], "executor": client.get_executor()}
    vecstore.convert(frames.from_pandas(frame, npartitions=3), tmp_path / "d.vecs", **options)
    with vecstore.open(tmp_path / "d.vecs") as store:
        assert store.rows_of([7, 3999]).tolist() == [7, 3999] and store.columns["price"].to_pylist()[7] == 7


def test_searches(client, tmp_path):
    vecstore.write(tmp_path / "a.vecs", X, **OPTIONS)
    executor = client.get_executor()
    with vecstore.open(tmp_path / "a.vecs") as store, Searcher(tmp_path / "a.vecs", executor) as searcher:
        expected, found = store.search(X[:5]), searcher.search(X[:5])
        np.testing.assert_array_equal(found.rows, expected.rows)
        np.testing.assert_array_equal(found.scores, expected.scores)
        assert searcher._parts == 2


def test_benches(client, tmp_path):
    options = {"codecs": "sq:8 pq:8 tcq:8", "peers": "none", "quick": True}
    alone = bench(X, tmp_path / "a", **options)
    found = bench(X, tmp_path / "b", executor=client.get_executor(), **options)
    assert [line.label for line in found.lines] == [line.label for line in alone.lines]
    for one, other in zip(found.lines, alone.lines, strict=True):
        assert one.recall == other.recall and one.bytes == other.bytes
        assert one.facts["beside"] and not other.facts["beside"]
