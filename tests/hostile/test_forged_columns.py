"""Columns that no writer writes, under right checksums: refused before Arrow sees what would crash it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vecstore.bench.scripts.mutations import reseal, reseal_bytes

import vecstore
from vecstore.container.container import Container
from vecstore.errors import CorruptError

ROWS = 300


@pytest.fixture
def path(tmp_path: Path) -> Path:
    beside = {
        "coded": [None if i % 7 == 0 else f"section {i % 3}" for i in range(ROWS)],
        "text": [f"title {i}" for i in range(ROWS)],
        "tags": [[f"tag {j}" for j in range(i % 4)] for i in range(ROWS)],
        "n": list(range(ROWS)),
        "when": np.arange(ROWS).astype("datetime64[s]"),
    }
    x = np.random.default_rng(0).normal(size=(ROWS, 4)).astype(np.float32)
    vecstore.write(tmp_path / "a.vecs", x, codec="f32", columns=beside)
    return tmp_path / "a.vecs"


def refused(path: Path) -> None:
    for use in (lambda store: store.columns, lambda store: store.verify()):
        with vecstore.open(path) as store, pytest.raises(CorruptError):
            use(store)
    with vecstore.open(path) as store:  # what uses no columns does not care
        assert store.vectors[:].shape == (ROWS, 4)


@pytest.mark.parametrize(
    ("part", "at", "new"),
    [
        ("0.values", 9, b"\x03"),
        ("0.values", 9, b"\xff"),
        ("0.values", 0, b"\x7f"),  # of a null
        ("0.starts", 0, b"\1\0\0\0"),
        ("0.starts", 4, b"\xff\xff\xff\x7f"),
        ("0.text", 0, b"\xff"),
        ("0.validity", 0, b"\0"),
        ("1.starts", 4 * ROWS, b"\xff\xff\xff\x7f"),
        ("1.starts", 4, b"\xff\xff\xff\xff"),
        ("1.text", 3, b"\xc3"),
        ("2.lists", 4 * ROWS, b"\xff\xff\0\0"),
        ("2.lists", 8, b"\xff\xff\xff\xff"),
        ("2.values", 5, b"\x7f"),
    ],
)
def test_forged_buffers(path: Path, part: str, at: int, new: bytes) -> None:
    reseal_bytes(path, f"columns.{part}", 0, at, new)
    refused(path)


def shape(part: str, rows: int) -> Callable[[dict[str, Any]], Any]:
    return lambda about: about["parts"][f"columns.{part}"].update(shape=[rows], block_rows=max(rows, 1))


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about.update(columns={"name": "n"}),
        lambda about: about.update(columns=["n"]),
        lambda about: about["columns"][0].update(name="n"),
        lambda about: about["columns"][0].update(name=""),
        lambda about: about["columns"][0].update(type="decimal"),
        lambda about: about["columns"][0].update(nulls=ROWS + 1),
        lambda about: about["columns"][3].update(nulls=1),
        lambda about: about["columns"][0].update(dictionary=1),
        lambda about: about["columns"][0].update(dictionary=False),
        lambda about: about["columns"][3].update(type="float64"),
        lambda about: about["columns"][3].update(type="bool"),
        lambda about: about["columns"][4].update(unit="h"),
        lambda about: about["columns"][4].update(zone="\0"),
        lambda about: about["columns"].extend(about["columns"]),
        lambda about: about["columns"].insert(0, about["columns"].pop()),
        shape("3.values", ROWS - 1),
        shape("0.starts", 0),
        shape("0.starts", 1),
        shape("0.text", 3),
        lambda about: about["parts"]["columns.0.text"].update(encoding="front-coded"),
        lambda about: about["parts"].pop("columns.1.text"),
    ],
)
def test_forged_descriptions(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    description = Container(path).description
    change(description)
    reseal(path, description)
    refused(path)
