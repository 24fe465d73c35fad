"""Write the golden stores of the current format version; run once for each version: python tests/compat/make_golden.py.

It refuses to replace what is there: golden stores show that files of an old version can still be read.
"""

from __future__ import annotations

import datetime
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

import vecstore
from vecstore.container.container import FORMAT_VERSION, Container

VERSION = "1.3"
VERSIONS = ("1.0", "1.1", "1.2", VERSION)  # of which there are golden stores
HERE = Path(__file__).parent / VERSION
INSISTING = {"accept_dominated": True}
# name: (rows, dimensions, codec, key type, other options)
STORES: dict[str, tuple[int, int, str, str | None, dict]] = {
    "pq": (300, 10, "center,opq:4x4", "str", {"keep_norms": True, "user": {"note": "goldstück"}}),
    "layers": (300, 12, "bin/rotate,sq:6", "bytes", {"metric": "l2"}),
    "packed": (200, 8, "f16,zstd:3:bit", None, {"metric": "dot"}),
    "trellis": (2100, 16, "tcq:5:8", "str", {}),
    "sharded": (900, 8, "sq:8", "int64", {"shard_bytes": 135_000}),
    "cells": (400, 10, "cells:6,bin/sq:6", "str", {"keep_norms": True, "keep_order": False}),
    "order": (300, 12, "cells:5,pq:4x4", None, {"metric": "l2"}),
    "axes": (400, 40, "cells:4,tcq:9:8", None, {}),
    "heads": (600, 24, "tcq:13:16", None, {}),
    "tables": (300, 8, "hash:90:2:word&shape&ngrams3-4:mean/pq:2x4", "str", {"keep_norms": True, **INSISTING}),
    "mixed": (300, 8, "f16@40+qr:6x7x9:mult", None, {"metric": "dot", **INSISTING}),
    "columns": (300, 6, "cells:4,sq:8", "str", {"keep_order": False}),
    "sharded-columns": (450, 8, "sq:8", "int64", {"shard_bytes": 275_000}),
    "tokens": (120, 6, "sq:8", "str", {}),
    "tokens-in-cells": (120, 6, "sq:8", "str", {}),
    "terms": (200, 6, "sq:8", "str", {}),
    "vectors": (120, 6, "sq:8", "str", {}),
    "static": (12, 8, "sq:8", "tokens", {}),
    "models": (2600, 40, "cells:3,tcq:9", "str", {"shard_bytes": 135_000}),
}
EDITED = "edited.vecs"  # of several generations
LIVING = "living.vecs"  # likewise; shards share a model, files have small pages, and it was measured again
WITH_COLUMNS = ("columns", "sharded-columns")
SINCE = {
    "trellis": "1.1",
    **dict.fromkeys(("cells", "order", "axes", "heads", "tables", "mixed"), "1.2"),
    **dict.fromkeys(WITH_COLUMNS, "1.3"),
    **dict.fromkeys(("models", "static", "tokens", "tokens-in-cells", "terms", "vectors"), "1.3"),
}  # the version that a store needs, where it is not the first


def source(rows: int, dimensions: int, key_type: str | None) -> tuple[np.ndarray, list | None]:
    """Return the vectors and keys that a golden store was made of."""
    x = np.random.default_rng(1).normal(size=(rows, dimensions)).astype(np.float32)
    if key_type in (None, "tokens"):
        return x, None
    if key_type == "int64":
        return x, [(-1) ** i * i**5 for i in range(rows)]
    keys = [f"ключ {i}" for i in range(rows)]
    keys[7] = "langer Schlüssel " * 20
    return x, keys if key_type == "str" else [key.encode() for key in keys]


def columns(rows: int) -> dict[str, list]:
    """Return the values that rows of golden stores have beside their vectors."""
    every = range(rows)
    return {
        "section": [("net", "наука", "", "games")[i % 4] for i in every],
        "title": [None if i % 11 == 3 else f"title {i}" for i in every],
        "size": [i * 10**9 for i in every],
        "price": [None if i % 5 == 0 else i / 4 for i in every],
        "free": [i % 3 == 0 for i in every],
        "made": [None if i % 9 == 1 else datetime.datetime(2024, 1, 1) + datetime.timedelta(days=i) for i in every],
        "tags": [None if i % 13 == 2 else [f"tag {j}" for j in range(i % 4)] for i in every],
        "links": [[f"{i} to {j}" for j in range(i % 3)] for i in every],
        "nothing": [None for _ in every],
    }


def tokens(rows: int) -> list[np.ndarray]:
    """Return the token vectors of golden stores: none to four a row, of five dimensions, one of them constant."""
    rng = np.random.default_rng(2)
    return [rng.uniform(-1, 1, (i % 5, 5)).astype(np.float32) * (1, 1, 0, 1, 1) for i in range(rows)]


def terms(rows: int) -> list[dict[int, float]]:
    """Return the sparse terms of golden stores: of uneven lists, some in most rows, most in few."""
    rng = np.random.default_rng(3)
    often = np.minimum(0.9, 2 / np.arange(1, 60))
    return [
        {int(term) * 1000: float(rng.uniform(0.1, 2)) for term in np.flatnonzero(rng.random(59) < often)}
        for _ in range(rows)
    ]


