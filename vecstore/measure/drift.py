"""The drift sentinel: what a codec's own data was like, and whether other data is.

A trained codec goes on working on vectors that it was not made for, only worse, and silently. So a store keeps a
summary of the rows that its codec was trained for, and every conversion with a trained codec is held against it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Codes, Floats
from vecstore.codecs.codec import Codec
from vecstore.codecs.evaluation import relative_error, squared_error
from vecstore.measure.spectrum import spectrum

__all__ = ["Drift", "DriftWarning", "Reference", "drift_of", "reference_in", "reference_of"]

SHARES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)  # principal axes whose part of the variance is kept
BINS = 16  # of the histogram of code bytes
FEWEST_ROWS = 30  # that tell anything of a distribution
LOSS = 1.25  # times its own error, from which on other data does not fit
SLACK = 0.01  # of R² lost, below which nothing is said


class DriftWarning(UserWarning):
    """Vectors are coded by a codec that was made for others, and lose by it."""


@dataclass(frozen=True)
class Reference:
    """A summary of the rows that a codec was made for.

    Attributes
    ----------
    mean : (d,) float32
    variance : float
        Mean squared distance from it.
    shares : list of float
        What part of it lies along the first 1, 2, 4, ... principal axes.
    codes : list of float
        How often the bytes of a code lie in each sixteenth of 0 to 255.
    r2 : float
        Of decoded rows that training did not see.
    """

    mean: Floats
    variance: float
    shares: list[float]
    codes: list[float]
    r2: float

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; the mean as base64 of little-endian float32."""
        return {
            "mean": base64.b64encode(self.mean.astype("<f4").tobytes()).decode(),
            "variance": float(f"{self.variance:.6g}"),
            "shares": self.shares,
            "codes": self.codes,
            "r2": self.r2,
        }

    @classmethod
    def from_dict(cls, given: Any, dimensions: int) -> Reference | None:
        """Undo `to_dict`; None for anything that it does not give: the sentinel is a help, no condition."""
        try:
            mean = np.frombuffer(base64.b64decode(given["mean"], validate=True), "<f4").astype(np.float32)
            variance, r2 = float(given["variance"]), float(given["r2"])
            shares, codes = ([float(value) for value in given[name]] for name in ("shares", "codes"))
        except (KeyError, TypeError, ValueError, OverflowError, binascii.Error):
            return None
        numbers = np.array([*mean, variance, r2, *shares, *codes])
        if len(mean) != dimensions or len(codes) != BINS or not np.isfinite(numbers).all():
            return None
        return cls(mean, variance, shares, codes, r2)


@dataclass(frozen=True)
class Drift:
    """How other rows differ from those that a codec was made for.

    Attributes
    ----------
    r2, own_r2 : float
        1 - squared error / squared deviation from the mean, of these rows and of the codec's own.
    mean_shift : float
        Distance of the means, in standard deviations of the codec's own rows.
    spectrum_shift : float or None
        Largest difference of the parts of the variance along the first axes; None where rows fit, and are too few for
        all axes to show.
    code_shift : float
        Part of the code bytes that would have to move for the histograms to agree (total variation).
    """

    r2: float
    own_r2: float
    mean_shift: float
    spectrum_shift: float | None
    code_shift: float

    @property
    def fits(self) -> bool:
        """Whether the rows lose about as little as the codec's own."""
        return _fits(self.r2, self.own_r2)

    def __str__(self) -> str:
        spectrum = "" if self.spectrum_shift is None else f"spectrum by {self.spectrum_shift:.2f}, "
        return (
            f"these vectors decode with R² {self.r2:.3f}, the codec's own data with {self.own_r2:.3f} (mean moved by "
            f"{self.mean_shift:.2f} standard deviations, {spectrum}codes by {self.code_shift:.2f}); train a codec on "
            "these vectors instead"
        )


def reference_of(trained: Codec, rows: Floats) -> Reference:
    """Return the summary of rows (n, d) that the codec was not trained on but made for."""
    codes = trained.encode(rows)
    return Reference(
        mean=rows.mean(axis=0, dtype=np.float64).astype(np.float32),
        variance=_variance(rows),
        shares=_shares(rows),
        codes=_histogram(codes),
        r2=round(_r2(rows, trained.decode(codes)), 6),
    )


def drift_of(reference: Reference, rows: Floats, codes: Codes, decoded: Floats) -> Drift | None:
    """Return how rows (n, d) differ from those of the reference; None where they are too few to tell.

    `codes` are theirs, and `decoded` what these decode to.
    """
    if len(rows) < FEWEST_ROWS:
        return None
    mean, r2 = rows.mean(axis=0, dtype=np.float64), _r2(rows, decoded)
    spread = np.sqrt(reference.variance) if reference.variance > 0 else 1.0
    gaps: list[float] | None = None
    if len(rows) >= rows.shape[1] or not _fits(r2, reference.r2):
        gaps = [abs(one - other) for one, other in zip(_shares(rows), reference.shares, strict=False)]
    return Drift(
        r2=r2,
        own_r2=reference.r2,
        mean_shift=float(np.linalg.norm(mean - reference.mean) / spread),
        spectrum_shift=None if gaps is None else max(gaps, default=0.0),
        code_shift=float(np.abs(np.subtract(_histogram(codes), reference.codes)).sum() / 2),
    )


def reference_in(description: Mapping[str, Any], dimensions: int) -> Reference | None:
    """Return the reference that a shard's description holds, if any."""
    return Reference.from_dict(description.get("reference"), dimensions)


def _fits(r2: float, own_r2: float) -> bool:
    return 1 - r2 <= LOSS * (1 - own_r2) + SLACK


def _variance(rows: Floats) -> float:
    return squared_error(rows, rows.mean(axis=0))


def _shares(rows: Floats) -> list[float]:
    variances = spectrum(rows)
    total = float(variances.sum())
    sums = np.cumsum(variances) / (total if total > 0 else 1.0)
    return [round(float(sums[count - 1]), 4) for count in SHARES if count <= len(sums)]


def _histogram(codes: NDArray[np.uint8]) -> list[float]:
    counts = np.bincount(codes.ravel() >> 4, minlength=BINS)
    return [round(float(count), 5) for count in counts / max(codes.size, 1)]


def _r2(rows: Floats, decoded: Floats) -> float:
    if (rows == rows[0]).all():
        return float(np.array_equal(rows, decoded))
    return 1 - relative_error(rows, decoded)
