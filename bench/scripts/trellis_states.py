"""What more states of the trellis of `tcq` bring and cost.

``python -m vecstore.bench.scripts.trellis_states DOCS QUERIES``.

Training rows, searched rows and queries are disjoint, rows that repeat another are dropped. Times are of one thread and
its processor time, so that other work on the machine disturbs them little.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.scripts.scan import threads
from vecstore.bench.scripts.scan_trellis import single_lookup
from vecstore.bench.sources import Source, read_source
from vecstore.bench.split import Split, make_split
from vecstore.bench.timing import add_page, machine, show, table

import vecstore
from vecstore.codecs.codec import Codec, codec
from vecstore.codecs.evaluation import squared_error
from vecstore.codecs.trellis.layout import PARITY
from vecstore.codecs.trellis.quantizer import TrainedTCQ
from vecstore.measure.recall import GroundTruth
from vecstore.measure.spectrum import distortion_bound, spectrum

Floats: TypeAlias = NDArray[np.float32]

SIZES = (32, 64)
TIMED_ROWS = 10_000
ROUNDS = 9


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.trellis_states", description=__doc__)
    parser.add_argument("docs", type=Path, help="a dump of vectors to train on and to search")
    parser.add_argument("queries", type=Path, help="a dump of queries")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="BYTES")
    add_page(parser)
    arguments = parser.parse_args()
    text = run(read_source(arguments.docs), read_source(arguments.queries).x, arguments.sizes)
    show(text, "states", page=arguments.write)


def run(source: Source, queries: Floats, sizes: list[int]) -> str:
    """Return the table as Markdown."""
    split = make_split(replace(source, queries=queries, truth=None), metric="cosine")
    truth = GroundTruth(split.queries, split.base, "cosine")
    variances = spectrum(split.base)
    lines = []
    with threads(1):
        for size in sizes:
            bound = distortion_bound(variances, size)
            for states in PARITY:
                lines.append([f"`tcq:{size}:{states}`", *_line(f"tcq:{size}:{states}", split, truth, bound)])
                print(*lines[-1], file=sys.stderr, flush=True)
    error = ["dB above the bound", "least squares"]
    header = ["codec", *error, "recall@10", "rows/s encoded", "decoding / product", "lookup us"]
    return f"{split.outline(source.name, len(queries))}\n\n{table(header, lines)}\n\n{machine()}"


def _line(spec: str, split: Split, truth: GroundTruth, bound: float) -> list[str]:
    trained = codec(spec).fit(split.train, seed=0)
    trained.encode(split.base[:1])  # loads the kernel
    start = time.process_time()
    codes = trained.encode(split.base)
    rate = len(codes) / (time.process_time() - start)
    decoded = trained.decode(codes)
    errors = [squared_error(split.base, decoded), squared_error(split.base, _unstretched(trained).decode(codes))]
    recall = float(truth.recalls(decoded)[10].mean())
    numbers = [f"{10 * np.log10(error / bound):.2f}" for error in errors]
    return [
        *numbers,
        f"{recall:.3f}",
        f"{rate:,.0f}",
        f"{_decoding(trained, codes):.2f}",
        f"{_lookup(trained, split):.1f}",
    ]


def _unstretched(trained: Codec) -> TrainedTCQ:
    """Return the quantizer that decodes to the levels of the least squared error."""
    own: Any = trained.layers[0].quantizer
    levels = own.levels / own.stretch.repeat(np.diff(own.layout.starts))
    return own.with_levels(levels)


def _decoding(trained: Codec, codes: NDArray[np.uint8]) -> float:
    """Return the time of decoding over that of the matrix product that undoes the rotation."""
    own: Any = trained.layers[0].quantizer
    given = codes[:TIMED_ROWS]
    coefficients = np.ascontiguousarray(own.coefficients(given))
    ways: list[Callable[[], object]] = [lambda: trained.decode(given), lambda: coefficients @ own.axes]
    taken = np.empty((ROUNDS, len(ways)))
    for turn in range(ROUNDS):
        for at, way in enumerate(ways):
            start = time.process_time()
            way()
            taken[turn, at] = time.process_time() - start
    decoding, product = np.median(taken, axis=0)
    return float(decoding / product)


def _lookup(trained: Codec, split: Split) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.vecs")
        vecstore.write(path, split.base[:TIMED_ROWS], None, trained)
        with vecstore.open(path) as store:
            return single_lookup(store)


if __name__ == "__main__":
    main()
