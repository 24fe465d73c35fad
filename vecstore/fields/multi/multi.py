"""Token vectors as users give them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.checks import check_seed
from vecstore.codecs.codec import Codec, CodecSpec
from vecstore.codecs.codec import codec as read_codec
from vecstore.errors import CodecError, OptionError, ShapeError
from vecstore.fields.columns import checked_columns, tokens_of
from vecstore.fields.field import Field
from vecstore.fields.multi.agreement import agreement
from vecstore.fields.multi.pooling import pooled
from vecstore.fields.multi.tokens import as_items
from vecstore.fields.multi.trained import TokenRows, TrainedMulti
from vecstore.shard.field import FieldRows, TrainedField

__all__ = ["Multi"]

TRAINING_VECTORS = 1 << 16
HELD_OUT_ITEMS = 512
MOST_POOL = 64
NEARLY = 0.01  # of one: lengths of vectors that models give in float16


class Multi(Field):
    """Several vectors a row: token vectors of late interaction, such as ColBERT's.

    Parameters
    ----------
    vectors : sequence of n (t, d) arrays or tensors, or an (n, t, d) array
        One array a row; what sentence-transformers, PyLate and FlagEmbedding return. A row may have none.
    counts : (n,) whole numbers, optional
        How many vectors each row has; `vectors` is then one (T, d) array, which may be mapped.
        For `vecstore.convert`, `vectors` is the name of a column of lists of vectors.
    codec : str, CodecSpec or Codec
        Of one vector: any codec of one layer that needs no row numbers. With cells (``"cells:1024,tcq:24"``) each
        vector's centroid is kept by its number, and the codec codes what is left.
    pool : int
        Merge the vectors of a row that are alike, so that one of `pool` is left. Needs scipy.

    Examples
    --------
    >>> tokens = [np.random.default_rng(i).normal(size=(5 + i % 3, 16)) for i in range(100)]
    >>> dense = np.array([each.mean(axis=0) for each in tokens])
    >>> _ = vecstore.write("tokens.vecs", dense, codec="sq:8", fields={"tokens": vecstore.Multi(tokens, codec="sq:8")})
    >>> vecstore.open("tokens.vecs").field("tokens")[1].shape
    (6, 16)
    """

    def __init__(
        self, vectors: Any, counts: Any = None, *, codec: str | CodecSpec | Codec = "tcq:24", pool: int = 1
    ) -> None:
        if isinstance(pool, bool) or not isinstance(pool, (int, np.integer)) or not 1 <= pool <= MOST_POOL:
            raise OptionError(f"pool is a whole number from 1 to {MOST_POOL}, found {pool!r}")
        self.columns = checked_columns(vectors)[:1]
        self._items, self._pool = as_items([] if self.columns else vectors, counts), int(pool)
        self._codec = codec if isinstance(codec, Codec) else read_codec(codec)

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self._items)

    def read(self, pieces: Iterable[Mapping[str, Any]], room: Path) -> Multi:
        return Multi(*tokens_of(pieces, self.columns[0], room), codec=self._codec, pool=self._pool)

    def rows(self, trained: TrainedField) -> FieldRows:
        """Return the rows, to be coded by what `fit` gave."""
        assert isinstance(trained, TrainedMulti)
        return TokenRows(trained, self._items)

    def fit(self, *, seed: int = 0) -> TrainedMulti:
        """Train the codec on vectors of some rows, and measure on others; a trained codec is measured only.

        Raises
        ------
        CodecError
            The codec does not fit the vectors, has two layers, or needs row numbers.
        ShapeError
            No row has a vector, or one holds NaN or infinity.
        """
        check_seed(seed)
        order = np.random.default_rng(seed).permutation(len(self))
        held, rest = np.split(order, [min(HELD_OUT_ITEMS, len(self) // 5)])
        training = self._pooled(rest[: self._enough(rest)])
        if not len(training):
            raise ShapeError("no row has a token vector; give one array a row, (t, d)")
        codec = self._codec
        _refuse_unfit(codec.spec if isinstance(codec, Codec) else codec)
        vectors = int(np.sum(-(-self._items.counts(np.arange(len(self))) // self._pool)))
        codec = codec if isinstance(codec, Codec) else codec.fit(training, seed=seed, rows=vectors)
        if codec.layers[0].table is not None:
            raise CodecError(f"{codec.spec} knows rows by their numbers, which token vectors do not have")
        lengths = np.linalg.norm(training, axis=1)
        trained = TrainedMulti(codec, self._pool, bool((np.abs(lengths - 1) <= NEARLY).all()))
        certificate = {"training_vectors": len(training)} | agreement(trained, *self._items.of(np.sort(held)))
        return replace(trained, certificate=certificate)

    def _enough(self, rows: NDArray[np.int64]) -> int:
        """Return how many of these rows have vectors enough to train on."""
        ends = np.cumsum(-(-self._items.counts(rows) // self._pool))
        return int(np.searchsorted(ends, TRAINING_VECTORS)) + 1

    def _pooled(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return pooled(*self._items.of(np.sort(rows)), self._pool)[0]

    def __repr__(self) -> str:
        spec = self._codec.spec if isinstance(self._codec, Codec) else self._codec
        return f"<Multi {len(self):,} rows, {spec}{f', pool {self._pool}' if self._pool > 1 else ''}>"


def _refuse_unfit(spec: CodecSpec) -> None:
    if len(spec.layers) > 1:
        raise CodecError(f"{spec}: token vectors have a codec of one layer; such as tcq:24")
