"""How much of the original vectors compressed ones still tell.

``python -m vecstore.bench.scripts.similarity ROWS.npy`` trains each codec on all rows but the last 2,000, codes and
decodes these, and prints their cosine with the originals, and for how many the original is the nearest of all rows.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from vecstore.bench.timing import table

import vecstore
from vecstore.codecs.base import Floats
from vecstore.codecs.transforms.normalize import unit

__all__ = ["main", "similarities"]

HEADER = ("codec", "bytes a row", "mean cosine", "least of 99%", "found again")
CODECS = (
    "f16",
    "sq:8",
    "sq:4",
    "tcq:96",
    "tcq:48",
    "tcq:16",
    "opq:48",
    "pq:48",
    "pca:64,sq:8",
    "rotate,lloyd:2",
    "bin",
)
HELD_OUT = 2000


def similarities(x: Floats, codecs: Sequence[str] = CODECS) -> Iterator[tuple[str, ...]]:
    """Yield a line of the table for each codec; x (n, d) float32, of which the last rows are not trained on."""
    x = unit(x)
    seen, held_out = x[:-HELD_OUT], x[-HELD_OUT:]
    for spec in codecs:
        trained = vecstore.codec(spec).fit(seen)
        decoded = unit(trained.decode(trained.encode(held_out)))
        cosines = np.einsum("ij,ij->i", decoded, held_out)
        found = (decoded @ x.T).argmax(axis=1) == np.arange(len(x) - HELD_OUT, len(x))
        low = np.quantile(cosines, 0.01)
        yield spec, str(trained.code_bytes), f"{cosines.mean():.3f}", f"{low:.3f}", f"{found.mean():.1%}"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.similarity", description=__doc__)
    parser.add_argument("rows", type=Path, metavar="ROWS.npy", help="vectors (n, d), more than 2,000 of them")
    print(table(HEADER, list(similarities(np.load(parser.parse_args().rows).astype(np.float32)))))


if __name__ == "__main__":
    main()
