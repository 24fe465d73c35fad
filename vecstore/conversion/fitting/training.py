"""From the sample of a survey to the trained codec of a store."""

from __future__ import annotations

from vecstore.codecs.base import Floats
from vecstore.codecs.codec import Codec, CodecSpec, code_bytes_of
from vecstore.codecs.dataset import Dataset
from vecstore.codecs.mixed.budget import MixedBudget
from vecstore.codecs.mixed.mixed import MixedCodec, MixedSpec
from vecstore.codecs.transforms.normalize import unit
from vecstore.conversion.tasks.options import ConversionOptions, TrainedCodec
from vecstore.measure.advisor import Advice, advise, refuse_dominated
from vecstore.measure.sample import Sample
from vecstore.progress import Listener, Step
from vecstore.shard.sizes import NORM_BYTES, rows_of_a_shard
from vecstore.tuning.budget import Budget, parse_budget, reduced

__all__ = ["advice_on", "train"]


def advice_on(options: ConversionOptions, sample: Sample, total: int) -> list[Advice]:
    """Return what a product quantizer would keep in the bytes of the codec that was asked for.

    Raises `CodecError` where that is more, unless such codecs are accepted.
    """
    request = options.request
    if not isinstance(request.codec, (CodecSpec, MixedSpec, MixedBudget)):
        return []
    advice = advise(request.codec, sample.train, total, seed=options.seed)
    if not (request.accept_dominated or options.force):
        refuse_dominated(advice)
    return advice


def train(options: ConversionOptions, sample: Sample, dataset: Dataset, report: Listener) -> TrainedCodec:
    """Return the codec that was asked for, trained on the sample (and, where rows share tables, on all rows)."""
    coded = unit(sample.train) if options.keep_norms else sample.train
    if options.request.codec is None:
        return _tuned(options, coded, dataset.total, report)
    report(Step("training", 0, len(coded)))
    trained = _fitted(options, coded, dataset)
    report(Step("training", len(coded), len(coded)))
    return trained


def _fitted(options: ConversionOptions, coded: Floats, dataset: Dataset) -> TrainedCodec:
    given, seed = options.request.codec, options.seed
    assert given is not None
    if isinstance(given, Codec):
        given.refuse_if_cut()  # here already, before anything is measured
    if isinstance(given, (Codec, MixedCodec)):
        return given
    if not isinstance(given, CodecSpec) or given.cells is None:
        return given.fit(coded, seed=seed, dataset=dataset)
    rows = dataset.total
    if options.shard_bytes is not None:
        rows = min(rows, options.shard_bytes // max(code_bytes_of(given, coded, seed=seed), 1))
    return given.fit(coded, seed=seed, rows=rows)


def _tuned(options: ConversionOptions, coded: Floats, total: int, report: Listener) -> Codec:
    from vecstore.tuning.tuner import tune

    request, d, rows = options.request, coded.shape[1], total
    budget: Budget | None = None if request.budget is None else parse_budget(request.budget, d)
    if options.shard_bytes is not None:
        rows = rows_of_a_shard(total, 4.0 * d if budget is None else budget.stored, options.shard_bytes)
    if budget is not None and options.keep_norms:
        budget = reduced(budget, NORM_BYTES)
    return tune(
        coded,
        budget,
        target=request.target,
        metric=options.metric,
        queries=request.queries,
        rows=rows,
        keep_order=options.keep_order,
        seed=options.seed,
        progress=report,
    )
