"""What codecs whose rows share tables keep, beside those whose rows do not.

``python -m vecstore.bench.scripts.shared_tables``.

GloVe 6B 50-d, 100,000 words in order of frequency. Tables stand for the rows that they were fitted to, so every row is
measured; the other codecs are trained on two thirds of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.demo import K, Words, exact_neighbours, load_words, pick_queries
from vecstore.bench.timing import add_page, machine, show, table

import vecstore
from vecstore.codecs.codec import CodecSpec
from vecstore.codecs.mixed.budget import MixedBudget
from vecstore.codecs.mixed.plan import plan
from vecstore.conversion.conversion import write
from vecstore.measure.advisor import advise

CODECS = (
    *("pq:10", "pq:12", "opq:12", "tcq:12", "pq:25", "sq:8"),
    *("mixed:12", "sq:8@1000+pq:25@10000+pq:10", "mixed:12:dims", "mixed:12:dims:0.3:pow2"),
    *("qr:4", "qr:4:mult", "qr:4:concat", "qr:50x50x40", "qr:251x256x3:crt", "qr:4:learned"),
    *("hash:25000:1", "hash:25000:2", "hash:25000:4", "hash:25000:2:weighted"),
    *("hash:25000:2:word&prefix3&suffix3&ngrams3-5:mean", "f32@1000+hash:24000:2", "hash:2500:2/pq:10"),
    *("subspace:24x4", "anchor:4096:3"),
)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.shared_tables", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--codecs", default=" ".join(CODECS), help="separated by spaces")
    add_page(parser)
    arguments = parser.parse_args()
    text = run(arguments.rows, arguments.codecs.split())
    show(text, "tables", page=arguments.write)


def run(rows: int, codecs: list[str]) -> str:
    """Return the table as Markdown."""
    words = load_words(rows)
    common = pick_queries(words)
    anywhere = np.sort(np.random.default_rng(1).choice(rows, min(len(common), rows), replace=False))
    asked = np.random.default_rng(2).choice(rows, len(common), p=_frequencies(rows))
    truths = [(queries, exact_neighbours(words, queries)) for queries in (asked, common, anywhere)]
    lines = []
    for codec in codecs:
        lines.append(_line(words, codec, truths))
        print(*lines[-1], file=sys.stderr, flush=True)
    header = ["codec", "bytes a row", "with tables", "R²", "by frequency", "predicted"]
    header += ["recall@10 by frequency", "of 20,000", "of any word", "s"]
    return f"{table(header, lines)}\n\n{machine()}"


def _line(words: Words, codec: str, truths: list[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> list[str]:
    x = words.vectors
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "words.vecs")
        start = time.perf_counter()
        write(path, x, words.keys, codec, accept_dominated=True)
        elapsed_s = time.perf_counter() - start
        with vecstore.open(path) as store:
            decoded = np.asarray(store.vectors)
            recalls = []
            for queries, truth in truths:
                found = store.search(x[queries], K + 1).rows
                pairs = zip(found, queries, truth, strict=True)
                recalls.append(
                    float(np.mean([np.isin(own[own != query][:K], best).mean() for own, query, best in pairs]))
                )
            shards = store._snapshot.shards
            code_bytes = sum(shard.codec.code_bytes * shard.rows for shard in shards) / len(x)
            model_bytes = sum(shard.codec.model_bytes for shard in shards) / len(x)
            chosen = store.info()["codec"]
    by_frequency = r2(x, decoded, _frequencies(len(x)))
    name = f"`{codec}`" + (f": `{chosen}`" if isinstance(plan(codec), MixedBudget) else "")
    numbers = [f"{code_bytes:.2f}", f"{code_bytes + model_bytes:.2f}", f"{r2(x, decoded, np.ones(len(x))):.3f}"]
    return [
        name,
        *numbers,
        f"{by_frequency:.3f}",
        _predicted(codec, x),
        *(f"{r:.3f}" for r in recalls),
        f"{elapsed_s:.0f}",
    ]


def _predicted(codec: str, x: NDArray[np.float32]) -> str:
    spec = plan(codec)
    if not isinstance(spec, CodecSpec):
        return ""
    sample = x[np.random.default_rng(0).permutation(len(x))[:20_000]]
    advice = advise(spec, sample, len(x))
    return f"{advice[0].wanted.r2:.3f}" if advice else ""


def _frequencies(rows: int) -> NDArray[np.float64]:
    """Return the share of every word in a text by Zipf's law, of words in the order of frequency."""
    shares = 1 / np.arange(1, rows + 1)
    return shares / shares.sum()


def r2(x: NDArray[np.float32], decoded: NDArray[np.float32], weights: NDArray[np.float64]) -> float:
    """Return the share of variance kept, rows weighted."""
    mean = weights @ x / weights.sum()
    return float(1 - weights @ ((x - decoded) ** 2).sum(axis=1) / (weights @ ((x - mean) ** 2).sum(axis=1)))


if __name__ == "__main__":
    main()
