"""The first pass over a dump: count its rows, find the bad and the duplicate ones, draw the training sample.

Memory stays bounded: hashes of keys go to an anonymous temporary file and are compared a range at a time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import compress, pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.checks import LARGEST, check_seed, sound_rows
from vecstore.conversion.findings import Findings
from vecstore.conversion.options import OnBad, OnDuplicate
from vecstore.errors import DuplicateKeyError, FormatError, ShapeError
from vecstore.formats.dump import Batch, Dump, Problem
from vecstore.keys.packed import PackedKeys
from vecstore.progress import Listener, Step
from vecstore.shard.attribute_types import kept_schema, raw_table, unified

__all__ = ["Sampler", "Survey", "clean_batches", "sample_dump", "survey_dump", "training_rows"]

SAMPLE_BYTES = 64 * 1024 * 1024  # to train on
SAMPLE_ROWS = 1 << 16
SEARCHED_BYTES, SEARCHED_ROWS = 2 * SAMPLE_BYTES, 2 * SAMPLE_ROWS  # to search; those that train are the first of them
EXAMPLES = 5  # bad rows that the report quotes
SORT_KEYS = 1 << 23  # keys whose hashes are compared in memory at once
HASH = np.dtype([("a", "<u8"), ("b", "<u8")])  # two independent hashes: 128 bits


@dataclass
class Survey:
    """What the first pass found.

    Attributes
    ----------
    rows : int
        Rows that the dump holds.
    kept : int
        Rows that go into the store.
    dropped : (n,) int64
        Numbers of the rows that do not, rising.
    bad, zeroed, duplicates : int
        Rows dropped as bad, kept as zero vectors, dropped as duplicates.
    examples : list of str
        The first few bad rows, with their places.
    findings : Findings
        What else is remarkable, counted by kind.
    sample, sample_rows : (n, d) float32, (n,) int64
        Random rows to train on and to measure with, in random order, and their numbers.
    schema : pyarrow.Schema or None
        Names of the columns that rows have, and types that hold the values of all.
    """

    rows: int = 0
    kept: int = 0
    dropped: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    bad: int = 0
    zeroed: int = 0
    duplicates: int = 0
    examples: list[str] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)
    sample: Floats = field(default_factory=lambda: np.empty((0, 0), np.float32))
    sample_rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    schema: Any = None


def survey_dump(
    dump: Dump,
    *,
    on_bad: OnBad,
    on_duplicate: OnDuplicate,
    seed: int,
    directory: Path,
    report: Listener,
) -> Survey:
    """Read all of a dump once.

    Raises
    ------
    FormatError
        The dump is malformed; or it has a bad row and the policy is "error".
    DuplicateKeyError
        Two rows have the same key and the policy is "error".
    ShapeError
        No row is left.
    """
    found = Survey()
    sampler = Sampler(dump.dimensions, seed, searched_rows(dump.dimensions))
    dropped: list[NDArray[np.int64]] = []
    with tempfile.TemporaryFile(dir=directory) as hashes:
        for batch in dump.batches():
            bad, drop = _bad_rows(batch, on_bad)
            if len(bad):
                _report_bad(found, dump, batch, bad, drop, on_bad)
            packed = None if batch.keys is None or dump.key_type is None else PackedKeys(batch.keys, dump.key_type)
            found.findings.look_at(batch, found.rows, packed)
            rows = np.arange(found.rows, found.rows + len(batch))
            if len(bad):
                good = np.ones(len(batch), bool)
                good[bad] = False
                sampler.offer(batch.vectors[good], rows[good])
                dropped.append(rows[drop])
            else:
                sampler.offer(batch.vectors, rows)
            if batch.columns:
                found.schema = unified(found.schema, raw_table(batch.columns).schema)
            if packed is not None:
                pairs = np.empty(len(batch), HASH)
                pairs["a"], pairs["b"] = packed.hashes(), packed.hashes(seed=1)
                hashes.write(pairs.tobytes())
            found.rows += len(batch)
            report(Step.of_share("reading", found.rows, batch.fraction_read))
        found.dropped = np.concatenate([np.empty(0, np.int64), *dropped])
        if dump.key_type is not None:
            _drop_duplicates(found, dump, hashes, on_duplicate)
    found.kept = found.rows - len(found.dropped)
    found.findings.look_at_source(dump)
    if not found.kept:
        raise ShapeError(f"{dump.path}: no rows to store ({found.rows} in the dump, {found.bad} of them bad)")
    found.sample, found.sample_rows = sampler.drawn()
    if found.schema is not None:
        found.schema = kept_schema(found.schema)
    return found


def sample_dump(dump: Dump, *, seed: int, report: Listener) -> tuple[Floats, int]:
    """Return random sound rows (n, d) float32 of a dump, those that a conversion trains with, and how many it has."""
    check_seed(seed)
    sampler, rows, sound_count = Sampler(dump.dimensions, seed, training_rows(dump.dimensions)), 0, 0
    for batch in dump.batches():
        sound = sound_rows(batch.vectors)
        sampler.offer(batch.vectors[sound], np.flatnonzero(sound) + rows)
        rows, sound_count = rows + len(batch), sound_count + int(sound.sum())
        report(Step.of_share("reading", rows, batch.fraction_read))
    return sampler.drawn()[0], sound_count


def clean_batches(dump: Dump, survey: Survey, on_bad: OnBad) -> Iterator[Batch]:
    """Read a dump again and yield what the survey keeps of it: finite vectors, unique keys."""
    first = 0
    for batch in dump.batches():
        end = first + len(batch)
        here = survey.dropped[np.searchsorted(survey.dropped, first) : np.searchsorted(survey.dropped, end)] - first
        vectors, keys, columns = batch.vectors, batch.keys, batch.columns
        if on_bad == "zero":
            vectors[~sound_rows(vectors)] = 0
        if len(here):
            keep = np.ones(len(batch), bool)
            keep[here] = False
            vectors = vectors[keep]
            if keys is not None:
                keys = _kept(keys, keep)
            columns = {name: _kept_values(values, keep) for name, values in columns.items()}
        yield Batch(vectors, keys, {}, batch.fraction_read, columns)
        first = end
    if first != survey.rows:
        raise FormatError(
            "the dump changed while it was read", path=dump.path, found=f"{first} rows, before {survey.rows}"
        )


def _kept(keys: Any, keep: NDArray[np.bool_]) -> Any:
    return keys[keep] if isinstance(keys, np.ndarray) else list(compress(keys, keep.tolist()))


def _kept_values(values: Any, keep: NDArray[np.bool_]) -> Any:
    return values.take(np.flatnonzero(keep)) if hasattr(values, "take") else _kept(values, keep)


def _bad_rows(batch: Batch, on_bad: OnBad) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the bad rows of a batch, and those of them that are dropped rather than kept as zeros."""
    unreadable = ~sound_rows(batch.vectors)
    keyless = np.zeros(len(batch), bool)
    if isinstance(batch.keys, np.ndarray):  # where a number could not be read, the reader puts 0
        unread = list(batch.problems)
        keyless[unread] = batch.keys[unread] == 0
    elif batch.keys is not None:
        keyless = np.fromiter((not key for key in batch.keys), bool, len(batch))
    bad = np.flatnonzero(unreadable | keyless)
    # A vector can be replaced by zeros; an empty key cannot be replaced by anything.
    return bad, np.flatnonzero(keyless) if on_bad == "zero" else bad


