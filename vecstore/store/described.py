"""What a store says of itself, and whether its files are whole."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np

from vecstore.codecs.codec import Codec
from vecstore.keys.kind import Key
from vecstore.progress import Progress, reported
from vecstore.store.handle import Handle

__all__ = ["Described"]

COMPLETED = 1000  # keys that IPython is told of for completion


class Described(Handle):
    """A handle that describes its store; `vecstore.store.store.Store` searches it."""

    @property
    def codec(self) -> Codec:
        """The trained codec, to encode and decode with, or to convert other vectors with.

        Raises `OptionError` for a store of several (mixed precision).
        """
        return self._snapshot.codec

    @property
    def description(self) -> dict[str, Any]:
        """The document in the (first) file; `info` returns what is of use to people."""
        return self._snapshot.shards[0].description

    def info(self) -> dict[str, Any]:
        """Return what the store says of itself: shape, codec, bytes, provenance, certificate, user metadata."""
        from vecstore.store.description import describe

        return describe(self._snapshot)

    def verify(self, *, deep: bool = False, progress: Progress = False) -> int:
        """Check every byte, the codec and every key, with `deep` every row, too; return the bytes checked or raise.

        What is raised is most often a `CorruptError`. `progress` is as for `vecstore.convert`.
        """
        with reported(progress) as report:
            return self._snapshot.verify(report, deep=deep)

    def warm(self) -> None:
        """Read the files into memory and prepare searches, so that the first one is as fast as those that follow."""
        from vecstore.search.options import SearchOptions
        from vecstore.store.searching import search

        self._snapshot.warm()
        search(self._snapshot, np.ones(self.dimensions, np.float32), 1, SearchOptions(metric=self.metric))

    def __repr__(self) -> str:
        if self._held is None:
            return f"<Store {self.path!r}, closed>"
        from vecstore.store.description import summary

        return f"<Store {self.path!r}: {summary(self._held)}>"

    def _repr_html_(self) -> str:
        from vecstore.notebook import facts_html
        from vecstore.store.description import facts

        return facts_html(f"vecstore: {self.path}", {"": "closed"} if self._held is None else facts(self._held))

    @property
    def columns(self) -> Any:
        """What rows have beside their vectors, by row number: a `pyarrow.Table` over the map."""
        return self._open().columns

    def _ipython_key_completions_(self) -> list[Key]:
        return list(islice(self._snapshot.keys(), COMPLETED)) if self.key_type == "str" else []
