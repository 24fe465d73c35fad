"""How fast dumps are read and written, beside others: ``python -m vecstore.bench.scripts.dump_speed --scratch FOLDER``.

Each is read, or written, several times in turn with its peer, by one process and one thread; the fastest counts.
MB are of float32 vectors, but for text that is read: there they are of the file. The peer that writes is, but for
parquet, a file of the vectors alone that is written in the same pieces, and made durable as exports are.
"""

from __future__ import annotations

import argparse
import os
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
PIECE = 8192  # rows
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


def _written(path: Path, vectors: NDArray[np.float32]) -> None:
    with open(path, "wb") as file:
        for first in range(0, len(vectors), PIECE):
            file.write(vectors[first : first + PIECE].data)
        file.flush()
        os.fsync(file.fileno())


def _arrow_parquet(path: Path) -> None:
    parquet = require("pyarrow.parquet", purpose="the peer")
    for _ in parquet.ParquetFile(path, pre_buffer=False).iter_batches(PIECE):
        pass


def _arrow_parquet_written(path: Path, keys: list[str], vectors: NDArray[np.float32]) -> None:
    pa, parquet = (require(name, purpose="the peer") for name in ("pyarrow", "pyarrow.parquet"))
    rows = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    parquet.write_table(pa.table({"key": keys, "vector": rows}), path, use_dictionary=["key"], row_group_size=PIECE)


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
    copied = given.scratch / "copied"
    actions = {"copy": lambda: shutil.copyfile(plain, copied), "written": lambda: _written(copied, vectors)}
    mega = {name: vectors.nbytes / 1e6 / seconds for name, seconds in fastest(actions, given.times).items()}
    print(f"plain copy: {mega['copy']:,.0f} MB/s; vectors alone, written: {mega['written']:,.0f} MB/s")
    print("| format | read, MB/s | peer | written, MB/s | peer |\n| --- | --- | --- | --- | --- |")
    for name in (*BINARY, *TEXT):
        print(_row(name, given.scratch / f"out.{name}", keys, vectors, given.times), flush=True)


def _row(name: str, path: Path, keys: list[str], vectors: NDArray[np.float32], times: int) -> str:
    def write() -> None:
        pieces = range(0, len(keys), PIECE)
        pairs = [(keys[first : first + PIECE], vectors[first : first + PIECE]) for first in pieces]
        width, rows = vectors.shape[1], len(keys)
        write_dump(path, pairs, dimensions=width, rows=rows, key_type="str", format=name, force=True, keys=keys)

    writing: dict[str, Callable[[], Any]] = {"own": write}
    actions: dict[str, Callable[[], Any]] = {"own": lambda: _read(path, format=name)}
    if name == "parquet":
        writing["pyarrow"] = lambda: _arrow_parquet_written(path.with_name("pyarrow.parquet"), keys, vectors)
        actions["pyarrow"] = lambda: _arrow_parquet(path)
    if name in ("word2vec", "word2vec-binary"):
        actions["gensim"] = lambda: _gensim(path, name != "word2vec")
    if name == "csv":
        actions["pyarrow"] = lambda: _arrow_csv(path)
    written, read = fastest(writing, times), fastest(actions, times)
    of_file = path.stat().st_size if name in TEXT else vectors.nbytes
    return f"| `{name}` | {_rates(read, of_file)} | {_rates(written, vectors.nbytes)} |"


def _rates(seconds: dict[str, float], size: int) -> str:
    """Return two cells: our own rate, and those of peers."""
    rates = {name: f"{size / 1e6 / took:,.0f}" for name, took in seconds.items()}
    own = rates.pop("own")
    return f"{own} | {', '.join(f'{name} {rate}' for name, rate in rates.items())}"


if __name__ == "__main__":
    main()
