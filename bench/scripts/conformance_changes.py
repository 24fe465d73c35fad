"""Changes that make a sound store one that a reader must refuse; all checksums are made right again."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import zstandard
from numpy.typing import NDArray
from vecstore.bench.scripts.mutations import put_value, reseal_bytes, reseal_manifest

from vecstore.container.container import Container
from vecstore.container.part import checksum

__all__ = [
    "PAGE",
    "Change",
    "behind",
    "body_of",
    "configured",
    "damaged_manifest",
    "described",
    "directory",
    "far",
    "flipped",
    "grouped",
    "leaf",
    "looped",
    "manifest",
    "map_of",
    "member",
    "meta",
    "modelled",
    "of_shard",
    "overlap",
    "packed",
    "part",
    "put",
    "renamed",
    "shared",
    "swapped",
    "text",
    "twice",
    "u4",
    "unended",
    "unsealed",
    "unsealed_end",
    "widened",
    "write_body",
]

Change: TypeAlias = Callable[[Path], object]
Arrays: TypeAlias = dict[str, NDArray[Any]]
PAGE = 512


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


def write_body(path: Path, body: bytes, *, major: int = 1, magic: bytes = b"VECSTORE", more: int = 0) -> None:
    """Write a description of these bytes, with its fingerprint."""
    head = magic + struct.pack("<HHI", major, 3, len(body) + more)
    put_value(path, b"vecstore", head + struct.pack("<Q", checksum(head + body)) + body)


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


def renamed(old: bytes, new: bytes) -> Change:
    """Give an entry of the tree another name of the same length."""

    def change(data: bytearray, _: int, nodes: list[int]) -> None:
        for node in nodes:
            if data[node + 8 : node + 8 + len(old)] == old:
                data[node + 8 : node + 8 + len(old)] = new

    return leaf(change)


def packed(change: Callable[[bytes], bytes]) -> Change:
    """Change what block 0 of packed codes is, without its length and padding."""

    def apply(path: Path) -> None:
        value = bytes(Container(path).part("codes.0").block_bytes(0))
        (length,) = struct.unpack_from("<Q", value)
        new = change(value[8 : 8 + length])
        reseal_bytes(path, "codes.0", 0, 0, (struct.pack("<Q", len(new)) + new).ljust(8 + length, b"\0"))

    return apply


def modelled(block: bytes) -> bytes:
    """Let the first column of a block of `rans` have model 68."""
    (size,) = struct.unpack_from("<I", block)
    header = bytearray(zstandard.ZstdDecompressor().decompress(block[4 : 4 + size]))
    header[len(header) // 2] = 68
    frame = zstandard.ZstdCompressor(level=9).compress(bytes(header))
    return struct.pack("<I", len(frame)) + frame + block[4 + size :]


def unended(block: bytes) -> bytes:
    """Let the state of `rans` end one above what it has to: one more in its last word goes through all steps."""
    return block[:-2] + struct.pack("<H", struct.unpack("<H", block[-2:])[0] + 1)


def of_shard(change: Change) -> Change:
    """Change the second shard of a directory, and let the manifest mean it."""

    def apply(path: Path) -> None:
        file = path / json.loads((path / "manifest.json").read_bytes())["shards"][1]["file"]
        change(file)
        mark = Container(file).fingerprint
        manifest(lambda document: document["shards"][1].update(fingerprint=mark))(path)

    return apply


def directory(path: Path) -> None:
    """Put a directory where a shard was."""
    file = path / json.loads((path / "manifest.json").read_bytes())["shards"][1]["file"]
    file.unlink()
    file.mkdir()
    (file / "nothing").write_bytes(b"")


def body_of(path: Path) -> bytes:
    """Return the description of a file as JSON."""
    return json.dumps(Container(path).description, ensure_ascii=False, separators=(",", ":")).encode()


def looped(data: bytearray, page: int, nodes: list[int]) -> None:
    """Let the root lead to itself."""
    struct.pack_into("<H", data, nodes[0], page // PAGE)


def swapped(path: Path) -> None:
    """Exchange two slots of a bucket of the table of keys."""
    table = np.frombuffer(Container(path).part("keys.table").block_bytes(0), "<u4")
    buckets = 1 << Container(path).description["keys"]["bucket_bits"]
    bucket = int(np.flatnonzero(np.diff(table[: buckets + 1].astype(np.int64)) > 1)[0])
    at = 4 * (buckets + 1 + int(table[bucket]))
    first, second = table[at // 4 : at // 4 + 2].tolist()
    reseal_bytes(path, "keys.table", 0, at, u4(second, first))


def shared(arrays: Arrays, about: dict[str, Any]) -> None:
    """Let codes of float32 be those of fasttext."""
    about["codec"] = [[{"name": "fasttext", "configuration": {"entries": 20, "least": 3, "most": 6}}]]
    d = about["dimensions"]
    arrays |= {"model.0.0.table": np.zeros((20, d), np.float32), "model.0.0.by_key": np.zeros(1, np.uint8)}


def grouped(arrays: Arrays, _: dict[str, Any]) -> None:
    """Move a bit of a step of `tcq` from one group to another."""
    bits = arrays["model.0.0.bits"].copy()
    bits[0], bits[-1] = bits[0] + 1, bits[-1] - 1
    arrays["model.0.0.bits"] = bits
    arrays["model.0.0.levels"] = np.ones(int((2 << bits.astype(np.int64)).sum()), "<f2")


def widened(arrays: Arrays, about: dict[str, Any]) -> None:
    """Let the first step of `tcq` code two coefficients."""
    d, widths = about["dimensions"], arrays["model.0.0.widths"].copy()
    widths[0] = 2
    of_each = np.repeat(2 << arrays["model.0.0.bits"].astype(np.int64), widths)
    del arrays["model.0.0.axis_bits"]
    arrays |= {
        "model.0.0.widths": widths,
        "model.0.0.axes": np.ones((len(of_each), d), np.float32),
        "model.0.0.levels": np.ones(int(of_each.sum()), "<f2"),
        "model.0.0.stretch": np.ones(len(of_each), "<f2"),
    }


def unsealed_end(path: Path) -> None:
    """End a manifest in another way: with a space more."""
    body = (path / "manifest.json").read_bytes()
    zeroed = body[:-20] + b"0" * 16 + b'" }\n'
    digits = f"{checksum(zeroed):016x}".encode()
    (path / "manifest.json").write_bytes(zeroed[:-20] + digits + zeroed[-4:])
