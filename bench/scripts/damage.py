"""Damage stores and watch what opening and using them does.

Every mutation must end in a `VecstoreError` or in exactly the right answers: never in a crash of the process, another
exception or a wrong answer. Run for hours with::

    python -m vecstore.bench.scripts.damage --mutations 10000

Each mutation has a number, from which it can be made again: ``--kind pq --only 1234``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import struct
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import vecstore
from vecstore.container.container import Container
from vecstore.container.pages import Extent
from vecstore.container.part import checksum
from vecstore.errors import KeyNotFoundError, VecstoreError
from vecstore.store.manifest import MANIFEST_NAME

__all__ = ["KINDS", "MUTATIONS", "Subject", "Verdict", "reseal", "reseal_manifest", "watch"]

ROWS, DIMENSIONS = 700, 16
KINDS: dict[str, dict[str, Any]] = {
    "f32": {"codec": "f32"},
    "sq8": {"codec": "sq:8", "keep_norms": True},
    "sq4": {"codec": "sq:4", "keys": "bytes"},
    "pq": {"codec": "pq:4x4", "keys": "int64"},
    "tcq": {"codec": "tcq:5"},
    "bin": {"codec": "center,bin", "keys": None},
    "layers": {"codec": "bin/sq:8"},
    "zstd": {"codec": "f32,zstd"},
    "cells": {"codec": "cells:6,sq:4", "keep_order": True},
    "cells-layers": {"codec": "cells:5,bin/sq:8"},
    "cells-order": {"codec": "cells:40,tcq:5", "keys": None},
    "hash": {"codec": "hash:90:2:word&shape&ngrams2-3:mean"},
    "fasttext": {"codec": "fasttext:50/lvq:3x2", "keys": "bytes"},
    "qr": {"codec": "qr:20:mult", "keys": None},
    "residual": {"codec": "floret:50/pq:4x4", "keys": "int64"},
    "learned": {"codec": "qr:20:learned/sq:8,zstd"},
    "anchor": {"codec": "anchor:30:2/subspace:6x4", "keys": None},
    "mixed": {"codec": "sq:8@100+hashembed:50@300+qr:20"},
    "mixed-rows": {"codec": "f16@100+qr:40x40@500+hash:40:1", "keys": None},
    "sharded": {"codec": "sq:8", "shard_bytes": 145_000},
    "sharded-int64": {"codec": "f16", "shard_bytes": 145_000, "keys": "int64"},
}
CHUNK = 250  # mutations that one process tries
PATIENCE_S = 600  # for a chunk, before it counts as hanging

Observation = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What came of one mutation: "exact", "refused", or what is wrong with it."""

    outcome: str
    detail: str = ""

    @property
    def harmless(self) -> bool:
        """Whether the mutation was refused or did not matter."""
        return self.outcome in ("exact", "refused")


