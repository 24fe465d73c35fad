"""What fills up values that no checksum covers is zeros; what fills up others is covered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from vecstore.bench.scripts.mutations import reseal_bytes

import vecstore
from vecstore.container.container import Container, ContainerWriter
from vecstore.errors import CorruptError
from vecstore.keys.map import KeyMap


@pytest.mark.parametrize("name", [b"vecstore", b"checksums"])
@pytest.mark.parametrize("from_end", [True, False])
def test_padding_that_is_not_zeros_is_refused(tmp_path: Path, name: bytes, from_end: bool) -> None:
    path = tmp_path / "a.vecs"
    ContainerWriter(path).close({"kind": "shard", "features": []})
    container = Container(path)
    place, about = container._extents[name], container.description["checksums"]
    used = 8 * about["count"] if name == b"checksums" else int.from_bytes(container._value(name)[12:16], "little") + 24
    at = place.offset + (place.size - 1 if from_end else used)
    data = bytearray(path.read_bytes())
    assert data[at] == 0
    data[at] = 1
    path.write_bytes(data)
    with pytest.raises(CorruptError, match="not zeros"):
        Container(path)


def test_a_key_map_has_cells(tmp_path: Path) -> None:
    path = tmp_path / "d.vecs"
    x = np.ones((3000, 8), np.float32)
    vecstore.write(path, x, [f"key {i}" for i in range(3000)], "f32", shard_bytes=131_200)
    (file,) = path.glob("keys-*.vecs")
    reseal_bytes(file, "segments", 0, 0, bytes(8))
    with pytest.raises(CorruptError, match="shorter than described"):
        KeyMap(file)
