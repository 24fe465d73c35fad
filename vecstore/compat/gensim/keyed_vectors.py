"""`KeyedVectors` as in gensim 4, on a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np

import vecstore
from vecstore.compat.gensim.evaluation import Evaluation
from vecstore.compat.gensim.similar import SimilarKeys
from vecstore.compat.gensim.word2vec import Word2vecFormat
from vecstore.errors import FormatError

__all__ = ["KeyedVectors"]

PICKLE = b"\x80"  # its first byte


class KeyedVectors(SimilarKeys, Evaluation, Word2vecFormat):
    """gensim's KeyedVectors, with a store in the place of the array.

    Names, defaults and results are those of gensim 4. What is added or replaced lies in memory; the store is never
    changed. Vectors are float32; scores are cosines.

    Parameters
    ----------
    vector_size : Store, or int
        The store; or dimensions, to begin with nothing.
    count : int
        Rows of zeros to begin with, which `add_vector` fills.
    dtype, mapfile_path
        Without meaning here.

    Examples
    --------
    >>> kv = KeyedVectors(vecstore.open("words.vecs"))  # doctest: +SKIP
    >>> kv.most_similar(positive=["king", "woman"], negative=["man"], topn=1)  # doctest: +SKIP
    [('queen', 0.8523604273796082)]
    """

    @classmethod
    def load(cls, fname: str | Path, mmap: str | None = None) -> Self:
        """Open a store, which is always mapped.

        Raises `FormatError` for what gensim saved: that is a pickle, which only gensim should load.
        """
        try:
            return cls(vecstore.open(fname))
        except FormatError as error:
            if not Path(fname).is_file() or Path(fname).read_bytes()[:1] != PICKLE:
                raise
            raise FormatError(
                "a pickle, which gensim reads: load it there, then vecstore.write(path, kv.vectors, kv.index_to_key)",
                path=fname,
            ) from error

    def save(self, fname: str | Path, *args: Any, codec: str = "f32", **kwargs: Any) -> None:
        """Write all keys and vectors to a store, with a codec; attributes are not kept."""
        vecstore.write(fname, np.asarray(self.vectors), list(self.index_to_key), codec, force=True)

    def add_lifecycle_event(self, event_name: str, log_level: int = 0, **event: Any) -> None:
        """Do nothing: a store says itself where it came from."""
