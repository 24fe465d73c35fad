"""Codecs of token vectors and of sparse terms against each other: bytes a row, and how many of the best rows stay."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from vecstore.formats import open_dump

import vecstore
from vecstore.conversion.field_columns import pieces_of
from vecstore.errors import OptionError
from vecstore.fields.columns import checked_columns, terms_of, tokens_of
from vecstore.fields.sparse.entries import entries_of

__all__ = ["TOKEN_CODECS", "FieldLine", "bench_fields"]

TOKEN_CODECS = ("sq:8", "tcq:48", "sq:4", "tcq:32", "pq:32", "tcq:24", "rotate,bin")
WEIGHT_BITS = (8, 4, 0)


class FieldLine(NamedTuple):
    """What a codec keeps: of the ten best rows of held-out rows as queries, by vectors or weights as they were."""

    field: str
    codec: str
    row_bytes: float
    agreement: float | None


def bench_fields(
    source: str | Path,
    *,
    tokens: str | None = None,
    terms: str | tuple[str, str] | None = None,
    codecs: Sequence[str] = TOKEN_CODECS,
    seed: int = 0,
    **reading: Any,
) -> Iterator[FieldLine]:
    """Yield a line for each codec of columns of a dump.

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
    seed : int
    **reading
        As of `vecstore.convert`.

    Raises
    ------
    OptionError
        Neither of the two is given.
    """
    if tokens is None and terms is None:
        raise OptionError("name a column: tokens= of token vectors, terms= of sparse terms")
    names = checked_columns(terms) if terms is not None else ()
    columns = [*([tokens] if tokens is not None else []), *names]
    dump = open_dump(source, **{**reading, "columns": columns})
    with tempfile.TemporaryDirectory() as folder:
        if tokens is not None:
            x, counts = tokens_of(pieces_of(dump, (tokens,)), tokens, Path(folder))
            yield FieldLine(tokens, "float32", float(4 * x.shape[1] * counts.mean()), 1.0)
            for codec in codecs:
                trained = vecstore.Multi(x, counts, codec=codec).fit(seed=seed)
                size = float(trained.kept(counts).mean()) * trained.codec.code_bytes + 8
                yield FieldLine(tokens, codec, size, trained.certificate.get("agreement"))
        if names:
            entries = entries_of(*terms_of(pieces_of(dump, names), names))
            path = Path(folder) / "terms.vecs"
            for bits in WEIGHT_BITS:
                field = vecstore.Sparse(entries, weight_bits=bits)
                ones = np.ones((len(field), 1), np.float32)
                vecstore.write(path, ones, codec="f16", fields={"terms": field}, seed=seed, force=True)
                with vecstore.open(path) as store:
                    (about,) = store.info()["fields"]
                agreement = (about["certificate"] or {}).get("agreement")
                yield FieldLine(" ".join(names), f"{bits} bits", about["size_bytes"] / len(field), agreement)
