"""Codecs of token vectors and of sparse terms against each other: bytes a row, agreement, and reciprocal ranks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from vecstore.bench.field_queries import FieldQueries, relevant_rows
from vecstore.formats import Dump, open_dump

import vecstore
from vecstore.conversion.sources.field_columns import pieces_of
from vecstore.errors import OptionError
from vecstore.fields.columns import checked_columns, terms_of, tokens_of
from vecstore.fields.multi.reader import MultiReader
from vecstore.fields.sparse.entries import entries_of

__all__ = ["TOKEN_CODECS", "FieldLine", "bench_fields"]

TOKEN_CODECS = ("sq:8", "tcq:48", "sq:4", "tcq:32", "pq:32", "tcq:24", "rotate,bin")
WEIGHT_BITS = (8, 4, 0)
FIELD = "field"  # its name in stores that are made to be searched


class FieldLine(NamedTuple):
    """What a codec keeps.

    Attributes
    ----------
    field, codec : str
    row_bytes : float
    agreement : float, optional
        Of the ten best rows by vectors or weights as they were; held-out rows are the queries.
    mrr : float, optional
        Mean reciprocal rank of the relevant rows among the ten best, of the queries that were given.
    """

    field: str
    codec: str
    row_bytes: float
    agreement: float | None
    mrr: float | None = None


def bench_fields(
    source: str | Path,
    *,
    tokens: str | None = None,
    terms: str | tuple[str, str] | None = None,
    codecs: Sequence[str] = TOKEN_CODECS,
    queries: str | Path | None = None,
    relevant: str | None = None,
    seed: int = 0,
    **reading: Any,
) -> Iterator[FieldLine]:
    """Yield a line for each codec of columns of a dump; the first of each column is what was given, uncoded.

    Parameters
    ----------
    source : path
        A Parquet or Arrow file.
    tokens : str, optional
        A column of lists of vectors.
    terms : str or two of them, optional
        The columns that `vecstore.Sparse` takes.
    codecs : sequence of str
        Of token vectors.
    queries : path, optional
        Another such file, with the same columns: one query a row. All rows of `source` are searched.
    relevant : str, optional
        A column of `queries`: the number of the row of `source` that answers it, from 0.
    seed : int
    **reading
        As of `vecstore.convert`.

    Raises
    ------
    OptionError
        Neither of the two columns is given, or one of `queries` and `relevant` without the other.
    ShapeError
        `relevant` holds something else than numbers of rows.
    """
    if tokens is None and terms is None:
        raise OptionError("name a column: tokens= of token vectors, terms= of sparse terms")
    if (queries is None) != (relevant is None):
        raise OptionError("queries= and relevant= go together: a file, and its column of row numbers")
    names = checked_columns(terms) if terms is not None else ()
    columns = [*([tokens] if tokens is not None else []), *names]
    dump = open_dump(source, **{**reading, "columns": columns})
    asking = None if queries is None else open_dump(queries, **{**reading, "columns": [*columns, relevant]})
    with tempfile.TemporaryDirectory() as folder:
        if tokens is not None:
            yield from _of_tokens(dump, tokens, codecs, asking, relevant, seed, Path(folder))
        if names:
            yield from _of_terms(dump, names, asking, relevant, seed, Path(folder))


def _of_tokens(
    dump: Dump, name: str, codecs: Sequence[str], asking: Dump | None, relevant: str | None, seed: int, room: Path
) -> Iterator[FieldLine]:
    x, counts = tokens_of(pieces_of(dump, (name,)), name, room)
    queries, mrr = None, None
    if asking is not None and relevant is not None:
        queries = FieldQueries.of_tokens(asking, name, relevant_rows(asking, relevant, len(counts)), room)
        mrr = queries.by_tokens(x, counts)
    yield FieldLine(name, "float32", float(4 * x.shape[1] * counts.mean()), 1.0, mrr)
    for codec in codecs:
        field = vecstore.Multi(x, counts, codec=codec)
        if queries is None:
            trained = field.fit(seed=seed)
        else:
            with _store(room / "tokens.vecs", field, seed) as store:
                (reader,) = store.field(FIELD).readers
                assert isinstance(reader, MultiReader)
                trained, mrr = reader.trained, queries.in_store(store, FIELD)
        size = float(trained.kept(counts).mean()) * trained.codec.code_bytes + 8
        yield FieldLine(name, codec, size, trained.certificate.get("agreement"), mrr)


def _of_terms(
    dump: Dump, names: tuple[str, ...], asking: Dump | None, relevant: str | None, seed: int, room: Path
) -> Iterator[FieldLine]:
    entries = entries_of(*terms_of(pieces_of(dump, names), names))
    told, rows = " ".join(names), len(entries.indptr) - 1
    queries, mrr = None, None
    if asking is not None and relevant is not None:
        queries = FieldQueries.of_terms(asking, names, relevant_rows(asking, relevant, rows))
        mrr = queries.by_terms(entries)
    yield FieldLine(told, "float32", 8 * len(entries.terms) / rows, 1.0, mrr)
    for bits in WEIGHT_BITS:
        with _store(room / "terms.vecs", vecstore.Sparse(entries, weight_bits=bits), seed) as store:
            (about,) = store.info()["fields"]
            agreement = (about["certificate"] or {}).get("agreement")
            mrr = None if queries is None else queries.in_store(store, FIELD)
            yield FieldLine(told, f"{bits} bits", about["size_bytes"] / rows, agreement, mrr)


def _store(path: Path, field: Any, seed: int) -> vecstore.Store:
    ones = np.ones((len(field), 1), np.float32)
    vecstore.write(path, ones, codec="f16", fields={FIELD: field}, seed=seed, force=True)
    return vecstore.open(path)
