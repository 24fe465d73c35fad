"""Lookups against dict + numpy, and what a cold process pays: ``python -m vecstore.bench.lookup``."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from vecstore.bench.timing import machine, medians, table, write_section
from vecstore.formats import open_dump

import vecstore
from vecstore.store import Store

SINGLE = 20_000
BATCH = 10_000


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.lookup", description=__doc__)
    parser.add_argument("vectors", type=Path, help="a dump that holds its keys, or an .npy file")
    parser.add_argument("keys", type=Path, nargs="?", help="keys of an .npy file, one a line")
    parser.add_argument("--codecs", default="f32,f16,sq:8,pq:48", help="comma-separated, one step each")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables into this Markdown page")
    arguments = parser.parse_args()
    text = run(arguments.vectors, arguments.keys, arguments.codecs.split(","))
    print(text)
    if arguments.write:
        write_section(arguments.write, "lookup", text)


def run(vectors: Path, keys_file: Path | None, codecs: list[str]) -> str:
    """Return the tables as Markdown."""
    dump = open_dump(vectors, keys=keys_file)
    batches = list(dump.batches())
    x = np.concatenate([batch.vectors for batch in batches])
    keys = [key for batch in batches for key in (batch.keys if batch.keys is not None else [])]
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder, "raw.f32")
        x.tofile(raw)
        mapped = np.memmap(raw, "<f4", "r", shape=x.shape)
        rows_of = {key: row for row, key in enumerate(keys)}
        stores = {}
        for codec in codecs:
            path = Path(folder, codec.replace(":", "-") + ".vecs")
            vecstore.convert(dump, path, codec, on_duplicate="first", on_bad="skip")
            stores[codec] = vecstore.open(path)
            stores[codec].verify()
        parts = [
            f"{len(x):,} vectors x {x.shape[1]}, {len(keys):,} {dump.key_type} keys; medians of 7 runs.",
            _singles(x, mapped, rows_of, keys, stores),
            _batches(x, keys, stores),
            _cold(Path(folder, codecs[0].replace(":", "-") + ".vecs"), str(keys[len(keys) // 2])),
            machine(),
        ]
    return "\n\n".join(parts)


def _singles(
    x: np.ndarray, mapped: np.ndarray, rows_of: dict[object, int], keys: list[object], stores: dict[str, Store]
) -> str:
    picked = [keys[row] for row in np.random.default_rng(1).integers(0, len(keys), SINGLE)]

    def over(lookup: Callable[[object], object]) -> Callable[[], None]:
        def loop() -> None:
            for key in picked:
                lookup(key)

        return loop

    functions = {
        "dict + np.memmap": over(lambda key: mapped[rows_of[key]]),
        "dict + ndarray in RAM": over(lambda key: x[rows_of[key]]),
    }
    functions |= {f"store[key], {codec}": over(store.__getitem__) for codec, store in stores.items()}
    taken = medians(functions)
    base = taken["dict + np.memmap"]
    rows = [[name, f"{t / SINGLE * 1e6:.2f}", f"{t / base:.2f}"] for name, t in taken.items()]
    return "One key at a time:\n\n" + table(["lookup", "us", "times dict + np.memmap"], rows)


def _batches(x: np.ndarray, keys: list[object], stores: dict[str, Store]) -> str:
    rows = np.random.default_rng(2).integers(0, len(keys), BATCH)
    picked = [keys[row] for row in rows]
    functions: dict[str, Callable[[], object]] = {"X[rows]": lambda: x[rows]}
    for codec, store in stores.items():
        functions[f"rows {codec}"] = lambda store=store: store.vectors[rows]  # type: ignore[misc]
        functions[f"keys {codec}"] = lambda store=store: store[picked]  # type: ignore[misc]
    taken = medians(functions, runs=15)
    base = taken["X[rows]"]
    lines = [["X[rows], float32 in RAM", f"{base * 1e3:.2f}", "1.00", "", "", ""]]
    for codec in stores:
        by_row, by_key = taken[f"rows {codec}"], taken[f"keys {codec}"]
        cells = [by_row * 1e3, by_row / base, by_key * 1e3, by_key / by_row]
        lines.append([codec, *(f"{cell:.2f}" for cell in cells), f"{BATCH / by_key / 1e3:,.0f}"])
    header = ["10,000 rows in one call", "by number, ms", "times X[rows]", "by key, ms", "times by number", "keyed k/s"]
    return table(header, lines)


def _cold(store: Path, key: str) -> str:
    programs = {
        "import numpy": "import numpy",
        "import, open, read one vector": f"import vecstore; vecstore.open({str(store)!r})[{key!r}]",
    }
    functions = {
        name: (lambda program=program: subprocess.run([sys.executable, "-c", program], check=True))
        for name, program in programs.items()
    }
    taken = medians(functions, runs=11)
    base = taken["import numpy"]
    lines = [[name, f"{t * 1e3:.0f}", f"{(t - base) * 1e3:+.0f}"] for name, t in taken.items()]
    return "A fresh process:\n\n" + table(["program", "ms", "beyond numpy"], lines)


if __name__ == "__main__":
    main()
