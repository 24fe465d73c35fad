"""The certificate of a store: what compression costs, measured on rows that training did not see.

It is written into every store by the conversion, printed by ``vecstore info`` and measured again, against the original
dump, by ``vecstore verify --certificate``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vecstore.codecs.base import Floats
from vecstore.codecs.codec import Codec
from vecstore.codecs.dataset import Block
from vecstore.codecs.mixed.mixed import MixedCodec
from vecstore.codecs.transforms.normalize import unit
from vecstore.measure.calibration import Calibration, calibrate
from vecstore.measure.fidelity import measure_fidelity
from vecstore.measure.recall import GroundTruth, interval
from vecstore.measure.spectrum import distortion_bound, spectrum
from vecstore.metric import Metric

__all__ = ["BASE_ROWS", "measure_certificate"]

KS = (1, 10, 100)
BASE_ROWS = 20_000  # rows that are searched; more take longer and say little else


def measure_certificate(
    trained: Codec | MixedCodec,
    measured: Block,
    searched: Block,
    *,
    metric: Metric,
    keep_norms: bool,
    rows: int,
    beside: float = 0.0,
    seed: int,
    queries: Floats | None = None,
) -> tuple[dict[str, Any], Calibration | None]:
    """Return what a store says of its quality, and the map from its scores to the original ones.

    Parameters
    ----------
    measured : Block
        Rows that training did not see; they are decoded, and they ask.
    searched : Block
        Rows that are searched.
    rows : int
        Of the store (of one of its shards), that share the model.
    beside : float
        Bytes that a row takes beside its code and key.
    queries : (q, d) float32, optional
        The user's own.

    Returns
    -------
    dict
        What `measure_fidelity` gives, and ``recall`` (and ``query_recall`` of the user's own): ``queries``, ``base``
        and for each k under ``at`` the mean and its 95% bootstrap interval; ``bytes``: ``code``, ``model`` and ``row``;
        ``tables``: facts of tables that rows share; ``weighted_r2`` and ``blocks`` of a mixed codec; ``bound``: the
        least ``relative_error`` that a code of as many bytes allows a Gaussian with this spectrum, and by how many
        ``decibels`` the codec misses it.
    Calibration or None
    """
    held_out, base = measured.vectors, searched.vectors[:BASE_ROWS]
    found = measure_fidelity(
        trained, held_out, keep_norms=keep_norms, seed=seed, rows=measured.rows, keys=measured.keys
    )
    if isinstance(trained, MixedCodec):
        found |= trained.measured
    elif facts := {name: fact for layer in trained.layers for name, fact in layer.quantizer.facts.items()}:
        found["tables"] = facts
    decoded = _decoded(trained, searched, len(base), keep_norms=keep_norms)
    truth = GroundTruth(held_out, base, metric, KS)
    found["recall"] = _recall(truth, decoded, seed=seed)
    if queries is not None and len(queries):
        truth = GroundTruth(queries, base, metric, KS)  # the map is to serve these as well
        found["query_recall"] = _recall(truth, decoded, seed=seed)
    code_bytes = round(trained.code_bytes, 2)
    row = code_bytes + trained.model_bytes / rows + beside
    found["bytes"] = {"code": code_bytes, "model": trained.model_bytes, "row": round(row, 2)}
    found["bound"] = _bound(base, trained.layers[-1].code_bytes, found["relative_error"])
    return found, calibrate(truth, decoded, seed=seed)


def _decoded(trained: Codec | MixedCodec, block: Block, count: int, *, keep_norms: bool) -> Floats:
    """Return what the first rows of a block become in a store."""
    x, rows = block.vectors[:count], block.rows[:count]
    keys = None if block.keys is None else block.keys.take(np.arange(count))
    if not keep_norms:
        return trained.approximate(x, rows, keys)
    return unit(trained.approximate(unit(x), rows, keys)) * np.linalg.norm(x, axis=1, keepdims=True)


def _recall(truth: GroundTruth, decoded: Floats, *, seed: int) -> dict[str, Any]:
    marks = truth.recalls(decoded)
    at = {str(k): interval(marks[k], seed=seed).to_list() for k in truth.ks}
    return {"queries": len(truth.queries), "base": len(truth.base), "at": at}


def _bound(base: Floats, size_bytes: float, error: float) -> dict[str, float]:
    variances = spectrum(base)
    total = float(variances.sum())
    least = distortion_bound(variances, size_bytes) / total if total > 0 else 0.0
    beyond = float(10 * np.log10(error / least)) if least > 0 and error > 0 else 0.0
    return {"relative_error": float(f"{least:.4g}"), "decibels": round(beyond, 2)}
