"""Stores whose rows lie cell by cell: lookups by key and number, searches, and how they are written."""

from __future__ import annotations

import filecmp
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

import vecstore
from vecstore.container.container import Container
from vecstore.errors import DuplicateKeyError, OptionError
from vecstore.keys.packed import PackedKeys
from vecstore.shard.spill import CellSpill
from vecstore.store.store import Store

SPECS = ["cells:12,sq:8", "cells:12,sq:4", "cells:40,opq:12", "cells:12,pq:12x4", "cells:12,bin", "cells:7,tcq:16"]
TWO = ["cells:12,bin/sq:8", "cells:30,sq:8/f16"]
METRICS = ["cosine", "dot", "l2"]
ANY_ORDER = {"keep_order": False}


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory, docs: np.ndarray, doc_keys: list[str]) -> Callable[..., Store]:
    made: dict[Any, Path] = {}

    def opened(spec: str, keyed: bool = True, **options: Any) -> Store:
        name = (spec, keyed, *options.items())
        if name not in made:
            made[name] = tmp_path_factory.mktemp("cells") / "docs.vecs"
            vecstore.write(
                made[name], docs * (1 + np.arange(2000)[:, None] % 3), doc_keys if keyed else None, spec, **options
            )
        return vecstore.open(made[name])

    return opened


def brute_force(store: Store, queries: np.ndarray, metric: str, k: int, rows: np.ndarray | None = None) -> np.ndarray:
    """Return the k best scores of these rows, (q, k), larger being better."""
    scores = reference.scores(queries, store.vectors[:], metric)
    scores = -scores if metric == "l2" else scores
    return -np.sort(-(scores if rows is None else scores[:, rows]), axis=1)[:, :k]


def same_scores(found: Any, best: np.ndarray, metric: str) -> None:
    scores = -found.scores if metric == "l2" else found.scores
    np.testing.assert_allclose(scores, best, rtol=2e-4, atol=2e-4)


# Lookups


@pytest.mark.parametrize(
    "options", [{}, ANY_ORDER, ANY_ORDER | {"shard_bytes": 330_000}, {"keep_norms": True}], ids=str
)
def test_keys_find_their_vectors(build: Any, docs: np.ndarray, doc_keys: list[str], options: dict) -> None:
    store = build("cells:12,sq:8", **options)
    x = docs * (1 + np.arange(2000)[:, None] % 3)
    store.verify()
    rows = store.rows_of(doc_keys)
    assert sorted(rows) == list(range(2000)) and [store.keys[row] for row in rows] == doc_keys
    assert (rows.tolist() == list(range(2000))) == ("keep_order" not in options)
    np.testing.assert_allclose(store[doc_keys], x, atol=0.25)
    np.testing.assert_array_equal(store.vectors[rows], store[doc_keys])
    np.testing.assert_array_equal(store.vectors[:][rows], store[doc_keys])
    assert list(store) == list(store.keys) == [doc_keys[at] for at in np.argsort(rows)]
    for at in (0, 77, 1999):
        np.testing.assert_array_equal(store[doc_keys[at]], store.vectors[int(rows[at])])
        np.testing.assert_allclose(store[doc_keys[at]], x[at], atol=0.25)
        assert store.search(store[doc_keys[at]], 1, metric="l2").keys == [doc_keys[at]]
    assert "absent" not in store


@pytest.mark.parametrize("options", [{}, {"shard_bytes": 400_000}], ids=str)
def test_rows_without_keys_keep_their_numbers(build: Any, docs: np.ndarray, options: dict) -> None:
    store = build("cells:12,sq:8", keyed=False, **options)
    x = docs * (1 + np.arange(2000)[:, None] % 3)
    store.verify()
    np.testing.assert_allclose(store.vectors[:], x, atol=0.25)
    np.testing.assert_array_equal(store.vectors[50:1900], store.vectors[:][50:1900])
    np.testing.assert_array_equal(store.vectors[[5, 1999, 5]], store.vectors[:][[5, 1999, 5]])
    np.testing.assert_array_equal(store[1234], store.vectors[:][1234])
    found = store.search(x[:40], 1, metric="l2")
    assert found.rows[:, 0].tolist() == list(range(40)) and found.keys == [[row] for row in range(40)]
    mask = np.arange(2000) % 5 == 0
    assert (store.search(x[:40], 9, rows=mask).rows % 5 == 0).all()
    assert store.range_search(x[7], max_distance=0.1, metric="l2").rows[0] == 7


