"""A store that changes, against a dictionary and a fresh conversion of what lives, by the same codec.

Random edits, going back, compacting, cleaning, and handles of all ages; in every kind of code, with columns and fields.
"""

from __future__ import annotations

import pickle
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import vecstore
from vecstore.errors import DuplicateKeyError

POOL = np.random.default_rng(0).normal(size=(97, 8)).astype(np.float32)
TOKENS = [np.random.default_rng(i).normal(size=(i % 4, 8)).astype(np.float32) for i in range(len(POOL))]
KEYS = [f"key {i}" for i in range(40)]
FIRST = 12
SPECS = ("f32", "sq:8", "tcq:4", "pq:4x4", "bin/sq:8", "tcq:4/sq:8", "cells:3,sq:8", "cells:3,tcq:4")
QUERY, ASKED = POOL[50], TOKENS[51]
some_keys = st.lists(st.sampled_from(KEYS), min_size=1, max_size=12, unique=True)


class LivingStore(RuleBasedStateMachine):
    """`rows` is what the store holds: the row of `POOL` that each key has, in the order of the store."""

    @initialize(spec=st.sampled_from(SPECS), keep_order=st.booleans(), beside=st.booleans())
    def write(self, spec: str, keep_order: bool, beside: bool) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.path = self.directory / "items.vecs"
        codec = vecstore.codec(spec).fit(np.tile(POOL, (3, 1)))
        self.codec, self.step, self.beside, self.keep_order = codec, FIRST, beside, keep_order or beside
        self.convert(self.path, KEYS[:FIRST], list(range(FIRST)))
        self.rows = {key: at for at, key in enumerate(KEYS[:FIRST])}
        self.old: dict[int, dict[str, int]] = {0: dict(self.rows)}
        self.tags: dict[str, int] = {}
        self.kept = {0}  # whatever tags there are
        self.handle = vecstore.open(self.path)
        self.seen = 0

    def convert(self, path: Path, keys: list[str], rows: list[int]) -> None:
        more = self.more(rows, first=True)
        options = {"shard_bytes": 1 << 20, "keep_order": self.keep_order, "force": True}
        vecstore.write(path, POOL[rows], keys, self.codec, **options, **more)

    def more(self, rows: list[int] | np.ndarray, *, first: bool = False) -> dict[str, Any]:
        """Return what rows have beside, in a store that has anything."""
        if not self.beside:
            return {}
        tokens = [TOKENS[row] for row in rows]
        field = vecstore.Multi(tokens, codec="f32") if first else tokens
        return {"columns": {"size": [int(row) for row in rows]}, "fields": {"tokens": field}}

    def fresh(self, count: int) -> np.ndarray:
        self.step += count
        return np.arange(self.step - count, self.step) % len(POOL)

    def committed(self, generation: int | None) -> None:
        if generation is not None:
            self.old[generation] = dict(self.rows)
            self.kept.add(generation)

    @rule(upserts=some_keys, appends=some_keys, deletes=some_keys, twice=st.booleans())
    def edit(self, upserts: list[str], appends: list[str], deletes: list[str], twice: bool) -> None:
        rows = dict(self.rows)
        with vecstore.edit(self.path, on_drift="ignore") as e:
            new = self.fresh(len(upserts))
            e.upsert(POOL[new], upserts, **self.more(new))
            rows |= dict(zip(upserts, new.tolist(), strict=True))
            assert e.delete(deletes) == len(set(deletes) & rows.keys())
            rows = {key: at for key, at in rows.items() if key not in deletes}
            new = self.fresh(len(appends))
            if rows.keys() & set(appends):
                try:
                    e.append(POOL[new], appends, **self.more(new))
                    raise AssertionError("keys that live were appended")
                except DuplicateKeyError:
                    pass
            else:
                e.append(POOL[new], appends, **self.more(new))
                rows |= dict(zip(appends, new.tolist(), strict=True))
            if twice:
                again = self.fresh(2)
                e.upsert(POOL[again], ["key 0", "key 0"], **self.more(again))
                rows["key 0"] = int(again[1])
        self.rows = rows
        self.committed(e.generation)

    @rule(deletes=some_keys)
    def failed_edit(self, deletes: list[str]) -> None:
        try:
            with vecstore.edit(self.path) as e:
                e.delete(deletes)
                e.upsert(POOL[:1], ["key 39"], **self.more([0]))
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass

    @rule(name=st.sampled_from(["monday", "friday"]), data=st.data())
    def tag(self, name: str, data: st.DataObject) -> None:
        generation = data.draw(st.sampled_from(sorted(self.old)))
        assert vecstore.tag(self.path, name, generation) == generation
        self.tags[name] = generation
        self.forget(self.kept)  # a generation that only this tag had

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        generation = data.draw(st.sampled_from(sorted(self.old)))
        self.rows = dict(self.old[generation])
        self.committed(vecstore.restore(self.path, generation))

    @rule()
    def compact(self) -> None:
        self.committed(vecstore.compact(self.path).generation)

    @rule(keep=st.integers(1, 3))
    def clean(self, keep: int) -> None:
        vecstore.clean(self.path, older_than=0, keep=keep)
        self.forget(set(sorted(self.kept)[-keep:]))

    def forget(self, kept: set[int]) -> None:
        self.kept = kept
        self.old = {at: rows for at, rows in self.old.items() if at in kept | {*self.tags.values()}}

    @rule()
    def refresh(self) -> None:
        newest = max(self.old)
        assert self.handle.refresh() == (self.seen != newest)
        self.seen = newest
        self.compare(self.handle, self.rows)

    @rule()
    def reopen(self) -> None:
        self.handle.close()
        self.handle, self.seen = vecstore.open(self.path), max(self.old)
        with pickle.loads(pickle.dumps(self.handle)) as pinned:
            self.compare(pinned, self.rows)
            assert not pinned.refresh()

    @rule()
    def certify(self) -> None:
        if self.rows:
            source = {key: POOL[row] for key, row in self.rows.items()}
            vecstore.certify(self.path, source)
            self.committed(max(self.old) + 1)

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def look_back(self, data: st.DataObject) -> None:
        generation = data.draw(st.sampled_from(sorted(self.old)))
        with vecstore.open(self.path, generation=generation) as store:
            self.compare(store, self.old[generation])

    @invariant()
    def as_the_dictionary(self) -> None:
        if hasattr(self, "path"):
            with vecstore.open(self.path) as store:
                self.compare(store, self.rows)
                self.search_as_a_fresh_conversion(store)
                store.verify()
                assert [version.generation for version in store.versions()] == sorted(self.old)

    def compare(self, store: vecstore.Store, rows: dict[str, int]) -> None:
        keys = list(rows)
        assert len(store) == len(keys) and sorted(store) == sorted(keys)
        expected = self.codec.decode(self.codec.encode(POOL[list(rows.values())])) if keys else np.empty((0, 8))
        assert np.array_equal(store[keys], expected)
        lost = [key for key in KEYS if key not in rows]
        assert not any(key in store for key in lost) and (store.rows_of(lost) == -1).all()
        if not keys:
            return
        if self.beside:
            assert store.lookup(keys, columns=["size"]).columns.column("size").to_pylist() == list(rows.values())
            tokens = store.field("tokens")
            assert all(np.array_equal(tokens[key], TOKENS[row]) for key, row in rows.items())
        scores = expected @ QUERY / np.linalg.norm(expected, axis=1) / np.linalg.norm(QUERY)
        found = store.search(QUERY, 5, metric="cosine")
        best = np.sort(scores)[::-1][:5]
        np.testing.assert_allclose(found.scores, best.astype(np.float32), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose([scores[keys.index(key)] for key in found.keys], best, rtol=1e-4, atol=1e-5)

    def search_as_a_fresh_conversion(self, store: vecstore.Store) -> None:
        """Every way to search finds what it finds in a store that was just made of what lives."""
        if not self.rows:
            return
        path = self.directory / "fresh.vecs"
        self.convert(path, list(self.rows), list(self.rows.values()))
        ways: list[tuple[np.ndarray, dict[str, Any]]] = [(QUERY, {}), (QUERY, {"metric": "dot"})]
        ways += [(QUERY, {"nprobe": 1})] if self.codec.partition is not None else []
        if self.beside:
            ways += [(QUERY, {"where": "size < 40"}), (ASKED, {"field": "tokens"})]
        with vecstore.open(path) as other:
            for query, options in ways:
                found, expected = (one.search(query, 5, **options) for one in (store, other))
                np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5, atol=1e-6, err_msg=str(options))
                # Of rows that score alike, as copies do, either may come first, or last of the five.
                least = expected.scores[-1] + 1e-5 if len(expected) else 0
                kept = [{k for k, score in each if score > least} for each in (found, expected)]
                assert kept[0] == kept[1], options

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            self.handle.close()
            shutil.rmtree(self.directory)


TestLivingStore = LivingStore.TestCase
TestLivingStore.settings = settings(
    max_examples=15, stateful_step_count=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
