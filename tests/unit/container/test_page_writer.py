"""Files are those of LMDB: its library finds in them what was written, whatever there is of it."""

from __future__ import annotations

from pathlib import Path

import lmdb
import numpy as np
import pytest

from vecstore.container.container import Container, ContainerWriter
from vecstore.container.page_writer import LARGE_FILE_BYTES, LARGE_PAGE_BYTES, SMALL_PAGE_BYTES, PageWriter
from vecstore.container.pages import read_tree

BOUNDARIES = [0, 1, 495, 496, 497, 1008, 1009, 4080, 4081, 70_000]


def written(path: Path, values: dict[bytes, bytes]) -> Path:
    writer = PageWriter(path)
    for name, value in values.items():
        writer.put(name, PageWriter.filled(memoryview(value)))
    assert all(writer.get(name).startswith(value) for name, value in values.items())
    writer.close()
    return path


def by_library(path: Path, names: list[bytes]) -> tuple[dict[bytes, bytes], dict[str, int]]:
    with lmdb.open(str(path), subdir=False, readonly=True, lock=False) as environment, environment.begin() as entries:
        assert all(entries.get(name) is not None for name in names), "found by their names"
        return dict(entries.cursor()), environment.stat()


@pytest.mark.parametrize("count", [1, 2, 12, 13, 14, 15, 27, 200, 1000])
def test_the_library_and_the_walk_find_all_values(tmp_path: Path, count: int) -> None:
    rng = np.random.default_rng(count)
    values = {f"part {at}:{at:08x}".encode(): rng.bytes(int(rng.integers(600))) for at in rng.permutation(count)}
    path = written(tmp_path / "a.vecs", values)
    found, told = by_library(path, list(values))
    assert found == {name: bytes(PageWriter.filled(memoryview(value))) for name, value in values.items()}
    assert (told["entries"], told["psize"]) == (count, SMALL_PAGE_BYTES)
    data = np.fromfile(path, np.uint8)
    places = read_tree(data, str(path))
    assert {name: data[at : at + size].tobytes() for name, (at, size) in places.items()} == found
    assert len(data) == SMALL_PAGE_BYTES * sum([2, told["leaf_pages"], told["branch_pages"], told["overflow_pages"]]), (
        "no page is unused"
    )


@pytest.mark.parametrize("more", [-1, 0, BOUNDARIES[-1]])
def test_large_files_have_large_pages(tmp_path: Path, more: int) -> None:
    rest = LARGE_FILE_BYTES + more - sum(max(size, 496) for size in BOUNDARIES)
    values = {f"v:{at:08x}".encode(): bytes([at + 1]) * size for at, size in enumerate([rest, *BOUNDARIES])}
    path = written(tmp_path / "a.vecs", values)
    found, told = by_library(path, list(values))
    assert all(
        found[name].startswith(value) and not found[name][len(value) :].strip(b"\0") for name, value in values.items()
    )
    assert told["psize"] == (SMALL_PAGE_BYTES if more < 0 else LARGE_PAGE_BYTES)
    assert path.stat().st_size % told["psize"] == 0


def test_the_same_calls_give_the_same_bytes(tmp_path: Path) -> None:
    told = []
    for name in ("a.vecs", "b.vecs"):
        writer = ContainerWriter(tmp_path / name)
        writer.put_array("numbers", np.arange(3000))
        told.append(writer.close({"kind": "shard", "features": []}))
    assert (tmp_path / "a.vecs").read_bytes() == (tmp_path / "b.vecs").read_bytes()
    assert told == [Container(tmp_path / "a.vecs").fingerprint] * 2
