"""What a codec will keep, told before it is trained on everything, and whether another one keeps more.

Rows that share tables by a map that does not look at the data are projected on a random subspace: of data without
structure in the order of rows the share rank / rows of the variance is kept, whatever the number of hashes or digits.
That is about the share of the memory, where a product quantizer keeps most of the variance in a hundredth of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from vecstore.codecs.base import Floats, Quantizer
from vecstore.codecs.codec import CodecSpec, codec
from vecstore.codecs.evaluation import cosines, relative_error, squared_error
from vecstore.codecs.mixed.budget import MixedBudget
from vecstore.codecs.mixed.mixed import MixedSpec
from vecstore.codecs.tables.residual import Residual
from vecstore.codecs.tables.table import TableQuantizer
from vecstore.errors import CodecError

__all__ = ["Advice", "Prediction", "advise", "predict"]

Source: TypeAlias = Literal["rank law", "measured", "rank law and measured"]
TRAINING_ROWS = 8192
TESTED_ROWS = 1024
MARGIN = 0.01  # of the variance: less is no reason to refuse


@dataclass(frozen=True)
class Prediction:
    """What a codec is going to keep.

    Attributes
    ----------
    spec : str
    row_bytes : float
        Codes and trained arrays together, divided by the rows.
    r2 : float
        Share of the variance.
    cosine : float
        Of originals and decoded vectors, on average.
    source : {"rank law", "measured", "rank law and measured"}
        Measured: trained on a sample, and tried on other rows of it. Both: a table, and a quantizer on what it leaves.
    """

    spec: str
    row_bytes: float
    r2: float
    cosine: float
    source: Source


@dataclass(frozen=True)
class Advice:
    """What a table codec is going to keep, and a product quantizer of no more bytes (None where none is so small)."""

    wanted: Prediction
    rival: Prediction | None

    @property
    def dominated(self) -> bool:
        """Whether the other one keeps more."""
        return self.rival is not None and self.rival.r2 > self.wanted.r2 + MARGIN

    def __str__(self) -> str:
        wanted, rival = self.wanted, self.rival
        size = f"{wanted.row_bytes:.1f} bytes a row ({wanted.source})"
        said = f"{wanted.spec} keeps {wanted.r2:.3f} of the variance in {size}"
        if rival is None:
            return f"{said}; no product quantizer is that small"
        return f"{said}; PQ at the same bytes keeps {rival.r2:.3f} ({rival.spec}, {rival.row_bytes:.1f} bytes a row)"


def predict(spec: str | CodecSpec, sample: Floats, total: int, *, seed: int = 0) -> Prediction:
    """Predict what a codec keeps of `total` rows like those of a sample (n, d), without the rest of them.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)
    >>> round(predict("hash:500:2", x, 2000).r2, 2)
    0.25
    """
    parsed = codec(spec)
    layer = parsed.layers[-1]
    quantizer = layer.quantizer
    base = _base(quantizer)
    law = base.law(total, sample.shape[1]) if isinstance(base, TableQuantizer) and not layer.transforms else None
    if law is not None:
        # What a random subspace leaves has the shape of the data, so a quantizer keeps the same share of it.
        fine = predict(quantizer.fine, sample, total, seed=seed) if isinstance(quantizer, Residual) else None
        row_bytes, lost = law.row_bytes, 1 - law.kept
        if fine is not None:
            row_bytes, lost = row_bytes + fine.row_bytes, lost * (1 - fine.r2)
        spread = squared_error(sample, sample.mean(axis=0))
        energy = float((sample**2).sum(axis=1).mean())
        # A subspace that holds the mean keeps it whole, and of a row's deviation the share that is not lost.
        cosine = np.sqrt(1 - lost * spread / energy) if energy > 0 else 1.0
        source: Source = "rank law" if fine is None else "rank law and measured"
        return Prediction(str(parsed), row_bytes, 1 - lost, float(cosine), source)
    held_out = min(TESTED_ROWS, len(sample) // 3)
    test, train = sample[:held_out], sample[held_out : held_out + TRAINING_ROWS]
    if not held_out:
        test = train = sample
    fitted = parsed.fit(train, seed=seed)
    decoded = train if fitted.shared else test
    given, decoded = decoded, fitted.approximate(decoded)
    r2, found = 1 - relative_error(given, decoded, sample.mean(axis=0)), cosines(given, decoded)
    row_bytes = fitted.code_bytes + fitted.model_bytes / (len(train) if fitted.shared else total)
    return Prediction(str(parsed), row_bytes, r2, float(found.mean()) if len(found) else 1.0, "measured")


def advise(spec: CodecSpec | MixedSpec | MixedBudget, sample: Floats, total: int, *, seed: int = 0) -> list[Advice]:
    """Return, for each table codec in a specification, what it keeps and what a product quantizer does."""
    if isinstance(spec, MixedBudget):
        return []
    if isinstance(spec, MixedSpec):
        edges = (0, *spec.stops, total)
        return [
            advice
            for own, first, stop in zip(spec.codecs, edges, edges[1:], strict=False)
            for advice in advise(own, sample, max(stop - first, 1), seed=seed)
        ]
    layer = spec.layers[-1]
    base = _base(layer.quantizer)
    if not isinstance(base, TableQuantizer) or base.lossless:
        return []
    if base.by_row and layer.transforms:  # what transforms leave, a law does not say
        return []
    wanted = predict(spec, sample, total, seed=seed)
    rivals = [predict(rival, sample, total, seed=seed) for rival in _rivals(wanted.row_bytes, sample.shape[1], total)]
    return [Advice(wanted, max(rivals, key=lambda rival: rival.r2, default=None))]


def _base(quantizer: Quantizer) -> Quantizer:
    """Return what stands before the slash, where there is one."""
    return quantizer.parts()[0] if isinstance(quantizer, Residual) else quantizer


def _rivals(row_bytes: float, d: int, total: int) -> list[str]:
    """Return the largest product quantizers of 8 and of 4 bits that take no more bytes a row, codebooks counted."""
    found = []
    for bits, suffix in ((8, ""), (4, "x4")):
        for groups in range(d, 0, -1):
            codebook_bytes = 4 * 2**bits * groups * -(-d // groups)  # all groups take as much as the widest one
            if -(-groups * bits // 8) + codebook_bytes / total <= row_bytes:
                found.append(f"pq:{groups}{suffix}")
                break
    return found


def refuse_dominated(advice: list[Advice]) -> None:
    """Raise `CodecError` where another codec keeps more in the same bytes."""
    for each in advice:
        if each.dominated and each.rival is not None:
            raise CodecError(
                f"{each}: choose {each.rival.spec}, or insist with accept_dominated=True; tables that were "
                "trained as such are better imported than fitted"
            )
