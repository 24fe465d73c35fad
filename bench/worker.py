"""The program of one run: ``python -m vecstore.bench.worker build|measure OUT JOB.json``; `plan` starts it.

A store is built by one process and measured by another, which has nothing but the file. So what the neighbours are
found in is what is on the disk, and what an opened store adds to a process shows. It ends when its standard input does:
who started it was killed, and another one may make the same run.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.observation import observe
from vecstore.bench.peers.peer import Peer, peer_class
from vecstore.bench.run import RECORDS, Record, Run
from vecstore.bench.split import Split
from vecstore.bench.systems import lookups, memory, opening, queries_a_second
from vecstore.bench.timing import machine

import vecstore
from vecstore.codecs.codec import Codec
from vecstore.metric import Metric
from vecstore.search.coefficients import Coefficients

__all__ = ["StoreEngine", "main"]

Floats = NDArray[np.float32]
ENCODED_ROWS = 10_000  # timed on their own, since a conversion also reads and measures
PACKAGES = ("numpy", "numba", "faiss-cpu", "pyarrow")


def main(arguments: list[str]) -> None:
    """Make one step of a run."""
    Thread(target=_end_with_input, daemon=True).start()
    step, out, job = arguments[0], Path(arguments[1]), json.loads(Path(arguments[2]).read_text())
    run = Run(**job["run"])
    split = Split.load(out / "data")
    scratch = Path(job["scratch"])
    if run.kind == "peer":
        _peer(run, split, out, scratch, job["key"])
    elif step == "build":
        _build(run, split, scratch)
    else:
        _measure(run, split, out, scratch, job["key"])


def _end_with_input() -> None:
    os.read(0, 1)
    os._exit(1)


class StoreEngine:
    """An opened store, whose rows are found by their number among the base rows."""

    def __init__(self, store: vecstore.Store, keys: list[Any] | None, metric: Metric) -> None:
        self.store, self._keys, self._metric = store, keys, metric
        self._row_of = None if keys is None else {key: row for row, key in enumerate(keys)}

    def search(self, queries: Floats, k: int) -> tuple[NDArray[np.int64], Floats]:
        """Search the store as a user does."""
        found = self.store.search(queries, k)
        scores = -found.scores if self._metric == "l2" else found.scores
        if self._row_of is None:
            return found.rows, scores
        rows = np.full(found.rows.shape, -1, np.int64)
        for own, keys in zip(rows, found.keys, strict=True):
            own[: len(keys)] = [self._row_of[key] for key in keys]
        return rows, scores

    def decode(self) -> Floats:
        """Look all rows up, in the order of the base."""
        return self.store.vectors[:] if self._keys is None else self.store[self._keys]


def _build(run: Run, split: Split, scratch: Path) -> None:
    """Train and write the store; leave its facts in build.json."""
    train, base = np.asarray(split.train), np.asarray(split.base)
    trained, fit_s = _fitted(run, train, len(base))
    some = base[:ENCODED_ROWS]
    trained.encode(some[:64])  # compiles what encoding needs
    start = time.perf_counter()
    codes = trained.encode(some)
    encode_s = time.perf_counter() - start
    start = time.perf_counter()
    _write(scratch / "store.vecs", trained, split, base, seed=run.seed)
    facts = {
        "fit_s": fit_s,
        "encode_rows_s": len(some) / max(encode_s, 1e-9),
        "write_s": time.perf_counter() - start,
        "build_peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "claimed": {"code_bytes": int(trained.code_bytes), "model_bytes": int(trained.model_bytes)},
        "encoded_bytes": codes.nbytes / len(some) - trained.cell_bytes,  # free in a store
    }
    (scratch / "build.json").write_text(json.dumps(facts))


def _write(path: Path, trained: Any, split: Split, base: Floats, *, seed: int) -> None:
    """Write the store; with a certificate, which takes longer than all else, only where searching reads it."""
    plain = isinstance(trained, Codec) and len(trained.layers) == 1 and not trained.shared
    if plain and (trained.partition is not None or Coefficients.of(trained.layers[0]) is None):
        with vecstore.Writer(path, trained, metric=split.metric, force=True) as writer:
            writer.add(base, split.keys)
    else:
        vecstore.write(path, base, split.keys, trained, metric=split.metric, seed=seed, force=True)


def _fitted(run: Run, train: Floats, rows: int) -> tuple[Any, float]:
    """Return a trained codec and the seconds it took: timed again where kernels were compiled meanwhile."""
    from numba.core import event

    seconds = 0.0
    for _ in range(2):
        with event.install_recorder("numba:compile") as compiled:
            start = time.perf_counter()
            trained = vecstore.codec(run.name).fit(train, seed=run.seed, rows=rows)
            seconds = time.perf_counter() - start
        if not compiled.buffer:
            break
    return trained, seconds


def _measure(run: Run, split: Split, out: Path, scratch: Path, key: str) -> None:
    path = scratch / "store.vecs"
    queries = np.asarray(split.queries)
    os.environ["VECSTORE_CODECS"] = "all"  # the store was written here, by a codec that was asked for
    facts = json.loads((scratch / "build.json").read_text())
    facts["memory"] = memory(path, queries[0])  # before any thread
    facts["open"] = opening(path, 0 if split.keys is None else split.keys[0])
    with vecstore.open(path) as store:
        engine = StoreEngine(store, split.keys, split.metric)
        seen = observe(engine, split)
        facts["lookup_s"] = _rounded(lookups(store, split.keys, seed=run.seed))
        facts |= _speeds(engine.store.search, queries, run)
        about = store.info()["bytes"]
        rows = len(store)
    on_disk = sum(file.stat().st_size for file in path.rglob("*")) if path.is_dir() else path.stat().st_size
    model = facts["claimed"]["model_bytes"]
    facts["bytes"] = {
        "code": sum(about["code"]) + about["parts"].get("order", 0) / rows,  # without which cells give other numbers
        "scanned": about["resident"] / rows,
        "model": model,
        "resident": about["resident"] + model,
        "stored": on_disk,
        "amortised": on_disk / rows,
        "parts": about["parts"],
    }
    codes_on_disk = sum(size for name, size in about["parts"].items() if name.startswith("codes."))
    seen.facts.setdefault("audit", {}).update(
        {
            "rows": rows,
            "claimed_code_bytes": facts["claimed"]["code_bytes"],
            "encoded_bytes": facts["encoded_bytes"],
            "code_bytes_on_disk": codes_on_disk / rows,
            "stored_by_store": about["stored"],
            "stored_on_disk": on_disk,
        }
    )
    _keep(run, key, out, facts | seen.facts, seen)


def _peer(run: Run, split: Split, out: Path, scratch: Path, key: str) -> None:
    train, base, queries = (np.asarray(part) for part in (split.train, split.base, split.queries))
    peer: Peer = peer_class(run.name)(run.settings, metric=split.metric, seed=run.seed)
    start = time.perf_counter()
    peer.fit(train)
    fitted = time.perf_counter()
    peer.add(base)
    added = time.perf_counter()
    facts: dict[str, Any] = {
        "fit_s": fitted - start,
        "encode_rows_s": len(base) / max(added - fitted, 1e-9),
        "trains_on_base": peer.trains_on_base,
        "version": _version(peer.package),
    }
    seen = observe(peer, split)
    facts |= _speeds(peer.search, queries, run) if run.settings.get("timed", True) else {}
    folder = scratch / "peer"
    folder.mkdir()
    saved = peer.save(folder)
    stored = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if saved else None
    facts["bytes"] = {
        "code": peer.row_bytes,
        "scanned": peer.row_bytes,
        "model": peer.model_bytes,
        "resident": peer.row_bytes * len(base) + peer.model_bytes,
        "stored": stored,
        "amortised": None if stored is None else stored / len(base),
    }
    facts["build_peak_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seen.facts.pop("audit", None)  # a library need not score by the vectors that it shows
    _keep(run, key, out, facts | seen.facts, seen)


def _speeds(search: Any, queries: Floats, run: Run) -> dict[str, Any]:
    return {
        f"search_{batch}_s": _rounded(queries_a_second(search, queries, batch=batch, limit_s=run.search_s))
        for batch in (1, 64)
    }


def _keep(run: Run, key: str, out: Path, facts: dict[str, Any], seen: Any) -> None:
    about = {
        "cell": run.to_dict(),
        "status": "done",
        "machine": machine(),
        "load": list(os.getloadavg()),
        "versions": {"vecstore": vecstore.__version__, **{name: _version(name) for name in PACKAGES}},
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    record = Record(key, about | facts, out / RECORDS)
    record.write({"queries": seen.queries, "rows": _float32(seen.rows), "asked": seen.asked})


def _float32(columns: dict[str, Any]) -> dict[str, Any]:
    return {name: np.asarray(values, np.float32) for name, values in columns.items()}


def _rounded(seconds: list[float]) -> list[float]:
    return [float(f"{value:.4g}") for value in seconds]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main(sys.argv[1:])
