"""Write the conformance set of the file format: stores to read, with what they hold, and stores to refuse.

``python -m vecstore.bench.scripts.conformance --out docs/conformance`` writes ``cases.json`` and ``stores.tar.xz``.
What is there is replaced: run it when a version of the format adds something, and look at what has changed.
"""

from __future__ import annotations

import argparse
import json
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
from vecstore.bench.scripts.conformance_layouts import (
    Change,
    as_before,
    colliding,
    laid_out,
    oriented,
    rearranged,
    tabled,
)
from vecstore.bench.scripts.conformance_refused import refused
from vecstore.bench.scripts.token_table import token_table

import vecstore
from vecstore.codecs.base import Floats

__all__ = ["READ", "Example", "main", "write_set"]

WIDE = 96
STRANGE = ["a", "é", "McDONALDS-2024", "five 五", "🙂🙂", "with\0zero", "long " * 51, "longer " * 300, "</s>"]
LINEAR = ("pca", "whiten", "rotate", "opq", "tcq", "vaq", "rabitq", "cells", "norms", "normalize")


class Example(NamedTuple):
    """A store to read."""

    spec: str
    key_type: str | None = None
    rows: int = 70
    dimensions: int = 12
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed
    change: Change | None = None  # of the file, before it is read
    numbers: str = "quarters"
    segment_keys: int = 1 << 20  # of a key map
    deleted: tuple[int, ...] = ()  # rows, after all are written


