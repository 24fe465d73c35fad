"""From the sample of a survey to a trained codec, and to what the store will say of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from vecstore.certificate import measure_certificate
from vecstore.codecs.base import Floats
from vecstore.codecs.codec import Codec, as_vectors, code_bytes_of
from vecstore.codecs.normalize import unit
from vecstore.codecs.spec import CodecSpec
from vecstore.drift import DriftWarning, Reference, drift_of, reference_of
from vecstore.fidelity import RAW, measure_oversampling
from vecstore.prefixes import measure_prefixes
from vecstore.shard import Metric
from vecstore.survey import Survey

__all__ = ["Progress", "RescoringWarning", "Sample", "Stage", "Wish", "prepare", "sample_of"]

Stage: TypeAlias = Literal["reading", "tuning", "training", "measuring", "encoding"]
Progress: TypeAlias = Callable[[Stage, int, float], None]

HELD_OUT_ROWS = 1024
UNSEEN = 3  # one sampled row in so many is searched and not trained on, where the store has rows beyond the sample
DEEP = 0.1  # share of the rows from which on rescoring costs what a scan does
DEEP_ROWS = 20_000  # stores below this are searched in no time anyway
NORM_BYTES = 4


class RescoringWarning(UserWarning):
    """The coarse layer of a two-layer codec hides so many neighbours that rescoring costs more than it saves."""


@dataclass(frozen=True)
class Wish:
    """What codec a conversion is to have: one by name, a trained one, or whichever serves best.

    Attributes
    ----------
    codec : CodecSpec, Codec or None
        None: tune for `budget` or `target`.
    budget, target
        As for `vecstore.tune`.
    queries : (q, d) array or None
        The user's own, to measure recall with.
    reference : Reference or None
        What a trained codec's own rows were like.
    """

    codec: CodecSpec | Codec | None
    budget: int | float | str | None = None
    target: float | str | None = None
    queries: ArrayLike | None = None
    reference: Reference | None = None


@dataclass(frozen=True)
class Sample:
    """What is done with the sampled rows, (n, d) float32 each.

    Attributes
    ----------
    measured : rows to decode and to ask with
    train : rows to train on
    searched : rows to search
    held_out, unseen : bool
        Whether training does not see those that are measured, and those that are searched.
    """

    measured: Floats
    train: Floats
    searched: Floats
    held_out: bool
    unseen: bool


def sample_of(survey: Survey) -> Sample:
    """Divide the sampled rows.

    A store of no more rows than were sampled is what is searched, trained on or not. Of a larger one most rows have
    not been seen in training, so those that are searched have not been either.
    """
    sample = survey.sample[~np.isin(survey.sample_rows, survey.dropped)]
    if not len(sample):  # nothing but zero vectors is left
        sample = np.zeros((1, survey.sample.shape[1]), np.float32)
    held_out = min(HELD_OUT_ROWS, len(sample) // 10)
    rest = sample[held_out:]
    unseen = len(rest) // UNSEEN if survey.kept > len(sample) else 0
    train = rest[: len(rest) - unseen]
    searched = rest[len(rest) - unseen :] if unseen else rest
    return Sample(sample[:held_out] if held_out else sample, train, searched, held_out > 0, unseen > 0)


def prepare(
    wish: Wish,
    survey: Survey,
    *,
    metric: Metric,
    keep_norms: bool,
    shards: int,
    shard_bytes: int | None,
    seed: int,
    report: Progress,
) -> tuple[Codec, dict[str, Any]]:
    """Return the trained codec and what the store says of it: certificate, calibration and reference."""
    sample = sample_of(survey)
    measured, train = sample.measured, sample.train
    coded = unit(train) if keep_norms else train
    if wish.codec is None:
        trained: Codec = _tuned(wish, coded, survey.kept // shards, metric, keep_norms, seed, report)
    else:
        report("training", len(train), 0.0)
        rows = survey.kept
        if isinstance(wish.codec, CodecSpec) and wish.codec.cells is not None and shard_bytes is not None:
            rows = min(rows, shard_bytes // max(code_bytes_of(wish.codec, coded, seed=seed), 1))
        trained = wish.codec if isinstance(wish.codec, Codec) else wish.codec.fit(coded, seed=seed, rows=rows)
        report("training", len(train), 1.0)
    report("measuring", len(measured), 0.0)
    certificate, calibration = measure_certificate(
        trained,
        as_vectors(measured, trained.dimensions),
        sample.searched,
        metric=metric,
        keep_norms=keep_norms,
        rows=max(survey.kept // shards, 1),
        seed=seed,
        queries=None if wish.queries is None else as_vectors(wish.queries, trained.dimensions),
    )
    certificate |= {"held_out": sample.held_out, "training_rows": len(train), "unseen": sample.unseen}
    asking = as_vectors(unit(measured) if keep_norms else measured, trained.dimensions)
    searched = unit(sample.searched) if keep_norms else sample.searched
    if len(trained.layers) > 1:
        factors = measure_oversampling(trained, asking, searched, rows=survey.kept, metric=metric)
        certificate |= {"oversampling": factors, "oversample": max(factors.values())}
        _warn_of_deep_rescoring(trained, 10 * certificate["oversample"], survey.kept)
    prefixes = measure_prefixes(trained, asking, searched, raw=RAW[metric])
    if prefixes is not None:
        certificate |= {"prefixes": prefixes}
    _warn_of_drift(wish.reference, trained, asking)
    report("measuring", len(measured), 1.0)
    members: dict[str, Any] = {
        "certificate": certificate,
        "reference": (wish.reference or reference_of(trained, asking)).to_dict(),
    }
    return trained, members if calibration is None else members | {"calibration": calibration.to_dict()}


def _tuned(
    wish: Wish, train: Floats, rows: int, metric: Metric, keep_norms: bool, seed: int, report: Progress
) -> Codec:
    from vecstore.tuning.budget import Budget, parse_budget, reduced
    from vecstore.tuning.tuner import tune

    budget: int | float | str | Budget | None = wish.budget
    if budget is not None and keep_norms:
        budget = reduced(parse_budget(budget, train.shape[1]), NORM_BYTES)
    return tune(
        train,
        budget,
        target=wish.target,
        metric=metric,
        queries=wish.queries,
        rows=max(rows, 1),
        seed=seed,
        progress=lambda trying, share: report("tuning", len(train), share),
    )


def _warn_of_drift(reference: Reference | None, trained: Codec, rows: Floats) -> None:
    drift = None if reference is None else drift_of(reference, trained, rows)
    if drift is not None and not drift.fits:
        warnings.warn(str(drift), DriftWarning, stacklevel=2)


def _warn_of_deep_rescoring(trained: Codec, rescored: int, rows: int) -> None:
    if rows >= DEEP_ROWS and rescored > DEEP * rows:
        coarse, fine = trained.spec.layers
        warnings.warn(
            f"{coarse} orders these vectors so poorly that a search for ten rescores {min(rescored, rows):,} of "
            f"{rows:,} rows to lose one neighbour in a thousand; {fine} alone may be faster, or search with a smaller "
            "rescore",
            RescoringWarning,
            stacklevel=2,
        )
