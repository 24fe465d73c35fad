"""Stores as other writers may lay them out: other pages and trees, arrays of older files, other tables of keys."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import xxhash
from numpy.typing import NDArray

from vecstore.codecs.transforms.rotate import hadamard
from vecstore.container.container import Container, ContainerWriter
from vecstore.shard.shard import Shard

__all__ = ["Change", "Rearranging", "as_before", "colliding", "laid_out", "oriented", "rearranged", "tabled"]

Change: TypeAlias = Callable[[Path], object]
Rearranging: TypeAlias = Callable[[dict[str, NDArray[Any]], dict[str, Any]], object]
NO_PAGE = 2**64 - 1
M64 = 2**64 - 1


def laid_out(page_bytes: int, fan: int, newest: int) -> Change:
    """Lay the values of a file out anew: in pages of so many bytes, with up to `fan` entries in a page of the tree.

    `newest` is the meta page that counts.
    """

    def apply(path: Path) -> None:
        data, extents = path.read_bytes(), Container(path)._extents
        pages: list[bytes] = [b"", b""]
        level = []
        for name in sorted(extents):
            value = data[extents[name].offset : extents[name].offset + extents[name].size]
            count = -(-(16 + len(value)) // page_bytes)
            number = len(pages)
            head = struct.pack("<QHHI", number, 0, 4, count)
            filled = (head + value).ljust(count * page_bytes, b"\0")
            pages += [filled[at : at + page_bytes] for at in range(0, len(filled), page_bytes)]
            size = struct.pack("<HHHH", len(value) & 0xFFFF, len(value) >> 16, 1, len(name))
            level.append((name, size + name + struct.pack("<Q", number)))
        overflow, depth, leaves = len(pages) - 2, 0, 0
        while depth == 0 or len(level) > 1:
            depth += 1
            above = []
            for at in range(0, len(level), fan):
                number = len(pages)
                pages.append(
                    _tree_page(number, 2 if depth == 1 else 1, [node for _, node in level[at : at + fan]], page_bytes)
                )
                name = level[at][0] if at else b""  # the first child of a branch needs no name
                child = struct.pack("<HHHH", number & 0xFFFF, number >> 16, 0, len(name))
                above.append((name, child + name))
            leaves, level = leaves or len(above), above
        last, branches = len(pages) - 1, len(pages) - 2 - overflow - leaves
        main = (depth, branches, leaves, overflow, len(extents), last)
        for page in (0, 1):
            full = page == newest
            pages[page] = _meta_page(page, page_bytes, *(main if full else (0, 0, 0, 0, 0, NO_PAGE)), last, 6 + full)
        path.write_bytes(b"".join(pages))

    return apply


def _tree_page(number: int, kind: int, nodes: list[bytes], page_bytes: int) -> bytes:
    page, upper, pointers = bytearray(page_bytes), page_bytes, []
    for node in nodes:
        upper -= len(node) + len(node) % 2
        page[upper : upper + len(node)] = node
        pointers.append(upper)
    lower = 16 + 2 * len(nodes)
    assert lower <= upper, "too many entries for a page"
    page[:lower] = struct.pack(f"<QHHHH{len(nodes)}H", number, 0, kind, lower, upper, *pointers)
    return bytes(page)


def _meta_page(number: int, page_bytes: int, *main: int) -> bytes:
    depth, branches, leaves, overflow, entries, root, last, transaction = main
    head = struct.pack("<QHHIIIQQ", number, 0, 8, 0, 0xBEEFC0DE, 1, 0, 1 << 30)
    free = struct.pack("<IHHQQQQQ", page_bytes, 8, 0, 0, 0, 0, 0, NO_PAGE)
    tree = struct.pack("<IHHQQQQQ", 0, 0, depth, branches, leaves, overflow, entries, root)
    return (head + free + tree + struct.pack("<QQ", last, transaction)).ljust(page_bytes, b"\0")


def rearranged(change: Rearranging) -> Change:
    """Write a file anew with other plain arrays, by name, and another description, both as `change` leaves them."""

    def apply(path: Path) -> None:
        about, parts, old = dict(Container(path).description), Container(path).description["parts"], Container(path)
        movable = [name for name in parts if "encoding" not in parts[name] and parts[name]["tile_rows"] == 1]
        arrays = {name: old.part(name).array() for name in movable}
        change(arrays, about)
        lost: dict[str, list[bytes]] = {name: [] for name in movable if name not in arrays}
        _rewrite(path, about, arrays, lost)

    return apply


def _rewrite(
    path: Path, about: dict[str, Any], arrays: Mapping[str, NDArray[Any]], blocks: Mapping[str, list[bytes]]
) -> None:
    """Write a file anew with another description, with these arrays, and other blocks of some parts; none lose them."""
    old, new = Container(path), path.with_suffix(".new")
    parts = old.description["parts"]
    writer = ContainerWriter(new)
    for name in sorted({*parts, *arrays}):
        if name in arrays:
            writer.put_array(name, arrays[name])
        elif blocks.get(name) != []:
            more = {key: value for key, value in parts[name].items() if key not in ("blocks", "checksums_at")}
            writer.declare(name, more.pop("dtype"), tuple(more.pop("shape")), **more)
            for block in blocks.get(name) or map(old.part(name).block_bytes, range(parts[name]["blocks"])):
                writer.put_block(name, block)
    writer.close({name: value for name, value in about.items() if name not in ("parts", "checksums")})
    new.replace(path)


def as_before(arrays: dict[str, NDArray[Any]], _: dict[str, Any]) -> None:
    """Leave off what `tcq` had not in format 1.1: heads and scales."""
    of = "model.0.0."
    del arrays[f"{of}head_bits"]
    scale = arrays.pop(f"{of}scale")
    arrays[f"{of}levels"] = arrays[f"{of}levels"].astype("<f4") * scale
    arrays[f"{of}stretch"] = arrays[f"{of}stretch"].astype("<f4")


def oriented(name: str, dtype: str) -> Rearranging:
    """Set axes, or a rotation, to whole numbers of bytes, or to float32, as older files have them."""

    def change(arrays: dict[str, NDArray[Any]], about: dict[str, Any]) -> None:
        bits = arrays.pop(f"{name.rpartition('.')[0]}.axis_bits", None)
        d = about["dimensions"]
        axes = hadamard(d)[: d if bits is None else len(bits)]
        arrays[name] = (axes * 100).astype("|i1") if dtype == "|i1" else (axes / np.float32(d**0.5)).astype("<f4")

    return change


def tabled(bucket_bits: int, row_bits: int) -> Change:
    """Give a store of keys a table of so many buckets, and slots with so many bits for the row."""

    def apply(path: Path) -> None:
        keys = Shard(path).keys
        assert keys is not None
        slots: dict[int, list[int]] = {}
        for row, key in enumerate(keys):
            h = xxhash.xxh64_intdigest(keys.raw(key) or b"")
            bucket = h >> 64 - bucket_bits
            check = h >> 32 - bucket_bits + row_bits & (1 << 32 - row_bits) - 1
            slots.setdefault(bucket, []).append(check << row_bits | row)
        per_block = min(1 << bucket_bits, 4096)
        blocks = []
        for first in range(0, 1 << bucket_bits, per_block):
            own = [sorted(slots.get(bucket, [])) for bucket in range(first, first + per_block)]
            starts = np.cumsum([0, *map(len, own)])
            blocks.append(np.concatenate([starts, *own]).astype("<u4").tobytes())
        about = Container(path).description
        bits = {"bucket_bits": bucket_bits, "row_bits": row_bits}
        _rewrite(path, about | {"keys": about["keys"] | bits}, {}, {"keys.table": blocks})

    return apply


def colliding() -> tuple[bytes, bytes]:
    """Return two keys of one XXH64: what the second word of a lane takes back is what the first one changed."""
    prime1, prime2 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F
    seed = (prime1 + prime2) & M64

    def first(word: int) -> int:
        mixed = (seed + word * prime2) & M64
        return (mixed << 31 | mixed >> 33) * prime1 & M64

    inverse = pow(prime2, -1, 2**64)
    words = [(1, 0), (2, (first(1) - first(2)) * inverse & M64)]
    keys = [struct.pack("<QQQQQQQQ", one, 0, 0, 0, two, 0, 0, 0) for one, two in words]
    assert xxhash.xxh64_intdigest(keys[0]) == xxhash.xxh64_intdigest(keys[1])
    return keys[0], keys[1]
