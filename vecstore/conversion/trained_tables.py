"""Files of trained tables, seen by `convert`: taken over as they are, or read as the vectors that they give."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vecstore.conversion.importing import import_hash_embed, import_quotient_remainder, import_subwords
from vecstore.conversion.sources.store_dump import StoreDump
from vecstore.errors import FormatError, OptionError
from vecstore.formats import Dump, ReadingOptions
from vecstore.metric import Metric
from vecstore.store.store import Store

__all__ = ["TrainedTables"]


@dataclass(frozen=True)
class TrainedTables:
    """A file of a format that holds trained tables.

    Attributes
    ----------
    path : Path
    format : {"fasttext", "hashembed", "dlrm"}
    options : ReadingOptions
        ``keys``: a text file of the keys that the store is to hold; ``array``: the tensor or table.
    """

    path: Path
    format: str
    options: ReadingOptions

    def write(self, path: Path, *, metric: Metric, seed: int, force: bool) -> int:
        """Write a store that gives exactly what the tables gave; return how many rows it holds."""
        keys, array = self._keys(), self.options.get("array")
        match self.format:
            case "hashembed":
                if keys is None:
                    raise OptionError("a HashEmbed table has no keys: name a file of those to hold with keys=")
                return import_hash_embed(
                    self.path, path, seed=seed, keys=keys, tensor=array, metric=metric, force=force
                )
            case "dlrm":
                table = "emb_l.0" if array is None else array
                return import_quotient_remainder(self.path, path, table=table, metric=metric, force=force)
            case _:
                return import_subwords(self.path, path, keys=keys, metric=metric, force=force)

    @contextmanager
    def as_dump(self) -> Iterator[Dump]:
        """Yield a dump of the vectors that the tables give for their keys, while the block lasts."""
        with tempfile.TemporaryDirectory() as folder:
            self.write(Path(folder, "tables.vecs"), metric="dot", seed=0, force=False)
            with Store(Path(folder, "tables.vecs")) as store:
                yield StoreDump(store, path=self.path, format=self.format)

    def _keys(self) -> list[str] | None:
        given = self.options.get("keys")
        if given is None:
            return None
        try:
            return [line for line in Path(given).read_text(encoding="utf-8").split("\n") if line]
        except UnicodeDecodeError:
            raise FormatError("keys are UTF-8 text, one a line", path=given) from None
