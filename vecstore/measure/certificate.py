"""The certificate of a store: what compression costs, measured on rows that training did not see.

It is written into every store by the conversion, printed by ``vecstore info`` and measured again, against the original
dump, by ``vecstore verify --certificate``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from vecstore.codecs.base import Floats
from vecstore.codecs.codec import Codec
from vecstore.codecs.dataset import Block
from vecstore.codecs.mixed.mixed import MixedCodec
from vecstore.measure.calibration import Calibration, calibrate
from vecstore.measure.fidelity import as_stored, measure_fidelity
from vecstore.measure.recall import GroundTruth, interval
from vecstore.measure.sample import Sample
from vecstore.measure.spectrum import decibels, distortion_bound, spectrum
from vecstore.metric import Metric
from vecstore.shard.certificate import Bound, Certificate, Recall, RowBytes

__all__ = ["BASE_ROWS", "measure_certificate"]

KS = (1, 10, 100)
BASE_ROWS = 20_000  # rows that are searched; more take longer and say little else


def measure_certificate(
    trained: Codec | MixedCodec,
    sample: Sample,
    *,
    metric: Metric,
    keep_norms: bool,
    rows: int,
    beside: float = 0.0,
    seed: int,
    queries: Floats | None = None,
) -> tuple[Certificate, Calibration | None]:
    """Return what a store says of its quality, and the map from its scores to the original ones.

    Parameters
    ----------
    sample : Sample
        Its `measured` rows are decoded, and they ask; its `searched` rows are searched.
    rows : int
        Of the store (of one of its shards), that share the model.
    beside : float
        Bytes that a row takes beside its code and key.
    queries : (q, d) float32, optional
        The user's own.
    """
    measured, base = sample.measured, sample.searched.vectors[:BASE_ROWS]
    fidelity = measure_fidelity(
        trained, measured.vectors, keep_norms=keep_norms, seed=seed, rows=measured.rows, keys=measured.keys
    )
    decoded = _decoded(trained, sample.searched, len(base), keep_norms=keep_norms)
    truth = GroundTruth(measured.vectors, base, metric, KS)
    recall, query_recall = _recall(truth, decoded, seed=seed), None
    if queries is not None and len(queries):
        truth = GroundTruth(queries, base, metric, KS)  # the map is to serve these as well
        query_recall = _recall(truth, decoded, seed=seed)
    certificate = replace(
        fidelity,
        **_facts(trained),
        recall=recall,
        query_recall=query_recall,
        bytes=_row_bytes(trained, rows, beside),
        bound=_bound(base, trained.layers[-1].code_bytes, fidelity.relative_error or 0.0),
        held_out=sample.held_out and not trained.shared,
        training_rows=len(sample.train),
        unseen=sample.unseen and not trained.shared,
    )
    return certificate, calibrate(truth, decoded, seed=seed)


def _facts(trained: Codec | MixedCodec) -> dict[str, Any]:
    """Return the members that not every codec has: of blocks, or of tables that rows share."""
    if isinstance(trained, MixedCodec):
        return trained.measured
    facts = {name: fact for layer in trained.layers for name, fact in layer.quantizer.facts.items()}
    return {"tables": facts} if facts else {}


def _decoded(trained: Codec | MixedCodec, block: Block, count: int, *, keep_norms: bool) -> Floats:
    """Return what the first rows of a block become in a store."""
    keys = None if block.keys is None else block.keys.take(np.arange(count))
    return as_stored(trained, block.vectors[:count], block.rows[:count], keys, keep_norms=keep_norms)


def _recall(truth: GroundTruth, decoded: Floats, *, seed: int) -> Recall:
    recalls = truth.recalls(decoded)
    return Recall(len(truth.queries), len(truth.base), {k: interval(recalls[k], seed=seed) for k in truth.ks})


def _row_bytes(trained: Codec | MixedCodec, rows: int, beside: float) -> RowBytes:
    code = round(trained.code_bytes, 2)
    return RowBytes(code, trained.model_bytes, round(code + trained.model_bytes / rows + beside, 2))


def _bound(base: Floats, size_bytes: float, error: float) -> Bound:
    variances = spectrum(base)
    total = float(variances.sum())
    least = distortion_bound(variances, size_bytes) / total if total > 0 else 0.0
    return Bound(float(f"{least:.4g}"), round(decibels(error, least), 2))
