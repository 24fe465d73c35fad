"""The certificate of a store: what compression costs, measured with rows as queries and with real ones.

It is written into every store by the conversion, printed by ``vecstore info`` and measured again, against the original
dump, by ``vecstore verify --certificate``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.codec import Codec
from vecstore.codecs.dataset import Block
from vecstore.codecs.mixed.mixed import MixedCodec
from vecstore.measure.calibration import Calibration, calibrate
from vecstore.measure.fidelity import as_stored, fidelity_of
from vecstore.measure.recall import GroundTruth, extrapolated, forecast
from vecstore.measure.sample import Sample
from vecstore.measure.spectrum import decibels, distortion_bound, spectrum
from vecstore.metric import Metric
from vecstore.shard.certificate import REAL_QUERIES, ROWS_AS_QUERIES, Bound, Certificate, Recall, RowBytes

__all__ = ["KS", "MOST_QUERIES", "measure_certificate", "measure_codec", "measure_decoded"]

KS = (1, 10, 100)
MOST_QUERIES = 2048  # of the user's own; more take longer and say little else
CALIBRATED_ROWS = 20_000  # among which scores are compared
PARTS = (8, 3)  # where not all rows are searched, recall is measured among these parts of them too
NEARLY = 1.05  # so many times the rows find what these do, such as where some rows of the store are zero vectors
DECODED_AT_ONCE = 8192


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
        Its `measured` rows are decoded, and they ask among the others; real queries ask among all.
    rows : int
        Of one shard of the store, that share the model.
    beside : float
        Bytes that a row takes beside its code and key.
    queries : (q, d) float32, optional
        The user's own.
    """
    decoded = _decoded(trained, sample.rows, keep_norms=keep_norms)
    found, calibration = measure_decoded(sample, decoded, metric=metric, seed=seed, queries=queries)
    found = replace(found, held_out=sample.held_out > 0 and not trained.shared)
    return measure_codec(found, trained, sample, rows=rows, beside=beside), calibration


def measure_codec(
    found: Certificate, trained: Codec | MixedCodec, sample: Sample, *, rows: int, beside: float
) -> Certificate:
    """Return a certificate with what only the codec tells; the parameters are those of `measure_certificate`."""
    base, error = _searched(sample.rows.vectors, sample), found.relative_error or 0.0
    bound = _bound(base, trained.layers[-1].code_bytes, error)
    return replace(found, **_facts(trained), bytes=_row_bytes(trained, rows, beside), bound=bound)


def measure_decoded(
    sample: Sample, decoded: Floats, *, metric: Metric, seed: int, queries: Floats | None = None
) -> tuple[Certificate, Calibration | None]:
    """As `measure_certificate`, of what the rows of a sample are decoded to, (n, d) float32, however that came about.

    What only the codec tells is left out.
    """
    asking = sample.measured.vectors
    fidelity = fidelity_of(asking, decoded[: len(asking)], seed=seed)
    searching = _Searching(metric, seed, sample.total)
    others = slice(sample.held_out, None)
    recall = searching.recall(ROWS_AS_QUERIES, asking, sample.rows.vectors[others], decoded[others])
    query_recall = None
    if queries is not None and len(queries):
        asking = queries[np.sort(np.random.default_rng(seed).permutation(len(queries))[:MOST_QUERIES])]
        query_recall = searching.recall(REAL_QUERIES, asking, sample.rows.vectors, decoded)
    base = _searched(sample.rows.vectors, sample)
    truth = GroundTruth(asking, base, metric, KS[:1])  # the map is to serve real queries, where there are any
    certificate = replace(
        fidelity,
        recall=recall,
        query_recall=query_recall,
        held_out=sample.held_out > 0,
        training_rows=len(sample.train),
    )
    return certificate, calibrate(truth, _searched(decoded, sample), seed=seed)


def _searched(rows: Floats, sample: Sample) -> Floats:
    """Return the rows of a sample among which scores are compared."""
    return rows[sample.held_out : sample.held_out + CALIBRATED_ROWS]


def _facts(trained: Codec | MixedCodec) -> dict[str, Any]:
    """Return the members that not every codec has: of blocks, or of tables that rows share."""
    if isinstance(trained, MixedCodec):
        return trained.measured
    facts = {name: fact for layer in trained.layers for name, fact in layer.quantizer.facts.items()}
    return {"tables": facts} if facts else {}


def _decoded(trained: Codec | MixedCodec, block: Block, *, keep_norms: bool) -> Floats:
    """Return what the rows of a block become in a store."""
    found = np.empty_like(block.vectors)
    for start in range(0, len(found), DECODED_AT_ONCE):
        part = slice(start, start + DECODED_AT_ONCE)
        keys = None if block.keys is None else block.keys.take(np.arange(len(found))[part])
        found[part] = as_stored(trained, block.vectors[part], block.rows[part], keys, keep_norms=keep_norms)
    return found


@dataclass(frozen=True)
class _Searching:
    """How recall is measured: by which metric, and for a store of how many rows."""

    metric: Metric
    seed: int
    total: int

    def recall(self, by: str, queries: Floats, base: Floats, decoded: Floats) -> Recall:
        """Return the recall of queries in the store."""
        recalls = self._recalls(queries, base, decoded)
        n, asking = len(base), len(queries) if by == ROWS_AS_QUERIES else 0  # rows that ask are not searched
        beyond = (n + asking) * NEARLY < self.total and n >= PARTS[0]
        if beyond:
            parts = {n // part: self._recalls(queries, base[: n // part], decoded[: n // part]) for part in PARTS}
            by_rows = {**parts, n: recalls}
            shared = set.intersection(*(set(found) for found in by_rows.values()))
            recalls = {
                k: extrapolated({rows: found[k] for rows, found in by_rows.items()}, self.total) for k in sorted(shared)
            }
        at = {k: forecast(values, k, seed=self.seed) for k, values in recalls.items()}
        return Recall(len(queries), n, at, by, self.total if beyond else None)

    def _recalls(self, queries: Floats, base: Floats, decoded: Floats) -> dict[int, NDArray[np.float64]]:
        return GroundTruth(queries, base, self.metric, KS).recalls(decoded)


def _row_bytes(trained: Codec | MixedCodec, rows: int, beside: float) -> RowBytes:
    code = round(trained.code_bytes, 2)
    return RowBytes(code, trained.model_bytes, round(code + trained.model_bytes / rows + beside, 2))


def _bound(base: Floats, size_bytes: float, error: float) -> Bound:
    variances = spectrum(base)
    total = float(variances.sum())
    least = distortion_bound(variances, size_bytes) / total if total > 0 else 0.0
    return Bound(float(f"{least:.4g}"), round(decibels(error, least), 2))
