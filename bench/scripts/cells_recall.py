"""What cells before a codec bring and cost: ``python -m vecstore.bench.scripts.cells_recall DOCS QUERIES``.

Training rows, searched rows and queries are disjoint, rows that repeat another are dropped.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.sources import Source, read_source
from vecstore.bench.split import Split, make_split
from vecstore.bench.timing import add_page, show, table

from vecstore.codecs.codec import codec
from vecstore.codecs.evaluation import squared_error
from vecstore.codecs.partition import COUNT_BYTES
from vecstore.measure.recall import GroundTruth

Floats: TypeAlias = NDArray[np.float32]

SIZES = (16, 32, 64)
CODECS = ("tcq", "opq")
CELLS = ("cells:64", "cells:256", "cells:1024", "cells")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.cells_recall", description=__doc__)
    parser.add_argument("docs", type=Path, help="a dump of vectors to train on and to search")
    parser.add_argument("queries", type=Path, help="a dump of queries")
    parser.add_argument("--codecs", nargs="+", default=CODECS, help="that are told their bytes")
    parser.add_argument("--cells", nargs="+", default=CELLS, help="that each is tried with, and without")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="BYTES")
    add_page(parser)
    arguments = parser.parse_args()
    specs = [
        f"{cells}{name}:{size}"
        for size in arguments.sizes
        for name in arguments.codecs
        for cells in ("", *(f"{cells}," for cells in arguments.cells))
    ]
    text = run(read_source(arguments.docs), read_source(arguments.queries).x, specs)
    show(text, "cells", page=arguments.write)


def run(source: Source, queries: Floats, specs: list[str]) -> str:
    """Return the table as Markdown."""
    split = make_split(replace(source, queries=queries, truth=None), metric="cosine")
    truth = GroundTruth(split.queries, split.base, "cosine")
    lines = []
    for spec in specs:
        lines.append(_line(spec, split, truth))
        print(*lines[-1], file=sys.stderr, flush=True)
    header = ["codec", "cells", "recall@10", "squared error", "bytes a row of cells", "in all, with the model"]
    return f"{split.outline(source.name, len(queries))}\n\n{table(header, lines)}"


def _line(spec: str, split: Split, truth: GroundTruth) -> list[str]:
    rows = len(split.base)
    trained = codec(spec).fit(split.train, seed=0, rows=rows)
    decoded = trained.decode(trained.encode(split.base))
    partition = trained.partition
    count = partition.count if partition else 0
    centroids = sum(array.nbytes for array in partition.arrays.values()) if partition else 0
    counts = COUNT_BYTES * count
    error = squared_error(split.base, decoded)
    recall = float(truth.recalls(decoded)[10].mean())
    whole = trained.code_bytes + trained.model_bytes / rows
    numbers = [f"{recall:.3f}", f"{error:.4f}", f"{(centroids + counts) / rows:.1f}", f"{whole:.1f}"]
    return [f"`{spec}`", str(count or ""), *numbers]


if __name__ == "__main__":
    main()
