"""The table of a static model: terms are the tokens of its tokenizer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain

import numpy as np

from vecstore.codecs.base import Floats
from vecstore.errors import CorruptError, require
from vecstore.formats.static_model import Tokens
from vecstore.sentences.terms import Terms
from vecstore.store.store import Store

__all__ = ["StaticTable"]


class StaticTable:
    """A store with the tokenizer in it."""

    def __init__(self, store: Store, tokens: Tokens, weights: Floats | None) -> None:
        last = tokens.count - 1 if tokens.rows is None else int(tokens.rows.max())
        rows = store.vectors.shape[0]  # with those that were deleted
        if last >= rows:
            raise CorruptError(
                "the table has no row for some tokens; open the whole store",
                path=store.path,
                expected=f"{last + 1:,} rows",
                found=f"{rows:,}",
            )
        library = require("tokenizers", purpose="encoding texts with a static model")
        self._store, self._tokens, self.normalize = store, tokens, tokens.normalize
        self._weights = weights
        try:
            self._tokenizer = library.Tokenizer.from_str(json.dumps(_plain(tokens)))
        except Exception as error:  # the library's own are plain exceptions
            raise CorruptError(f"the library tokenizers cannot read the tokenizer: {error}", path=store.path) from None
        if tokens.max_tokens is not None:
            self._tokenizer.enable_truncation(tokens.max_tokens)

    def terms(self, texts: Sequence[str]) -> Terms:
        """Return the tokens of texts, those that are left out apart."""
        tokens = self._tokens
        if tokens.max_characters is not None:
            texts = [text[: tokens.max_characters] for text in texts]
        each = [found.ids for found in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        counts = np.fromiter(map(len, each), np.int64, len(each))
        numbers = np.fromiter(chain.from_iterable(each), np.int64, int(counts.sum()))
        if tokens.skip:
            kept = ~np.isin(numbers, tokens.skip)
            counts = np.bincount(np.repeat(np.arange(len(each)), counts)[kept], minlength=len(each))
            numbers = numbers[kept]
        distinct, places = np.unique(numbers, return_inverse=True)
        if len(distinct) and distinct[-1] >= tokens.count:
            raise CorruptError(f"the tokenizer gives a token {distinct[-1]} of {tokens.count}", path=self._store.path)
        rows = distinct if tokens.rows is None else tokens.rows[distinct].astype(np.int64)
        vectors = self._store.vectors[rows]
        if self._weights is not None:
            vectors *= self._weights[rows][:, None]
        elif tokens.weights is not None:
            vectors *= tokens.weights[distinct][:, None]
        return Terms(np.concatenate([[0], np.cumsum(counts)]), places, vectors)


def _plain(tokens: Tokens) -> object:
    """Return the tokenizer as JSON that pads nothing, and cuts where the model says so alone."""
    found = json.loads(tokens.tokenizer)
    found["padding"] = None
    if tokens.max_tokens is not None:
        found["truncation"] = None
    return found