@pytest.mark.parametrize(
    ("keys", "options"), [("str", ANY_ORDER), (None, {}), (None, ANY_ORDER), ("int64", {}), ("bytes", ANY_ORDER)]
)
def test_what_is_kept_beside_the_codes_is_counted(make_store: Any, keys: str | None, options: dict) -> None:
    store = vecstore.open(make_store("cells:12,sq:8", keys=keys, **options))
    info = store.info()
    order = Container(store.path).part("order.row_of").sizes.sum() if keys is None or not options else 0
    assert info["cells"]["order_bytes"] == order >= (0 if order == 0 else 8000)
    assert info["cells"]["count"] == 12 and 12 * 50 // 8 < info["cells"]["centroid_bytes"] < 4 * 12 * 50
    assert info["bytes"]["code"] == [50]


def test_a_truncated_store_has_truncated_centroids(build: Any) -> None:
    store = build("cells:12,sq:8")
    shorter = store.truncated(100)
    x = store.vectors[:][:, :100]
    np.testing.assert_allclose(shorter.vectors[:], x / np.linalg.norm(x, axis=1, keepdims=True), atol=1e-5)
    for metric in METRICS:
        everywhere = shorter.search(x[:5], metric=metric)
        same_scores(everywhere, brute_force(shorter, x[:5], metric, 10), metric)
        gained = shorter.search(x[:5], metric=metric, nprobe=3).scores - everywhere.scores
        assert ((-gained if metric == "l2" else gained) <= 1e-3).all()


# Searches


def test_nprobe_over_shards(build: Any, queries: np.ndarray) -> None:
    store = build("cells:12,sq:8", shard_bytes=330_000)
    assert store.info()["shards"] > 2
    whole, few, one = (store.search(queries[:20], nprobe=nprobe) for nprobe in (None, 6, 1))
    shares = [
        np.mean([len(set(a) & set(b)) / 10 for a, b in zip(whole.keys, some.keys, strict=True)]) for some in (few, one)
    ]
    assert 1 > shares[0] > 0.75 > shares[1] > 0.2
    same_scores(whole, brute_force(store, queries[:20], "cosine", 10), "cosine")


@pytest.mark.parametrize("nprobe", [0, -1, 1.5, True, "3"])
def test_numbers_of_cells_that_are_none(build: Any, nprobe: Any) -> None:
    with pytest.raises(OptionError, match="positive number of cells"):
        build("cells:12,sq:8").search(np.ones(384), nprobe=nprobe)


def test_what_does_not_go_with_cells(build: Any, make_store: Any) -> None:
    with pytest.raises(OptionError, match="cells first"):
        vecstore.open(make_store()).search(np.ones(50), nprobe=3)
    with pytest.raises(OptionError, match="hamming"):
        build("cells:12,bin").search(np.ones(384), metric="hamming")


# Writing


@settings(max_examples=30)
@given(st.data())
def test_spilled_rows_come_back_cell_by_cell(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 6))
    batches = data.draw(st.lists(st.lists(st.integers(0, count - 1), min_size=1, max_size=9), min_size=1, max_size=6))
    chunk = data.draw(st.sampled_from([1, 60, 10**6]))
    texts = data.draw(st.booleans())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vecstore.shard.spill.CHUNK_BYTES", chunk)
        patch.setattr("vecstore.shard.spill.MERGED_BYTES", chunk)
        spill = CellSpill(tmp_path_factory.getbasetemp(), count, "str" if texts else None)
        row = 0
        for batch in batches:
            rows = np.arange(row, row + len(batch), dtype="<u4")
            keys = [f"k{i}" * (i % 4) for i in rows]
            packed = PackedKeys(keys, "str").take(np.arange(len(keys))) if texts else None
            spill.add(np.array(batch), {"rows": rows, "codes.0": rows[:, None].view(np.uint8)}, packed)
            row += len(batch)
        merged = list(spill.merged())
        spill.close()
    cells = np.concatenate(batches)
    expected = np.argsort(cells, kind="stable")
    records = np.concatenate([records for records, _ in merged])
    np.testing.assert_array_equal(records["rows"], expected)
    np.testing.assert_array_equal(records["codes.0"].copy().view("<u4")[:, 0], expected)
    np.testing.assert_array_equal(spill.sizes, np.bincount(cells, minlength=count))
    if texts:
        found = [
            bytes(keys.text[a:b]).decode()
            for _, keys in merged
            for a, b in zip(keys.starts, keys.starts[1:], strict=False)
        ]
        assert found == [f"k{i}" * (i % 4) for i in expected]


