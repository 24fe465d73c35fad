"""A store that changes, against a dictionary: random edits, going back, cleaning, and handles of all ages."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import vecstore
from vecstore.errors import DuplicateKeyError

POOL = np.random.default_rng(0).normal(size=(97, 8)).astype(np.float32)
KEYS = [f"key {i}" for i in range(40)]
FIRST = 12
SPECS = ("f32", "sq:8", "cells:3,sq:8")
some_keys = st.lists(st.sampled_from(KEYS), min_size=1, max_size=12, unique=True)


class LivingStore(RuleBasedStateMachine):
    """`rows` is what the store holds: the row of `POOL` that each key has, in the order of the store."""

    @initialize(spec=st.sampled_from(SPECS), keep_order=st.booleans())
    def write(self, spec: str, keep_order: bool) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.path = self.directory / "items.vecs"
        codec = vecstore.codec(spec).fit(np.tile(POOL, (3, 1)))
        vecstore.write(self.path, POOL[:FIRST], KEYS[:FIRST], codec, shard_bytes=1 << 20, keep_order=keep_order)
        self.codec, self.step = codec, 0
        self.rows = {key: at for at, key in enumerate(KEYS[:FIRST])}
        self.old: dict[int, dict[str, int]] = {0: dict(self.rows)}
        self.tags: dict[str, int] = {}
        self.kept = {0}  # whatever tags there are
        self.handle = vecstore.open(self.path)
        self.seen = 0

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
            e.upsert(POOL[new], upserts)
            rows |= dict(zip(upserts, new.tolist(), strict=True))
            assert e.delete(deletes) == len(set(deletes) & rows.keys())
            rows = {key: at for key, at in rows.items() if key not in deletes}
            new = self.fresh(len(appends))
            if rows.keys() & set(appends):
                try:
                    e.append(POOL[new], appends)
                    raise AssertionError("keys that live were appended")
                except DuplicateKeyError:
                    pass
            else:
                e.append(POOL[new], appends)
                rows |= dict(zip(appends, new.tolist(), strict=True))
            if twice:
                again = self.fresh(2)
                e.upsert(POOL[again], ["key 0", "key 0"])
                rows["key 0"] = int(again[1])
        self.rows = rows
        self.committed(e.generation)

    @rule(deletes=some_keys)
    def failed_edit(self, deletes: list[str]) -> None:
        try:
            with vecstore.edit(self.path) as e:
                e.delete(deletes)
                e.upsert(POOL[:1], ["key 39"])
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
        scores = expected @ POOL[50] / np.linalg.norm(expected, axis=1) / np.linalg.norm(POOL[50])
        found = store.search(POOL[50], 5, metric="cosine")
        best = np.sort(scores)[::-1][:5]
        np.testing.assert_allclose(found.scores, best.astype(np.float32), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose([scores[keys.index(key)] for key in found.keys], best, rtol=1e-4, atol=1e-5)

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            self.handle.close()
            shutil.rmtree(self.directory)


TestLivingStore = LivingStore.TestCase
TestLivingStore.settings = settings(
    max_examples=15, stateful_step_count=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