def _report_bad(
    found: Survey, dump: Dump, batch: Batch, bad: NDArray[np.int64], drop: NDArray[np.int64], on_bad: OnBad
) -> None:
    for row in bad.tolist():
        reason = batch.problems.get(row)
        if reason is None:
            fault = _fault(batch.vectors[row])
            reason = Problem(fault, f"row {found.rows + row}: {fault}")
        found.findings.add(reason.kind, 1, [reason])
        if len(found.examples) == EXAMPLES:
            continue
        if on_bad == "error":
            raise FormatError(
                f'{reason}; leave such rows out with on_bad="skip", or store zeros with on_bad="zero"', path=dump.path
            )
        found.examples.append(reason)
    found.bad += len(drop)
    found.zeroed += len(bad) - len(drop)


def _fault(vector: Floats) -> str:
    if not np.isfinite(vector).all():
        return "NaN or infinity"
    return f"a value beyond {LARGEST:g}" if not sound_rows(vector[None]).all() else "empty key"


def _drop_duplicates(found: Survey, dump: Dump, hashes: IO[bytes], on_duplicate: OnDuplicate) -> None:
    hashes.flush()
    if not found.rows:
        return
    pairs = np.memmap(hashes, HASH, "r", shape=(found.rows,))
    passes = -(-found.rows // SORT_KEYS)
    edges = [(1 << 64) * step // passes for step in range(passes + 1)]
    losers: list[NDArray[np.int64]] = []
    for low, high in pairwise(edges):
        own, rows = _in_range(pairs, low, high - 1, found.dropped)
        order = _order(own)
        own, rows = own[order], rows[order]
        same = own[1:] == own[:-1]  # same[i]: row i + 1 has the key of row i
        if same.any() and on_duplicate == "error":
            at = int(np.flatnonzero(same)[0])
            raise DuplicateKeyError(
                f"{dump.path}: rows {rows[at]} and {rows[at + 1]} have the same key "
                f'{_key_at(dump, int(rows[at]))!r}; keep one of them with on_duplicate="first" or on_duplicate="last"'
            )
        first = np.sort(rows[1:][same])[:3].tolist()
        found.findings.add("duplicate key", int(same.sum()), [f"row {row}" for row in first])
        losers.append(rows[1:][same] if on_duplicate == "first" else rows[:-1][same])
    duplicates = np.concatenate(losers)
    found.duplicates = len(duplicates)
    found.dropped = np.sort(np.concatenate([found.dropped, duplicates]))


def _order(own: NDArray[Any]) -> NDArray[np.int64]:
    """Return the order that puts equal hashes side by side, rows rising: by the first half, which hardly ever ties."""
    order = np.argsort(np.ascontiguousarray(own["a"]), kind="stable")
    first, second = own["a"][order], own["b"][order]
    if ((first[1:] == first[:-1]) & (second[1:] != second[:-1])).any():
        return np.lexsort((own["b"], own["a"]))
    return order


def _in_range(
    pairs: NDArray[Any], low: int, high: int, dropped: NDArray[np.int64]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the hashes that begin between two numbers, and their rows, without the dropped ones."""
    chunks, numbers = [], []
    for start in range(0, len(pairs), 1 << 20):
        chunk = np.asarray(pairs[start : start + (1 << 20)])
        rows = np.arange(start, start + len(chunk))
        inside = (chunk["a"] >= np.uint64(low)) & (chunk["a"] <= np.uint64(high))
        if len(dropped):
            inside &= ~np.isin(rows, dropped)
        chunks.append(chunk[inside])
        numbers.append(rows[inside])
    return np.concatenate(chunks), np.concatenate(numbers)


def _key_at(dump: Dump, row: int) -> Any:
    for batch in dump.batches():
        if row < len(batch):
            return batch.keys[row] if batch.keys is not None else row
        row -= len(batch)
    raise AssertionError("the row was there a moment ago")


def training_rows(dimensions: int) -> int:
    """Return how many rows, at most, a conversion trains with and asks."""
    return max(min(SAMPLE_ROWS, SAMPLE_BYTES // (4 * dimensions)), 256)


def searched_rows(dimensions: int) -> int:
    """Return among how many rows, at most, a conversion searches."""
    return max(min(SEARCHED_ROWS, SEARCHED_BYTES // (4 * dimensions)), training_rows(dimensions))


class Sampler:
    """Draw rows at random from a stream of unknown length.

    Every row gets a pseudo-random priority from its number and the seed; the `capacity` with the smallest ones are
    kept. So the sample does not depend on how the stream is cut into batches, and a smaller one is the beginning of a
    larger one.
    """

    def __init__(self, dimensions: int, seed: int, capacity: int) -> None:
        self.capacity = capacity
        self._seed = np.uint64(seed)
        self._priorities = np.empty(0, np.uint64)
        self._vectors = [np.empty((0, dimensions), np.float32)]
        self._rows = np.empty(0, np.int64)
        self._limit = np.uint64(0xFFFF_FFFF_FFFF_FFFF)

    def offer(self, vectors: Floats, rows: NDArray[np.int64]) -> None:
        """Consider rows of the stream."""
        priorities = _mixed(rows.astype(np.uint64) * np.uint64(2) + np.uint64(1) ^ _mixed(self._seed))
        low = priorities < self._limit
        if not low.any():
            return
        self._vectors.append(vectors[low])
        self._priorities = np.concatenate([self._priorities, priorities[low]])
        self._rows = np.concatenate([self._rows, rows[low]])
        if len(self._rows) > self.capacity * 5 // 4:
            self._prune()

    def drawn(self) -> tuple[Floats, NDArray[np.int64]]:
        """Return the sample in random order, and its row numbers."""
        self._prune()
        return self._vectors[0], self._rows

    def _prune(self) -> None:
        order = np.argsort(self._priorities, kind="stable")[: self.capacity]
        self._vectors = [np.concatenate(self._vectors)[order]]
        self._priorities, self._rows = self._priorities[order], self._rows[order]
        if len(order) == self.capacity:
            self._limit = self._priorities[-1]


def _mixed(x: Any) -> Any:
    """Return splitmix64's finalizer (Steele, Lea & Flood, Fast splittable pseudorandom number generators, 2014)."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
