"""Read a store from four processes while others write, compact and clean it: each read equals exactly one generation.

``python -m vecstore.bench.scripts.history --minutes 3``. What edit number s does follows from s. So a reader knows all
that a store holds from the number that it finds under one key, and compares what else it reads there. Numbers never
fall.
"""

from __future__ import annotations

import argparse
import multiprocessing
import pickle
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import vecstore
from vecstore.codecs.base import Floats
from vecstore.codecs.transforms.normalize import unit
from vecstore.errors import BusyError, ConflictError
from vecstore.measure.drift import DriftWarning

__all__ = ["History", "Told", "watched"]

KEYS, DIMENSIONS, VECTORS = 400, 16, 4093
NUMBER = "number of the edit"  # a key
CODECS = ("f32", "cells:8,f32")  # whose vectors are those that were written, but for rounding
ROUNDING = 1e-6  # of what cells subtract and add again; vectors of `POOL` differ by far more
READS, AGE_S = 20, 5.0  # of one handle before it is refreshed; of files that are cleaned away
PAUSE_S = 0.05  # between edits, so that who waits for the lock gets it: it is not fair
POOL = unit(np.random.default_rng(0).normal(size=(VECTORS, DIMENSIONS)).astype(np.float32))


class History:
    """What a store holds after each edit.

    Attributes
    ----------
    number : int
        Of the edit.
    rows : dict of str to int
        For each key that lives, which vector of `POOL` it has.
    """

    def __init__(self) -> None:
        self.number, self.rows = 0, {f"key {i}": i for i in range(KEYS // 2)} | {NUMBER: 0}

    def next(self) -> tuple[dict[str, int], list[str]]:
        """Go to the next edit; return what it writes, and which keys it deletes."""
        self.number += 1
        rng = np.random.default_rng(self.number)
        chosen = [f"key {i}" for i in rng.permutation(KEYS)[: int(rng.integers(2, 60))].tolist()]
        cut = int(rng.integers(len(chosen)))
        new = {key: int(rng.integers(VECTORS)) for key in chosen[:cut]} | {NUMBER: self.number % VECTORS}
        gone = [key for key in chosen[cut:] if key in self.rows]
        self.rows = {key: at for key, at in self.rows.items() if key not in gone} | new
        return new, gone

    def advance(self, number: int) -> None:
        """Go to an edit that comes later."""
        while self.number < number:
            self.next()


@dataclass
class Told:
    """What a process did: how often what, and what went wrong."""

    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def watched(seconds: float, *, readers: int = 4, codec: str = CODECS[0]) -> list[Told]:
    """Let readers, a writer, a compactor and a cleaner work on one store for so long; return what each did."""
    with tempfile.TemporaryDirectory() as folder:
        path, history = Path(folder) / "items.vecs", History()
        trained = vecstore.codec(codec).fit(POOL)
        vecstore.write(path, POOL[[*history.rows.values()]], [*history.rows], trained, shard_bytes=1 << 20)
        context = multiprocessing.get_context("spawn")
        roles = [write, compact, clean, *[read] * readers]
        start = context.Barrier(len(roles))
        with ProcessPoolExecutor(len(roles), context, initializer=_meet, initargs=(start,)) as pool:
            jobs = [pool.submit(_guarded, role, path, seconds, number) for number, role in enumerate(roles)]
            return [job.result() for job in jobs]


def _meet(start: Any) -> None:
    """Wait until all processes are there: they take seconds to begin."""
    start.wait()


def _guarded(role: Callable[[Path, float, int, Told], None], path: Path, seconds: float, number: int) -> Told:
    told, end = Told(), time.time() + seconds
    warnings.simplefilter("ignore", DriftWarning)
    try:
        role(path, end, number, told)
    except Exception:
        told.wrong.append(traceback.format_exc())
    return told


def write(path: Path, end: float, number: int, told: Told) -> None:
    """Edit, as the history says."""
    history = History()
    while time.time() < end:
        new, gone = history.next()
        with vecstore.edit(path, on_drift="ignore", wait=60) as e:
            e.delete(gone)
            e.upsert(POOL[[*new.values()]], [*new])
        told.done["edits"] += 1
        time.sleep(PAUSE_S)


def compact(path: Path, end: float, number: int, told: Told) -> None:
    """Compact, again and again; an edit that merged the same shards was first."""
    while time.time() < end:
        with suppress(ConflictError, BusyError):
            told.done["compactions"] += vecstore.compact(path, wait=60).generation is not None
        time.sleep(0.05)


def clean(path: Path, end: float, number: int, told: Told) -> None:
    """Remove what is older than some seconds."""
    while time.time() < end:
        with suppress(BusyError):
            told.done["files removed"] += vecstore.clean(path, older_than=AGE_S, keep=2, wait=1).files
        time.sleep(0.2)


def read(path: Path, end: float, number: int, told: Told) -> None:
    """Read in all ways, and compare with the history."""
    rng, history, generation = np.random.default_rng(1000 + number), History(), 0
    store = vecstore.open(path)
    while time.time() < end and not told.wrong:
        if rng.random() < 0.1:
            store = pickle.loads(pickle.dumps(store)) if rng.random() < 0.5 else vecstore.open(path)
        store.refresh()
        found = _number(store, history)
        if found < history.number or store.generation < generation:
            told.wrong.append(f"edit {found} after {history.number}, generation {store.generation} after {generation}")
        history.advance(found)
        generation = store.generation
        for _ in range(READS):
            way = WAYS[int(rng.integers(len(WAYS)))]
            if not way(store, history, rng):
                told.wrong.append(f"{way.__name__}: not as after edit {found}, generation {generation}")
            told.done["reads"] += 1
    told.done["edits seen"] = history.number


def _number(store: vecstore.Store, history: History) -> int:
    """Return the edit after which the store is: the least, from the last one on, that has the vector."""
    at = int(np.argmax(POOL @ store[NUMBER]))
    return history.number + (at - history.number) % VECTORS


def one(store: vecstore.Store, history: History, rng: np.random.Generator) -> bool:
    """Read the vector of a key, or none."""
    key = f"key {rng.integers(KEYS)}"
    at, found = history.rows.get(key), store.get([key])[0]
    return found is None if at is None else found is not None and _same(found, POOL[at])


def many(store: vecstore.Store, history: History, rng: np.random.Generator) -> bool:
    """Read the vectors of many keys at once."""
    keys = [key for key in history.rows if rng.random() < 0.5]
    return _same(store[keys], _vectors(history, keys)) if keys else True


def keys(store: vecstore.Store, history: History, rng: np.random.Generator) -> bool:
    """Count and iterate."""
    return len(store) == len(history.rows) and set(store) == history.rows.keys()


def rows(store: vecstore.Store, history: History, rng: np.random.Generator) -> bool:
    """Read by numbers of rows."""
    living = store.living_rows
    own = living[rng.integers(len(living), size=20)]
    return _same(store.vectors[own], _vectors(history, store.keys[own]))


def search(store: vecstore.Store, history: History, rng: np.random.Generator) -> bool:
    """Search for the vector of a key."""
    key = list(history.rows)[int(rng.integers(len(history.rows)))]
    found = store.search(POOL[history.rows[key]], 3)
    expected = np.sort(_vectors(history, list(history.rows)) @ POOL[history.rows[key]])[::-1][:3]
    same = all(history.rows.get(each) is not None for each in found.keys)
    return same and np.allclose(found.scores, expected, atol=1e-5)


def _same(found: Floats, wanted: Floats) -> bool:
    return found.shape == wanted.shape and np.allclose(found, wanted, rtol=0, atol=ROUNDING)


def _vectors(history: History, keys: Sequence[Any]) -> Floats:
    return POOL[[history.rows[key] for key in keys]]


WAYS = (one, one, one, many, keys, rows, search)


def main() -> int:
    """Run from the command line; 1 where a read was wrong."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.history", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--codec", default=CODECS[0])
    given = parser.parse_args()
    told = watched(60 * given.minutes, codec=given.codec)
    total: Counter[str] = sum((each.done for each in told), Counter())
    print(", ".join(f"{count:,} {what}" for what, count in total.items() if what != "edits seen"))
    for wrong in [wrong for each in told for wrong in each.wrong]:
        print(wrong)
    return int(any(each.wrong for each in told))


if __name__ == "__main__":
    raise SystemExit(main())