# Values that rows have beside their vectors; times are told as integers.
COLUMNS = {
    "section": [None if i % 9 == 4 else ("net", "игры", "")[i % 3] for i in range(70)],
    "title": [f"title {i} 五" for i in range(70)],
    "tags": [None if i % 11 == 2 else [f"tag {j}" for j in range(i % 4)] for i in range(70)],
    "lines": [[f"line {i} {j}" for j in range(i % 2)] for i in range(70)],
    "size": [(-1) ** i * i**9 for i in range(70)],
    "small": np.arange(70, dtype=np.uint8),
    "half": np.arange(70, dtype=np.float16) / np.float16(4),
    "price": [None if i % 5 == 0 else i / 8 for i in range(70)],
    "free": [None if i % 13 == 0 else i % 3 == 0 for i in range(70)],
    "made": np.arange(70).astype("datetime64[ms]"),
}
QUARTERS = np.arange(-8, 8, dtype=np.float32).reshape(4, 4) / np.float32(4)
TOKENS = [np.roll(QUARTERS[: i % 4], i) for i in range(70)]
FIELDS = {
    "tokens": vecstore.Multi(TOKENS, codec="f16"),
    "coded tokens": vecstore.Multi(TOKENS, codec="sq:8", pool=2),
    **{
        f"terms of {bits} bits": vecstore.Sparse(
            [{j * j: 1 + j for j in range(i % 5)} for i in range(70)], weight_bits=bits
        )
        for bits in (0, 4, 8)
    },
    "other": vecstore.Dense(np.tile(QUARTERS, (18, 1))[:70], codec="f16", metric="dot"),
    "made": vecstore.Muvera("tokens", repetitions=2, simhash=2, projection=2, codec="f32"),
}
READ = {
    **{
        spec: Example(spec)
        for spec in ("f32", "f16", "bf16", "sq:8", "sq:6", "sq:4", "bin", "uniform:9", "pq:3", "pq:5x4")
    },
    **{spec: Example(spec) for spec in ("opq:5x4", "vaq:3x4", "rq:1", "lsq:1", "tcq:3", "tcq:5:8", "tcq:4:256")},
    **{spec: Example(spec) for spec in ("lloyd:1", "lloyd:3", "lvq:3", "lvq:4x5", "rabitq:1", "rabitq:4")},
    **{
        spec: Example(spec)
        for spec in ("subspace:5", "anchor:9:2", "qr:9", "qr:9x8:mult:learned", "qr:9x11:concat:crt")
    },
    **{
        spec: Example(spec)
        for spec in ("center,sq:8", "normalize,sq:8", "pca:5,f32", "whiten:5,f16", "truncate:7,sq:4")
    },
    **{spec: Example(spec) for spec in ("rotate,sq:8", "truncate:11,rotate,sq:8", "pca:9,whiten:4,rotate,bin")},
    **{spec: Example(spec) for spec in ("f32,zstd:3:none", "f16,zstd", "f32,zstd:3:bit", "f32,pco", "f16,archive")},
    **{spec: Example(spec) for spec in ("uniform:6,rans:12", "sq:8,rans:12,zstd", "hash:20/sq:8", "qr:9/pq:3x4,zstd")},
    "keys of strings": Example("f32", "str"),
    "keys of bytes": Example("f32", "bytes"),
    "keys of integers": Example("f32", "int64"),
    "keys on two pages": Example("bin", "str", rows=16_400, dimensions=1),
    "one row": Example("sq:8", "str", rows=1),
    "a whole tile": Example("sq:4", rows=64),
    "two tiles of a trellis": Example("tcq:1:4", rows=2100, dimensions=2),
    "two blocks, packed": Example("f32,zstd", rows=3000),
    "two layers": Example("bin/sq:8", "str"),
    "two layers, packed": Example("pca:5,sq:4/f32,zstd"),
    "no bytes, packed": Example("qr:9,zstd"),
    "norms": Example("sq:8", options={"keep_norms": True}),
    "cells": Example("cells:5,sq:8", "str", options={"keep_order": False}),
    "cells in the dump's order": Example("cells:5,tcq:3", "str"),
    "cells, two layers, norms": Example("cells:4,bin/sq:8", options={"keep_norms": True}),
    "hash by key": Example("hash:40:3:word&prefix2&suffix3&shape&ngrams2-3:mean", "str"),
    "hash by number": Example("hash:40"),
    "hash by integer key": Example("hash:40:4", "int64"),
    "floret": Example("floret:40:2:3:2:7", "str"),
    "floret of bytes": Example("floret:40", "bytes"),
    "fasttext": Example("fasttext:40:2:3", "str"),
    "hashembed": Example("hashembed:40:7", "str"),
    "hashembed by integer key": Example("hashembed:40", "int64"),
    "residual by key": Example("hash:30/lvq:3", "str"),
    "shards": Example("f32", "str", rows=400, dimensions=WIDE, options={"shard_bytes": 135_000}),
    "shards without keys": Example("sq:8", rows=1200, dimensions=WIDE, options={"shard_bytes": 180_000}),
    "columns": Example("f32", "str", options={"columns": COLUMNS}),
    "columns in cells": Example("cells:5,sq:8", "str", options={"columns": COLUMNS, "keep_order": False}),
    "fields": Example("f32", "str", options={"fields": FIELDS}),
    "a static model": Example("f16", options={"texts": True}),
    "fields in cells": Example("cells:5,sq:8", options={"fields": FIELDS, "keep_order": False}),
    "deleted rows": Example(
        "sq:8", "str", rows=1200, dimensions=WIDE, options={"shard_bytes": 180_000}, deleted=(0, 3, 1100, 1199)
    ),
    "mixed": Example("sq:8@20+f16@30+hash:20", "int64"),
    "pages of 512 bytes, the first meta page newer": Example("cells:5,opq:5x4", "str", change=laid_out(512, 3, 0)),
    "branch pages": Example("sq:8", "str", change=laid_out(4096, 2, 1)),
    "tiles of a trellis in chunks": Example("tcq:11:4", rows=2100, dimensions=16, numbers="few"),
    "a trellis of format 1.1": Example("tcq:3", change=rearranged(as_before)),
    "axes in bytes": Example("vaq:3x4", change=rearranged(oriented("model.0.0.axes", "|i1"))),
    "axes ready for use": Example("tcq:3", change=rearranged(oriented("model.0.0.axes", "<f4"))),
    "a rotation ready for use": Example("opq:5x4", change=rearranged(oriented("model.0.0.rotation", "<f4"))),
    "cells with axes in bytes": Example("cells:5,sq:8", change=rearranged(oriented("model.cells.axes", "|i1"))),
    "two blocks of a key table, no check": Example("f16", "str", change=tabled(13, 32)),
    "one bucket": Example("f16", "bytes", change=tabled(0, 7)),
    "quotients of DLRM": Example("qr:9x8:dlrm"),
    "Gaussian models": Example("uniform:6,rans:12", rows=400, numbers="normal"),
    **{
        f"archived {kind} numbers": Example("f16,archive", numbers=kind)
        for kind in ("few", "normal", "falling", "alike")
    },
    **{f"pco of {kind} numbers": Example("f32,pco", numbers=kind) for kind in ("few", "normal", "falling", "coarse")},
    "rows by number through shards": Example(
        "hash:8:1/f32", rows=400, dimensions=WIDE, options={"shard_bytes": 135_000}
    ),
    "two shards with keys of one hash": Example(
        "f32", "bytes", rows=400, dimensions=WIDE, options={"shard_bytes": 160_000}, numbers="colliding"
    ),
    "several shards, segments": Example(
        "f32", "str", rows=1200, dimensions=WIDE, options={"shard_bytes": 135_000}, segment_keys=256
    ),
}


