"""Lookups beside dict + numpy and other stores, and what a cold process pays.

``python -m vecstore.bench.scripts.lookup``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.scripts.lookup_peers import PEERS, DictArray, DictMemmap, Lookup, Peer, Vecstore
from vecstore.bench.timing import add_page, machine, medians, show, table
from vecstore.formats import open_dump

import vecstore
from vecstore.errors import MissingExtraError

BATCH = 10_000


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.lookup", description=__doc__)
    parser.add_argument("vectors", type=Path, help="a dump that holds its keys, or an .npy file")
    parser.add_argument("keys", type=Path, nargs="?", help="keys of an .npy file, one a line")
    parser.add_argument("--codecs", default="f32,f16,sq:8,pq:48", help="comma-separated, one step each")
    add_page(parser)
    arguments = parser.parse_args()
    text = run(arguments.vectors, arguments.keys, arguments.codecs.split(","))
    show(text, "lookup", page=arguments.write)


def run(vectors: Path, keys_file: Path | None, codecs: list[str]) -> str:
    """Return the tables as Markdown."""
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as opened:
        keys, x = _clean(vectors, keys_file, Path(scratch, "clean.vecs"))
        stores = [Vecstore(codec) for codec in codecs]
        peers = PEERS if isinstance(keys[0], str) else ()
        folders, notes = _build([DictMemmap(), DictArray(), *stores, *peers], Path(scratch), keys, x)
        if not peers:
            notes.append(f"{', '.join(peer.name for peer in PEERS)}: measured with str keys only.")
        opening = _opening(folders, keys[0])
        lookups = {peer: opened.enter_context(peer.open(folder)) for peer, folder in folders.items()}
        parts = [
            f"{len(x):,} vectors x {x.shape[1]}, {len(keys):,} {type(keys[0]).__name__} keys; medians of 7 runs.",
            _singles(lookups, keys),
            _batches(lookups, keys),
            opening,
            _cold(folders[stores[0]] / "store.vecs", keys[len(keys) // 2]),
            *notes,
            ", ".join([machine(), *(f"{peer.package} {version(peer.package)}" for peer in folders if peer.package)]),
        ]
    return "\n\n".join(parts)


def _clean(vectors: Path, keys_file: Path | None, path: Path) -> tuple[list[Any], NDArray[np.float32]]:
    """Return the unique keys and sound vectors of a dump, which all are given; row numbers where it has no keys."""
    vecstore.convert(open_dump(vectors, keys=keys_file), path, "f32", on_duplicate="first", on_bad="skip")
    with vecstore.open(path) as store:
        return list(store), np.array(store.vectors)


def _build(
    peers: list[Peer], scratch: Path, keys: list[Any], x: NDArray[np.float32]
) -> tuple[dict[Peer, Path], list[str]]:
    """Return the folder of each peer, and a note on each that is not installed."""
    folders, notes = {}, []
    for number, peer in enumerate(peers):
        folder = scratch / str(number)
        folder.mkdir()
        try:
            peer.build(folder, keys, x)
        except MissingExtraError as error:
            notes.append(f"Not measured: {error}")
        else:
            folders[peer] = folder
    return folders, notes


def _singles(lookups: dict[Peer, Lookup], keys: list[Any]) -> str:
    most = max(peer.singles for peer in lookups)
    picked = [keys[row] for row in np.random.default_rng(1).integers(0, len(keys), most)]

    def over(peer: Peer, one: Callable[[Any], object]) -> Callable[[], None]:
        mine = picked[: peer.singles]

        def loop() -> None:
            for key in mine:
                one(key)

        return loop

    taken = medians({peer.name: over(peer, lookup.one) for peer, lookup in lookups.items()})
    each = {peer.name: taken[peer.name] / peer.singles for peer in lookups}
    base = each[DictMemmap.name]
    rows = [[name, f"{t * 1e6:.2f}", f"{t / base:.2f}"] for name, t in each.items()]
    return "One key at a time:\n\n" + table(["lookup", "us", f"times {DictMemmap.name}"], rows)


def _batches(lookups: dict[Peer, Lookup], keys: list[Any]) -> str:
    rows = np.random.default_rng(2).integers(0, len(keys), BATCH)
    picked = [keys[row] for row in rows]
    functions: dict[str, Callable[[], object]] = {}
    for peer, lookup in lookups.items():
        functions[f"keys {peer.name}"] = partial(lookup.many, picked)
        if lookup.rows:
            functions[f"rows {peer.name}"] = partial(lookup.rows, rows)
    taken = medians(functions, runs=15)
    base = taken[f"rows {DictArray.name}"]
    lines = []
    for peer in lookups:
        by_key, by_row = taken[f"keys {peer.name}"], taken.get(f"rows {peer.name}")
        numbered = [by_row * 1e3, by_row / base, by_key / by_row] if by_row else []
        first, second, third = [f"{cell:.2f}" for cell in numbered] or ["", "", ""]
        lines.append([peer.name, first, second, f"{by_key * 1e3:.2f}", third, f"{BATCH / by_key / 1e3:,.0f}"])
    header = ["10,000 in one call", "by number, ms", "times X[rows]", "by key, ms", "times by number", "keyed k/s"]
    return table(header, lines) + "\n\nX[rows] is the array in RAM, by number."


def _opening(folders: dict[Peer, Path], key: object) -> str:
    def first(peer: Peer, folder: Path) -> None:
        with peer.open(folder) as lookup:
            lookup.one(key)

    taken = medians({peer.name: partial(first, peer, folder) for peer, folder in folders.items()})
    lines = []
    for peer, folder in folders.items():
        size_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        lines.append([peer.name, f"{taken[peer.name] * 1e3:.2f}", f"{size_bytes / 1e6:,.1f}"])
    return "In a running process:\n\n" + table(["", "open, read one vector, close, ms", "MB on disk"], lines)


def _cold(store: Path, key: object) -> str:
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
