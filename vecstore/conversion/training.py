"""From the sample of a survey to a trained codec, and to what the store will say of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from vecstore.codecs.base import Floats
from vecstore.codecs.checks import as_queries, as_vectors
from vecstore.codecs.codec import Codec, CodecSpec, code_bytes_of
from vecstore.codecs.dataset import Block, Dataset
from vecstore.codecs.mixed.budget import MixedBudget
from vecstore.codecs.mixed.mixed import MixedCodec, MixedSpec
from vecstore.codecs.transforms.normalize import unit
from vecstore.conversion.ordering import OrderedDump
from vecstore.conversion.survey import OnBad, Survey, clean_batches
from vecstore.formats import Dump
from vecstore.keys.packed import PackedKeys
from vecstore.measure.certificate import measure_certificate
from vecstore.measure.drift import DriftWarning, Reference, drift_of, reference_of
from vecstore.measure.fidelity import RAW, measure_oversampling
from vecstore.measure.sample import Sample
from vecstore.measure.scan_bytes import measure_scan_bytes
from vecstore.metric import Metric
from vecstore.shard.sizes import FIXED_BYTES, NORM_BYTES, bytes_beside

__all__ = ["Progress", "RescoringWarning", "Stage", "Wish", "dataset_of", "prepare", "sample_of"]

Stage: TypeAlias = Literal["reading", "tuning", "training", "measuring", "encoding"]
Progress: TypeAlias = Callable[[Stage, int, float], None]

HELD_OUT_ROWS = 1024
UNSEEN = 3  # one sampled row in so many is searched and not trained on, where the store has rows beyond the sample
DEEP = 0.1  # share of the rows from which on rescoring costs what a scan does
DEEP_ROWS = 20_000  # stores below this are searched in no time anyway


class RescoringWarning(UserWarning):
    """The coarse layer of a two-layer codec hides so many neighbours that rescoring costs more than it saves."""


@dataclass(frozen=True)
class Wish:
    """What codec a conversion is to have: one by name, a trained one, or whichever serves best.

    Attributes
    ----------
    codec : of one codec or of several, a specification or trained; or None
        None: tune for `budget` or `target`.
    budget, target
        As for `vecstore.tune`.
    queries : (q, d) array or None
        The user's own, to measure recall with.
    reference : Reference or None
        What a trained codec's own rows were like.
    """

    codec: CodecSpec | MixedSpec | MixedBudget | Codec | MixedCodec | None
    budget: int | float | str | None = None
    target: float | str | None = None
    queries: ArrayLike | None = None
    reference: Reference | None = None


def sample_of(survey: Survey) -> Sample:
    """Divide the sampled rows.

    A store of no more rows than were sampled is what is searched, trained on or not. Of a larger one most rows have
    not been seen in training, so those that are searched have not been either.
    """
    kept = ~np.isin(survey.sample_rows, survey.dropped)
    sample, numbers = survey.sample[kept], survey.sample_rows[kept]
    rows = numbers - np.searchsorted(survey.dropped, numbers)  # as they count in the store
    if not len(sample):  # nothing but zero vectors is left
        sample, rows = np.zeros((1, survey.sample.shape[1]), np.float32), np.zeros(1, np.int64)
    held_out = min(HELD_OUT_ROWS, len(sample) // 10)
    unseen = (len(sample) - held_out) // UNSEEN if survey.kept > len(sample) else 0
    first = len(sample) - unseen if unseen else held_out
    measured = slice(held_out or len(sample))
    return Sample(
        Block(rows[measured], sample[measured]),
        sample[held_out : len(sample) - unseen],
        Block(rows[first:], sample[first:]),
        held_out > 0,
        unseen > 0,
    )


def dataset_of(dump: Dump, survey: Survey, sample: Sample, *, on_bad: OnBad, keep_norms: bool) -> Dataset:
    """Return all rows as codecs see them that are fitted to every one."""

    def blocks() -> Iterator[Block]:
        first = 0
        for batch in clean_batches(dump, survey, on_bad):
            packed = None if batch.keys is None or dump.key_type is None else PackedKeys(batch.keys, dump.key_type)
            vectors = unit(batch.vectors) if keep_norms else batch.vectors
            yield Block(np.arange(first, first + len(batch)), vectors, packed)
            first += len(batch)

    spared = np.sort(sample.measured.rows) if sample.held_out else np.empty(0, np.int64)
    importance = np.delete(dump.importance, survey.dropped) if isinstance(dump, OrderedDump) else None
    return Dataset(survey.kept, blocks, spared=spared, importance=importance)


def prepare(
    wish: Wish,
    sample: Sample,
    dataset: Dataset,
    *,
    metric: Metric,
    keep_norms: bool,
    keep_order: bool,
    shard_bytes: int | None,
    seed: int,
    report: Progress,
) -> tuple[Codec | MixedCodec, dict[str, Any]]:
    """Return the trained codec and what the store says of it: certificate, calibration and reference.

    keep_order says whether rows keep their numbers in cells too.
    """
    train, total = sample.train, dataset.total
    coded = unit(train) if keep_norms else train
    if wish.codec is None:
        trained: Codec | MixedCodec = _tuned(
            wish,
            coded,
            total,
            shard_bytes,
            metric,
            keep_norms=keep_norms,
            keep_order=keep_order,
            seed=seed,
            report=report,
        )
    else:
        report("training", len(train), 0.0)
        trained = _trained(wish.codec, coded, dataset, shard_bytes, seed)
        report("training", len(train), 1.0)
    report("measuring", len(sample.measured.rows), 0.0)
    as_vectors(sample.measured.vectors, trained.dimensions)  # raises where they are of another width
    if trained.by_key:
        sample = sample.keyed(dataset)
    beside = bytes_beside(trained, keep_norms=keep_norms, keep_order=keep_order)
    rows = total
    if shard_bytes is not None and isinstance(trained, Codec):
        rows = _rows_of_a_shard(total, trained.code_bytes + beside, shard_bytes - trained.model_bytes)
    certificate, calibration = measure_certificate(
        trained,
        sample,
        metric=metric,
        keep_norms=keep_norms,
        rows=rows,
        beside=beside,
        seed=seed,
        queries=None if wish.queries is None else as_queries(wish.queries, trained.dimensions),
    )
    asking, searched = (
        unit(block.vectors) if keep_norms else block.vectors for block in (sample.measured, sample.searched)
    )
    if len(trained.layers) > 1:
        factors = measure_oversampling(trained, asking, searched, rows=total, metric=metric)
        certificate = replace(certificate, oversampling=factors, oversample=max(factors.values()))
        _warn_of_deep_rescoring(trained, 10 * max(factors.values()), total)
    members: dict[str, Any] = {}
    if calibration is not None:
        members["calibration"] = calibration.to_dict()
    if isinstance(trained, Codec) and not trained.shared:
        certificate = replace(certificate, prefixes=measure_scan_bytes(trained, asking, searched, raw=RAW[metric]))
        _warn_of_drift(wish.reference, trained, asking)
        members["reference"] = (wish.reference or reference_of(trained, asking)).to_dict()
    members["certificate"] = certificate.to_dict()
    report("measuring", len(sample.measured.rows), 1.0)
    return trained, members


def _trained(
    given: CodecSpec | MixedSpec | MixedBudget | Codec | MixedCodec,
    coded: Floats,
    dataset: Dataset,
    shard_bytes: int | None,
    seed: int,
) -> Codec | MixedCodec:
    if isinstance(given, Codec):
        given.refuse_if_cut()  # here already, before anything is measured
    if isinstance(given, (Codec, MixedCodec)):
        return given
    if not isinstance(given, CodecSpec):
        return given.fit(coded, seed=seed, dataset=dataset)
    rows = dataset.total
    if given.cells is None:
        return given.fit(coded, seed=seed, dataset=dataset)
    if shard_bytes is not None:
        rows = min(rows, shard_bytes // max(code_bytes_of(given, coded, seed=seed), 1))
    return given.fit(coded, seed=seed, rows=rows)


def _rows_of_a_shard(total: int, row_bytes: float, shard_bytes: float) -> int:
    """Return how many rows share a model, about: keys take their part of a shard as well."""
    shards = np.ceil(total * row_bytes / max(shard_bytes - FIXED_BYTES, row_bytes))
    return int(max(total // max(shards, 1), 1))


def _tuned(
    wish: Wish,
    train: Floats,
    total: int,
    shard_bytes: int | None,
    metric: Metric,
    *,
    keep_norms: bool,
    keep_order: bool,
    seed: int,
    report: Progress,
) -> Codec:
    from vecstore.tuning.budget import Budget, parse_budget, reduced
    from vecstore.tuning.tuner import tune

    d, rows = train.shape[1], total
    budget: Budget | None = None if wish.budget is None else parse_budget(wish.budget, d)
    if shard_bytes is not None:
        rows = _rows_of_a_shard(total, 4.0 * d if budget is None else budget.stored, shard_bytes)
    if budget is not None and keep_norms:
        budget = reduced(budget, NORM_BYTES)
    return tune(
        train,
        budget,
        target=wish.target,
        metric=metric,
        queries=wish.queries,
        rows=rows,
        keep_order=keep_order,
        seed=seed,
        progress=lambda trying, share: report("tuning", len(train), share),
    )


def _warn_of_drift(reference: Reference | None, trained: Codec, rows: Floats) -> None:
    drift = None if reference is None else drift_of(reference, trained, rows)
    if drift is not None and not drift.fits:
        warnings.warn(str(drift), DriftWarning, stacklevel=2)


def _warn_of_deep_rescoring(trained: Codec | MixedCodec, rescored: int, rows: int) -> None:
    if rows >= DEEP_ROWS and rescored > DEEP * rows:
        coarse, fine = (layer.spec for layer in trained.layers)
        warnings.warn(
            f"{coarse} orders these vectors so poorly that a search for ten rescores {min(rescored, rows):,} of "
            f"{rows:,} rows to lose one neighbour in a thousand; {fine} alone may be faster, or search with a smaller "
            "rescore",
            RescoringWarning,
            stacklevel=2,
        )
