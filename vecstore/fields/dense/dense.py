"""Dense vectors beside the store's own, as users give them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vecstore.codecs.base import Floats
from vecstore.codecs.checks import check_seed
from vecstore.codecs.codec import Codec, CodecSpec
from vecstore.codecs.codec import codec as read_codec
from vecstore.errors import CodecError, OptionError, ShapeError
from vecstore.fields.columns import checked_columns
from vecstore.fields.columns import vectors_of as column_vectors
from vecstore.fields.dense.agreement import agreement
from vecstore.fields.dense.rows import vectors_of
from vecstore.fields.dense.trained import GivenVectors, TrainedDense, as_rows
from vecstore.fields.field import Field
from vecstore.metric import METRICS, Metric
from vecstore.shard.field import FieldRows, TrainedField

__all__ = ["HELD_OUT", "TRAINING_NUMBERS", "Dense", "trained_codec"]

TRAINING_NUMBERS, TRAINING_ROWS = 1 << 26, 1 << 16  # of float32, and rows, at most
HELD_OUT = 512


class Dense(Field):
    """One more vector a row, such as another model's.

    Parameters
    ----------
    vectors : (n, d) array
        May be mapped. For `vecstore.convert` the name of a column.
    codec : str, CodecSpec or Codec
        Any codec without cells that needs no row numbers.
    metric : {"cosine", "dot", "l2"}
        What scores are. Of cosine, vectors are kept with length one.

    Examples
    --------
    >>> x, image = np.random.default_rng(0).normal(size=(2, 100, 8))
    >>> _ = vecstore.write("two.vecs", x, codec="sq:8", fields={"image": vecstore.Dense(image, codec="sq:8")})
    >>> vecstore.open("two.vecs").search(image[7], k=1, field="image").rows
    array([7])
    """

    def __init__(self, vectors: Any, *, codec: str | CodecSpec | Codec = "tcq:48", metric: Metric = "cosine") -> None:
        if metric not in METRICS:
            raise OptionError(f"unknown metric {metric!r}; choose one of {', '.join(METRICS)}")
        self.columns = checked_columns(vectors)[:1]
        self._given, self._metric = as_rows(np.empty((0, 1), np.float32) if self.columns else vectors), metric
        self._codec = codec if isinstance(codec, Codec) else read_codec(codec)

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self._given)

    def read(self, pieces: Iterable[Mapping[str, Any]], room: Path) -> Dense:
        return Dense(column_vectors(pieces, self.columns[0], room), codec=self._codec, metric=self._metric)

    def rows(self, trained: TrainedField) -> FieldRows:
        """Return the rows, to be coded by what `fit` gave."""
        assert isinstance(trained, TrainedDense)
        return GivenVectors(trained, self._given)

    def fit(self, *, seed: int = 0) -> TrainedDense:
        """Train the codec on some rows, and measure on others; a trained codec is measured only.

        Raises
        ------
        CodecError
            The codec does not fit the vectors, has cells, or needs row numbers.
        ShapeError
            There are no rows, or one of these holds NaN or infinity.
        """
        check_seed(seed)
        if not len(self):
            raise ShapeError("a dense field has one row or more")
        most = min(TRAINING_ROWS, max(TRAINING_NUMBERS // max(self._given.shape[1], 1), 1))
        order = np.random.default_rng(seed).permutation(len(self))[: most + HELD_OUT]
        held, rest = np.split(order, [min(HELD_OUT, len(order) // 5)])
        return trained_codec(
            self._codec,
            vectors_of(self._given, np.sort(rest)),
            vectors_of(self._given, np.sort(held)),
            metric=self._metric,
            seed=seed,
        )

    def __repr__(self) -> str:
        spec = self._codec.spec if isinstance(self._codec, Codec) else self._codec
        return f"<Dense {len(self):,} rows, {spec}>"


def trained_codec(
    codec: Codec | CodecSpec, training: Floats, held: Floats, *, metric: Metric, seed: int, **more: Any
) -> TrainedDense:
    """Return what codes vectors, trained on some of them (n, d) and measured on others."""
    spec = codec.spec if isinstance(codec, Codec) else codec
    if spec.cells is not None:
        raise CodecError(f"{spec}: a field has a codec without cells, such as tcq:48")
    if not isinstance(codec, Codec):
        scaled = TrainedDense(codec=None, metric=metric).scaled(training)  # type: ignore[arg-type]
        codec = codec.fit(scaled, seed=seed)
    if any(layer.table is not None for layer in codec.layers):
        raise CodecError(f"{spec} knows rows by their numbers, which a field's vectors do not have")
    trained = TrainedDense(codec, metric, **more)
    return replace(trained, certificate={"training_vectors": len(training)} | agreement(trained, held))
