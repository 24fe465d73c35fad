"""Reading and writing files of word2vec's two formats, with gensim's options."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

import vecstore
from vecstore.compat.gensim.rows import KeyedRows
from vecstore.errors import OptionError
from vecstore.formats import Batch, Dump, open_dump

__all__ = ["Word2vecFormat"]

PIECE_ROWS = 8192


class Word2vecFormat(KeyedRows):
    """The part of `KeyedVectors` that reads and writes files of others."""

    codec: ClassVar[str] = "f32"  # of stores that `load_word2vec_format` makes, where it is told of no other

    @classmethod
    def load_word2vec_format(  # noqa: PLR0913 - as in gensim
        cls,
        fname: str | Path,
        fvocab: str | Path | None = None,
        binary: bool = False,
        encoding: str = "utf8",
        unicode_errors: str = "strict",
        limit: int | None = None,
        datatype: Any = np.float32,
        no_header: bool = False,
        *,
        codec: str | None = None,
        path: str | Path | None = None,
    ) -> Self:
        """Convert a file to a store, and open it.

        Parameters
        ----------
        fname : path
        fvocab : path, optional
            Lines of a word and how often it came; without, counts fall from the number of words to 1.
        binary : bool
        encoding, unicode_errors : str
            Of the words, as for `bytes.decode`.
        limit : int, optional
            Read only so many rows; None or 0 for all.
        datatype
            Without meaning here: vectors are float32.
        no_header : bool
            The text begins with the first word, as GloVe's does.
        codec : str, optional
            Of the store: "f32" by default.
        path : path, optional
            Where the store stays; without, in a temporary folder, as long as the object is there.
        """
        if binary and no_header:
            raise OptionError("no_header is for text; give binary=False")
        dump = WordsDump(fname, binary, no_header, encoding, unicode_errors, limit)
        counts = None if fvocab is None else read_counts(fvocab, unicode_errors)
        folder = tempfile.TemporaryDirectory(prefix="vecstore-") if path is None else None
        place = Path(folder.name) / "words.vecs" if folder is not None else Path(str(path))
        vecstore.convert(dump, place, codec or cls.codec, on_duplicate="first", force=True, accept_dominated=True)
        made: Any = cls(vecstore.open(place))
        if folder is not None:
            weakref.finalize(made._rows.store, folder.cleanup)
        number = len(made)
        given = range(number, 0, -1) if counts is None else [counts.get(key, 0) for key in made.index_to_key]
        made.expandos["count"] = np.array(given, np.int64)
        return made

    def save_word2vec_format(
        self,
        fname: str | Path,
        fvocab: str | Path | None = None,
        binary: bool = False,
        total_vec: int | None = None,
        write_header: bool = True,
        prefix: str = "",
        append: bool = False,
        sort_attr: str = "count",
    ) -> None:
        """Write all keys and vectors as text or binary, by falling values of an attribute where there is one.

        Parameters
        ----------
        fname : path
        fvocab : path, optional
            Where to write each key with its attribute.
        binary : bool
        total_vec : int, optional
            What the header says, where other vectors will follow.
        write_header : bool
        prefix : str
            Put before every key.
        append : bool
            Write behind what is in the files.
        sort_attr : str
        """
        values = self.expandos.get(sort_attr)
        if values is None and fvocab is not None:
            raise OptionError(f"fvocab needs the attribute {sort_attr!r}, which no key has; see set_vecattr")
        order = np.arange(len(self)) if values is None else np.argsort(-values, kind="stable")
        mode = "ab" if append else "wb"
        if fvocab is not None and values is not None:
            with open(fvocab, mode) as file:
                for key, value in zip(self._rows.keys(order), values[order].tolist(), strict=True):
                    file.write(f"{prefix}{key} {value}\n".encode())
        with open(fname, mode) as file:
            if write_header:
                file.write(f"{len(self) if total_vec is None else total_vec} {self.vector_size}\n".encode())
            for start in range(0, len(self), PIECE_ROWS):
                some = order[start : start + PIECE_ROWS]
                vectors = self._rows.vectors(some)
                numbers: Any = vectors if binary else vectors.astype("S").tolist()
                for key, own in zip(self._rows.keys(some), numbers, strict=True):
                    row = own.astype("<f4").tobytes() if binary else b" ".join(own) + b"\n"
                    file.write(f"{prefix}{key} ".encode() + row)

    def intersect_word2vec_format(
        self,
        fname: str | Path,
        lockf: float = 0.0,
        binary: bool = False,
        encoding: str = "utf8",
        unicode_errors: str = "strict",
    ) -> None:
        """Take the vectors of a file for the keys that are here; others are left out. `lockf` has no meaning here."""
        for batch in WordsDump(fname, binary, False, encoding, unicode_errors, None).batches():
            positions = np.array([self._rows.find(key) for key in batch.keys or ()], np.int64)
            self._rows.replace(positions[positions >= 0], batch.vectors[positions >= 0])


class WordsDump(Dump):
    """A file of word2vec's, its words decoded as gensim does it."""

    def __init__(
        self,
        path: str | Path,
        binary: bool,
        no_header: bool,
        encoding: str,
        unicode_errors: str,
        limit: int | None,
    ) -> None:
        form = "word2vec-binary" if binary else "glove" if no_header else "word2vec"
        self._dump = open_dump(path, format=form, key_type="bytes")
        rows = self._dump.rows
        super().__init__(
            self._dump.path,
            format=form,
            rows=min(rows, limit) if limit and rows is not None else rows,
            dimensions=self._dump.dimensions,
            key_type="str",
        )
        self._decoding, self._limit = (encoding, unicode_errors), limit or None

    def _batches(self, rows: int) -> Iterator[Batch]:
        left = self._limit
        for batch in self._dump.batches(rows if left is None else min(rows, left)):
            kept = len(batch) if left is None else min(len(batch), left)
            keys = [bytes(key).decode(*self._decoding).lstrip("\n") for key in list(batch.keys or ())[:kept]]
            problems = {at: why for at, why in batch.problems.items() if at < kept}
            yield Batch(batch.vectors[:kept], keys, problems, batch.fraction_read)
            left = None if left is None else left - kept
            if left == 0:
                return


def read_counts(path: str | Path, unicode_errors: str) -> dict[str, int]:
    """Return how often each word came, from lines of a word and a number."""
    text = Path(path).read_bytes().decode("utf-8", unicode_errors)
    return {word: int(count) for word, count in (line.split() for line in text.splitlines() if line.strip())}
