"""Damage stores and watch what opening and using them does.

Every mutation must end in a `VecstoreError` or in exactly the right answers: never in a crash of the process, another
exception or a wrong answer. Run for hours with::

    python -m vecstore.bench.scripts.damage --mutations 10000

Each mutation has a number, from which it can be made again: ``--kind pq --only 1234``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from vecstore.bench.scripts.mutations import MUTATIONS
from vecstore.bench.scripts.token_table import token_table

import vecstore
from vecstore.errors import KeyNotFoundError, OptionError, VecstoreError
from vecstore.sentences import Encoder

__all__ = ["DIMENSIONS", "KINDS", "ROWS", "Subject", "Verdict", "watch"]

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
    "cells": {"codec": "cells:6,sq:4"},
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
    "fields": {"codec": "f32", "fields": True},
    "static": {"codec": "sq:8", "keys": None, "texts": True},
}
CHUNK = 250  # mutations that one process tries
ADDED, GONE = 20, 25  # in a store that is edited: rows that come, and every which is deleted
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

    def __init__(self, kind: str, directory: Path, options: Mapping[str, Any] | None = None) -> None:
        self.path = directory / f"{kind}.vecs"
        options = dict(KINDS[kind] if options is None else options)
        rng = np.random.default_rng(7)
        x = rng.normal(size=(ROWS, DIMENSIONS)).astype(np.float32)
        self.keys = _keys(options.pop("keys", "str"))
        self.fields = _fields(x) if options.pop("fields", False) else None
        self.texts = ["w1 w2 w600", "", "nothing w3"] if options.pop("texts", False) else []
        self.edited = options.pop("edited", False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            options |= {"accept_dominated": True, "user": {"room": "." * 2000}}  # for longer descriptions
            if self.texts:
                vecstore.convert(token_table(x), self.path, **options)
            else:
                vecstore.write(self.path, x, self.keys, fields=self.fields, **options)
            if self.edited:
                _edit(self.path, x, self.keys)
        self.some = list(range(0, ROWS, 11))
        self.queries = rng.normal(size=(20, DIMENSIONS)).astype(np.float32)
        self.asked = list(range(ROWS)) if self.keys is None else self.keys
        if self.edited:
            self.asked = [key for at, key in enumerate(self.asked) if at % GONE]
        self.expected = self.observe(self.path)
        failed = [step for step, answer in self.expected.items() if isinstance(answer, Exception)]
        assert not failed, f"the undamaged {kind} store fails at {failed}: {self.expected[failed[0]]!r}"

    def observe(self, path: Path, before: Callable[[], None] = lambda: None) -> Observation:
        """Use a store in every way and return each answer, or the error in its place; `before` each step, do that."""
        before()
        try:
            store = vecstore.open(path)
        except VecstoreError as error:
            return {"open": error}
        steps: dict[str, Callable[[], Any]] = {
            "open": lambda: (len(store), store.dimensions, store.metric, store.key_type),
            "info": lambda: {name: value for name, value in store.info().items() if name not in ("path", "bytes")},
            "find": lambda: [store.rows_of([key])[0] for key in self.asked],
            "get": lambda: np.stack([store[key] for key in self.asked[::5]]),  # one by one; all of them below
            "absent": lambda: [store.get(key) for key in self._absent],
            "lookup": lambda: _looked_up(store, self.asked[:5] + self._absent),
            "few": lambda: store[self.asked[:100]],
            "many": lambda: store.rows_of(self.asked),
            "many vectors": lambda: store[self.asked],
            "keys": lambda: list(store.keys),
            "vectors": lambda: store.vectors[store.living_rows] if self.edited else np.asarray(store.vectors),
            "rows": lambda: store.vectors[store.living_rows[:ROWS:3]],
            "search by tables": lambda: _found(store.search(self.queries[:2], k=5)),
            "search by decoding": lambda: _found(store.search(self.queries, k=5)),
            "search some rows": lambda: _found(store.search(self.queries[:3], k=5, rows=self.some, exclude=[3, 4])),
            "search by another metric": lambda: _found(store.search(self.queries[:9], k=5, metric="l2")),
            "search exactly": lambda: _if_it_goes(lambda: store.search(self.queries[:1], k=5, exact=True)),
            "search a few cells": lambda: _if_it_goes(lambda: store.search(self.queries[:9], k=5, nprobe=2)),
            "range search": lambda: _ranged(store.range_search(self.queries[0], min_score=0.5)),
            "scores": lambda: store.scores(self.queries[:2], rows=store.living_rows[:ROWS:11]),
            "warm": store.warm,
            "verify": store.verify,
            "verify deep": lambda: store.verify(deep=True),
            "safe": lambda: _safely(path, self.asked[:3]),
        }
        if self.fields is not None:
            steps |= self._of_fields(store)
        if self.texts:
            steps["encode"] = lambda: Encoder(store).encode(self.texts)
        if self.edited:
            steps |= self._of_generations(store, path)
        if len(store) * store.dimensions > 10 * ROWS * DIMENSIONS:  # all vectors of that many are not asked for
            steps = {name: steps[name] for name in ("open", "info", "absent", "few", "verify")}
        found = {}
        for name, step in steps.items():
            before()
            found[name] = _answer(step)
        return found

    def _of_fields(self, store: vecstore.Store) -> dict[str, Callable[[], Any]]:
        """Return what is asked of fields: each one read, and searched alone, together, and for candidates."""
        x, every = self.queries[:2, :4], np.arange(0, min(ROWS, len(store)), 3)
        asked = {"terms": {3: 1.0, 7: 0.5}, "two": x[0], "tokens": x, "fde": x}
        together = dict.fromkeys(asked, 1.0)
        steps: dict[str, Callable[[], Any]] = {f"read {name}": partial(_read, store, name, every) for name in asked}
        return steps | {
            "search tokens": lambda: _found(store.search(x, k=5, field="tokens")),
            "search encodings": lambda: _found(store.search(x, k=5, field="tokens", candidates=("fde", 20))),
            "search another vector": lambda: _found(store.search(x, k=5, field="two", rows=self.some)),
            "search terms": lambda: _found(store.search({"terms": asked["terms"]}, k=5)),
            "search fields": lambda: _found(store.search(asked, k=5, fuse=together)),
        }

    def _of_generations(self, store: vecstore.Store, path: Path) -> dict[str, Callable[[], Any]]:
        """Return what is asked of earlier generations, and of what is told of all."""

        def earlier(generation: int | str) -> Any:
            with vecstore.open(path, generation=generation) as old:
                some = old.living_rows[:ROWS]
                return old.vectors[some], old.rows_of(self.asked), _found(old.search(self.queries[:2], k=5))

        return {
            "versions": lambda: [vars(version) | {"written_s": 0} for version in store.versions()],
            "the first generation": lambda: earlier(0),
            "a tag": lambda: earlier("monday"),
            "calibrated": lambda: _found(store.search(self.queries[:2], k=5, calibrated=True)),
            "refresh": store.refresh,
        }

    def judge(self, path: Path, *, sealed: bool, before: Callable[[], None] = lambda: None) -> Verdict:
        """Compare what a damaged copy answers with what the whole store does.

        With `sealed` the checksums are right, so that answers may differ; they must not crash.
        """
        try:
            found = self.observe(path, before)
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


def _edit(path: Path, x: Any, keys: Any) -> None:
    """Replace or add some rows, delete others, and measure again: four generations, of which one has a tag."""
    half, gone = ROWS // 2, np.arange(0, ROWS, GONE)
    with vecstore.edit(path, on_drift="ignore", to_directory=True) as e:
        if keys is None:
            e.append(x[:ADDED])
        else:
            e.upsert(x[half : half + ADDED], keys[half : half + ADDED])
    vecstore.tag(path, "monday")
    with vecstore.edit(path) as e:
        if keys is None:
            e.delete_rows(gone)
        else:
            e.delete([keys[at] for at in gone.tolist()])
    vecstore.certify(path, np.concatenate([x, x[:ADDED]]) if keys is None else dict(zip(keys, x, strict=True)))


def _read(store: vecstore.Store, name: str, rows: Any) -> str:
    return str(store.field(name).of_rows(rows))


def _fields(x: Any) -> dict[str, Any]:
    tokens = [x[row : row + 1 + row % 3, :4] for row in range(len(x))]
    terms = [{int(row % 9): 1.0, int(10 + row % 50): 0.5} for row in range(len(x))]
    return {
        "tokens": vecstore.Multi(tokens, codec="tcq:2"),
        "terms": vecstore.Sparse(terms),
        "two": vecstore.Dense(x[:, 4:8], codec="bin/sq:8", metric="l2"),
        "fde": vecstore.Muvera(repetitions=2, simhash=2, projection=3, codec="sq:8"),
    }


def _looked_up(store: vecstore.Store, keys: list[Any]) -> Any:
    """Return the vectors of keys some of which are in no store, or that the codec has none for those."""
    try:
        found = store.lookup(keys)
    except KeyNotFoundError:
        return "no vectors for unknown keys"
    return found.vectors, found.known


def _found(result: Any) -> tuple[Any, ...]:
    return result.rows, result.scores, result.keys


def _if_it_goes(search: Callable[[], Any]) -> Any:
    try:
        return _found(search())
    except OptionError:
        return "not for such a store"


def _ranged(found: Any) -> tuple[Any, ...]:
    return found.rows, found.scores


def _safely(path: Path, keys: list[Any]) -> Any:
    with vecstore.open(path, safe=True) as store:
        return store[keys]


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


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


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
