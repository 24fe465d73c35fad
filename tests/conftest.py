"""What all tests share: small real data, and stores made of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

# Small data gain nothing from the threads of OpenMP, which wait for each other in busy loops: where others use the same
# cores, training takes 10 to 40 times as long with two of them as with one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest
from samples import glove
from side_by_side import guard_compiled_kernels

import vecstore
from vecstore.container.container import Container, ContainerWriter
from vecstore.keys.index import KeyIndex
from vecstore.keys.index_writer import KeyIndexWriter
from vecstore.keys.kind import key_type_of
from vecstore.parallel import thread_count

DATA = Path(__file__).parent / "data"

WORKERS = 4  # at most: each compiles kernels that the others have not come to yet


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many processes run all tests; a room or a test alone is sooner done in this one."""
    whole = config.args in (["tests"], ["tests/"]) and not config.option.keyword
    return min(thread_count(), WORKERS) if whole else 0


if "PYTEST_XDIST_WORKER" in os.environ:
    guard_compiled_kernels()

# The same examples in every run; how long one takes depends on the machine.
hypothesis.settings.register_profile("vecstore", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("vecstore")


@pytest.fixture(scope="session")
def docs() -> np.ndarray:
    """Return 2,000 document embeddings of unit length, (2000, 384) float32."""
    return np.load(DATA / "pypi_docs_f16.npy").astype(np.float32)


@pytest.fixture(scope="session")
def doc_keys() -> list[str]:
    return (DATA / "pypi_keys.txt").read_text(encoding="utf-8").split("\n")[:-1]


@pytest.fixture(scope="session")
def queries() -> np.ndarray:
    """Return embeddings of other texts than the documents, (100, 384) float32."""
    return np.load(DATA / "pypi_queries_f16.npy").astype(np.float32)


@pytest.fixture(scope="session")
def words() -> np.ndarray:
    return glove()[0]


@pytest.fixture(scope="session")
def word_keys() -> list[str]:
    return glove()[1]


@pytest.fixture(scope="session")
def digits() -> np.ndarray:
    """Return 1,797 handwritten digits, (1797, 64) float32: whole numbers from 0 to 16, some columns constant."""
    from sklearn.datasets import load_digits

    return load_digits().data.astype(np.float32)


@pytest.fixture(scope="session")
def make_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that writes a store of GloVe words and gives its path; the same store only once.

    `keys` names what the keys are: "str", "bytes", "int64" or None.
    """

    @cache
    def build(spec: str = "sq:8", *, rows: int = 2000, keys: str | None = "str", **options: Any) -> Path:
        vectors, words = glove()
        given = {
            "str": words[:rows],
            "bytes": [word.encode() for word in words[:rows]],
            "int64": np.arange(rows) ** 2 - 1000,
            None: None,
        }[keys]
        path = tmp_path_factory.mktemp("stores") / "words.vecs"
        vecstore.write(path, vectors[:rows], given, spec, **options)
        return path

    return build


@pytest.fixture(scope="session")
def key_index(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., KeyIndex]:
    """Return a function that writes an index of keys, in batches if told so, and opens it."""
    path = tmp_path_factory.mktemp("keys") / "index.vecs"

    def build(keys: Any, *, batch: int = 1 << 20) -> KeyIndex:
        path.unlink(missing_ok=True)
        key_type = key_type_of(keys)
        container = ContainerWriter(path)
        writer = KeyIndexWriter(container, key_type)
        try:
            for start in range(0, len(keys), batch):
                writer.add(keys[start : start + batch])
            container.close({"keys": writer.close()})
        except BaseException:
            writer.abort()
            container.abort()
            raise
        found = Container(path)
        return KeyIndex(found, found.description["keys"], len(keys))

    return build
