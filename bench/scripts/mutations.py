"""Ways to damage a store: by accident, or by somebody who makes the checksums right again."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vecstore.codecs.members import allowed_members
from vecstore.codecs.registry import BUILT_IN, step_class
from vecstore.container.container import DESCRIPTION, Container
from vecstore.container.page_writer import PageWriter
from vecstore.container.pages import read_tree
from vecstore.container.part import CHUNK_BYTES, checksum
from vecstore.shard.models import model_file

__all__ = ["FORGERIES", "MUTATIONS", "adopt", "put_value", "reseal", "reseal_bytes", "reseal_manifest", "stored_files"]


WORDS = (0, 1, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FC00000, 0x7F800000, 0x7F7FFFFF)  # the last: NaN, infinity, the largest


def flip(path: Path, rng: np.random.Generator) -> str:
    """Change one byte: half of the time anywhere, half of the time where the pages' own numbers are."""
    file = _some_file(path, rng)
    data = bytearray(file.read_bytes())
    at = int(rng.integers(len(data)))
    if rng.random() < 0.5:
        page = int(np.frombuffer(data, "<u4", 1, 40)[0])
        at = at // page * page + int(rng.integers(min(160, len(data) - at // page * page)))
    before, data[at] = data[at], (data[at] + int(rng.integers(1, 256))) % 256
    file.write_bytes(data)
    return f"{file.name}: byte {at} from {before} to {data[at]}"


def flip_bit(path: Path, rng: np.random.Generator) -> str:
    """Change one bit anywhere."""
    file = _some_file(path, rng)
    data = bytearray(file.read_bytes())
    at, bit = int(rng.integers(len(data))), int(rng.integers(8))
    data[at] ^= 1 << bit
    file.write_bytes(data)
    return f"{file.name}: bit {bit} of byte {at}"


def truncate(path: Path, rng: np.random.Generator) -> str:
    """Cut the end off."""
    file = _some_file(path, rng)
    data = file.read_bytes()
    length = int(rng.integers(len(data)))
    file.write_bytes(data[:length])
    return f"{file.name}: cut to {length} bytes"


def overwrite(path: Path, rng: np.random.Generator) -> str:
    """Write up to a page of noise or zeros somewhere."""
    file = _some_file(path, rng)
    data = bytearray(file.read_bytes())
    at, size = int(rng.integers(len(data))), int(rng.integers(1, 4096))
    piece = data[at : at + size]
    data[at : at + size] = bytes(len(piece)) if rng.random() < 0.3 else rng.bytes(len(piece))
    file.write_bytes(data)
    return f"{file.name}: {size} bytes at {at}"


def extend(path: Path, rng: np.random.Generator) -> str:
    """Put bytes behind the end, as a careless copy does."""
    file = _some_file(path, rng)
    size = int(rng.integers(1, 5000))
    with open(file, "ab") as end:
        end.write(rng.bytes(size))
    return f"{file.name}: {size} bytes more"


def forge(path: Path, rng: np.random.Generator) -> str:
    """Change one member of a description or manifest and make its checksum right again."""
    file = _some_file(path, rng)
    document = json.loads(file.read_bytes()) if _is_manifest(file) else Container(file).description
    what = _garble(document, rng)
    _seal(path, file, document)
    return f"{file.name}: {what}"


def forge_alike(path: Path, rng: np.random.Generator) -> str:
    """Change a number wherever a description or manifest has it, so that what depends on it still agrees."""
    file = _some_file(path, rng)
    document = json.loads(file.read_bytes()) if _is_manifest(file) else Container(file).description
    places = [place for place in _places(document, ()) if type(_at(document, place)) is int]
    before = _at(document, places[int(rng.integers(len(places)))])
    after = int(rng.choice([0, 1, 2, before - 1, before + 1, 2 * before, 64 * before, 2**20, 2**31, 2**40, 2**62]))
    for place in places:
        if _at(document, place) == before:
            _at(document, place[:-1])[place[-1]] = after
    _seal(path, file, document)
    return f"{file.name}: every {before} is {after}"


