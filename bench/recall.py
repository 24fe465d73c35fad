"""What each codec keeps and what it costs, on held-out rows: ``python -m vecstore.bench.recall``.

Training rows, searched rows and queries are disjoint; exact duplicates are dropped first. Recall@10 is the share of the
ten nearest by exact cosine that an exhaustive scan of the codes finds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.timing import machine, table, write_section
from vecstore.formats import open_dump

from vecstore.codecs.codec import Codec
from vecstore.codecs.evaluation import neighbours, overlap
from vecstore.codecs.normalize import unit
from vecstore.codecs.spec import codec
from vecstore.errors import ShapeError, require

CODECS = (
    "f16 sq:8 sq:6 sq:4 pca:128,sq:8 pca:128,sq:4 opq:128 opq:96 opq:64 opq:48 opq:96x4 opq:32 opq:16 "
    "pq:96 pq:64 pq:48 pq:32 pq:16 center,rotate,bin bin"
)
FAMILIES = {"opq": "opq", "pq": "pq", "sq": "scalar", "pca": "pca + scalar", "f16": "scalar", "bin": "binary"}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.recall", description=__doc__)
    parser.add_argument("vectors", type=Path, help="a dump")
    parser.add_argument("queries", type=Path, help="a dump of queries, other than the vectors")
    parser.add_argument("--codecs", default=CODECS, help="separated by spaces")
    parser.add_argument("--train", type=int, default=20_000, metavar="ROWS")
    parser.add_argument("--base", type=int, default=40_000, metavar="ROWS")
    parser.add_argument("--title", default="", help="what the vectors are, for the foot of the table")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into this Markdown page")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw recall against bytes (.svg or .png)")
    arguments = parser.parse_args()
    x, queries = _vectors(arguments.vectors), _vectors(arguments.queries)[:500]
    found = measure(x, queries, arguments.codecs.split(), train=arguments.train, base=arguments.base)
    text = _page(found, x.shape[1], arguments)
    print(text)
    if arguments.write:
        write_section(arguments.write, "recall", text)
    if arguments.picture:
        draw(found, arguments.picture, dimensions=x.shape[1], title=arguments.title)


def measure(
    x: NDArray[np.float32], queries: NDArray[np.float32], specs: Sequence[str], *, train: int, base: int
) -> list[dict[str, Any]]:
    """Return one record a codec: bytes, recall with its standard error, fit seconds and encoding rate."""
    x = np.unique(unit(x), axis=0)
    x = x[np.random.default_rng(0).permutation(len(x))]
    train = min(train, len(x) // 2)
    sample, rows = x[:train], x[train : train + base]
    if len(rows) < 100:
        raise ShapeError(f"{len(x)} distinct vectors: too few to train on one part and search another")
    wanted = neighbours(queries, rows, 10)
    found = []
    for spec in specs:
        start = time.perf_counter()
        trained: Codec = codec(spec).fit(sample, seed=0)
        fitted = time.perf_counter()
        codes = trained.encode(rows)
        encoded = time.perf_counter()
        got = neighbours(queries, trained.decode(codes), 10)
        each = [overlap(got[i : i + 1], wanted[i : i + 1]) for i in range(len(queries))]
        found.append(
            {
                "codec": spec,
                "bytes": trained.code_bytes,
                "model": trained.model_bytes,
                "recall": float(np.mean(each)),
                "error": float(np.std(each) / np.sqrt(len(each))),
                "fit": fitted - start,
                "rate": len(rows) / (encoded - fitted),
            }
        )
    return found


def draw(found: Sequence[dict[str, Any]], path: Path, *, dimensions: int, title: str) -> None:
    """Draw recall against bytes, a line a family of codecs, readable on light and dark pages."""
    matplotlib: Any = require("matplotlib", extra="plot", purpose="drawing")
    matplotlib.use("Agg")
    matplotlib.rcParams |= {"svg.hashsalt": "vecstore", "svg.fonttype": "none"}
    from matplotlib import pyplot

    ink = "#7a7f87"
    figure, axes = pyplot.subplots(figsize=(7.2, 4), layout="constrained")
    colours = {"opq": "#2f9e77", "pq": "#d9822b", "scalar": "#4c78d0", "pca + scalar": "#b05fc4", "binary": "#d1495b"}
    for family, colour in colours.items():
        own = sorted((r for r in found if FAMILIES[_main_step(r["codec"])] == family), key=lambda r: r["bytes"])
        if own:
            bytes_, recall = [r["bytes"] for r in own], [r["recall"] for r in own]
            axes.errorbar(bytes_, recall, yerr=[1.96 * r["error"] for r in own], color=colour, lw=1, label=family)
            axes.plot(bytes_, recall, "o-", color=colour, ms=5, lw=2)
    ticks = [16, 32, 64, 128, 256, 512, 768]
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xlabel(f"bytes a vector (float32: {4 * dimensions})", color=ink)
    axes.set_ylabel("recall@10, held out", color=ink)
    axes.set_title(title, color=ink, fontsize=10)
    axes.grid(color=ink, alpha=0.25)
    axes.tick_params(colors=ink)
    for spine in axes.spines.values():
        spine.set_color(ink)
    axes.legend(frameon=False, labelcolor=ink, loc="lower right")
    figure.savefig(path, transparent=True, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def _page(found: Sequence[dict[str, Any]], d: int, arguments: argparse.Namespace) -> str:
    lines = []
    for r in sorted(found, key=lambda r: -r["bytes"]):
        recall = f"{r['recall']:.3f} ± {1.96 * r['error']:.3f}"
        cells = [f"{4 * d / r['bytes']:.0f}x", recall, f"{r['model'] / 1024:,.0f}", f"{r['fit']:.1f}"]
        lines.append([f"`{r['codec']}`", str(r["bytes"]), *cells, f"{r['rate'] / 1e3:,.0f}"])
    header = ["codec", "bytes", "smaller", "recall@10", "model KiB", "fit s", "encode k/s"]
    note = (
        f"{arguments.title or arguments.vectors.name}: {d} dimensions, trained on {arguments.train:,} rows, searched "
    )
    note += f"{arguments.base:,} others with 500 queries; ± is a 95% interval."
    return f"{note}\n\n{table(header, lines)}\n\n{machine()}"


def _main_step(spec: str) -> str:
    names = [step.partition(":")[0] for step in spec.split(",")]
    return "pca" if names[0] == "pca" else names[-1]


def _vectors(path: Path) -> NDArray[np.float32]:
    return np.concatenate([batch.vectors for batch in open_dump(path).batches()])


if __name__ == "__main__":
    main()
