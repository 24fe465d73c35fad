"""Faults of a disk, one at a time: what changes files is killed, fails, or is lost at a loss of power.

`faults.c`, preloaded, counts the calls that change files. Each trial is a fork of one process, so that thousands of
them take seconds. Run by `tests/hostile/test_faulty_disks.py`::

    python tests/faults.py SCENARIO FAULT FOLDER SEED EVERY
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import vecstore
from vecstore.errors import CommitUncertainError
from vecstore.store.manifest import Manifest

HERE = Path(__file__).parent
X = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
KEYS = [f"key {i}" for i in range(300)]
FAULTS = {"kill": -1, "full": errno.ENOSPC, "broken": errno.EIO}
DONE, FAILED, UNCERTAIN, OTHER = 0, 3, 4, 5  # how a trial ends


def build(folder: Path) -> Path:
    """Compile the shim; raises where there is no compiler."""
    library = folder / "faults.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(HERE / "faults.c"), "-ldl"], check=True)
    return library


def run(library: Path, *arguments: object) -> str:
    """Run this file with the shim; return what it prints."""
    environment = os.environ | {
        "LD_PRELOAD": str(library),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, __file__, *map(str, arguments)]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# What is done to a store, and what has to be there afterwards: keys by generation


def edit(path: Path) -> None:
    with vecstore.edit(path) as e:
        e.delete(["key 1"])
        e.append(X[200:], KEYS[200:])
        e.upsert(X[:1], ["key 0"])


def compact(path: Path) -> None:
    vecstore.compact(path)


def clean(path: Path) -> None:
    vecstore.clean(path, older_than=0, keep=1)


def restore(path: Path) -> None:
    vecstore.restore(path, 0)


def retag(path: Path) -> None:
    vecstore.tag(path, "now")


def certify(path: Path) -> None:
    vecstore.certify(path)


def one_shard(path: Path) -> None:
    vecstore.write(path, X[:200], KEYS[:200], "sq:8", shard_bytes=1 << 20)


def several_shards(path: Path) -> None:
    """A store with tombstones, shards to merge, generations to clean and a tag."""
    vecstore.write(path, X[:150], KEYS[:150], "sq:8", shard_bytes=1 << 20)
    with vecstore.edit(path) as e:
        e.append(X[150:180], KEYS[150:180])
        e.delete(KEYS[2:40:2])
    with vecstore.edit(path, on_drift="ignore") as e:
        e.append(X[180:200], KEYS[180:200])
    vecstore.tag(path, "then", 1)


SCENARIOS: dict[str, tuple[Callable[[Path], None], Callable[[Path], None]]] = {
    "edit": (one_shard, edit),
    "compact": (several_shards, compact),
    "clean": (several_shards, clean),
    "restore": (several_shards, restore),
    "tag": (several_shards, retag),
    "certify": (several_shards, certify),
}


def shown(path: Path, generation: int | str | None = None) -> tuple[list[str], bytes]:
    """Return keys and vectors of a generation."""
    with vecstore.open(path, generation=generation) as store:
        store.verify(deep=True)
        return list(store), store[list(store)].tobytes()


class Trial:
    """A scenario, done once without faults to see what it gives."""

    def __init__(self, scenario: str, folder: Path) -> None:
        prepare, self.change = SCENARIOS[scenario]
        self.original = folder / "original"
        self.root = self.path = folder / "trial.vecs"
        prepare(self.original)
        self.before = shown(self.original)
        self.first = Manifest.read(self.original).generation
        self.tags = {tag: shown(self.original, tag) for tag in ("then",) if scenario != "edit"}
        self.reset()
        self.change(self.path)
        self.last, self.after = Manifest.read(self.path).generation, shown(self.path)

    def reset(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.copytree(self.original, self.path)

    def look(self) -> int:
        """Check that the store is what it was or what it was to become, and that the next edit clears up."""
        path = self.path
        generation = Manifest.read(path).generation
        assert generation in (self.first, self.last)
        keys, vectors = shown(path)
        assert (keys, vectors) == (self.before if generation == self.first else self.after)
        for version in vecstore.open(path).versions():
            shown(path, version.generation)
        assert {tag: shown(path, tag) for tag in self.tags} == self.tags
        with vecstore.edit(path) as e:
            e.delete([keys[5]])
        assert shown(path)[0] == [key for key in keys if key != keys[5]]
        for tag in [*self.tags, "now"]:
            if (path / f"tag-{tag}.json").exists():
                vecstore.untag(path, tag)
        vecstore.compact(path)
        vecstore.clean(path, older_than=0, keep=1)
        left = set(os.listdir(path)) - Manifest.read(path).files
        assert left <= {"manifest.json", ".lock", ".compaction.lock"}, left
        return generation


def to_directory(path: Path) -> None:
    with vecstore.edit(path, to_directory=True):
        pass


class OneFile(Trial):
    """A store of one file, of which a directory is made; what it is then is its generation."""

    def __init__(self, folder: Path) -> None:
        self.original, self.root = folder / "original.vecs", folder / "trial"
        self.path, self.change, self.first, self.last = self.root / "items.vecs", to_directory, 0, 0
        vecstore.write(self.original, X[:200], KEYS[:200], "sq:8")
        self.before = shown(self.original)
        self.reset()
        self.change(self.path)

    def reset(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir()
        shutil.copyfile(self.original, self.path)

    def look(self) -> int:
        """Check that all rows are there, in a file or a directory, and that the next edit clears up."""
        assert shown(self.path) == self.before
        made = self.path.is_dir()
        with vecstore.edit(self.path, to_directory=True) as e:
            e.delete([KEYS[5]])
        assert shown(self.path)[0] == [key for key in self.before[0] if key != KEYS[5]]
        assert os.listdir(self.root) == ["items.vecs"]
        return int(made)


def attempt(trial: Trial, number: int, fault: int, log: Path | None = None) -> tuple[int, int]:
    """Fork, and change the store with the call `number` failing; return how it ended, and how many calls were made."""
    shim: Any = ctypes.CDLL(None)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        ended = OTHER
        try:
            arm(shim, trial.root, number, fault, log)
            trial.change(trial.path)
            ended = DONE
        except CommitUncertainError:
            ended = UNCERTAIN
        except OSError as error:
            ended = FAILED
            assert error.errno in (fault, None), error
        except BaseException as error:
            print(f"call {number}: {error!r}", file=sys.stderr, flush=True)
        finally:
            os.write(write, str(shim.faults_made()).encode())
            os._exit(ended)
    os.close(write)
    _, status = os.waitpid(child, 0)
    told = os.read(read, 99)
    os.close(read)
    return (-1 if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)), int(told or b"0")


def arm(shim: Any, path: Path, number: int, fault: int, log: Path | None) -> None:
    place = None if log is None else os.fsencode(log)
    shim.faults_arm(os.fsencode(path), ctypes.c_long(number), fault, place)


def fail_at_every_call(trial: Trial, fault: str, first: int, every: int) -> Counter[tuple[int, int]]:
    """Let one call after the other fail; return how often which end left which generation."""
    found: Counter[tuple[int, int]] = Counter()
    number = first
    while True:
        trial.reset()
        ended, made = attempt(trial, number, FAULTS[fault])
        if ended != -1 and made <= number:
            assert ended == DONE
            return found
        try:
            assert ended != OTHER, "another error than OSError"
            generation = trial.look()
            if trial.first != trial.last:
                if ended == DONE:
                    assert generation == trial.last
                if ended == FAILED:
                    assert generation == trial.first, "an OSError, and yet it happened"
                if ended == UNCERTAIN:
                    assert generation == trial.last
        except BaseException:
            print(f"call {number} of {fault}, ended {ended}", file=sys.stderr)
            raise
        found[ended, generation] += 1
        number += every


# Loss of power: what was not synchronised may be gone


class Disk:
    """What a record of calls leaves on the disk. A file is [bytes as written, bytes as synchronised]."""

    def __init__(self, original: Path, path: Path) -> None:
        self.path = path
        self.folders: dict[str, Any] = {}
        self.names: dict[str, list[bytearray]] = {}  # in force
        self.lasting: dict[str, list[bytearray]] = {}  # synchronised
        self.waiting: list[list[tuple[str, list[bytearray] | None]]] = []  # changes of names that may be lost
        self.by_inode: dict[int, list[bytearray]] = {}
        for file in original.iterdir():
            whole = file.read_bytes()
            self.names[str(path / file.name)] = [bytearray(whole), bytearray(whole)]
        self.lasting = dict(self.names)

    def known(self, inodes: dict[str, int]) -> None:
        for name, inode in inodes.items():
            self.by_inode[inode] = self.names[name]

    def do(self, line: list[str], data: bytes) -> None:
        kind, *rest = line
        if kind == "C":
            inode, name = int(rest[0]), rest[1]
            self.by_inode[inode] = [bytearray(), bytearray()]
            self._change([(name, self.by_inode[inode])])
        elif kind in "WT" and int(rest[0]) not in self.by_inode:
            pass  # of a file without a name
        elif kind == "W":
            body, offset = self.by_inode[int(rest[0])][0], int(rest[1])
            body.extend(bytes(max(offset + len(data) - len(body), 0)))
            body[offset : offset + len(data)] = data
        elif kind == "T":
            body, size = self.by_inode[int(rest[0])][0], int(rest[1])
            del body[size:]
            body.extend(bytes(size - len(body)))
        elif kind == "S" and int(rest[0]) in self.by_inode:
            file = self.by_inode[int(rest[0])]
            file[1] = bytearray(file[0])
        elif kind == "S":  # a directory
            self._lasts(rest[1])
        elif kind in "RL":
            source, target = " ".join(rest).split("\t")
            file = self.names.get(source)
            if file is not None:
                self._change([(target, file), *([(source, None)] if kind == "R" else [])])
        elif kind == "U" and rest[0] in self.names:
            self._change([(rest[0], None)])

    def _change(self, names: list[tuple[str, list[bytearray] | None]]) -> None:
        self.waiting.append(names)
        apply(self.names, names)

    def _lasts(self, folder: str) -> None:
        """What changed in a directory lasts; a rename of it lasts in both its directories, as journals do it."""
        own = [names for names in self.waiting if any(os.path.dirname(name) == folder for name, _ in names)]
        for names in own:
            apply(self.lasting, names)
        self.waiting = [names for names in self.waiting if names not in own]

    def left(self, kept: Callable[[], bool], *, written: bool) -> dict[str, bytearray]:
        """Return the files after a loss of power: names that waited are kept or not, writes that waited all or none."""
        names = dict(self.lasting)
        for change in self.waiting:
            if kept():
                apply(names, change)
        return {name: file[0 if written else 1] for name, file in names.items()}


def apply(names: dict[str, Any], changes: list[tuple[str, Any]]) -> None:
    for name, file in changes:
        if file is None:
            names.pop(name, None)
        else:
            names[name] = file


def calls(log: Path) -> list[tuple[list[str], bytes]]:
    body, at, found = log.read_bytes(), 0, []
    while at < len(body):
        end = body.index(b"\n", at)
        line = body[at:end].decode().split(" ")
        size = int(line[3]) if line[0] == "W" else 0
        found.append((line, body[end + 1 : end + 1 + size]))
        at = end + 1 + size
    return found


def lose_power_at_every_call(trial: Trial, log: Path, seed: int, every: int) -> Counter[tuple[str, int]]:
    """Rebuild the disk as it may be after each call, in several ways; return what was found how often."""
    trial.reset()
    inodes = {str(file): file.stat().st_ino for file in trial.path.iterdir()}
    ended, _ = attempt(trial, -1, 0, log)
    assert ended == DONE
    record, rng = calls(log), random.Random(seed)
    real = {str(file): file.read_bytes() for file in trial.path.iterdir()}
    found: Counter[tuple[str, int]] = Counter()
    disk = Disk(trial.original, trial.path)
    disk.known(inodes)
    for number in range(len(record) + 1):
        if number % every == seed % every or number == len(record):
            ways = {
                "nothing unsynchronised": disk.left(lambda: False, written=False),
                "all names, no writes": disk.left(lambda: True, written=False),
                "some names, no writes": disk.left(lambda: rng.random() < 0.5, written=False),
                "all": disk.left(lambda: True, written=True),
            }
            for way, files in ways.items():
                shutil.rmtree(trial.path)
                trial.path.mkdir()
                for name, body in files.items():
                    os.makedirs(os.path.dirname(name), exist_ok=True)
                    Path(name).write_bytes(body)
                try:
                    found[way, trial.look()] += 1
                except BaseException:
                    print(f"cut before call {number}, {record[number : number + 1]}: {way}", file=sys.stderr)
                    raise
        if number < len(record):
            disk.do(*record[number])
    written = {name: bytes(file[0]) for name, file in disk.names.items()}
    assert written == real, "the record does not hold all calls"
    return found


def main() -> None:
    scenario, fault, folder, seed, every = sys.argv[1:]
    trial = OneFile(Path(folder)) if scenario == "to_directory" else Trial(scenario, Path(folder))
    if fault == "power":
        found: Any = lose_power_at_every_call(trial, Path(folder) / "log", int(seed), int(every))
    else:
        found = fail_at_every_call(trial, fault, int(seed) % int(every), int(every))
    print(scenario, fault, dict(found))


if __name__ == "__main__":
    main()
