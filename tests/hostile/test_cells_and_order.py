"""Cells and orders that no writer writes, under right checksums: refused, or harmless."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vecstore.bench.scripts.mutations import reseal

import vecstore
from vecstore.container.container import Container, ContainerWriter
from vecstore.errors import CodecError, CorruptError, FormatError, VecstoreError

ROWS = 200


def written(path: Path, monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[np.ndarray], Any]) -> Path:
    """Write a store without keys, one of whose arrays is changed on its way into the file."""
    put_array, put_block = ContainerWriter.put_array, ContainerWriter.put_block

    def put(writer: ContainerWriter, part: str, array: np.ndarray, **more: Any) -> None:
        put_array(writer, part, change(array.copy()) if part == name else array, **more)

    def put_column(writer: ContainerWriter, part: str, block: Any) -> None:
        if part == name == "order.row_of":
            block = change(block.view("<u4").copy()).view(np.uint8)
        put_block(writer, part, block)

    with monkeypatch.context() as patch:
        patch.setattr(ContainerWriter, "put_array", put)
        patch.setattr(ContainerWriter, "put_block", put_column)
        x = np.random.default_rng(0).normal(size=(ROWS, 12)).astype(np.float32)
        vecstore.write(path / "a.vecs", x, codec="cells:6,sq:4")
    return path / "a.vecs"


def use(path: Path) -> None:
    with vecstore.open(path) as store:
        _ = store.vectors[:], store.vectors[5]
        for nprobe in (None, 2):
            store.search(np.ones(12), nprobe=nprobe)
            store.range_search(np.ones((3, 12)), min_score=0.1, nprobe=nprobe)
        store.verify()


def set_item(at: Any, value: Any) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[at] = value
        return array

    return change


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("cells.sizes", set_item(0, 0)),
        ("cells.sizes", set_item(2, 2**32 - 1)),
        ("cells.sizes", lambda sizes: sizes[:-1]),
        ("cells.sizes", lambda sizes: np.concatenate([sizes, [0]]).astype("<u4")),
        ("cells.sizes", lambda sizes: sizes.astype("<i4")),
        ("cells.sizes", lambda sizes: sizes[:, None]),
        ("order.row_of", set_item(0, ROWS)),
        ("order.row_of", set_item(7, 2**32 - 1)),
        ("order.row_of", set_item(slice(None), 3)),
        ("model.cells.mean", set_item(0, np.nan)),
        ("model.cells.scales", set_item(0, np.inf)),
        ("model.cells.scales", set_item(0, 1e38)),
        ("model.cells.bits", set_item(0, 0)),
        ("model.cells.bits", set_item(0, 200)),
        ("model.cells.levels", lambda levels: levels[:, :-1]),
        ("model.cells.levels", lambda levels: levels[:-1]),
        ("model.cells.axes", lambda axes: axes[:-1]),
    ],
)
def test_arrays_that_make_no_sense_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[np.ndarray], Any]
) -> None:
    with pytest.raises((CorruptError, CodecError)) as raised:
        use(written(tmp_path, monkeypatch, name, change))
    assert len(str(raised.value)) > 30


@pytest.mark.parametrize("name", ["cells.sizes", "order.row_of", "model.cells.mean"])
def test_unchanged_arrays_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    use(written(tmp_path, monkeypatch, name, lambda array: array))


def test_sizes_shifted_between_cells_are_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(written(tmp_path, monkeypatch, "cells.sizes", lambda sizes: np.roll(sizes, 1)))


@pytest.mark.parametrize(
    "change",
    [
        {"cells": None},
        {"cells": 6},
        {"cells": []},
        {"cells": {"name": "cells", "configuration": {"count": 0}}},
        {"cells": {"name": "cells", "configuration": {"count": 7}}},
        {"cells": {"name": "cells", "configuration": {"count": 65_536}}},
        {"cells": {"name": "cells", "configuration": {"count": 6, "levels": 2}}},
        {"cells": {"name": "grid", "configuration": {"count": 6}}},
        {"dimensions": 1 << 20, "cells": {"name": "cells", "configuration": {"count": 65_536}}},
        {"order": "yes"},
        {"order": None},
        {"features": ["order"]},
        {"features": []},
    ],
    ids=str,
)
def test_descriptions_that_make_no_sense_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    path = written(tmp_path, monkeypatch, "", lambda array: array)
    reseal(path, {**Container(path).description, **change})
    with pytest.raises((FormatError, VecstoreError)):
        use(path)
