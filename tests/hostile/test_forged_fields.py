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


@pytest.mark.parametrize("forge", ["number", "dtype", "rows", "step", "count", "none"])
def test_forged_cells(tmp_path: Path, forge: str) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "a.vecs"
    tokens = [rng.normal(size=(i % 4, 6)) for i in range(ROWS)]
    fields = {name: vecstore.Multi(tokens, codec=f"cells:9,{codec}") for name, codec in (("a", "sq:8"), ("b", "tcq:4"))}
    room = {"room": "." * 20_000}
    vecstore.write(path, rng.normal(size=(ROWS, 4)), codec="f32", fields=fields, user=room)
    changes: dict[str, Callable[[dict[str, Any]], Any]] = {
        "dtype": part("cells", dtype="|i1"),
        "rows": part("cells", shape=[ROWS]),
        "step": member(cells=9),
        "count": member(cells={"name": "cells", "configuration": {"count": 300}}),
        "none": lambda about: about["parts"].pop("fields.0.cells"),
    }
    if forge == "number":
        reseal_bytes(path, "fields.0.cells", 0, 5, b"\x09")
    else:
        about = Container(path).description
        changes[forge](about)
        reseal(path, about)
    refused(path)
    with vecstore.open(path) as store, pytest.raises(VecstoreError):
        store.search(rng.normal(size=(3, 6)), 3, field="a")


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    tokens = [rng.normal(size=(i % 4, 6)) for i in range(ROWS)]
    small = vecstore.Muvera("t", repetitions=2, simhash=2, projection=3, codec="sq:8")
    fields = {"a": small, "t": vecstore.Multi(tokens, codec="sq:8")}
    room = {"room": "." * 20_000}
    vecstore.write(tmp_path / "a.vecs", rng.normal(size=(ROWS, 4)), codec="f32", fields=fields, user=room)
    return tmp_path / "a.vecs"


def encoding(**members: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda about: about["fields"][0]["muvera"].update(members)


@pytest.mark.parametrize(
    "change",
    [
        member(metric="hamming"),
        member(metric=3),
        member(dimensions=0),
        member(dimensions=25),
        member(codec=[]),
        member(codec=[[{"name": "hash", "configuration": {"entries": 5}}]]),
        member(missing=0),
        member(missing=ROWS + 1),
        member(missing=-1),
        member(muvera="tokens"),
        encoding(of=7),
        encoding(repetitions=0),
        encoding(repetitions=1 << 40),
        encoding(repetitions=3),
        encoding(simhash=13),
        encoding(simhash=1),
        encoding(projection=2),
        encoding(projection=1 << 20),
        encoding(token_dimensions=5),
        part("encoding.planes", dtype="<i4"),
        part("validity", shape=[7], block_rows=7),
        part("codes.0", shape=[1 << 40, 24]),
        lambda about: about["parts"].pop("fields.0.encoding.signs"),
        lambda about: about["parts"].pop("fields.0.validity"),
        lambda about: about["parts"].pop("fields.0.codes.0"),
    ],
)
def test_forged_dense_fields(vectors: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    about = Container(vectors).description
    change(about)
    reseal(vectors, about)
    forged = Container(vectors).description["fields"][0]
    with vecstore.open(vectors) as store:
        if forged.get("missing") == 0:  # rows without a vector are found then, and nothing else is wrong
            assert len(store.search(np.ones((2, 6)), ROWS, field="a").rows) == ROWS
            return
        with pytest.raises(VecstoreError):
            store.verify()
    with vecstore.open(vectors) as store:
        with pytest.raises(VecstoreError):
            store.search(np.ones((2, 6)), 3, field="a")
        assert store.vectors[:].shape == (ROWS, 4) and len(store.search(np.ones(4), 3)) == 3


@pytest.mark.parametrize(
    ("name", "at", "number"),
    [("encoding.signs", 3, b"\x00"), ("encoding.planes", 0, b"\0\0\x80\x7f"), ("validity", 0, b"\xff")],
)
def test_forged_numbers_of_dense_fields(vectors: Path, name: str, at: int, number: bytes) -> None:
    reseal_bytes(vectors, f"fields.0.{name}", 0, at, number)
    with vecstore.open(vectors) as store, pytest.raises(VecstoreError):
        store.search(np.ones((2, 6)), 3, field="a")


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
