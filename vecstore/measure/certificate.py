"""The certificate of a store: what compression costs, measured with rows as queries and with real ones.

It is written into every store by the conversion, printed by ``vecstore info`` and measured again, against the original
dump, by ``vecstore verify --certificate``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vecstore.codecs.base import Floats
from vecstore.codecs.codec import Codec
from vecstore.codecs.mixed.mixed import MixedCodec
from vecstore.measure.calibration import Calibration, calibrate, identity
from vecstore.measure.decoded_rows import DecodedRows
from vecstore.measure.fidelity import fidelity_of
from vecstore.measure.nearest import RowSource
from vecstore.measure.recall import GroundTruth, extrapolated, forecast
from vecstore.measure.sample import Sample
from vecstore.measure.spectrum import decibels, distortion_bound, spectrum
from vecstore.metric import Metric
from vecstore.shard.certificate import REAL_QUERIES, ROWS_AS_QUERIES, Bound, Certificate, Interval, Recall, RowBytes

__all__ = ["KS", "MOST_QUERIES", "measure_certificate", "measure_codec", "measure_decoded"]

KS = (1, 10, 100)
MOST_QUERIES = 2048  # of the user's own; more take longer and say little else
CALIBRATED_ROWS = 20_000  # among which scores are compared
PARTS = (8, 3)  # where not all rows are searched, recall is measured among these parts of them too
COMPARED_AT_ONCE = 8192
NEARLY = 1.05  # so many times the rows find what these do, such as where some rows of the store are zero vectors


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
    certain = isinstance(trained, Codec) and trained.lossless and not keep_norms
    decoded: Floats | DecodedRows = sample.rows.vectors
    if not certain:
        rows_in_store = DecodedRows(trained, sample.rows, keep_norms)
        # Real queries are a second search, and encoding all rows again may take longer than the search.
        decoded = rows_in_store if queries is None else rows_in_store.whole()
    found, calibration = measure_decoded(sample, decoded, metric=metric, seed=seed, queries=queries)
    if certain:  # of nothing that was measured, but of all rows
        found = replace(found, recall=_full(found.recall), query_recall=_full(found.query_recall))
    return measure_codec(found, trained, sample, rows=rows, beside=beside), calibration


def measure_codec(
    found: Certificate, trained: Codec | MixedCodec, sample: Sample, *, rows: int, beside: float
) -> Certificate:
    """Return a certificate with what only the codec tells; the parameters are those of `measure_certificate`."""
    base, error = sample.rows.vectors[sample.held_out :][:CALIBRATED_ROWS], found.relative_error or 0.0
    bound = _bound(base, trained.layers[-1].code_bytes, error)
    held_out = found.held_out and not trained.shared  # tables that rows share are fitted to all of them
    facts = _facts(trained)
    return replace(found, **facts, held_out=held_out, bytes=_row_bytes(trained, rows, beside), bound=bound)


def measure_decoded(
    sample: Sample, decoded: Floats | DecodedRows, *, metric: Metric, seed: int, queries: Floats | None = None
) -> tuple[Certificate, Calibration | None]:
    """As `measure_certificate`, of what the rows of a sample are decoded to, (n, d) float32, however that came about.

    What only the codec tells is left out.
    """
    asking, originals = sample.measured.vectors, sample.rows.vectors
    first = decoded[: len(asking)]
    fidelity = fidelity_of(asking, first, seed=seed)
    # Then what is found is what is nearest.
    exact = decoded is originals or (np.array_equal(first, asking) and _equal(decoded, originals))
    searching = _Searching(metric, seed, sample.total, exact)
    others: RowSource = (
        decoded.after(sample.held_out) if isinstance(decoded, DecodedRows) else decoded[sample.held_out :]
    )
    recall, calibration = searching.measure(ROWS_AS_QUERIES, asking, originals[sample.held_out :], others)
    query_recall = None
    if queries is not None and len(queries):  # then the map is to serve these
        asking = queries[np.sort(np.random.default_rng(seed).permutation(len(queries))[:MOST_QUERIES])]
        query_recall, calibration = searching.measure(REAL_QUERIES, asking, originals, decoded)
    certificate = replace(
        fidelity,
        recall=recall,
        query_recall=query_recall,
        held_out=sample.held_out > 0,
        training_rows=len(sample.train),
    )
    return certificate, calibration


def _equal(decoded: RowSource, originals: Floats) -> bool:
    parts = (slice(start, start + COMPARED_AT_ONCE) for start in range(0, len(originals), COMPARED_AT_ONCE))
    return all(np.array_equal(decoded[part], originals[part]) for part in parts)


def _full(recall: Recall | None) -> Recall | None:
    return recall and replace(recall, at=dict.fromkeys(recall.at, Interval(1.0, 1.0, 1.0)))


def _facts(trained: Codec | MixedCodec) -> dict[str, Any]:
    """Return the members that not every codec has: of blocks, or of tables that rows share."""
    if isinstance(trained, MixedCodec):
        return trained.measured
    facts = {name: fact for layer in trained.layers for name, fact in layer.quantizer.facts.items()}
    return {"tables": facts} if facts else {}


@dataclass(frozen=True)
class _Searching:
    """How recall is measured: by which metric, and for a store of how many rows; or not, where rows decode exactly."""

    metric: Metric
    seed: int
    total: int
    exact: bool

    def measure(self, by: str, queries: Floats, base: Floats, decoded: RowSource) -> tuple[Recall, Calibration | None]:
        """Return the recall of queries in the store, and the map of its scores."""
        n, asking = len(base), len(queries) if by == ROWS_AS_QUERIES else 0  # rows that ask are not searched
        beyond = (n + asking) * NEARLY < self.total and n >= PARTS[0]
        calibration: Calibration | None = identity(self.metric)
        if self.exact:
            by_rows = {n: {k: np.ones(len(queries)) for k in KS if k <= n}}
        else:
            truth = GroundTruth(queries, base, self.metric, KS, tuple(n // part for part in PARTS) if beyond else ())
            near = min(CALIBRATED_ROWS, n)
            found = truth.search(decoded, (near,))
            by_rows, calibration = (
                truth.recalls_of(found),
                calibrate(truth, decoded, found[near], rows=near, seed=self.seed),
            )
        recalls = by_rows[n]
        if len(by_rows) > 1:
            shared = sorted(set.intersection(*(set(own) for own in by_rows.values())))
            recalls = {k: extrapolated({rows: own[k] for rows, own in by_rows.items()}, self.total) for k in shared}
        at = {k: forecast(values, k, seed=self.seed) for k, values in recalls.items()}
        return Recall(len(queries), n, at, by, self.total if beyond else None), calibration


def _row_bytes(trained: Codec | MixedCodec, rows: int, beside: float) -> RowBytes:
    code = round(trained.code_bytes, 2)
    return RowBytes(code, trained.model_bytes, round(code + trained.model_bytes / rows + beside, 2))


def _bound(base: Floats, size_bytes: float, error: float) -> Bound:
    variances = spectrum(base)
    total = float(variances.sum())
    least = distortion_bound(variances, size_bytes) / total if total > 0 else 0.0
    return Bound(float(f"{least:.4g}"), round(decibels(error, least), 2))
