"""Read damaged dumps: ``python -m vecstore.bench.scripts.fuzz_dumps [FILE...] --count 2000``.

Without files, a small one of every format that is written is attacked. Those that other libraries wrote lie in
``tests/data/dumps.zip``: unpack it and name what is in it.

Each file is cut off, has bits flipped, numbers replaced by huge ones, pieces removed and repeated. What comes of
it has to be a dump or a `FormatError`, soon, and in memory that the size of the file bounds.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import resource
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from vecstore.formats import FORMATS, open_dump, write_dump

from vecstore.errors import VecstoreError

__all__ = ["attack", "main", "mutated", "written"]

Case: TypeAlias = tuple[Path, str | None, dict[str, Any]]

MOST_SECONDS = 1.0
MOST_BYTES = 64 << 20  # beside twice the file
HUGE = (b"\xff" * 4, b"\xff" * 8, b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\0" * 8, b"999999999999", b"-1", b"{[" * 200)


def mutated(data: bytes, random_: random.Random) -> bytes:
    """Return the file, damaged in one to three ways."""
    for _ in range(random_.randint(1, 3)):
        if not data:
            return data
        at, way = random_.randrange(len(data)), random_.randrange(7)
        # Headers are what matters most: half of the damage is done to the first bytes, or to the last.
        at = random_.choice((at, at % 256, max(len(data) - 1 - at % 256, 0)))
        if way == 0:
            data = data[:at]
        elif way == 1:
            data = data[:at] + bytes([data[at] ^ 1 << random_.randrange(8)]) + data[at + 1 :]
        elif way == 2:
            huge = random_.choice(HUGE)
            data = data[:at] + huge + data[at + len(huge) :]
        elif way == 3:
            data = data[:at] + data[at + random_.randint(1, 64) :]
        elif way == 4:
            data = data[:at] + data[at : at + random_.randint(1, 64)] * 2 + data[at:]
        elif way == 5:
            other = random_.randrange(len(data))
            data = data[:at] + data[other : other + 16] + data[at + 16 :]
        else:
            data = data[:at] + random_.randbytes(random_.randint(1, 16)) + data[at:]
    return data


def attack(path: Path, format: str | None, scratch: Path, *, count: int, seed: int = 0, **options: Any) -> list[str]:
    """Read `count` mutations of a file or folder; return what went wrong, one line each."""
    random_, wrong = random.Random(seed), []
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    for number in range(count):
        victim = random_.choice(files)
        target = scratch
        if path.is_dir():
            shutil.rmtree(scratch, ignore_errors=True)
            shutil.copytree(path, scratch)
            target = scratch / victim.relative_to(path)
        target.write_bytes(mutated(victim.read_bytes(), random_))
        before, start = _peak(), time.process_time()
        fault = _read(scratch, format, options)
        elapsed_s, grown = time.process_time() - start, _peak() - before
        if elapsed_s > MOST_SECONDS:
            fault = f"took {elapsed_s:.1f} s"
        if grown > MOST_BYTES + 2 * sum(file.stat().st_size for file in files):
            fault = f"took {grown >> 20} MiB"
        if fault:
            kept = scratch.with_name(f"{scratch.name}-{number}")
            (shutil.copytree if scratch.is_dir() else shutil.copy)(scratch, kept)
            wrong.append(f"{path.name}, {kept}: {fault}")
    return wrong


def written(folder: Path) -> list[Case]:
    """Write a small dump of every format that is written and whose library is there; return how each is read."""
    vectors = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    found: list[Case] = []
    shutil.rmtree(folder, ignore_errors=True)
    for entry in FORMATS.values():
        if not entry.writable or (entry.library and importlib.util.find_spec(entry.library) is None):
            continue
        path = folder / entry.name / f"{entry.name}{''.join(entry.suffixes[:1])}"
        path.parent.mkdir(parents=True)
        texts = [f"key{row}" for row in range(len(vectors))]
        keys: Any = np.arange(len(vectors)) if entry.name == "usearch" else texts
        kind: Any = "int64" if entry.name == "usearch" else "str"
        write_dump(
            path, [(keys, vectors)], dimensions=vectors.shape[1], rows=len(vectors), key_type=kind, format=entry.name
        )
        beside = next(path.parent.glob("*.keys.*"), None)
        found.append((path, entry.name, {} if beside is None else {"keys": beside}))
    return found


def _read(path: Path, format: str | None, options: dict[str, Any]) -> str | None:
    for named in dict.fromkeys((format, None)):
        try:
            for _ in open_dump(path, format=named, **options).batches():
                pass
        except VecstoreError as error:
            if "\n" in str(error):
                return f"a message of several lines: {error}"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return None


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.fuzz_dumps", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format")
    parser.add_argument("--dimensions", type=int, help="for annoy and raw")
    parser.add_argument("--scratch", type=Path, required=True, help="a file or folder to write the mutations to")
    given = parser.parse_args(arguments)
    named = {} if given.dimensions is None else {"dimensions": given.dimensions}
    cases: list[Case] = [(path, given.format, named) for path in given.files]
    wrong = []
    for path, format, options in cases or written(given.scratch.with_name(f"{given.scratch.name}-whole")):
        scratch = given.scratch.with_name(f"{given.scratch.name}-{path.name}")
        found = attack(path, format, scratch, count=given.count, seed=given.seed, **options)
        print(f"{path.name}: {given.count} mutations, {len(found)} wrong", flush=True)
        wrong += found
    print("\n".join(wrong))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
