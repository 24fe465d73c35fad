"""Texts to vectors: the mean of what a store holds of their tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from vecstore.codecs.base import Floats
from vecstore.codecs.transforms.normalize import unit
from vecstore.errors import OptionError, ShapeError
from vecstore.sentences.gram_table import GramTable
from vecstore.sentences.static_table import StaticTable
from vecstore.sentences.terms import Table
from vecstore.sentences.word_table import WordTable
from vecstore.shard.static_tokens import read_tokens
from vecstore.store.handle import snapshot_of
from vecstore.store.store import Store
from vecstore.words import Words

__all__ = ["Encoder", "sif_weights"]

AT_ONCE = 1024  # texts whose tokens are decoded together


class Encoder:
    """Makes vectors of texts from a store.

    Two kinds of stores do:

    - A **static model** that was converted, with its tokenizer (`import_static`). The
      vector of a text is the mean of its tokens' vectors, weighted as the model says: what model2vec and
      sentence-transformers' StaticEmbedding compute of the same numbers.
    - A store of **words**, given as `vecstore.words.Words`. A text is split at white space, and its vector is the mean
      of its words' vectors at length one, which is what fastText does. Words that are not known are what
      `Words(unknown=...)` says. With `ngrams`, word n-grams count too, as in fastText's classifiers.

    Each distinct token of up to 1,024 texts is decoded once. An encoder may be used from several threads.

    Parameters
    ----------
    source : Store or Words
    weights : (n,) array, optional
        What the vector of each row of the store is multiplied by: `sif_weights`, or the model's own by default.
    ngrams : int, optional
        Of an imported fastText model: take the mean as its classifiers do (``wordNgrams``), of what words and runs of
        up to so many of them have in the table, vectors being as long as they are there. Without `weights`.

    Attributes
    ----------
    dimensions : int

    Raises
    ------
    OptionError
        A store without a tokenizer; `ngrams` for anything else than an imported fastText model.
    MissingExtraError
        The library tokenizers is missing, for a static model.

    Examples
    --------
    >>> encoder = Encoder(vecstore.open("wordllama.vecs"))  # doctest: +SKIP
    >>> encoder.encode(["a cat sat", "the dog ran"]).shape  # doctest: +SKIP
    (2, 256)
    """

    def __init__(self, source: Store | Words, *, weights: ArrayLike | None = None, ngrams: int | None = None) -> None:
        store = source.store if isinstance(source, Words) else source
        own = None if weights is None else np.asarray(weights, np.float32)
        rows = store.vectors.shape[0]  # with those that were deleted
        if own is not None and own.shape != (rows,):
            raise ShapeError(f"a weight for each of {rows:,} rows, found shape {own.shape}")
        self._table: Table
        if ngrams is not None:
            if own is not None or not isinstance(source, Words):
                raise OptionError("ngrams are those of words, without weights: Encoder(Words(store), ngrams=2)")
            self._table = GramTable(source, ngrams)
        else:
            self._table = WordTable(source, own) if isinstance(source, Words) else _static_table(store, own)
        self.dimensions = store.dimensions

    def encode(self, texts: str | Sequence[str], *, normalize: bool | None = None) -> Floats:
        """Return the vector of a text, (d,) float32, or of each of several, (n, d).

        A text without a known token has zeros.

        Parameters
        ----------
        texts : str or list of str
        normalize : bool, optional
            Scale vectors to length one; as the model says by default.
        """
        given = [texts] if isinstance(texts, str) else list(texts)
        out = np.empty((len(given), self.dimensions), np.float32)
        for start in range(0, len(given), AT_ONCE):
            out[start : start + AT_ONCE] = self._table.terms(given[start : start + AT_ONCE]).means
        if self._table.normalize if normalize is None else normalize:
            out = unit(out)
        return out[0] if isinstance(texts, str) else out


def sif_weights(rows: int, a: float = 1e-4) -> Floats:
    """Return weights for rows in order of frequency, (rows,) float32, that make the most frequent ones count little.

    Smooth inverse frequency (Arora et al., A simple but tough-to-beat baseline for sentence embeddings, 2017), with
    frequencies by Zipf's law: a / (a + p) where p falls as 1 / rank and sums to 1.
    """
    shares = 1 / np.arange(1, rows + 1, dtype=np.float64)
    shares /= shares.sum()
    return np.asarray(a / (a + shares), np.float32)


def _static_table(store: Store, weights: Floats | None) -> StaticTable:
    tokens = read_tokens(snapshot_of(store).shards[0].container)
    if tokens is None:
        raise OptionError(
            f"{store.path} holds no tokenizer: import a static model with import_static, or give words as Words(store)"
        )
    return StaticTable(store, tokens, weights)