def forge_word(path: Path, rng: np.random.Generator) -> str:
    """Put a word of a description in the place of another one."""
    file = _some_file(path, rng)
    document = json.loads(file.read_bytes()) if _is_manifest(file) else Container(file).description
    places = [place for place in _places(document, ()) if isinstance(_at(document, place), str)]
    place, other = (places[int(rng.integers(len(places)))] for _ in range(2))
    words = [_at(document, other), "", "x" * 200, "9" * 30, "1:2", "a/b", "-1", "é", "\0"]
    _at(document, place[:-1])[place[-1]] = words[int(rng.integers(len(words)))]
    _seal(path, file, document)
    return f"{file.name}: {place} = {_at(document, place)!r:.60}"


def forge_member(path: Path, rng: np.random.Generator) -> str:
    """Give a member of a codec's configuration a value at the edge of those that it may have, or beyond."""
    file = _some_file(path, rng, manifests=False)
    document = Container(file).description
    steps = [step for layer in document.get("codec", []) for step in layer if step["name"] in BUILT_IN]
    places = [(step, name) for step in steps for name in allowed_members(step_class(step["name"]))]
    if not places:
        return "nothing: a codec without members"
    step, name = places[int(rng.integers(len(places)))]
    edges = allowed_members(step_class(step["name"]))[name].edges
    step["configuration"][name] = edges[int(rng.integers(len(edges)))]
    adopt(path, file, reseal(file, document))
    return f"{file.name}: {step['name']}: {name} = {step['configuration'][name]!r}"


def _at(document: Any, place: tuple[Any, ...]) -> Any:
    for step in place:
        document = document[step]
    return document


def _seal(path: Path, file: Path, document: dict[str, Any]) -> None:
    if _is_manifest(file):
        reseal_manifest(file, document)
    else:
        adopt(path, file, reseal(file, document))


def forge_part(path: Path, rng: np.random.Generator) -> str:
    """Change a word of a part and make all checksums right again."""
    file = _some_file(path, rng, manifests=False)
    container = Container(file)
    part = container.part(str(rng.choice(container.names())))
    if not part.blocks:
        return "nothing: an empty part"
    block = int(rng.integers(part.blocks))
    size = int(part.sizes[block])
    # The first words are counts and starts, the rest payload.
    at = int(rng.integers(min(size, 64) if rng.random() < 0.5 else size)) & ~3
    value = int(rng.choice([*WORDS, int(rng.integers(1 << 32))]))
    adopt(path, file, reseal_bytes(file, part.name, block, at, struct.pack("<I", value)))
    return f"{file.name}: {part.name}, block {block}, byte {at}: {value}"


def reseal_bytes(file: Path, name: str, block: int, at: int, new: bytes) -> str:
    """Write bytes into a block of a part, make all checksums right again, and return the container's fingerprint.

    A block gets longer where they go beyond its end, up to a chunk.
    """
    container = Container(file)
    part, document = container.part(name), container.description
    offset, size = int(part.offsets[block]), int(part.sizes[block])
    value = bytearray(container.data[offset : offset + size].tobytes())
    value[at : at + len(new)] = new
    assert len(value) <= max(size, CHUNK_BYTES), "as many checksums as before"
    put_value(file, f"{name}:{block:08x}".encode(), bytes(value))
    sums, first = container.checksums.copy(), part.about["checksums_at"] + int(part._chunk_starts[block])
    for i, start in enumerate(range(0, len(value), CHUNK_BYTES)):
        sums[first + i] = checksum(bytes(value[start : start + CHUNK_BYTES]))
    every = sums[: document["checksums"]["count"]].tobytes()
    put_value(file, b"checksums", every)
    document["checksums"]["xxh3"] = f"{checksum(every):016x}"
    return reseal(file, document)


def reseal(file: Path, description: dict[str, Any]) -> str:
    """Give a container another description, with the right checksum, and return its fingerprint."""
    data, body = np.fromfile(file, np.uint8), _json(description)
    start = read_tree(data, str(file))[DESCRIPTION].offset
    head = data[start : start + 12].tobytes() + struct.pack("<I", len(body))
    total = checksum(head + body)
    put_value(file, DESCRIPTION, head + struct.pack("<Q", total) + body)
    return f"{total:016x}"