def vectors(rows: int) -> dict:
    """Return the dense fields of golden stores: of one layer and of two, and of token vectors, which some rows lack."""
    x = np.random.default_rng(4).normal(size=(2, rows, 9)).astype(np.float32)
    fields: dict = {
        "one": vecstore.Dense(x[0], codec="pca:5,sq:8"),
        "tokens": vecstore.Multi(tokens(rows), codec="sq:8"),
    }
    fields["two"] = vecstore.Dense(x[1], codec="bin/sq:8", metric="l2")
    fields["fde"] = vecstore.Muvera(repetitions=3, simhash=2, projection=4, codec="sq:8")
    return fields


def static_model(folder: Path, rows: int, dimensions: int) -> Path:
    """Write a folder as model2vec does: some more words than rows, with weights; return it."""
    from safetensors.numpy import save_file

    words = ["[UNK]", *(f"w{i}" for i in range(1, rows + 3))]
    model = {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {word: i for i, word in enumerate(words)}}
    tokenizer = {"version": "1.0", "pre_tokenizer": {"type": "WhitespaceSplit"}, "added_tokens": [], "model": model}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "config.json").write_text(json.dumps({"normalize": True, "max_length": 20}))
    tensors = {
        "embeddings": source(rows, dimensions, None)[0],
        "weights": np.linspace(0.5, 2, len(words)),
        "mapping": np.arange(len(words)) % rows,
    }
    save_file(tensors, folder / "model.safetensors")
    return folder


def write_edited(path: Path) -> None:
    """Write a store with deleted, replaced and added rows, an earlier generation and a tag; and what it holds."""
    x, keys = source(400, 8, "str")
    vecstore.write(path, x[:300], keys[:300], "sq:8", shard_bytes=1 << 20)
    with vecstore.edit(path) as e:
        e.append(x[300:], keys[300:])
        e.delete(keys[3:9])
    vecstore.tag(path, "first")
    with vecstore.edit(path) as e:
        e.upsert(x[:2] + 1, [keys[350], keys[0]])
        e.delete([keys[399]])
    with vecstore.open(path) as store:
        np.save(path.with_suffix(".npy"), store[list(store)])
    for lock in path.glob(".*lock"):
        lock.unlink()


def write_living(path: Path) -> None:
    """Write a store of several generations whose shards refer to one model; and what the last two hold."""
    x, keys = source(500, 24, "str")
    assert keys is not None
    vecstore.write(path, x[:300], keys[:300], "tcq:9", shard_bytes=1 << 20)
    with vecstore.edit(path, on_drift="ignore") as e:
        e.append(x[300:], keys[300:])
        e.delete(keys[3:9])
    with vecstore.open(path) as store:
        np.save(path.with_suffix(".1.npy"), store[list(store)])
    with vecstore.edit(path) as e:
        e.delete(keys[400:420])
    vecstore.certify(path, dict(zip(keys, x, strict=True)))
    with vecstore.open(path) as store:
        np.save(path.with_suffix(".npy"), store[list(store)])
    for lock in path.glob(".*lock"):
        lock.unlink()


def main() -> int:
    """Write every golden store that is not there yet and the vectors it decodes to."""
    if ".".join(map(str, FORMAT_VERSION)) != VERSION:
        print(f"this vecstore writes format {FORMAT_VERSION}, not {VERSION}: add a directory for it", file=sys.stderr)
        return 1
    HERE.mkdir(exist_ok=True)
    missing = [name for name in STORES if not (HERE / f"{name}.vecs").exists()]
    others = {EDITED: write_edited, LIVING: write_living}
    lacking = [name for name in others if not (HERE / name).exists()]
    for name in lacking:
        others[name](HERE / name)
    if not missing and not lacking:
        print(f"{HERE} has all golden stores; they are never replaced", file=sys.stderr)
        return 1
    for name in missing:
        rows, dimensions, codec, key_type, options = STORES[name]
        path = HERE / f"{name}.vecs"
        if key_type == "tokens":
            with tempfile.TemporaryDirectory() as folder:
                vecstore.convert(static_model(Path(folder), rows, dimensions), path, codec, **options)
        else:
            x, keys = source(rows, dimensions, key_type)
            beside = columns(rows) if name in WITH_COLUMNS else None
            spec = {"tokens": "sq:8", "tokens-in-cells": "cells:7,sq:8"}.get(name)
            fields: dict | None = None if spec is None else {"tokens": vecstore.Multi(tokens(rows), codec=spec)}
            if name == "terms":
                fields = {f"{bits}": vecstore.Sparse(terms(rows), weight_bits=bits) for bits in (0, 4, 8)}
            if name == "vectors":
                fields = vectors(rows)
            vecstore.write(path, x, keys, codec, columns=beside, fields=fields, **options)
        with vecstore.open(path) as store:
            np.save(HERE / f"{name}.npy", store.vectors[:])
        for file in path.glob("*.vecs") if path.is_dir() else [path]:
            assert Container(file).version == FORMAT_VERSION
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
