"""Read damaged dumps: ``python -m vecstore.bench.scripts.fuzz_dumps [FILE...] --count 2000``.

Without files, a small one of every format that is written is attacked, and of tables that are imported. Those that
other libraries wrote lie in ``tests/data/dumps.zip``: unpack it and name what is in it.

Each file is cut off, has bits flipped, numbers replaced by huge ones, pieces removed and repeated. What comes of
it has to be a dump or a `FormatError`, soon, and in memory that the size of the file bounds. A process of its own
reads the mutations of a file; where one ends it, or holds it for long, another goes on behind.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias, cast

import numpy as np
from vecstore.formats import FORMATS, open_dump, write_dump

from vecstore.conversion.trained_tables import TrainedTables
from vecstore.errors import VecstoreError

__all__ = ["attack", "main", "mutated", "written"]

Case: TypeAlias = tuple[Path, str | None, dict[str, Any]]

TABLES = ("dlrm", "hashembed")  # imported as they are, not read as dumps
MOST_SECONDS = 1.0
MOST_BYTES = 64 << 20  # beside twice the file
HELD_SECONDS = 10  # of the processor, after which a process is ended
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
    found = _attempts(path, format, scratch, range(count), seed, options)
    return [f"{path.name}, {number}: {fault}" for number, fault in found if fault]


def _attempts(
    path: Path, format: str | None, scratch: Path, numbers: range, seed: int, options: dict[str, Any]
) -> Iterator[tuple[int, str | None]]:
    """Yield what went wrong with each mutation; of those that did something wrong, the file is kept."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    size = sum(file.stat().st_size for file in files)
    _read(path, format, options)  # libraries are imported now
    for number in numbers:
        random_ = random.Random(seed * 1_000_003 + number)
        victim, target = random_.choice(files), scratch
        if path.is_dir():
            shutil.rmtree(scratch, ignore_errors=True)
            shutil.copytree(path, scratch)
            target = scratch / victim.relative_to(path)
        target.write_bytes(mutated(victim.read_bytes(), random_))
        before, start = _peak(anew=True), time.process_time()
        fault = _read(scratch, format, options)
        elapsed_s, grown = time.process_time() - start, _peak() - before
        if elapsed_s > MOST_SECONDS:
            fault = f"took {elapsed_s:.1f} s"
        if grown > MOST_BYTES + 2 * size:
            fault = f"took {grown >> 20} MiB"
        if fault:
            kept = scratch.with_name(f"{scratch.name}-{number}")
            (shutil.copytree if scratch.is_dir() else shutil.copy)(scratch, kept)
        yield number, fault


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
    return found + _trained(folder)


def _trained(folder: Path) -> list[Case]:
    """Write small tables of each format of those, and return how they are imported."""
    table = np.random.default_rng(0).normal(size=(6, 4)).astype("<f4")
    names, size = (f"emb_l.0.weight_{part}" for part in "qr"), table.nbytes
    entries = {
        name: {"dtype": "F32", "shape": [6, 4], "data_offsets": [at * size, (at + 1) * size]}
        for at, name in enumerate(names)
    }
    header = json.dumps(entries).encode()
    dlrm, hashembed = folder / "dlrm" / "dlrm.safetensors", folder / "hashembed" / "hashembed.npy"
    for path in (dlrm, hashembed):
        path.parent.mkdir(parents=True)
    dlrm.write_bytes(len(header).to_bytes(8, "little") + header + 2 * table.tobytes())
    np.save(hashembed, table)
    keys = hashembed.with_name("keys.txt")
    keys.write_text("".join(f"key{row}\n" for row in range(20)))
    return [(dlrm, "dlrm", {}), (hashembed, "hashembed", {"keys": keys})]


def _read(path: Path, format: str | None, options: dict[str, Any]) -> str | None:
    tables = format in TABLES
    for named in (format,) if tables else dict.fromkeys((format, None)):
        try:
            if tables:
                with TemporaryDirectory() as folder:
                    TrainedTables(path, str(format), cast(Any, options)).write(
                        Path(folder, "tables.vecs"), metric="dot", seed=0, force=False
                    )
                continue
            for _ in open_dump(path, format=named, **options).batches():
                pass
        except VecstoreError as error:
            if "\n" in str(error):
                return f"a message of several lines: {error}"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return None


def _peak(*, anew: bool = False) -> int:
    """Return the most memory so far, in bytes; from now on, where Linux lets one ask `anew`."""
    try:
        if anew:
            Path("/proc/self/clear_refs").write_text("5")
        return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024  # type: ignore[index]
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _attack_apart(case: Case, scratch: Path, count: int, seed: int) -> list[str]:
    """Attack a file from processes of their own, which a mutation may end."""
    path, format, options = case
    asked = [sys.executable, "-m", __spec__.name, str(path), "--scratch", str(scratch), "--seed", str(seed)]
    asked += ["--count", str(count)]
    for name, value in {"format": format, **options}.items():
        asked += [] if value is None else [f"--{name.replace('_', '-')}", str(value)]
    first, wrong = 0, []
    while first < count:
        with subprocess.Popen(
            [*asked, "--from", str(first)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            said, errors = process.communicate()
        lines = [line.split("\t", 1) for line in said.splitlines() if "\t" in line]
        wrong += [f"{path.name}, {number}: {fault}" for number, fault in lines if fault]
        first = int(lines[-1][0]) + 1 if lines else first
        if process.returncode:
            wrong.append(f"{path.name}, {first}: the process ended ({process.returncode}): {errors.strip()[-300:]}")
            first += 1
    return wrong


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.fuzz_dumps", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format")
    parser.add_argument("--dimensions", type=int, help="for annoy and raw")
    for name in ("keys", "dtype", "array", "vector-column"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--from", type=int, dest="first", help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, required=True, help="a file or folder to write the mutations to")
    given = parser.parse_args(arguments)
    options = {name: getattr(given, name) for name in ("dimensions", "keys", "dtype", "array", "vector_column")}
    named = {name: value for name, value in options.items() if value is not None}
    if given.first is not None:
        numbers = range(given.first, given.count)
        for number, fault in _attempts(given.files[0], given.format, given.scratch, numbers, given.seed, named):
            print(f"{number}\t{' '.join((fault or '').split())}", flush=True)
            signal.setitimer(signal.ITIMER_PROF, HELD_SECONDS)
            signal.alarm(6 * HELD_SECONDS)
        signal.alarm(0)
        return
    cases: list[Case] = [(path, given.format, named) for path in given.files]
    wrong = []
    for case in cases or written(given.scratch.with_name(f"{given.scratch.name}-whole")):
        scratch = given.scratch.with_name(f"{given.scratch.name}-{case[0].name}")
        found = _attack_apart(case, scratch, given.count, given.seed)
        print(f"{case[0].name}: {given.count} mutations, {len(found)} wrong", flush=True)
        wrong += found
    print("\n".join(wrong))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
