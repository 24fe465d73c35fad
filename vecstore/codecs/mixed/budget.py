"""Mixed precision in a number of bytes: which codec each block of rows gets is found here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from numpy.typing import ArrayLike

from vecstore.codecs.checks import as_vectors
from vecstore.codecs.codec import codec
from vecstore.codecs.dataset import Dataset
from vecstore.codecs.mixed.allocation import allocated, projected
from vecstore.codecs.mixed.mixed import USAGE, MixedCodec, MixedSpec
from vecstore.codecs.mixed.sample import draw_samples, popularity_edges
from vecstore.errors import CodecError

__all__ = ["MixedBudget"]


@dataclass(frozen=True)
class MixedBudget:
    """Mixed precision in a number of bytes a row, on average; which codec a block gets is measured.

    Attributes
    ----------
    row_bytes : float
        Of codes and trained arrays together, divided by the rows.
    dims : bool
        Vary the number of dimensions instead of the bits a dimension: each block has principal components of its
        own, proportional in number to popularity ** alpha (Ginart, Naumov, Mudigere, Yang & Zou, Mixed dimension
        embeddings with application to memory-efficient recommendation systems, ISIT 2021), in 8 bits each.
    alpha : float
    power_of_two : bool
        Round the numbers of dimensions to powers of two.
    """

    row_bytes: float
    dims: bool = False
    alpha: float = 0.3
    power_of_two: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.row_bytes < 1e6 or not 0 <= self.alpha <= 4:
            raise CodecError(f"{self}: bytes are a positive number, alpha goes from 0 to 4: {USAGE}")

    @classmethod
    def parse(cls, text: str) -> MixedBudget:
        """Read ``mixed:BYTES`` or ``mixed:BYTES:dims[:ALPHA[:pow2]]``."""
        found = re.fullmatch(r"mixed:([\d.]+)(?:(:dims)(?::([\d.]+)(:pow2)?)?)?", text)
        try:
            if found is None:
                raise ValueError
            alpha = {"alpha": float(found[3])} if found[3] else {}
            return cls(float(found[1]), bool(found[2]), power_of_two=bool(found[4]), **alpha)
        except ValueError:
            raise CodecError(f"{text!r} is no mixed codec: {USAGE}") from None

    def fit(self, x: ArrayLike, *, seed: int = 0, dataset: Dataset | None = None) -> MixedCodec:
        """Choose a codec for each block, and train them; see `MixedSpec.fit`.

        Raises
        ------
        BudgetError
            The bytes are too few for the least codec of every block.
        """
        everyone = dataset or Dataset.of(as_vectors(x))
        samples = draw_samples(everyone, popularity_edges(everyone.total), seed)
        if self.dims:
            names = projected(samples, self.row_bytes, alpha=self.alpha, power_of_two=self.power_of_two)
        else:
            names = allocated(samples, self.row_bytes, seed=seed)
        spec = MixedSpec.joined([codec(name) for name in names], [sample.stop for sample in samples])
        return spec.fit(x, seed=seed, dataset=everyone)

    def __str__(self) -> str:
        dims = f":dims:{self.alpha:g}" if self.dims else ""
        return f"mixed:{self.row_bytes:g}{dims}" + (":pow2" if self.power_of_two else "")

    def __repr__(self) -> str:
        return f"plan({str(self)!r})"