def source(example: Example) -> tuple[Floats, list[Any] | None]:
    """Return the vectors and keys that a store is made of. Halves and quarters, so that archives are small."""
    n, d = example.rows, example.dimensions
    x = np.random.default_rng(7).integers(-8, 9, (n, d)).astype(np.float32) / np.float32(4)
    if example.numbers == "normal":
        x = np.random.default_rng(7).standard_normal((n, d), np.float32)
    if example.numbers == "few":
        x = x[np.arange(n) % 61 % 7]
    if example.numbers == "alike":
        x = np.repeat(np.random.default_rng(7).standard_normal((1, d), np.float32), n, axis=0)
    if example.numbers == "falling":
        x = -np.arange(n * d, dtype=np.float32).reshape(n, d)
    if example.numbers == "coarse":
        x = np.random.default_rng(7).standard_normal((n, d)).astype(np.float16).astype(np.float32)
    x[:, 0] += 3  # no zero rows
    x = x[np.arange(n) % 5] if d >= WIDE else x  # shards are large: alike rows keep the archive small
    if example.key_type is None:
        return x, None
    if example.key_type == "int64":
        return x, [(-1) ** i * i**9 for i in range(n)]
    keys = (STRANGE + [f"key {i}" for i in range(n)])[:n] if n > 1 else ["only"]
    if example.key_type == "str":
        return x, keys
    encoded = [key.encode() + b"\xff" for key in keys]
    if example.numbers == "colliding":  # the first and the last row, which lie in different shards
        encoded[0], encoded[-1] = colliding()
    return x, encoded


def absent(key_type: str | None) -> list[Any]:
    """Return keys that no store of that type holds."""
    if key_type is None:
        return []
    if key_type == "int64":
        return [-5, 2**62]
    keys = ["no such key", "McDONALDS-2025!", "ключ"]
    return keys if key_type == "str" else [key.encode() + b"\xff" for key in keys]


def told(keys: list[Any]) -> list[Any]:
    """Return keys as JSON holds them: bytes as hexadecimal digits."""
    return [key.hex() if isinstance(key, bytes) else key for key in keys]