class Subject:
    """A small store of one kind, whole, and what it answers."""

    def __init__(self, kind: str, directory: Path) -> None:
        self.path = directory / f"{kind}.vecs"
        options = dict(KINDS[kind])
        rng = np.random.default_rng(7)
        x = rng.normal(size=(ROWS, DIMENSIONS)).astype(np.float32)
        self.keys = _keys(options.pop("keys", "str"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            vecstore.write(self.path, x, self.keys, accept_dominated=True, **options)
        self.queries = rng.normal(size=(20, DIMENSIONS)).astype(np.float32)
        self.asked = list(range(ROWS)) if self.keys is None else self.keys
        self.expected = self.observe(self.path)
        failed = [step for step, answer in self.expected.items() if isinstance(answer, Exception)]
        assert not failed, f"the undamaged {kind} store fails at {failed}: {self.expected[failed[0]]!r}"

    def observe(self, path: Path) -> Observation:
        """Use a store in every way and return each answer, or the error in its place."""
        try:
            store = vecstore.open(path)
        except VecstoreError as error:
            return {"open": error}
        steps: dict[str, Callable[[], Any]] = {
            "open": lambda: (len(store), store.dimensions, store.metric, store.key_type),
            "info": lambda: {name: value for name, value in store.info().items() if name not in ("path", "bytes")},
            "find": lambda: [store.rows_of([key])[0] for key in self.asked],
            "get": lambda: np.stack([store[key] for key in self.asked]),
            "absent": lambda: [store.get(key) for key in self._absent],
            "lookup": lambda: _looked_up(store, self.asked[:5] + self._absent),
            "few": lambda: store[self.asked[:100]],
            "many": lambda: store.rows_of(self.asked),
            "many vectors": lambda: store[self.asked],
            "keys": lambda: list(store.keys),
            "vectors": lambda: np.asarray(store.vectors),
            "rows": lambda: store.vectors[np.arange(0, ROWS, 3)],
            "search by tables": lambda: _found(store.search(self.queries[:2], k=5)),
            "search by decoding": lambda: _found(store.search(self.queries, k=5)),
            "verify": store.verify,
        }
        return {name: _answer(step) for name, step in steps.items()}

    def judge(self, path: Path, *, sealed: bool) -> Verdict:
        """Compare what a damaged copy answers with what the whole store does.

        With `sealed` the checksums are right, so that answers may differ; they must not crash.
        """
        try:
            found = self.observe(path)
        except Exception:
            return Verdict("exception", traceback.format_exc())
        refused = [step for step, answer in found.items() if isinstance(answer, VecstoreError)]
        if sealed:
            return Verdict("refused" if refused else "exact")
        for step, answer in found.items():
            if isinstance(answer, KeyNotFoundError) or (step not in refused and not _same(answer, self.expected[step])):
                return Verdict("wrong answer", f"{step}: {answer!r}"[:500])
        if refused and "verify" in found and "verify" not in refused:
            return Verdict("not verified", f"{refused}: {found[refused[0]]}")
        if any(len(str(found[step])) < 20 for step in refused):
            return Verdict("no message", str(refused))
        return Verdict("refused" if refused else "exact")

    @property
    def _absent(self) -> list[Any]:
        if self.keys is None or isinstance(self.keys[0], int):
            return list(range(10**6, 10**6 + 50))
        made = [f"absent {i}" for i in range(50)]
        return made if isinstance(self.keys[0], str) else [key.encode() for key in made]


def flip(path: Path, rng: np.random.Generator) -> str:
    """Change one byte: half of the time anywhere, half of the time where the pages' own numbers are."""
    file = _some_file(path, rng)
    data = bytearray(file.read_bytes())
    at = int(rng.integers(len(data)))
    if rng.random() < 0.5 and len(data) > 4096:
        at = at // 4096 * 4096 + int(rng.integers(160)) * int(rng.integers(1, 3))
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
    document = json.loads(file.read_bytes()) if file.name == MANIFEST_NAME else Container(file).description
    what = _garble(document, rng)
    if file.name == MANIFEST_NAME:
        reseal_manifest(file, document)
    else:
        _adopt(path, file, reseal(file, document))
    return f"{file.name}: {what}"


def forge_part(path: Path, rng: np.random.Generator) -> str:
    """Change a word of a part and make all checksums right again."""
    file = _some_file(path, rng, but=MANIFEST_NAME)
    container = Container(file)
    part = container.part(str(rng.choice(container.names())))
    if not part.blocks:
        return "nothing: an empty part"
    block = int(rng.integers(part.blocks))
    offset, size = int(part.offsets[block]), int(part.sizes[block])
    data = bytearray(file.read_bytes())
    # The first words are counts and starts, the rest payload.
    at = int(rng.integers(min(size, 64) if rng.random() < 0.5 else size)) & ~3
    value = int(rng.choice([0, 1, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, int(rng.integers(1 << 32))]))
    data[offset + at : offset + at + 4] = struct.pack("<I", value)
    first = part.about["checksums_at"] + int(part._chunk_starts[block])
    sums = container._extents[b"checksums"]
    for i, start in enumerate(range(0, size, 65536)):
        chunk = checksum(bytes(data[offset + start : offset + min(start + 65536, size)]))
        struct.pack_into("<Q", data, sums.offset + 8 * (first + i), chunk)
    document = container.description
    every = bytes(data[sums.offset : sums.offset + 8 * document["checksums"]["count"]])
    document["checksums"]["xxh3"] = f"{checksum(every):016x}"
    fingerprint = _describe(data, container._extents[b"vecstore"], document)
    file.write_bytes(data)
    _adopt(path, file, fingerprint)
    return f"{file.name}: {part.name}, block {block}, byte {at}: {value}"


def reseal(file: Path, description: dict[str, Any]) -> str:
    """Give a container another description, with the right checksum, and return its fingerprint.

    A description that does not fit is left as it was.
    """
    place = Container(file)._extents[b"vecstore"]
    data = bytearray(file.read_bytes())
    fingerprint = _describe(data, place, description)
    file.write_bytes(data)
    return fingerprint


def _describe(data: bytearray, place: Extent, description: dict[str, Any]) -> str:
    body = json.dumps(description, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    if len(body) <= place.size - 24:
        head = bytes(data[place.offset : place.offset + 12]) + struct.pack("<I", len(body))
        data[place.offset : place.offset + 24 + len(body)] = head + struct.pack("<Q", checksum(head + body)) + body
    return f"{struct.unpack_from('<Q', data, place.offset + 16)[0]:016x}"


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


def watch(subject: Subject, mutation: str, number: int, directory: Path) -> tuple[Verdict, str]:
    """Apply mutation `number` to a copy of the subject's store; return the verdict and what was changed."""
    damage, sealed = MUTATIONS[mutation]
    copy = directory / subject.path.name
    _remove(copy)
    shutil.copytree(subject.path, copy) if subject.path.is_dir() else shutil.copyfile(subject.path, copy)
    what = damage(copy, np.random.default_rng(number))
    return subject.judge(copy, sealed=sealed), what


def _keys(key_type: str | None) -> Any:
    if key_type is None:
        return None
    if key_type == "int64":
        return [(i - 300) * 10**12 for i in range(ROWS)]
    made = [f"key {i} {'é' * (i % 5)}" for i in range(ROWS)]
    made[5], made[600] = "long " * 80, "longer " * 900
    return made if key_type == "str" else [key.encode() for key in made]


def _looked_up(store: vecstore.Store, keys: list[Any]) -> Any:
    """Return the vectors of keys some of which are in no store, or that the codec has none for those."""
    try:
        found = store.lookup(keys)
    except KeyNotFoundError:
        return "no vectors for unknown keys"
    return found.vectors, found.known


def _found(result: Any) -> tuple[Any, ...]:
    return result.rows, result.scores, result.keys


def _answer(step: Callable[[], Any]) -> Any:
    try:
        return step()
    except VecstoreError as error:
        return error


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, tuple):
        return all(_same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(b, np.ndarray):
        return bool(np.array_equal(a, b))
    return bool(a == b)


def _some_file(path: Path, rng: np.random.Generator, but: str = "") -> Path:
    files = sorted(file for file in path.iterdir() if file.name != but) if path.is_dir() else [path]
    return files[int(rng.integers(len(files)))]


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _adopt(path: Path, file: Path, fingerprint: str) -> None:
    """Make a store's manifest mean the file as it is now."""
    manifest = path / MANIFEST_NAME
    if not manifest.exists():
        return
    document = json.loads(manifest.read_bytes())
    for entry in document["shards"] + document["key_maps"]:
        if entry["file"] == file.name:
            entry["fingerprint"] = fingerprint
    reseal_manifest(manifest, document)


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


def _run_chunk(kind: str, mutation: str, first: int, count: int, answers: Any) -> None:
    """Try `count` mutations in this process, telling of each one before it is tried."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        (directory / "whole").mkdir()
        subject = Subject(kind, directory / "whole")
        for number in range(first, first + count):
            answers.send((number, None))
            verdict, what = watch(subject, mutation, number, directory)
            answers.send((number, (verdict, what)))
    answers.send(None)


def _watch_chunk(kind: str, mutation: str, first: int, count: int) -> Counter[str]:
    """Run a chunk in a process of its own; a crash ends that process only, and what is left is tried in another."""
    tally: Counter[str] = Counter()
    end = first + count
    while first < end:
        receiver, sender = multiprocessing.Pipe(duplex=False)
        child = multiprocessing.get_context("spawn").Process(
            target=_run_chunk, args=(kind, mutation, first, end - first, sender)
        )
        child.start()
        sender.close()
        while True:
            try:
                message = receiver.recv() if receiver.poll(PATIENCE_S) else "hang"
            except EOFError:
                message = "crash"
            if isinstance(message, str) or message is None:
                break
            number, answer = message
            first = number + 1
            if answer is not None:
                verdict, what = answer
                tally[verdict.outcome] += 1
                if not verdict.harmless:
                    print(f"{kind}, {mutation}, {number}: {verdict.outcome}: {what}\n{verdict.detail}", flush=True)
        if child.is_alive() and message is not None:
            child.kill()
        child.join()
        if message is None:
            break
        tally[message] += 1
        print(f"{kind}, {mutation}, {first - 1}: {message} (exit code {child.exitcode})", flush=True)
    return tally


def main() -> int:
    """Run the command line; return 1 when a mutation did harm."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--mutations", type=int, default=10_000, help="in all, shared out over kinds and mutations")
    parser.add_argument("--kind", choices=KINDS, action="append", help="only stores of this kind")
    parser.add_argument("--mutation", choices=MUTATIONS, action="append", help="only this kind of damage")
    parser.add_argument("--only", type=int, help="one mutation by its number")
    parser.add_argument("--first", type=int, default=0, help="number of the first mutation")
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    kinds, mutations = chosen.kind or list(KINDS), chosen.mutation or list(MUTATIONS)
    each = 1 if chosen.only is not None else -(-chosen.mutations // (len(kinds) * len(mutations)))
    first = chosen.first if chosen.only is None else chosen.only
    chunks = [
        (kind, mutation, start, min(CHUNK, first + each - start))
        for kind in kinds
        for mutation in mutations
        for start in range(first, first + each, CHUNK)
    ]
    total: dict[str, Counter[str]] = {mutation: Counter() for mutation in mutations}
    with ThreadPoolExecutor(chosen.jobs) as pool:
        for chunk, tally in zip(chunks, pool.map(lambda chunk: _watch_chunk(*chunk), chunks), strict=True):
            total[chunk[1]] += tally
    for mutation, tally in total.items():
        print(f"{mutation:12}", ", ".join(f"{count} {outcome}" for outcome, count in sorted(tally.items())))
    every = sum(total.values(), Counter())
    print(f"{'all':12}", ", ".join(f"{count} {outcome}" for outcome, count in sorted(every.items())))
    return int(not set(every) <= {"exact", "refused"})


if __name__ == "__main__":
    raise SystemExit(main())
