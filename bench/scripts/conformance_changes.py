"""Changes that make a sound store one that a reader must refuse; all checksums are made right again."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from vecstore.bench.scripts.mutations import reseal_bytes, reseal_manifest

from vecstore.container.container import Container
from vecstore.container.part import checksum

__all__ = [
    "PAGE",
    "Change",
    "behind",
    "configured",
    "damaged_manifest",
    "described",
    "far",
    "flipped",
    "leaf",
    "manifest",
    "map_of",
    "member",
    "meta",
    "overlap",
    "part",
    "put",
    "text",
    "twice",
    "u4",
    "unsealed",
    "write_body",
]

Change: TypeAlias = Callable[[Path], object]
PAGE = 4096


def u4(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)


def described(change: Callable[[dict[str, Any]], object]) -> Change:
    """Change the description."""

    def apply(path: Path) -> None:
        document = Container(path).description
        change(document)
        write_body(path, json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode())

    return apply


def text(change: Callable[[bytes], bytes]) -> Change:
    """Change the JSON of the description as text."""

    def apply(path: Path) -> None:
        document = json.dumps(Container(path).description, ensure_ascii=False, separators=(",", ":"))
        write_body(path, change(document.encode()))

    return apply


def write_body(path: Path, body: bytes, *, major: int = 1) -> None:
    """Write a description of these bytes, with its fingerprint."""
    place, data = Container(path)._extents[b"vecstore"], bytearray(path.read_bytes())
    head = b"VECSTORE" + struct.pack("<HHI", major, 2, len(body))
    value = head + struct.pack("<Q", checksum(head + body)) + body
    assert len(value) <= place.size, "a description that does not fit; take a shorter one"
    data[place.offset : place.offset + place.size] = value.ljust(place.size, b"\0")
    path.write_bytes(data)


def member(*where: Any, value: Any) -> Change:
    """Set a member of the description, found by names and numbers."""

    def change(document: dict[str, Any]) -> None:
        inside: Any = document
        for step in where[:-1]:
            inside = inside[step]
        if value is None:
            del inside[where[-1]]
        else:
            inside[where[-1]] = value

    return described(change)


def configured(name: str, value: Any, step: int = 0) -> Change:
    """Set a member of the configuration of a step of layer 0."""
    return member("codec", 0, step, "configuration", name, value=value)


def part(name: str, at: int, new: bytes) -> Change:
    """Write bytes into block 0 of a part."""
    return lambda path: reseal_bytes(path, name, 0, at, new)


def meta(at: int, new: bytes, *, both: bool = True) -> Change:
    """Write bytes into both meta pages, or into the one that does not count."""

    def apply(path: Path) -> None:
        data = bytearray(path.read_bytes())
        older = min((0, 1), key=lambda page: struct.unpack_from("<Q", data, page * PAGE + 144))
        for page in (0, 1) if both else (older,):
            data[page * PAGE + at : page * PAGE + at + len(new)] = new
        path.write_bytes(data)

    return apply


def leaf(change: Callable[[bytearray, int, list[int]], object]) -> Change:
    """Change the root page, which is a leaf, given where it begins and where its nodes do."""

    def apply(path: Path) -> None:
        data = bytearray(path.read_bytes())
        newest = max((0, 1), key=lambda page: struct.unpack_from("<Q", data, page * PAGE + 144))
        at = struct.unpack_from("<Q", data, newest * PAGE + 128)[0] * PAGE
        count = (struct.unpack_from("<H", data, at + 12)[0] - 16) // 2
        change(data, at, [at + pointer for pointer in struct.unpack_from(f"<{count}H", data, at + 16)])
        path.write_bytes(data)

    return apply


def put(form: str, offset: int, number: int, node: int | None = None) -> Change:
    """Write a number into the root page, or into one of its nodes."""

    def change(data: bytearray, page: int, nodes: list[int]) -> None:
        struct.pack_into(form, data, (page if node is None else nodes[node]) + offset, number)

    return leaf(change)


def overlap(data: bytearray, _: int, nodes: list[int]) -> None:
    """Let the second value begin where the first does."""
    firsts = [node + 8 + struct.unpack_from("<H", data, node + 6)[0] for node in nodes]
    data[firsts[1] : firsts[1] + 8] = data[firsts[0] : firsts[0] + 8]


def far(data: bytearray, _: int, nodes: list[int]) -> None:
    """Let a value begin beyond the last page."""
    struct.pack_into("<Q", data, nodes[0] + 8 + struct.unpack_from("<H", data, nodes[0] + 6)[0], 1 << 40)


def behind(name: bytes) -> Change:
    """Write a byte that is not zero at the end of a value."""

    def apply(path: Path) -> None:
        place, data = Container(path)._extents[name], bytearray(path.read_bytes())
        data[place.offset + place.size - 1] = 1
        path.write_bytes(data)

    return apply


def flipped(path: Path) -> None:
    """Change a byte of codes, and no checksum."""
    data, place = bytearray(path.read_bytes()), Container(path).part("codes.0")
    data[int(place.offsets[0])] ^= 1
    path.write_bytes(data)


def unsealed(path: Path) -> None:
    """Change the fingerprint."""
    place, data = Container(path)._extents[b"vecstore"], bytearray(path.read_bytes())
    data[place.offset + 16] ^= 1
    path.write_bytes(data)


def manifest(change: Callable[[dict[str, Any]], object]) -> Change:
    """Change the manifest."""

    def apply(path: Path) -> None:
        document = json.loads((path / "manifest.json").read_bytes())
        change(document)
        reseal_manifest(path / "manifest.json", document)

    return apply


def map_of(change: Change) -> Change:
    """Change the key map of a directory, and let the manifest mean it."""

    def apply(path: Path) -> None:
        (file,) = path.glob("keys-*.vecs")
        change(file)
        mark = Container(file).fingerprint
        manifest(lambda document: document["key_maps"][0].update(fingerprint=mark))(path)

    return apply


def damaged_manifest(path: Path) -> None:
    body = (path / "manifest.json").read_bytes()
    (path / "manifest.json").write_bytes(body.replace(b'"rows": ', b'"rows":  ', 1))


def twice(document: dict[str, Any]) -> None:
    document["shards"][1] = document["shards"][0]
