"""The certificate of a store that was edited, measured again: with the dump of its rows all of it, without it less."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.checks import as_queries
from vecstore.codecs.codec import Codec
from vecstore.codecs.dataset import Block
from vecstore.codecs.transforms.normalize import unit
from vecstore.conversion.fitting.sampling import HELD_OUT_ROWS
from vecstore.conversion.sources.arrays import ArrayDump
from vecstore.conversion.sources.frames import vectors_and_keys
from vecstore.conversion.survey.sampler import searched_rows
from vecstore.editing.bucket import lock_of, put_manifest
from vecstore.editing.commit import commit
from vecstore.errors import ConflictError, FormatError, OptionError, ShapeError
from vecstore.formats import Dump, open_dump
from vecstore.measure.calibration import Calibration
from vecstore.measure.certificate import KS, MOST_QUERIES, measure_codec, measure_decoded
from vecstore.measure.fidelity import RAW
from vecstore.measure.found import ExactScores
from vecstore.measure.oversampling import measure_oversampling
from vecstore.measure.recall import forecast
from vecstore.measure.sample import Sample
from vecstore.measure.scan_bytes import measure_scan_bytes
from vecstore.progress import Listener, Progress, Step, reported
from vecstore.remote.urls import Place, place
from vecstore.search.options import SearchOptions
from vecstore.shard.certificate import (
    CODES,
    ORIGINALS,
    REAL_QUERIES,
    ROWS_AS_QUERIES,
    SEARCH_FACTS,
    Again,
    Certificate,
    Recall,
    certificate_in,
)
from vecstore.shard.sizes import bytes_beside
from vecstore.store.coverage import changed_in
from vecstore.store.manifest import Manifest
from vecstore.store.opening import open_snapshot
from vecstore.store.searching import search
from vecstore.store.snapshot import Snapshot

__all__ = ["certify"]

ASKING = 256  # rows or queries that search the whole store
DECODED_AT_ONCE = 8192


def certify(
    path: str | os.PathLike[str],
    source: Any = None,
    *,
    queries: ArrayLike | None = None,
    seed: int = 0,
    wait: float = 0.0,
    progress: Progress = False,
) -> dict[str, Any]:
    """Measure the certificate of a store again, after edits, and put it in force as a new generation.

    With a source of all rows that live, everything is measured that a conversion measures: errors and recall of what
    the store holds against the originals, and what searches go by. Without one, what searches find of the rows that
    exact scores of the codes put first, and what they go by; what the codes lost is not seen, and what the certificate
    told of it stays as it was.

    Others read and edit the store meanwhile: what they add counts as added since.

    Parameters
    ----------
    path : path or URL
        A store that is a directory.
    source : path, URL, array, mapping of keys to vectors, or data frame, optional
        Rows by their keys; the last one counts where a key comes twice, and keys that the store does not have are
        passed over. Of a store without keys all rows, or those that live, in their order.
    queries : (q, d) array, optional
        Real ones, which ask beside rows.
    wait : float
        Seconds to wait for another writer to end, once all is measured.

    Returns
    -------
    dict
        The certificate, as ``store.info()["certificate"]`` has it.

    Raises
    ------
    FormatError
        The source does not have all rows, or other dimensions.
    OptionError
        The store is one file, or empty; or it has no keys and its rows are not in the order of a source.
    ConflictError
        The store was compacted, restored or converted again meanwhile; nothing has changed.
    BusyError
        Another process is writing the store.

    Examples
    --------
    >>> vecstore.certify("items.vecs", "items.parquet")["recall"]  # doctest: +SKIP
    """
    given = place(path)
    directory = Path(os.path.abspath(given)) if isinstance(given, Path) else given
    if not directory.is_dir():
        open_snapshot(directory, check=True)  # raises where it is no store
        raise OptionError(f"{path}: a store of one file is as its conversion measured it; only directories change")
    snapshot = open_snapshot(directory, check=True)
    if not snapshot.living:
        raise OptionError(f"{path}: no row lives, so there is nothing to measure")
    real = None if queries is None else as_queries(queries, snapshot.dimensions)
    with reported(progress) as report:
        measuring = _Measuring(snapshot, seed, real, report)
        certificate, calibration = measuring.codes() if source is None else measuring.originals(_dump(source, snapshot))
    measured = {"certificate": certificate.to_dict()}
    if calibration is not None:
        measured["calibration"] = calibration.to_dict()
    _put_in_force(directory, snapshot, measured, wait)
    return measured["certificate"]


def _put_in_force(directory: Place, snapshot: Snapshot, measured: dict[str, Any], wait_s: float) -> None:
    assert snapshot.manifest is not None
    with lock_of(directory, wait_s):
        old = Manifest.read(directory)
        there = {entry["fingerprint"] for entry in old.shards}
        if any(entry["fingerprint"] not in there for entry in snapshot.manifest.shards):
            raise ConflictError(f"{directory}: other shards took the place of those that were measured; do it again")
        new = replace(old, generation=old.generation + 1, measured=old.measured | measured)
        if isinstance(directory, Path):
            commit(directory, old, new, {})
        else:
            put_manifest(directory, new)


def _dump(source: Any, snapshot: Snapshot) -> Dump:
    if isinstance(source, Dump):
        dump = source
    elif isinstance(source, (str, os.PathLike)):
        dump = open_dump(source, key_type=snapshot.key_type)
    else:
        dump = ArrayDump(*vectors_and_keys(source, None, None))
    if dump.dimensions != snapshot.dimensions:
        found = f"{dump.dimensions} dimensions"
        raise FormatError("other vectors", path=dump.path, expected=f"{snapshot.dimensions} dimensions", found=found)
    if snapshot.key_type is not None and dump.key_type is None:
        raise FormatError("the store has keys and this dump has none: name their file with keys=", path=dump.path)
    return dump


@dataclass(frozen=True)
class _Measuring:
    """What is measured of a snapshot, with which seed, and with queries of whose."""

    snapshot: Snapshot
    seed: int
    queries: Floats | None
    report: Listener

    def codes(self) -> tuple[Certificate, Calibration | None]:
        """Measure codes against codes: the rest of the certificate in force stays."""
        rows, asking = self._sampled()
        decoded = self.snapshot.vectors(rows)
        told = certificate_in(self.snapshot.shards[0].description | self.snapshot.measured)
        found = self._found(rows[:asking], decoded[:asking])
        return replace(told, **self._facts(decoded, asking), found=found, again=self._again(CODES)), None

    def originals(self, dump: Dump) -> tuple[Certificate, Calibration | None]:
        """Measure what is stored against the vectors of a dump."""
        rows, asking = self._sampled()
        originals, decoded = self._read(dump, rows), self.snapshot.vectors(rows)
        sample = Sample(Block(rows, originals), asking if asking < len(rows) else 0, originals[:0], len(rows))
        sample = replace(sample, total=self.snapshot.living)
        metric, before = self.snapshot.metric, certificate_in(self.snapshot.shards[0].description)
        certificate, calibration = measure_decoded(sample, decoded, metric=metric, seed=self.seed, queries=self.queries)
        codec = self._codec
        if codec is not None:
            norms, order = (getattr(self.snapshot.shards[0], name) is not None for name in ("norms", "order"))
            beside = bytes_beside(codec, keep_norms=norms, keep_order=order)
            certificate = measure_codec(certificate, codec, sample, rows=self.snapshot.living, beside=beside)
        certificate = replace(
            certificate,
            **self._facts(originals, asking),
            held_out=None,
            training_rows=before.training_rows,
            found=self._found(rows[:asking], originals[:asking]),
            again=self._again(ORIGINALS),
        )
        return certificate, calibration

    def _sampled(self) -> tuple[NDArray[np.int64], int]:
        """Return the numbers of some living rows in random order, and how many of them ask: the first ones."""
        living = self.snapshot.living_rows
        most = searched_rows(self.snapshot.dimensions)
        chosen = np.random.default_rng(self.seed).permutation(living)[:most]
        return chosen, min(HELD_OUT_ROWS, len(chosen) // 10) or len(chosen)

    def _read(self, dump: Dump, wanted: NDArray[np.int64]) -> Floats:
        """Return the vectors of rows (n, d) from a dump that has all rows that live."""
        found = np.full((len(wanted), self.snapshot.dimensions), np.nan, np.float32)
        order = np.argsort(wanted)
        seen = np.zeros(self.snapshot.rows, bool)
        for rows, vectors in self._rows_of(dump):
            seen[rows] = True
            at = np.minimum(np.searchsorted(wanted, rows, sorter=order), len(wanted) - 1)
            here = np.flatnonzero(wanted[order[at]] == rows)
            found[order[at[here]]] = vectors[here]
        missing = self.snapshot.living_rows[~seen[self.snapshot.living_rows]]
        if len(missing):
            named = self.snapshot.key_of(int(missing[0]))
            raise FormatError(
                f"{len(missing):,} of the {self.snapshot.living:,} rows of the store are not in it, the first is "
                f"{named!r}",
                path=dump.path,
            )
        bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
        if len(bad):
            named = self.snapshot.key_of(int(wanted[bad[0]]))
            raise FormatError("NaN or infinity, or a row that cannot be read", path=dump.path, where=f"row {named!r}")
        return found

    def _rows_of(self, dump: Dump) -> Iterator[tuple[NDArray[np.int64], Floats]]:
        """Yield the numbers in the store of the rows of a dump, rows that it does not have left out, and vectors."""
        first, numbers = 0, None if self.snapshot.key_type is not None else self._numbers(dump)
        for batch in dump.batches():
            if numbers is None:
                rows = self.snapshot.rows_of(batch.keys if batch.keys is not None else [])
            else:
                rows = numbers[first : first + len(batch)]
            first += len(batch)
            self.report(Step.of_share("reading", first, batch.fraction_read))
            last = np.unique(rows[::-1], return_index=True)
            known = len(rows) - 1 - last[1][last[0] >= 0]
            yield rows[known], batch.vectors[known]

    def _numbers(self, dump: Dump) -> NDArray[np.int64]:
        """Return the numbers of the rows of a dump without keys, one behind the other."""
        snapshot = self.snapshot
        count = dump.rows if dump.rows is not None else sum(len(batch) for batch in dump.batches())
        if snapshot.numbering.order != "dump":
            raise OptionError(f"{snapshot.path}: rows lie {snapshot.numbering}, so that no dump tells which is which")
        if count == snapshot.living:
            return snapshot.living_rows
        if count == snapshot.rows:
            return np.where(snapshot.dead.mark(np.arange(count)), -1, np.arange(count))
        raise ShapeError(
            f"{dump.path}: {count:,} rows; the store has {snapshot.living:,} that live, "
            f"{snapshot.rows:,} with those that were deleted"
        )

    @property
    def _codec(self) -> Codec | None:
        """The codec of all shards; None where there are several, or one whose rows share tables."""
        codecs = {id(shard.codec): shard.codec for shard in self.snapshot.shards}
        codec = next(iter(codecs.values()))
        return codec if len(codecs) == 1 and not codec.shared else None

    def _facts(self, vectors: Floats, asking: int) -> dict[str, Any]:
        """Return what searches go by, as conversion measures it, of rows of which the first ones ask."""
        codec = self._codec
        if codec is None:
            return dict.fromkeys(SEARCH_FACTS)  # each shard tells its own
        x = unit(vectors) if self.snapshot.shards[0].norms is not None else vectors
        asks, searched = x[:asking], x[asking:] if asking < len(x) else x
        found: dict[str, Any] = {}
        if len(codec.layers) > 1:
            metric, rows = self.snapshot.metric, self.snapshot.living
            factors = measure_oversampling(codec, asks, searched, rows=rows, metric=metric)
            found |= {"oversampling": factors, "oversample": max(factors.values())}
        return found | {"prefixes": measure_scan_bytes(codec, asks, searched, raw=RAW[self.snapshot.metric])}

    def _found(self, rows: NDArray[np.int64], vectors: Floats) -> Recall | None:
        """Return what the default search finds, of the best rows of all by exact scores of their codes."""
        snapshot, by = self.snapshot, ROWS_AS_QUERIES if self.queries is None else REAL_QUERIES
        if self.queries is not None:
            vectors = self.queries[np.random.default_rng(self.seed).permutation(len(self.queries))[:MOST_QUERIES]]
            rows = np.full(len(vectors), -1)
        asking, own = vectors[:ASKING], rows[:ASKING]
        others = snapshot.living - (self.queries is None)
        ks = [k for k in KS if k <= others]
        if not ks or not len(asking):
            return None
        exact = ExactScores(asking, snapshot.metric, own, ks[-1])
        for start in range(0, snapshot.rows, DECODED_AT_ONCE):
            living = snapshot.dead.living(start, min(start + DECODED_AT_ONCE, snapshot.rows))
            if len(living):
                exact.add(living, snapshot.vectors(living))
            self.report(Step("measuring", min(start + DECODED_AT_ONCE, snapshot.rows), snapshot.rows))
        found = search(snapshot, asking, ks[-1] + 1, SearchOptions(metric=snapshot.metric)).rows
        each = ((numbers[numbers >= 0], snapshot.vectors(numbers[numbers >= 0])) for numbers in np.asarray(found))
        at = {k: forecast(share, k, seed=self.seed) for k, share in exact.shares(each, ks).items()}
        return Recall(len(asking), others, at, by)

    def _again(self, against: str) -> Again:
        assert self.snapshot.manifest is not None
        added, deleted, _ = changed_in(self.snapshot)
        return Again(self.snapshot.manifest.generation, self.snapshot.living, added, deleted, against)
