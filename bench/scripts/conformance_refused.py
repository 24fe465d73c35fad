"""Stores that a reader of the format MUST refuse: each breaks one rule of docs/format.md, under right checksums."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from vecstore.bench.scripts.conformance_changes import (
    PAGE,
    Change,
    behind,
    body_of,
    configured,
    damaged_manifest,
    described,
    directory,
    far,
    flipped,
    grouped,
    leaf,
    looped,
    manifest,
    map_of,
    member,
    meta,
    modelled,
    of_shard,
    overlap,
    packed,
    part,
    put,
    renamed,
    shared,
    swapped,
    text,
    twice,
    u4,
    unended,
    unsealed,
    unsealed_end,
    widened,
    write_body,
)
from vecstore.bench.scripts.conformance_layouts import laid_out, rearranged

import vecstore

__all__ = ["REFUSED", "refused"]

KEYS = [f"key {i}" if i % 9 else f"long key {i} " * 30 for i in range(70)]
COLUMNS = {
    "section": [None if i % 9 == 4 else ("net", "games")[i % 2] for i in range(70)],
    "title": [f"title {i}" for i in range(70)],
    "tags": [[f"tag {j}" for j in range(i % 3)] for i in range(70)],
    "size": list(range(70)),
}
BASES: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("f32", {}),
    "norms": ("f32", {"keep_norms": True}),
    "layers": ("bin/sq:8", {}),
    "cells": ("cells:5,sq:8", {}),
    **{name: (name, {}) for name in ("pq:3", "sq:8", "sq:4", "lloyd:3", "opq:5x4", "vaq:3x4", "tcq:3", "pca:5,f32")},
    **{name: (name, {}) for name in ("rotate,f32", "anchor:9:2", "qr:9", "hash:20", "hash:20/sq:8", "rabitq:2")},
    **{name: (name, {}) for name in ("f32,zstd", "f16,archive", "f32,pco", "sq:8,rans:12")},
    "shards": ("f32", {"shard_bytes": 135_000}),
    "columns": ("f32", {"columns": COLUMNS}),
    "alike": ("f16/f32", {}),
    "cells of f32": ("cells:5,f32", {}),
    **{name: (name, {}) for name in ("tcq:6", "qr:9x12", "hash:20:2:prefix2", "sq:8,zstd")},
}
LONGS = 8 + 4 * 3 + 72  # where the list of long keys begins: 70 keys, three starts
ZSTD = {"name": "zstd", "configuration": {"level": 3, "shuffle": "byte"}}
CODES, MODEL = ("parts", "codes.0"), ("parts", "model.0.0.codebooks")

REFUSED: dict[int, dict[str, tuple[str, Change]]] = {
    2: {
        "cut off": ("plain", lambda path: path.write_bytes(path.read_bytes()[:-PAGE])),
        "another magic": ("plain", meta(16, u4(1))),
        "data version 2": ("plain", meta(20, u4(2))),
        "pages of 600 bytes": ("plain", meta(40, u4(600))),
        "flags of the database": ("plain", meta(92, b"\4\0")),
        "depth 0 with a root": ("plain", meta(94, b"\0\0")),
        "depth 17": ("plain", meta(94, b"\x11\0")),
        "depth 2 of a leaf": ("plain", meta(94, b"\2\0")),
        "the root is a meta page": ("plain", meta(128, struct.pack("<Q", 1))),
        "the older meta page has another data version": ("plain", meta(20, u4(2), both=False)),
        "another number of entries": ("plain", meta(120, struct.pack("<Q", 3))),
        "a page of another number": ("plain", put("<Q", 0, 99)),
        "odd pointers": ("plain", put("<H", 12, 17)),
        "a pointer beyond the page": ("plain", put("<H", 16, 4095)),
        "a value inside a leaf": ("plain", put("<H", 4, 0, node=0)),
        "a name beyond the page": ("plain", put("<H", 6, 60_000, node=0)),
        "a value larger than the file": ("plain", put("<H", 2, 0x7FFF, node=0)),
        "a value beyond the last page": ("plain", leaf(far)),
        "values that overlap": ("plain", leaf(overlap)),
        "page sizes that differ": ("plain", meta(40, u4(8192), both=False)),
        "the older meta page has a root and no depth": (
            "plain",
            meta(94, struct.pack("<H24xQQQ", 0, 5, 2, 100), both=False),
        ),
        "a name twice": (
            "plain",
            lambda path: [
                rearranged(lambda arrays, _: arrays.update({"extra.0": np.zeros(9)}))(path),
                renamed(b"extra.0:00000000", b"codes.0:00000000")(path),
            ],
        ),
        "a branch that leads to itself": (
            "plain",
            lambda path: [laid_out(PAGE, 2, 1)(path), leaf(looped)(path)],
        ),
    },
    3: {
        "major version 2": ("plain", lambda path: write_body(path, b"{}", major=2)),
        "major version 0": ("plain", lambda path: write_body(path, b"{}", major=0)),
        "another fingerprint": ("plain", unsealed),
        "another word at the beginning": ("plain", lambda path: write_body(path, body_of(path), magic=b"VECSTORF")),
        "JSON beyond the value": ("plain", lambda path: write_body(path, body_of(path), more=1 << 20)),
        "a number beyond f8": ("plain", text(lambda body: body.replace(b'"rows":70', b'"rows":70,"note":1e999'))),
        "bytes behind the description": ("plain", behind(b"vecstore")),
        "bytes behind the checksums": ("plain", behind(b"checksums")),
        "a member twice": ("plain", text(lambda body: body.replace(b'"rows":70', b'"rows":70,"rows":70'))),
        "NaN": ("plain", text(lambda body: body.replace(b'"rows":70', b'"rows":70,"note":NaN'))),
        "half of a surrogate pair": (
            "plain",
            text(lambda body: body.replace(b'"rows":70', b'"rows":70,"note":"\\ud800"')),
        ),
        "70.0 rows": ("plain", text(lambda body: body.replace(b'"rows":70', b'"rows":70.0'))),
        "a byte order mark": ("plain", text(lambda body: b"\xef\xbb\xbf" + body)),
        "no UTF-8": ("plain", text(lambda body: body.replace(b'"rows":70', b'"rows":70,"note":"\xff"'))),
        "a list": ("plain", text(lambda body: b"[" + body + b"]")),
        "another kind": ("plain", member("kind", value="sparse-shard")),
        "an unknown feature": ("plain", member("features", value=["ragged"])),
        "no rows": ("plain", member("rows", value=None)),
        "rows: true": ("one", member("rows", value=True)),
        "fewer rows than codes": ("plain", member("rows", value=69)),
        "more than 2**32 rows": ("plain", member("rows", value=2**32 + 1)),
        "no dimensions": ("plain", member("dimensions", value=0)),
        "more than 2**20 dimensions": ("plain", member("dimensions", value=2**20 + 1)),
    },
    4: {
        "a damaged chunk": ("plain", flipped),
        "chunks of another size": ("plain", member("checksums", "chunk_bytes", value=4096)),
        "more checksums than there are": ("plain", member("checksums", "count", value=10**6)),
        "an unknown dtype": ("plain", member(*CODES, "dtype", value="<c8")),
        "nine lengths": ("plain", member(*CODES, "shape", value=[70, 48, 1, 1, 1, 1, 1, 1, 1])),
        "a product of 2**62": ("plain", member(*CODES, "shape", value=[70, 2**62])),
        "blocks of no rows": ("plain", member(*CODES, "block_rows", value=0)),
        "tiles that do not divide blocks": ("sq:4", member(*CODES, "tile_rows", value=33)),
        "tiles of 96 rows": (
            "sq:4",
            described(lambda about: about["parts"]["codes.0"].update(tile_rows=96, block_rows=960)),
        ),
        "a missing block": ("plain", renamed(b"codes.0:00000000", b"codes.0:0000000f")),
        "another checksum of checksums": ("plain", member("checksums", "xxh3", value="0" * 16)),
        "tiles behind byte steps": (
            "f32,zstd",
            described(lambda about: about["parts"]["codes.0"].update(tile_rows=32, block_rows=2080)),
        ),
        "no block": ("plain", member(*CODES, "blocks", value=0)),
        "checksums beyond their number": ("plain", member(*CODES, "checksums_at", value=10**6)),
        "codes of another encoding": ("plain", member(*CODES, "encoding", value="mine")),
        "an array of another encoding": ("pq:3", member(*MODEL, "encoding", value="mine")),
        "rows beyond the value": (
            "plain",
            described(lambda about: [about.update(rows=7000), about["parts"]["codes.0"].update(shape=[7000, 48])]),
        ),
    },
    5: {
        "a feature without its member": ("plain", member("features", value=["order"])),
        "a member without its feature": ("cells", member("features", value=["order"])),
        "sizes of cells that do not sum to n": ("cells", part("cells.sizes", 0, u4(69))),
        "a row beyond n in the order": ("cells", part("order.row_of", 0, u4(70))),
        "no cells": ("cells", member("cells", "configuration", "count", value=0)),
        "components of 9 bits": ("cells", part("model.cells.bits", 0, b"\x09")),
        "centroids that are infinite": ("cells", part("model.cells.mean", 0, struct.pack("<f", np.inf))),
        "norms of another type": ("norms", member("parts", "norms", "dtype", value="<i4")),
        "lengths that fall": ("plain", member("lengths", value=[2.0, 1.0])),
        "lengths that are negative": ("plain", member("lengths", value=[-1.0, 1.0])),
        "residuals of one layer": ("alike", described(lambda about: about.update(codec=about["codec"][:1]))),
        "cells beside tables that rows share": ("cells of f32", rearranged(shared)),
        "centroids beyond 1e16": ("cells", part("model.cells.mean", 0, struct.pack("<f", 1e17))),
        "no metric": ("plain", member("metric", value=None)),
        "a column of an unknown type": ("columns", member("columns", 0, "type", value="decimal")),
        "two columns of one name": ("columns", member("columns", 0, "name", value="title")),
        "another number of nulls": ("columns", member("columns", 0, "nulls", value=3)),
        "a code beyond the dictionary": ("columns", part("columns.0.values", 5, b"\2")),
        "a code beyond the dictionary where there is null": ("columns", part("columns.0.values", 4, b"\x7f")),
        "strings that end before they begin": ("columns", part("columns.1.starts", 8, u4(1))),
        "strings beyond the text": ("columns", part("columns.1.starts", 280, u4(2**31 - 1))),
        "text that is not UTF-8": ("columns", part("columns.1.text", 2, b"\xff")),
        "lists beyond the strings": ("columns", part("columns.2.lists", 280, u4(2**20))),
        "a column with too few values": ("columns", member("parts", "columns.3.values", "shape", value=[69])),
    },
    6: {
        "an unknown step": ("plain", member("codec", 0, 0, "name", value="lattice")),
        "an unknown member of a configuration": ("plain", configured("order", "zigzag")),
        "no layer": ("plain", member("codec", value=[])),
        "no quantizer": ("pca:5,f32", described(lambda about: about["codec"][0].pop())),
        "a byte step before the quantizer": ("f32,zstd", described(lambda about: about["codec"][0].reverse())),
        "rans behind another byte step": ("sq:8,rans:12", described(lambda about: about["codec"][0].insert(1, ZSTD))),
        "three layers": ("plain", described(lambda about: about.update(codec=about["codec"] * 3))),
        "two quantizers": ("plain", described(lambda about: about["codec"][0].append(about["codec"][0][0]))),
        "byte steps in a coarse layer": ("f32,zstd", described(lambda about: about.update(codec=about["codec"] * 2))),
        "sq of 5 bits": ("sq:8", configured("bits", 5)),
        "pq of no groups": ("pq:3", configured("m", 0)),
        "pq of more groups than dimensions": ("pq:3", configured("m", 13)),
        "pq of 2**40 groups": ("pq:3", configured("m", 2**40)),
        "lloyd of 9 bits": ("lloyd:3", configured("bits", 9)),
        "levels that fall": ("lloyd:3", part("model.0.0.levels", 4, struct.pack("<f", -99))),
        "pca of more components than dimensions": ("pca:5,f32", configured("dimensions", 13)),
        "a missing array": ("pq:3", described(lambda about: about["parts"].pop("model.0.0.codebooks"))),
        "an array of another shape": ("pq:3", member(*MODEL, "shape", value=[3, 4, 256])),
        "codes that are too short": ("sq:8", member(*CODES, "shape", value=[70, 11])),
        "a rotation of a row of zeros": ("opq:5x4", part("model.0.0.rotation", 0, bytes(12))),
        "a group of no components": ("vaq:3x4", part("model.0.0.widths", 0, u4(0))),
        "groups of more components than dimensions": ("vaq:3x4", part("model.0.0.widths", 0, u4(99))),
        "axes of deficient rank": ("vaq:3x4", part("model.0.0.axes", 0, bytes(96))),
        "axes of one bit": ("vaq:3x4", part("model.0.0.axis_bits", 0, b"\x01")),
        "a step of 9 bits": ("tcq:3", part("model.0.0.bits", 0, b"\x09")),
        "a trellis of 5 states": ("tcq:3", configured("states", 5)),
        "a code of other bytes than its steps": ("tcq:3", configured("size_bytes", 4)),
        "a head of 3 bits": ("tcq:3", part("model.0.0.head_bits", 0, b"\x03")),
        "a step of 3 coefficients": ("tcq:3", part("model.0.0.widths", 0, b"\x03")),
        "a number beyond the anchors": ("anchor:9:2", part("codes.0", 0, b"\x09\0")),
        "signs without a Hadamard matrix": (
            "rotate,f32",
            described(
                lambda about: [about.update(dimensions=11), about["parts"]["model.0.0.signs"].update(shape=[11])]
            ),
        ),
        "a sign that is 0": ("rotate,f32", part("model.0.0.signs", 0, b"\0")),
        "groups of no whole bytes": ("tcq:6", rearranged(grouped)),
        "more coefficients than dimensions": ("tcq:6", rearranged(widened)),
        "a stretch below 1": ("tcq:3", part("model.0.0.stretch", 0, struct.pack("<e", 0.5))),
        "moduli that share a divisor": ("qr:9x12", configured("scheme", "crt")),
        "other sizes than the configuration": ("qr:9x12", configured("sizes", "8x12")),
        "characters of keys that are bytes": ("hash:20:2:prefix2", member("keys", "type", value="bytes")),
        "a first row beyond 2**63": ("hash:20", member("first_row", value=2**63 - 1)),
        "by_key that is neither 0 nor 1": ("hash:20", part("model.0.0.by_key", 0, b"\2")),
        "no hashes": ("hash:20", configured("hashes", 0)),
        "a table of no entries": ("hash:20", configured("entries", 0)),
        "sizes that the tables do not have": ("qr:9", part("model.0.0.sizes", 0, struct.pack("<q", 7))),
        "more rows than tables tell apart": ("qr:9", member("first_row", value=10**9)),
        "a residual of a base that is none": ("hash:20/sq:8", configured("base", "sq:8")),
        "a packed length of 2**63": ("f32,zstd", part("codes.0", 0, struct.pack("<Q", 2**63))),
        "blocks of more than 16 MiB": (
            "f32,zstd",
            described(
                lambda about: [
                    about.update(rows=2**28, keys=None),
                    about["parts"]["codes.0"].update(shape=[2**28, 48], block_rows=2**28),
                ]
            ),
        ),
        "a frame of no size": ("f32,zstd", part("codes.0", 12, b"\0")),
        "a frame that is damaged": ("f32,zstd", part("codes.0", 8, b"\0")),
        "a frame of 64 KiB": ("f32,zstd", packed(lambda _: zstandard.compress(bytes(1 << 16)))),
        "bytes behind a frame": ("sq:8,zstd", packed(lambda block: block + b"\0")),
        "an unknown way to archive": ("f16,archive", part("codes.0", 8, b"\4")),
        "no file of pcodec": ("f32,pco", part("codes.0", 8, bytes(4))),
        "a header beyond the block": ("sq:8,rans:12", part("codes.0", 8, u4(2**31))),
        "words that do not end": ("sq:8,rans:12", packed(unended)),
        "words that are missing": ("sq:8,rans:12", packed(lambda block: block[:-2])),
        "words that are left": ("sq:8,rans:12", packed(lambda block: block + b"\0\0")),
        "half a word": ("sq:8,rans:12", packed(lambda block: block[:-1])),
        "a model of number 68": ("sq:8,rans:12", packed(modelled)),
        "columns that codes do not have": ("sq:8,rans:12", configured("columns", 11, step=1)),
    },
    7: {
        "keys of another type": ("plain", member("keys", "type", value="uuid")),
        "2**33 buckets": ("plain", member("keys", "bucket_bits", value=33)),
        "rows of no bits": ("plain", member("keys", "row_bits", value=0)),
        "more rows than slots tell apart": ("plain", member("keys", "row_bits", value=6)),
        "pages of other sizes": ("plain", member("parts", "keys.text", "block_rows", value=8192)),
        "no page of keys": ("plain", member("parts", "keys.text", "blocks", value=0)),
        "a table shorter than its starts": ("plain", member("keys", "bucket_bits", value=12)),
        "slots that fall": ("plain", swapped),
        "more buckets than the table has": ("plain", member("keys", "bucket_bits", value=13)),
        "a page of fewer keys": ("plain", part("keys.text", 0, u4(69))),
        "more long keys than keys": ("plain", part("keys.text", 4, u4(71))),
        "a long key twice": ("plain", part("keys.text", LONGS, u4(0, 300, 0, 300))),
        "a long key that is short": ("plain", part("keys.text", LONGS + 4, u4(3))),
        "a start that is no sum": ("plain", part("keys.text", 12, u4(7))),
        "text beyond the page": ("plain", part("keys.text", LONGS + 4, u4(2**31))),
        "a table that does not begin at 0": ("plain", part("keys.table", 0, u4(1))),
        "buckets that end before they begin": ("plain", part("keys.table", 4, u4(60, 2))),
        "slots beyond the value": ("plain", part("keys.table", 4 * 8, u4(2**30))),
        "a row beyond n": ("plain", part("keys.table", 4 * 9, u4(2**32 - 1))),
        "a key that is not UTF-8": ("plain", part("keys.text", LONGS + 8 * 8, b"\xff")),
    },
    8: {
        "a damaged manifest": ("shards", damaged_manifest),
        "another end of the manifest": ("shards", unsealed_end),
        "a directory in the place of a shard": ("shards", directory),
        "shards of other metrics": ("shards", of_shard(member("metric", value="l2"))),
        "shards of other types of keys": ("shards", of_shard(member("keys", "type", value="bytes"))),
        "cells of another type": ("shards", map_of(member("parts", "cells", "dtype", value="<u2"))),
        "another format": ("shards", manifest(lambda document: document.update(format="x"))),
        "manifest of major version 2": ("shards", manifest(lambda document: document.update(version=[2, 0]))),
        "an unknown feature of the store": (
            "shards",
            manifest(lambda document: document.update(features=["ragged"])),
        ),
        "no shards": ("shards", manifest(lambda document: document.update(shards=[], key_maps=[]))),
        "a file of another directory": (
            "shards",
            manifest(lambda document: document["shards"][0].update(file="../a.vecs")),
        ),
        "a shard twice": ("shards", manifest(twice)),
        "a fingerprint of another file": (
            "shards",
            manifest(lambda document: document["shards"][0].update(fingerprint="0" * 16)),
        ),
        "another number of rows": ("shards", manifest(lambda document: document["shards"][0].update(rows=1))),
        "a map that ends before it begins": (
            "shards",
            manifest(lambda document: document["key_maps"][0].update(shards=[1, 1])),
        ),
        "a map of more shards than there are": (
            "shards",
            manifest(lambda document: document["key_maps"][0].update(shards=[0, 9])),
        ),
        "a collision in no shard": ("shards", manifest(lambda document: document.update(collisions={"0" * 16: [9]}))),
        "a collision of no hash": ("shards", manifest(lambda document: document.update(collisions={"x": [0]}))),
        "a segment of no cells": ("shards", map_of(part("segments", 0, bytes(8)))),
        "a segment larger than its block": ("shards", map_of(part("segments", 0, struct.pack("<q", 10**6)))),
        "values of 3 bits": ("shards", map_of(member("value_bits", value=3))),
        "more segments than there are": ("shards", map_of(member("segment_bits", value=5))),
        "cells of another encoding": ("shards", map_of(member("parts", "cells", "encoding", value="mine"))),
    },
}


def written(path: Path, base: str) -> None:
    """Write a store, sound as yet."""
    spec, options = BASES.get(base, ("f32", {}))
    rows = {"shards": 400, "one": 1}.get(base, 70)
    x = np.random.default_rng(7).integers(-8, 9, (rows, 12)).astype(np.float32) / 4
    x[:, 0] += 3
    x = np.tile(x[np.arange(rows) % 5], 8) if base == "shards" else x  # wide enough for several shards
    keys = (KEYS + [f"more {i}" for i in range(rows)])[:rows]
    vecstore.write(path, x, keys, spec, accept_dominated=True, **options)


def refused(folder: Path) -> Iterator[dict[str, Any]]:
    """Write the stores to refuse into a folder, and yield their cases."""
    number = 0
    sound: dict[str, Path] = {}
    for section, cases in REFUSED.items():
        for what, (base, change) in cases.items():
            if base not in sound:
                sound[base] = folder / f"sound-{len(sound)}"
                written(sound[base], base)
            path = folder / f"refuse/{number:03d}.vecs"
            (shutil.copytree if sound[base].is_dir() else shutil.copy)(sound[base], path)
            change(path)
            number += 1
            yield {"what": what, "store": f"refuse/{path.name}", "section": section}
    for path in sound.values():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
