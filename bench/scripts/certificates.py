"""Do certificates hold for real queries?

``python -m vecstore.bench.scripts.certificates SET=ROWS.npy,QUERIES.npy ...`` converts each set with each codec and
half of the queries, and searches the finished store with the other half. With queries, the interval is to hold that
recall; without, the rule of docs/tuning.md is to cover it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.timing import add_page, show, table

import vecstore
from vecstore.codecs.base import Floats
from vecstore.shard.certificate import Interval, Recall

__all__ = ["Outcome", "main", "outcomes"]

SECTION = "certificates and real queries"
HEADER = (
    "set",
    "codec",
    "rows as queries",
    "real queries often reach",
    "real queries, the half given",
    "other half",
    "",
)
CODECS = ("tcq:16", "tcq:48", "tcq:96", "pq:48", "bin", "sq:4", "sq:8", "pca:64,sq:8")
K = 10


class Outcome(NamedTuple):
    """What the certificates of a codec say, and what was found."""

    codec: str
    by_rows: Interval
    low: float
    by_queries: Interval
    found: float

    @property
    def covered(self) -> bool:
        """Whether the rule for certificates without queries covers what was found."""
        return self.found >= self.low

    @property
    def held(self) -> bool:
        """Whether the interval of the certificate with queries holds what was found."""
        return self.by_queries.low <= self.found <= self.by_queries.high


def outcomes(rows: Floats, queries: Floats, codecs: Sequence[str], *, seed: int = 0) -> Iterator[Outcome]:
    """Convert rows with each codec and half of the queries, and search with the other half."""
    order = np.random.default_rng(seed).permutation(len(queries))
    given, asking = queries[order[: len(order) // 2]], queries[order[len(order) // 2 :]]
    least = _tenth(rows, asking)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "store.vecs"
        for codec in codecs:
            certificate = vecstore.write(path, rows, codec=codec, queries=given, force=True).certificate
            by_rows, by_queries = (Recall.from_dict(certificate[name]) for name in ("recall", "query_recall"))
            assert by_rows is not None and by_queries is not None
            found = vecstore.open(path).search(asking, K).rows
            exact = np.einsum("qd,qkd->qk", _unit(asking), _unit(rows)[found])
            recall = float((exact >= least[:, None] - 1e-6).mean())
            yield Outcome(codec, by_rows.at[K], by_rows.of_real_queries or 0.0, by_queries.at[K], recall)


def _unit(x: Floats) -> Floats:
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


def _tenth(rows: Floats, queries: Floats) -> NDArray[np.float32]:
    """Return the cosine of each query's tenth neighbour."""
    x, q = _unit(rows), _unit(queries)
    parts = [np.partition(q[at : at + 100] @ x.T, -K, axis=1)[:, -K] for at in range(0, len(q), 100)]
    return np.concatenate(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, or write it into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="SET=ROWS.npy,QUERIES.npy")
    parser.add_argument("--codecs", nargs="+", default=CODECS)
    parser.add_argument("--seed", type=int, default=0, help="of the halves")
    add_page(parser)
    options = parser.parse_args(arguments)
    lines = []
    for one in options.sets:
        name, _, files = one.partition("=")
        rows, queries = (np.load(file).astype(np.float32) for file in files.split(","))
        for outcome in outcomes(rows, queries, options.codecs, seed=options.seed):
            verdict = f"{'covered' if outcome.covered else 'not covered'}, {'held' if outcome.held else 'not held'}"
            low, found = f"{outcome.low:.3f}", f"{outcome.found:.3f}"
            lines.append(
                (name, f"`{outcome.codec}`", str(outcome.by_rows), low, str(outcome.by_queries), found, verdict)
            )
    show(table(HEADER, lines), SECTION, page=options.write)


if __name__ == "__main__":
    main()
