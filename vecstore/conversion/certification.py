"""What a new store says of itself: its certificate, the map of its scores, and what its rows are like."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

from vecstore.codecs.base import Floats
from vecstore.codecs.checks import as_queries, as_vectors
from vecstore.codecs.codec import Codec
from vecstore.codecs.dataset import Dataset
from vecstore.codecs.transforms.normalize import unit
from vecstore.conversion.tasks.options import ConversionOptions, TrainedCodec
from vecstore.measure.calibration import Calibration
from vecstore.measure.certificate import measure_certificate
from vecstore.measure.drift import DriftWarning, Reference, drift_of, reference_of
from vecstore.measure.fidelity import RAW
from vecstore.measure.oversampling import measure_oversampling
from vecstore.measure.sample import Sample
from vecstore.measure.scan_bytes import measure_scan_bytes
from vecstore.progress import Listener, Step
from vecstore.search.oversampling import DEFAULT_RECALL
from vecstore.shard.certificate import Certificate
from vecstore.shard.sizes import bytes_beside

__all__ = ["Measured", "RescoringWarning", "certify"]

DEEP = 0.1  # share of the rows from which on rescoring costs what a scan does
DEEP_ROWS = 20_000  # stores below this are searched in no time anyway
WANTED = 10  # rows of a search that rescoring is judged by


class RescoringWarning(UserWarning):
    """The coarse layer of a two-layer codec hides so many neighbours that rescoring costs more than it saves."""


@dataclass(frozen=True)
class Measured:
    """What was measured for a store, before it is written."""

    certificate: Certificate
    calibration: Calibration | None = None
    reference: Reference | None = None

    def members(self) -> dict[str, Any]:
        """Return the members of the store's description."""
        optional = {"calibration": self.calibration, "reference": self.reference}
        found = {name: value.to_dict() for name, value in optional.items() if value is not None}
        return {"certificate": self.certificate.to_dict(), **found}


def certify(
    options: ConversionOptions, trained: TrainedCodec, sample: Sample, dataset: Dataset, report: Listener
) -> Measured:
    """Measure a trained codec on the sample; warn where it does not suit these rows."""
    asked = len(sample.measured.rows)
    report(Step("measuring", 0, asked))
    as_vectors(sample.measured.vectors, trained.dimensions)  # raises where they are of another width
    if trained.by_key:
        sample = sample.keyed(dataset)
    certificate, calibration = _certificate(options, trained, sample, dataset.total)
    asking, searched = (
        unit(block.vectors) if options.keep_norms else block.vectors for block in (sample.measured, sample.searched)
    )
    if len(trained.layers) > 1:
        factors = measure_oversampling(trained, asking, searched, rows=dataset.total, metric=options.metric)
        certificate = replace(certificate, oversampling=factors, oversample=max(factors.values()))
        _warn_of_deep_rescoring(trained, WANTED * factors[str(DEFAULT_RECALL)], dataset.total)
    reference = None
    if isinstance(trained, Codec) and not trained.shared:
        prefixes = measure_scan_bytes(trained, asking, searched, raw=RAW[options.metric])
        certificate = replace(certificate, prefixes=prefixes)
        _warn_of_drift(options.request.reference, trained, asking)
        reference = options.request.reference or reference_of(trained, asking)
    report(Step("measuring", asked, asked))
    return Measured(certificate, calibration, reference)


def _certificate(
    options: ConversionOptions, trained: TrainedCodec, sample: Sample, total: int
) -> tuple[Certificate, Calibration | None]:
    queries = options.request.queries
    beside = bytes_beside(trained, keep_norms=options.keep_norms, keep_order=options.keep_order)
    return measure_certificate(
        trained,
        sample,
        metric=options.metric,
        keep_norms=options.keep_norms,
        rows=total,
        beside=beside,
        seed=options.seed,
        queries=None if queries is None else as_queries(queries, trained.dimensions),
    )


def _warn_of_drift(reference: Reference | None, trained: Codec, rows: Floats) -> None:
    if reference is None:
        return
    codes = trained.encode(rows)
    drift = drift_of(reference, rows, codes, trained.decode(codes))
    if drift is not None and not drift.fits:
        warnings.warn(str(drift), DriftWarning, stacklevel=2)


def _warn_of_deep_rescoring(trained: TrainedCodec, rescored: int, rows: int) -> None:
    if rows >= DEEP_ROWS and rescored > DEEP * rows:
        coarse, fine = (layer.spec for layer in trained.layers)
        warnings.warn(
            f"{coarse} orders these vectors so poorly that a search for ten rescores {min(rescored, rows):,} of "
            f"{rows:,} rows to lose one neighbour in a hundred; {fine} alone may be faster, or search with a smaller "
            "rescore",
            RescoringWarning,
            stacklevel=2,
        )
