"""How fast dumps are read and written, beside others: ``python -m vecstore.bench.scripts.dump_speed --scratch FOLDER``.

Each is read, or written, several times in turn with its peer, by one process and one thread; the fastest counts.
MB are of float32 vectors, but for text that is read: there they are of the file.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.formats import open_dump, write_dump

from vecstore.errors import require

__all__ = ["main"]

BINARY = ("npy", "fbin", "fvecs", "word2vec-binary", "safetensors", "parquet", "arrow", "finalfusion")
TEXT = ("word2vec", "csv", "tsv", "jsonl")


def fastest(actions: dict[str, Callable[[], Any]], times: int) -> dict[str, float]:
    """Return the least processor seconds of each action; they take turns."""
    found = dict.fromkeys(actions, float("inf"))
    for _ in range(times):
        for name, act in actions.items():
            start = time.process_time()
            act()
            found[name] = min(found[name], time.process_time() - start)
    return found


def _read(path: Path, **options: Any) -> None:
    for _ in open_dump(path, **options).batches():
        pass


def _gensim(path: Path, binary: bool) -> None:
    require("gensim.models", purpose="the peer").KeyedVectors.load_word2vec_format(str(path), binary=binary)


def _arrow_csv(path: Path) -> None:
    csv = require("pyarrow.csv", purpose="the peer")
    csv.read_csv(path, read_options=csv.ReadOptions(use_threads=False))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.dump_speed", description=__doc__)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--dimensions", type=int, default=128)
    parser.add_argument("--times", type=int, default=3)
    given = parser.parse_args(arguments)
    given.scratch.mkdir(parents=True, exist_ok=True)
    vectors = np.random.default_rng(0).normal(size=(given.rows, given.dimensions)).astype(np.float32)
    keys = [f"word{row}" for row in range(given.rows)]
    plain = given.scratch / "plain"
    plain.write_bytes(vectors.tobytes())
    copy = fastest({"copy": lambda: shutil.copyfile(plain, given.scratch / "copied")}, given.times)["copy"]
    print(f"plain copy: {vectors.nbytes / 1e6 / copy:,.0f} MB/s")
    print("| format | read, MB/s | peer | written, MB/s |\n| --- | --- | --- | --- |")
    for name in (*BINARY, *TEXT):
        print(_row(name, given.scratch / f"out.{name}", keys, vectors, given.times), flush=True)


def _row(name: str, path: Path, keys: list[str], vectors: NDArray[np.float32], times: int) -> str:
    def write() -> None:
        pieces = range(0, len(keys), 8192)
        pairs = [(keys[first : first + 8192], vectors[first : first + 8192]) for first in pieces]
        width, rows = vectors.shape[1], len(keys)
        write_dump(path, pairs, dimensions=width, rows=rows, key_type="str", format=name, force=True)

    written = fastest({"write": write}, times)["write"]
    actions: dict[str, Callable[[], Any]] = {"own": lambda: _read(path, format=name)}
    if name in ("word2vec", "word2vec-binary"):
        actions["gensim"] = lambda: _gensim(path, name != "word2vec")
    if name == "csv":
        actions["pyarrow"] = lambda: _arrow_csv(path)
    read = fastest(actions, times)
    mega = (path.stat().st_size if name in TEXT else vectors.nbytes) / 1e6
    peers = ", ".join(f"{peer} {mega / read[peer]:,.0f}" for peer in read if peer != "own")
    return f"| `{name}` | {mega / read['own']:,.0f} | {peers} | {vectors.nbytes / 1e6 / written:,.0f} |"


if __name__ == "__main__":
    main()
