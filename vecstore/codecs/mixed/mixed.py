"""Mixed precision: blocks of rows, most asked for first, each with a codec of its own.

What is asked for most is kept best. A row of a code array has a fixed width, so each block becomes a shard of its own:
lookups and searches go through them as through those of any sharded store.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.checks import as_vectors
from vecstore.codecs.codec import Codec, CodecSpec, codec
from vecstore.codecs.dataset import Dataset
from vecstore.codecs.evaluation import squared_error
from vecstore.codecs.mixed.sample import BlockSample, draw_samples
from vecstore.errors import CodecError
from vecstore.keys.packed import PackedKeys

__all__ = ["USAGE", "MixedCodec", "MixedSpec"]

USAGE = "mixed:BYTES, mixed:BYTES:dims, or a codec a block such as sq:8@1000+pq:25@10000+pq:10"


@dataclass(frozen=True)
class MixedSpec:
    """Which codec the rows of each block get.

    Attributes
    ----------
    stops : tuple of int
        Where all blocks but the last end.
    codecs : tuple of CodecSpec
        One a block, as many layers in each.
    """

    stops: tuple[int, ...]
    codecs: tuple[CodecSpec, ...]

    def __post_init__(self) -> None:
        edges = (0, *self.stops)
        if len(self.codecs) != len(edges) or any(a >= b for a, b in pairwise(edges)):
            raise CodecError(f"{self}: blocks end at rising rows, and the last one takes the rest: {USAGE}")
        if len({len(spec.layers) for spec in self.codecs}) > 1:
            raise CodecError(f"{self}: either all blocks have a coarse layer, or none")

    @classmethod
    def joined(cls, codecs: Sequence[CodecSpec], stops: Sequence[int]) -> MixedSpec:
        """Return blocks with these codecs and ends; neighbours that have the same codec become one block."""
        alike = [list(block) for _, block in groupby(zip(codecs, stops, strict=True), key=lambda pair: pair[0])]
        return cls(tuple(block[-1][1] for block in alike[:-1]), tuple(block[0][0] for block in alike))

    @classmethod
    def parse(cls, text: str) -> MixedSpec:
        """Read ``CODEC@ROW+CODEC@ROW+CODEC``."""
        stops, codecs = [], []
        for number, block in enumerate(blocks := text.split("+")):
            name, at, stop = (piece.strip() for piece in block.partition("@"))
            codecs.append(codec(name))
            if bool(at) != (number < len(blocks) - 1) or (at and not (stop.isascii() and stop.isdecimal())):
                raise CodecError(f"{block!r} in {text!r}: all blocks but the last say where they end, as @ROW: {USAGE}")
            stops += [int(stop)] if at else []
        return cls(tuple(stops), tuple(codecs))

    def fit(self, x: ArrayLike, *, seed: int = 0, dataset: Dataset | None = None) -> MixedCodec:
        """Train each block's codec on its own rows.

        Parameters
        ----------
        x : (n, d) float32
        dataset : Dataset, optional
            All rows to come; by default `x`.

        Raises
        ------
        CodecError
            A codec does not fit its rows, or a block would be empty.
        """
        everyone = dataset or Dataset.of(as_vectors(x))
        if self.stops and self.stops[-1] >= everyone.total:
            raise CodecError(f"{self}: the last block would be empty, there are {everyone.total:,} rows")
        samples = draw_samples(everyone, (0, *self.stops, everyone.total), seed)
        codecs = [
            spec.fit(sample.train, seed=seed, rows=sample.rows, dataset=everyone.between(sample.first, sample.stop))
            for spec, sample in zip(self.codecs, samples, strict=True)
        ]
        return MixedCodec(self, codecs, _measured(codecs, samples))

    def __str__(self) -> str:
        ends = [f"@{stop}" for stop in self.stops] + [""]
        return "+".join(f"{spec}{end}" for spec, end in zip(self.codecs, ends, strict=True))

    def __repr__(self) -> str:
        return f"plan({str(self)!r})"


class MixedCodec:
    """Trained codecs for blocks of rows.

    Attributes
    ----------
    spec : MixedSpec
    codecs : tuple of Codec
    dimensions, model_bytes : int
    code_bytes : float
        Of a row, on average.
    layers : tuple of Layer
        Of the last block, which has most rows.
    measured : dict
        ``weighted_r2``: 1 - squared error over squared deviation from the mean, rows weighted by importance; and the
        blocks, each with its rows, codec, bytes and error; on rows that training did not see.
    """

    def __init__(self, spec: MixedSpec, codecs: Sequence[Codec], measured: dict[str, Any]) -> None:
        self.spec, self.codecs, self.measured = spec, tuple(codecs), measured
        self.dimensions, self.layers = codecs[0].dimensions, codecs[-1].layers
        self.model_bytes = sum(each.model_bytes for each in codecs)
        rows = [block["rows"] for block in measured["blocks"]]
        self.code_bytes = sum(n * each.code_bytes for n, each in zip(rows, codecs, strict=True)) / sum(rows)

    def span(self, row: int) -> tuple[Codec, int, int | None]:
        """Return the codec of a row, the first row of its block, and the first of the next one; None for no next."""
        block = bisect_right(self.spec.stops, row)
        edges = (0, *self.spec.stops, None)
        return self.codecs[block], edges[block] or 0, edges[block + 1]

    @property
    def shared(self) -> bool:
        """Whether rows share tables in any block."""
        return any(each.shared for each in self.codecs)

    @property
    def by_key(self) -> bool:
        """Whether vectors come from the keys of rows in any block."""
        return any(each.by_key for each in self.codecs)

    def decoded(self, x: Floats) -> list[Floats]:
        """Return what each layer of the last block makes of checked vectors (n, dimensions)."""
        return self.codecs[-1].decoded(x)

    def approximate(
        self, x: ArrayLike, rows: NDArray[np.int64] | None = None, keys: PackedKeys | None = None
    ) -> Floats:
        """Return what vectors (n, dimensions) of these rows become: encoded, then decoded."""
        vectors = as_vectors(x, self.dimensions)
        numbers = np.arange(len(vectors)) if rows is None else rows
        block = np.searchsorted(self.spec.stops, numbers, side="right")
        out = np.empty_like(vectors)
        for number in np.unique(block).tolist():
            here, first = np.flatnonzero(block == number), (0, *self.spec.stops)[number]
            own = None if keys is None else keys.take(here)
            out[here] = self.codecs[number].approximate(vectors[here], numbers[here] - first, own)
        return out

    def __repr__(self) -> str:
        return f"<MixedCodec {self.spec}: {self.dimensions} dimensions>"


def _measured(codecs: Sequence[Codec], samples: Sequence[BlockSample]) -> dict[str, Any]:
    weights = np.array([sample.weight for sample in samples])
    means = np.stack([sample.test.mean(axis=0, dtype=np.float64) for sample in samples])
    mean = (weights @ means / weights.sum()).astype(np.float32)
    blocks, lost, spread = [], 0.0, 0.0
    for fitted, sample in zip(codecs, samples, strict=True):
        error = np.nan if fitted.shared else squared_error(sample.test, fitted.approximate(sample.test))
        deviation = squared_error(sample.test, mean)
        lost, spread = lost + sample.weight * error, spread + sample.weight * deviation
        more = {"relative_error": round(error / deviation, 6) if deviation > 0 and not fitted.shared else None}
        blocks.append({"rows": sample.rows, "codec": str(fitted.spec), "bytes": fitted.code_bytes, **more})
    known = np.isfinite(lost) and spread > 0
    return {"weighted_r2": round(1 - lost / spread, 6) if known else None, "blocks": blocks}