@pytest.mark.parametrize("options", [{}, ANY_ORDER, ANY_ORDER | {"shard_bytes": 330_000}], ids=str)
def test_the_same_rows_give_the_same_bytes(
    tmp_path: Path, docs: np.ndarray, doc_keys: list[str], options: dict
) -> None:
    """However they are handed over, and however often they are spilled on the way."""
    codec = vecstore.codec("cells:12,sq:8").fit(docs)
    paths = [tmp_path / "one.vecs", tmp_path / "two.vecs"]
    for path, step, chunk in zip(paths, (2000, 37), (1 << 25, 20_000), strict=True):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("vecstore.shard.spill.CHUNK_BYTES", chunk)
            with vecstore.Writer(path, codec, **options) as writer:
                for start in range(0, 2000, step):
                    writer.add(docs[start : start + step], doc_keys[start : start + step])
    if paths[0].is_dir():
        names = sorted(file.name for file in paths[0].iterdir())
        assert filecmp.cmpfiles(*paths, names, shallow=False) == (names, [], [])
    else:
        assert filecmp.cmp(*paths, shallow=False)


def test_a_duplicate_key_is_refused(tmp_path: Path, docs: np.ndarray, doc_keys: list[str]) -> None:
    codec = vecstore.codec("cells:12,sq:8").fit(docs)
    for options in (ANY_ORDER, ANY_ORDER | {"shard_bytes": 330_000}, {}):
        with (
            pytest.raises(DuplicateKeyError, match="duplicate"),
            vecstore.Writer(tmp_path / "a.vecs", codec, **options) as writer,
        ):
            writer.add(docs, doc_keys)
            writer.add(docs[:1], doc_keys[5:6])
        assert list(tmp_path.iterdir()) == []


PROGRAM = """
import os, resource, sys
import numpy as np, vecstore
rows, path = int(sys.argv[1]), sys.argv[2]
rng = np.random.default_rng(0)
codec = vecstore.codec("cells:64,sq:8").fit(rng.normal(size=(2000, 32)))
def add(writer, count):
    for start in range(0, count, 10_000):
        x = rng.normal(size=(10_000, 32)).astype(np.float32)
        writer.add(x, [f"key {i:030d}" for i in range(start, start + 10_000)])
with vecstore.Writer(path + "-", codec, keep_order=False) as writer:
    add(writer, 20_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with vecstore.Writer(path, codec, keep_order=False) as writer:
    add(writer, rows)
    if len(sys.argv) > 3:
        writer.add(np.zeros((1, 32)), ["last"])
        os.kill(os.getpid(), 9)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_stays_bounded(tmp_path: Path) -> None:
    """600,000 rows of 32 bytes with 34 bytes of key are 45 MB on their way; chunks are cut to 4 MB here."""
    program = PROGRAM.replace(
        "import numpy", "import vecstore.shard.spill as s; s.CHUNK_BYTES = s.MERGED_BYTES = 1 << 22\nimport numpy", 1
    )
    grown = []
    for rows in (200_000, 600_000):
        command = [sys.executable, "-c", program, str(rows), str(tmp_path / f"{rows}.vecs")]
        grown.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert grown[1] - grown[0] < 30_000, "KiB for 400,000 rows more"


def test_a_killed_writer_leaves_no_spill(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, "20000", str(tmp_path / "a.vecs"), "kill"]
    assert subprocess.run(command, capture_output=True).returncode == -9
    assert not (tmp_path / "a.vecs").exists()
    left = {file.name for file in (tmp_path / ".a.vecs.partial").rglob("*") if file.is_file()}
    assert left <= {"shard-00000.vecs"}
    with vecstore.Writer(tmp_path / "a.vecs", vecstore.codec("cells:3,f32").fit(np.eye(4))) as writer:
        writer.add(np.eye(4), list("abcd"))
    assert {file.name for file in tmp_path.iterdir()} == {"a.vecs", "a.vecs-"}