def write_read(folder: Path) -> Iterator[dict[str, Any]]:
    """Write the stores to read into a folder, and yield their cases."""
    for number, (name, example) in enumerate(READ.items()):
        stem = f"read/{number:02d}"
        path = folder / f"{stem}.vecs"
        x, keys = source(example)
        # Keys of one hash are taken for duplicates when a dump is surveyed.
        duplicates = (
            patch("vecstore.conversion.survey.survey._drop_duplicates")
            if example.numbers == "colliding"
            else nullcontext()
        )
        with patch("vecstore.keys.map.SEGMENT_KEYS", example.segment_keys), duplicates:
            if "texts" in example.options:
                vecstore.convert(token_table(x), path, example.spec, accept_dominated=True)
            else:
                vecstore.write(path, x, keys, example.spec, accept_dominated=True, **example.options)
        if example.change is not None:
            example.change(path)
        if example.deleted:
            with vecstore.edit(path) as edit:
                edit.delete_rows(example.deleted)
        case: dict[str, Any] = {"name": name, "store": f"{stem}.vecs", "codec": example.spec, "keys": example.key_type}
        with vecstore.open(path) as store:
            vectors = store.vectors[store.living_rows]
            case |= {"deleted": list(example.deleted)} if example.deleted else {}
            case |= {"rows": len(vectors), "dimensions": vectors.shape[1], "vectors": f"{stem}.f32"}
            case["exact"] = not any(word in example.spec or word in "".join(example.options) for word in LINEAR)
            (folder / f"{stem}.f32").write_bytes(vectors.astype("<f4").tobytes())
            if keys is not None:
                (folder / f"{stem}.keys.json").write_text(json.dumps(told(list(store.keys))))
                unknown = absent(example.key_type)
                case |= {"keys_file": f"{stem}.keys.json", "absent": told(unknown)}
                made = made_of(store, unknown)
                if made is not None:
                    (folder / f"{stem}.absent.f32").write_bytes(made.astype("<f4").tobytes())
                    case["absent_vectors"] = f"{stem}.absent.f32"
            if store.columns.num_columns:
                case["columns_file"] = f"{stem}.columns.json"
                (folder / f"{stem}.columns.json").write_text(json.dumps(values_of(store), ensure_ascii=False))
            if store.info()["fields"]:
                case["fields_file"] = f"{stem}.fields.json"
                (folder / f"{stem}.fields.json").write_text(json.dumps(fields_of(store)))
        yield case


def fields_of(store: vecstore.Store) -> dict[str, list[Any]]:
    """Return the fields of a store as JSON holds them: lists of vectors, mappings of terms to weights, vectors."""
    rows, names = range(len(store)), [field["name"] for field in store.info()["fields"]]
    return {name: [_plain(item) for item in store.field(name).of_rows(rows)] for name in names}


def _plain(item: Any) -> Any:
    return item.tolist() if isinstance(item, np.ndarray) else item


def values_of(store: vecstore.Store) -> dict[str, list[Any]]:
    """Return the columns of a store as JSON holds them: times as integers."""
    table = store.columns
    times = [name for name in table.column_names if str(table.schema.field(name).type).startswith("timestamp")]
    return table.to_pydict() | {name: table[name].cast("int64").to_pylist() for name in times}


def made_of(store: vecstore.Store, keys: list[Any]) -> Floats | None:
    """Return the vectors of keys that a store does not hold, if it has some."""
    try:
        return store.lookup(keys).vectors
    except vecstore.errors.KeyNotFoundError:
        return None


def write_set(out: Path) -> int:
    """Write all cases into a folder; return how many bytes the archive has."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "read").mkdir()
        (folder / "refuse").mkdir()
        cases = {"format": "1.3", "read": list(write_read(folder)), "refuse": list(refused(folder))}
        out.mkdir(parents=True, exist_ok=True)
        lines = [
            f' "{key}": [\n  ' + ",\n  ".join(json.dumps(case) for case in cases[key]) + "\n ]"
            for key in ("read", "refuse")
        ]
        (out / "cases.json").write_text('{\n "format": "1.3",\n' + ",\n".join(lines) + "\n}\n")
        with tarfile.open(out / "stores.tar.xz", "w:xz", preset=9) as archive:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                entry = tarfile.TarInfo(
                    str(path.relative_to(folder))
                )  # no time, no owner: alike stores give alike bytes
                entry.size = path.stat().st_size
                with path.open("rb") as file:
                    archive.addfile(entry, file)
    return (out / "stores.tar.xz").stat().st_size


def main() -> int:
    """Write the set."""
    parser = argparse.ArgumentParser(
        prog="python -m vecstore.bench.scripts.conformance", description="Write the conformance set."
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="where cases.json and stores.tar.xz go"
    )
    print(f"{write_set(parser.parse_args().out):,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