def put_value(file: Path, name: bytes, value: bytes) -> None:
    """Give an entry of a file another value; where that has no room, all values are laid out anew."""
    data = np.fromfile(file, np.uint8)
    extents = read_tree(data, str(file))
    place = extents[name]
    if len(value) <= place.size:
        data[place.offset : place.offset + place.size] = np.frombuffer(value.ljust(place.size, b"\0"), np.uint8)
        data.tofile(file)
        return
    partial = file.with_name(f".{file.name}.partial")
    writer = PageWriter(partial)
    for each, (start, size) in sorted(extents.items(), key=lambda item: item[1]):
        writer.put(each, memoryview(value if each == name else data[start : start + size].tobytes()))
    writer.close()
    partial.replace(file)


def _json(description: dict[str, Any]) -> bytes:
    return json.dumps(description, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def reseal_manifest(file: Path, document: dict[str, Any]) -> None:
    """Write a manifest with the right checksum."""
    document.pop("xxh3", None)
    text = json.dumps(document, indent=1, ensure_ascii=False)
    body = text.removesuffix("\n}").encode() + b',\n "xxh3": "0000000000000000"\n}\n'
    file.write_bytes(body[:-20] + f"{checksum(body):016x}".encode() + body[-4:])


# A sealed mutation has right checksums: somebody means harm.
MUTATIONS: dict[str, tuple[Callable[[Path, np.random.Generator], str], bool]] = {
    "flip": (flip, False),
    "flip bit": (flip_bit, False),
    "truncate": (truncate, False),
    "overwrite": (overwrite, False),
    "extend": (extend, False),
    "forge": (forge, True),
    "forge part": (forge_part, True),
}


# What somebody does who means harm.
FORGERIES = (forge, forge_part, forge_part, forge_alike, forge_word, forge_member)


def _some_file(path: Path, rng: np.random.Generator, *, manifests: bool = True) -> Path:
    files = stored_files(path)
    files = files if manifests else [file for file in files if not _is_manifest(file)]
    return files[int(rng.integers(len(files)))]


def stored_files(path: Path) -> list[Path]:
    """Return the files of a store, manifests of earlier generations and of tags too; not its locks."""
    return sorted(file for file in path.iterdir() if not file.name.startswith(".")) if path.is_dir() else [path]


def _is_manifest(file: Path) -> bool:
    return file.suffix == ".json"


def adopt(path: Path, file: Path, fingerprint: str) -> None:
    """Make manifests of all generations, and shards that have it for a model, mean a file as it is now."""
    if not path.is_dir():
        return
    name, new = file.name, file.name
    if name.startswith("model-"):
        new = model_file(fingerprint)
        file.rename(path / new)
        _adopt_model(path, Container(path / new).description, name, fingerprint)
    for manifest in filter(_is_manifest, stored_files(path)):
        document = json.loads(manifest.read_bytes())
        dead = [entry["tombstones"] for entry in document["shards"] if "tombstones" in entry]
        for entry in (*document["shards"], *document["key_maps"], *document.get("models", []), *dead):
            if entry["file"] == name:
                entry |= {"file": new, "fingerprint": fingerprint}
        reseal_manifest(manifest, document)


def _adopt_model(path: Path, about: dict[str, Any], name: str, fingerprint: str) -> None:
    """Have shards refer to a model that had another name, and tell of their codec what it tells."""
    for shard in path.glob("shard-*.vecs"):
        told = Container(shard).description
        if "model" in told and model_file(told["model"]) == name:
            told["model"] = fingerprint
            told |= {member: about[member] for member in ("codec", "cells", "dimensions") if member in about}
            adopt(path, shard, reseal(shard, told))


def _garble(document: dict[str, Any], rng: np.random.Generator) -> str:
    """Replace or remove a random member, at any depth."""
    places = list(_places(document, ()))
    place = places[int(rng.integers(len(places)))]
    inside: Any = document
    for step in place[:-1]:
        inside = inside[step]
    number = int(rng.choice([0, 1, 2, 3, 5, 16, 17, 700, 2**31, 2**32, 2**62]))
    garbage: list[Any] = [
        None,
        True,
        "",
        "f16",
        [],
        {},
        -1,
        number,
        1.5,
        1e300,
        [1],
        {"a": 1},
        [[]],
        -(2**70),
        2**200,
        "<U9",
    ]
    if rng.random() < 0.1:
        del inside[place[-1]]
        return f"{place} removed"
    inside[place[-1]] = garbage[int(rng.integers(len(garbage)))]
    return f"{place} = {inside[place[-1]]!r}"


def _places(value: Any, here: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if here:
        yield here
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inside in members:
        yield from _places(inside, (*here, name))
