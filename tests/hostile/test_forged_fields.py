"""Fields that no writer writes, under right checksums: refused where they are used, and nowhere else."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vecstore.bench.scripts.mutations import reseal, reseal_bytes

import vecstore
from vecstore.container.container import Container
from vecstore.errors import VecstoreError

ROWS = 200


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    tokens = [rng.normal(size=(i % 4, 6)) for i in range(ROWS)]
    fields = {name: vecstore.Multi(tokens, codec=codec) for name, codec in (("a", "sq:8"), ("b", "tcq:4"))}
    room = {"room": "." * 20_000}  # for longer descriptions
    vecstore.write(tmp_path / "a.vecs", rng.normal(size=(ROWS, 4)), codec="f32", fields=fields, user=room)
    return tmp_path / "a.vecs"


def refused(path: Path) -> None:
    for use in (lambda store: store.field("a").of_rows(range(ROWS)), lambda store: store.verify()):
        with vecstore.open(path) as store, pytest.raises(VecstoreError):
            use(store)
    with vecstore.open(path) as store:  # what uses no fields does not care
        assert store.vectors[:].shape == (ROWS, 4) and len(store.search(np.ones(4), 3)) == 3


@pytest.mark.parametrize(
    ("at", "number"), [(0, 1), (5, -1), (5, 1 << 40), (ROWS, (1 << 63) - 1), (ROWS, 3), (ROWS - 1, 1 << 33)]
)
def test_forged_starts(path: Path, at: int, number: int) -> None:
    reseal_bytes(path, "fields.0.starts", 0, 8 * at, struct.pack("<q", number))
    refused(path)


def part(name: str, **members: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda about: about["parts"][f"fields.0.{name}"].update(members)


def member(**members: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda about: about["fields"][0].update(members)


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about.update(fields={"name": "a"}),
        lambda about: about.update(fields=["a"]),
        lambda about: about["fields"].extend([about["fields"][0]] * 70),
        member(name="b"),
        member(name=""),
        member(kind=7),
        member(vectors=1 << 33),
        member(vectors=1 << 31),
        member(vectors=-1),
        member(dimensions=0),
        member(dimensions=1 << 20),
        member(pool=0),
        member(unit=1),
        member(codec=[]),
        member(codec="sq:8"),
        member(codec=[[{"name": "hash", "configuration": {"entries": 5}}]]),
        lambda about: about["fields"][0].update(codec=2 * about["fields"][0]["codec"]),
        lambda about: about["fields"].insert(0, about["fields"].pop()),
        part("starts", shape=[ROWS], block_rows=ROWS),
        part("starts", dtype="<u8"),
        part("starts", encoding="deltas"),
        part("codes.0", shape=[1 << 40, 6]),
        part("codes.0", dtype="|i1"),
        lambda about: about["parts"].pop("fields.0.starts"),
        lambda about: about["parts"].pop("fields.0.codes.0"),
    ],
)
def test_forged_descriptions(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    about = Container(path).description
    change(about)
    reseal(path, about)
    refused(path)


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = [
        {int(term): 1.0 + term % 3 for term in np.flatnonzero(rng.random(30) < 3 / np.arange(1, 31))}
        for _ in range(ROWS)
    ]
    fields = {"a": vecstore.Sparse(rows)}
    vecstore.write(
        tmp_path / "a.vecs", rng.normal(size=(ROWS, 4)), codec="f32", fields=fields, user={"room": "." * 9000}
    )
    return tmp_path / "a.vecs"


def refused_terms(path: Path) -> None:
    refused(path)
    with vecstore.open(path) as store:
        for query in (dict.fromkeys(range(30), 1.0), {1: 1.0}, {29: -1.0}):
            try:  # whatever is found, nothing is read that is not there
                store.search({"a": query}, ROWS, exclude=[0])
                store.search({"a": query, "dense": np.ones(4)}, 5, fuse="rrf")
            except VecstoreError:
                continue


@pytest.mark.parametrize("seed", range(40))
def test_forged_lists(sparse: Path, seed: int) -> None:
    """Bytes of lists at random: refused, or other rows and weights that are in range."""
    rng = np.random.default_rng(seed)
    size = int(Container(sparse).description["parts"]["fields.0.lists"]["shape"][0])
    reseal_bytes(sparse, "fields.0.lists", 0, int(rng.integers(size - 8)), rng.bytes(int(rng.integers(1, 8))))
    with vecstore.open(sparse) as store:
        try:
            for item in store.field("a").of_rows(range(ROWS)):
                assert all(0 <= term < 30 and weight >= 0 for term, weight in item.items())
            found = store.search({"a": dict.fromkeys(range(30), 1.0)}, ROWS)
            assert set(found.rows) <= set(range(ROWS))
            store.verify()
        except VecstoreError:
            return


@pytest.mark.parametrize(
    ("part_name", "at", "number"),
    [
        ("groups", 0, ROWS + 1),
        ("groups", 0, 0),
        ("groups", 1, 29),
        ("groups", 1, (1 << 32) - 1),
        ("terms", 5, 4),
        ("sizes", 3, (1 << 32) - 1),
        ("sizes", 3, 0),
        ("sizes", 0, 2),
        ("sizes", 29, 3),
    ],
)
def test_forged_directories(sparse: Path, part_name: str, at: int, number: int) -> None:
    reseal_bytes(sparse, f"fields.0.{part_name}", 0, 4 * at, struct.pack("<I", number))
    refused_terms(sparse)


@pytest.mark.parametrize(
    "change",
    [
        member(weight_bits=3),
        member(weight_bits=0),
        member(weight_bits=4),
        member(step=0),
        member(step=-1.0),
        member(step=1e300),
        member(step="1"),
        member(step=True),
        part("lists", encoding="rans"),
        part("terms", dtype="<u8"),
        part("sizes", shape=[7], block_rows=7),
        part("groups", shape=[2], block_rows=2),
        lambda about: about["parts"].pop("fields.0.lists"),
        lambda about: about["parts"].pop("fields.0.groups"),
    ],
)
def test_forged_descriptions_of_terms(sparse: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    about = Container(sparse).description
    change(about)
    reseal(sparse, about)
    refused_terms(sparse)


@pytest.mark.parametrize("entries", [5, -1, 1 << 60])
def test_forged_number_of_entries(sparse: Path, entries: int) -> None:
    about = Container(sparse).description
    member(entries=entries)(about)
    reseal(sparse, about)
    with vecstore.open(sparse) as store, pytest.raises(VecstoreError):
        store.verify()
