"""What the package writes is what docs/format.md says: read by an independent reader, and compared byte by byte."""

from __future__ import annotations

import filecmp
import json
import struct
from pathlib import Path

import independent_checks as checks
import independent_reader as independent
import independent_tables as tables
import lmdb
import numpy as np
import pytest
import reference
import xxhash
from make_golden import EDITED, LIVING, SINCE, STORES, VERSIONS, WITH_COLUMNS, columns, source, terms, tokens

import vecstore
from vecstore.codecs.codec import codec
from vecstore.codecs.registry import codec_names
from vecstore.container.container import Container
from vecstore.conversion.importing import import_hash_embed, import_quotient_remainder, import_subwords
from vecstore.errors import KeyNotFoundError
from vecstore.sentences import Encoder

ROWS, DIMENSIONS = 300, 24
SPECS = [
    *("f32", "f16", "bf16", "sq:8", "sq:6", "sq:4", "pq:5", "pq:7x4", "pq:24", "opq:5", "opq:5x4"),
    *("bin", "bin:zero", "bin:mean", "bin:median", "normalize,sq:8", "center,bin", "pca:7,f32", "whiten:7,sq:4"),
    *(
        "truncate:9,f16",
        "rotate,f32",
        "truncate:20,rotate,f32",
        "truncate:13,rotate,sq:6",
        "center,normalize,rotate,pq:3",
    ),
    *("f32,zstd", "f16,zstd:5:bit", "bf16,zstd:1:none", "sq:6,zstd:3:bit", "f32,zstd:3:bit", "f32,zstd,zstd:1:none"),
    *("f32,pco", "f16,pco:4", "f32,archive", "sq:8,archive"),
    *("tcq:5", "tcq:9:8", "tcq:2:4", "pca:21,tcq:11:256,zstd"),  # the third lets coefficients share steps
    *("vaq:5", "vaq:7x4", "rotate,lloyd:1", "lloyd:3", "normalize,rotate,lloyd:4", "lvq:3", "lvq:4x8", "lvq:5x3"),
    *("uniform:9", "pca:20,uniform:5,rans:20", "uniform:30,rans:24,zstd", "sq:8,rans:24"),
    *("rabitq:1", "rabitq:5", "truncate:13,rabitq:2", "rq:3", "lsq:3"),
    *("bin/sq:8", "pca:7,sq:4/f32,zstd", "truncate:16,sq:8/f16"),
    *(
        "hash:200:1",
        "hash:150:4:mean",
        "hash:90:2:weighted",
        "floret:200:1:2:3:7",
        "fasttext:200:1:2",
        "hashembed:200:7",
    ),
    *("qr:4", "qr:4:mult", "qr:18x17:concat", "qr:18x17:crt", "qr:5x7x9:mult:learned", "qr:20:dlrm", "qr:4:learned"),
    *("subspace:6", "subspace:5x4", "anchor:20:4", "cells:3,anchor:20:2", "normalize,hash:200", "qr:4,zstd:3:bit"),
    *("hash:200:3/pq:5", "qr:7:mult:learned/pq:5x4", "anchor:20:2/sq:6,zstd", "pca:9,hashembed:90:3/lvq:4x8"),
    *(
        "floret:99/tcq:5",
        "hash:99/rabitq:2",
        "hash:99:2:mean/f16",
        "hash:99/bin/sq:8",
        "hash:99/bin:mean",
        "hash:99/f32,zstd",
    ),
    *("cells:1,f16", "cells:7,tcq:5", "cells:40,pca:7,sq:4/sq:8,zstd"),
    *(
        "hash:60",
        "hash:80:4:mean",
        "floret:70",
        "fasttext:90:1:3",
        "hashembed:70:4294967295",
        "pca:7,hash:80:1:weighted",
    ),
    *("qr:8", "qr:7x9x5", "qr:7x11x13:crt", "qr:20x15:mult", "qr:7x11x13:crt:concat", "qr:20x15:concat:learned"),
    *("qr:4:dlrm", "qr:600:learned", "center,qr:9:mult:learned,zstd", "subspace:5", "subspace:3x4", "subspace:2x8"),
    *("anchor:30", "anchor:1:1", "rotate,anchor:300:7,zstd", "hash:60/sq:8", "fasttext:70/pq:5"),
    *("hash:60/pq:5", "hash:80:3:mean:weighted/opq:5x4", "floret:70:2:3:4:7/tcq:5:8", "hashembed:70/lvq:3x2"),
    *("qr:4:mult/pq:5x4,zstd", "qr:8:learned/f16", "qr:15x20:concat:dlrm/bin:median", "qr:7x11x13:crt/rq:3,zstd"),
    *("anchor:30:2/subspace:5x4", "pca:20,anchor:30:2/rabitq:2", "anchor:40:1/anchor:30:2", "hash:60/vaq:5x4"),
    *("hash:60/lloyd:3", "hash:60/lsq:3", "hash:60/uniform:9", "hash:60/lvq:3", "hash:60/bf16", "hash:60/bin/sq:8"),
]
ANY_KEYS = [
    *(
        "hash:60",
        "hash:80:4:mean",
        "hashembed:70:8",
        "floret:70",
        "floret:90:1:4:3:5",
        "fasttext:90:2:5",
        "fasttext:50:5:3",
    ),
    *("qr:8", "hash:60/pq:5", "hashembed:70/sq:8,zstd", "floret:70:0:2/bin", "pca:7,hash:40:1/sq:4", "bin/hash:60"),
]
TEXT_KEYS = [
    *("hash:80:2:word&prefix3&suffix2&shape&ngrams3-5:mean", "hash:80:1:shape", "hash:90:3:ngrams1-2&word:weighted"),
    *("hash:80:2:prefix12&shape:mean/pq:5", "rotate,hash:80:2:suffix1&suffix1/opq:3,zstd"),
]
UNUSUAL = [
    "</s>",
    "<",
    "a",
    "é",
    "McDONALDS-2024",
    "aaaaaaaa11111",
    "ǅǈ²Ⅷ٣٣٣٣٣٣五",
    "\n\n\n\n\n\n",
    "🙂🙂",
    "naïve naïve naïve",
]


def vectors(rows: int = ROWS, dimensions: int = DIMENSIONS) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(rows, dimensions)).astype(np.float32)


def same(path: Path, x: np.ndarray | None = None) -> independent.Store:
    """Return the independent reader's store after comparing all vectors and keys with the package's."""
    other = independent.Store(path)
    with vecstore.open(path) as store:
        store.verify()
        np.testing.assert_allclose(other.vectors(), store.vectors[:], rtol=1e-5, atol=1e-5)
        if "made" in store.columns.column_names:  # the other reader has no calendar
            made = store.columns["made"].cast("int64").to_pylist()
            assert store.columns.to_pydict() | {"made": made} == other.columns()
        for name, items in other.tokens().items():
            for ours, theirs in zip(store.field(name).of_rows(range(store.vectors.shape[0])), items, strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
        for name, items in other.dense().items():
            found = store.field(name).of_rows(range(store.vectors.shape[0]))
            assert [item is None for item in found] == [item is None for item in items]
            for ours, theirs in zip(found, items, strict=True):
                assert ours is None or np.allclose(ours, theirs, rtol=1e-5, atol=1e-5)
        for name, items in other.sparse().items():
            assert store.field(name).of_rows(range(store.vectors.shape[0])) == items
        if store.key_type is not None:
            keys = list(store.keys)
            assert other.keys() == keys
            some = keys[:: max(len(keys) // 500, 1)]
            assert [other.find(key) for key in some] == store.rows_of(some).tolist()
    return other


@pytest.mark.parametrize("options", [{}, {"keep_order": False}, {"keep_norms": True}], ids=str)
def test_cells(tmp_path: Path, options: dict) -> None:
    x = vectors()
    keys = [f"key {i}" for i in range(ROWS)]
    vecstore.write(tmp_path / "a.vecs", x, keys, "cells:9,sq:8", **options)
    other = same(tmp_path / "a.vecs")
    assert "cells" in other.shards[0].about["features"]
    rows = [other.find(key) for key in keys]
    assert (rows == list(range(ROWS))) == ("keep_order" not in options)
    assert ((other.vectors()[rows] - x) ** 2).mean() < 0.01


def test_sizes_of_cells_to_the_byte(tmp_path: Path) -> None:
    x = np.repeat([[1.0, 0], [0, 1]], [3, 5], axis=0)[[0, 5, 1, 6, 7, 2, 3, 4]]
    vecstore.write(tmp_path / "a.vecs", x, codec="cells:2,f32")
    container = independent.Container(tmp_path / "a.vecs")
    sizes = container.array("cells.sizes").tolist()
    assert sorted(sizes) == [3, 5]
    row_of = [0, 2, 5], [1, 3, 4, 6, 7]
    expected = row_of[0] + row_of[1] if sizes == [3, 5] else row_of[1] + row_of[0]
    assert container.values[b"order.row_of:00000000"].startswith(np.array(expected, "<u4").tobytes())


def test_specs_name_every_codec() -> None:
    specs = [codec(spec) for spec in SPECS]
    named = {step.name for spec in specs for layer in spec.layers for step in layer.steps}
    assert any(spec.cells for spec in specs) and named >= {n for n in codec_names() if not n.startswith("test")}


@pytest.mark.filterwarnings("ignore::vecstore.codecs.transforms.truncate.TruncationWarning")
@pytest.mark.parametrize("spec", SPECS)
def test_every_codec_is_read_alike(tmp_path: Path, spec: str) -> None:
    vecstore.write(tmp_path / "a.vecs", vectors(), codec=spec, accept_dominated=True)
    same(tmp_path / "a.vecs")


EXACT = ["f32", "f16", "bf16", "sq:8", "sq:6", "sq:4", "pq:5", "pq:7x4", "bin", "uniform:9", "rq:3", "center,bin"]


@pytest.mark.parametrize("spec", EXACT)
def test_where_no_products_are_summed_bits_are_the_same(tmp_path: Path, spec: str) -> None:
    vecstore.write(tmp_path / "a.vecs", vectors(), codec=spec, accept_dominated=True)
    with vecstore.open(tmp_path / "a.vecs") as store:
        found = independent.Store(tmp_path / "a.vecs").vectors()
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found.view("<u4"), store.vectors[:].view("<u4"))


def keys_of(key_type: str | None, rows: int = ROWS) -> list | None:
    if key_type is None:
        return None
    if key_type == "int64":
        return [(-1) ** i * i**4 for i in range(rows)]
    keys = UNUSUAL + [f"κλειδί {i}" if i % 7 == 0 else f"Key-{i}" for i in range(len(UNUSUAL), rows)]
    return keys if key_type == "str" else [key.encode() + b"\xff" for key in keys]


@pytest.mark.parametrize(
    ("spec", "key_type"),
    [(spec, kind) for spec in ANY_KEYS for kind in ("str", "bytes", "int64")] + [(spec, "str") for spec in TEXT_KEYS],
)
def test_rows_known_by_their_keys(tmp_path: Path, spec: str, key_type: str) -> None:
    path = tmp_path / "a.vecs"
    vecstore.write(path, vectors(), keys_of(key_type), spec, metric="dot", accept_dominated=True)
    compare_unknown(same(path), path)


def compare_unknown(other: independent.Store, path: Path) -> None:
    """Compare what lookups of keys that the store does not hold give."""
    with vecstore.open(path) as store:
        absent = {
            "str": [*(f"{text}!" for text in UNUSUAL), "no such key", "MÜNCHEN 12345", "x" * 40],
            "bytes": [b"\xff", b"\x80\x80a", "naïf".encode(), b"no such key" * 9],
            "int64": [-5, 2**62, 12345678901],
        }[str(store.key_type)]
        assert [other.find(key) for key in absent] == [None] * len(absent)
        made = [other.unknown(key) for key in absent]
        if made[0] is None:
            with pytest.raises(KeyNotFoundError):
                store.lookup(absent[:1])
            return
        found = store.lookup(absent)
        assert not found.known.any()
        np.testing.assert_allclose(np.array(made), found.vectors, rtol=1e-5, atol=1e-5)
        # Many at once take another way through the package; a product of more rows may round otherwise.
        many = store.lookup(absent * 30).vectors
        np.testing.assert_allclose(many, np.tile(found.vectors, (30, 1)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("key_type", [None, "str", "int64"])
@pytest.mark.parametrize("spec", ["hash:60:2", "qr:200:learned", "qr:200:dlrm", "hashembed:60/pq:2x4"])
def test_tables_through_shards(tmp_path: Path, spec: str, key_type: str | None) -> None:
    path, rows = tmp_path / "a.vecs", 7000 if key_type else 22_000
    x, keys = vectors(rows, 4), keys_of(key_type, rows)
    vecstore.write(path, x, keys, spec, shard_bytes=150_000, keep_norms=True, accept_dominated=True)
    other = same(path)
    assert len(other.shards) > 1 and other.shards[1].about["first_row"] == other.shards[0].about["rows"]
    if keys is not None:
        compare_unknown(other, path)


def test_quotients_of_dlrm_go_wrong_alike(tmp_path: Path) -> None:
    """Above 2**24 float32 has every other number only."""
    quotients, remainders = vectors(3500, 1), vectors(4999, 1)
    header = {
        "emb.weight_q": {"dtype": "F32", "shape": [3500, 1], "data_offsets": [0, 14_000]},
        "emb.weight_r": {"dtype": "F32", "shape": [4999, 1], "data_offsets": [14_000, 33_996]},
    }
    head = json.dumps(header).encode()
    source = tmp_path / "m.safetensors"
    source.write_bytes(struct.pack("<Q", len(head)) + head + quotients.tobytes() + remainders.tobytes())
    import_quotient_remainder(source, tmp_path / "a.vecs", table="emb", rows=17_000_000)
    shard = independent.Store(tmp_path / "a.vecs").shards[-1]
    model = lambda name: shard.model(0, 0, name)  # noqa: E731
    step = shard.about["codec"][0][0]
    numbers = range(2**24 - 1000, 2**24 + 20_000)
    found = tables.decode(step, np.zeros((len(numbers), 0), np.uint8), model, numbers, None)
    with vecstore.open(tmp_path / "a.vecs") as store:
        np.testing.assert_array_equal(store.vectors[list(numbers)], found)
    right = quotients[np.array(numbers) // 4999] * remainders[np.array(numbers) % 4999]
    assert (found != right).any()


@pytest.mark.parametrize("kind", ["hashembed", "floret"])
def test_imported_tables(tmp_path: Path, kind: str) -> None:
    path, table = tmp_path / "a.vecs", vectors(50, 6)
    if kind == "hashembed":
        import_hash_embed(table, path, seed=11, keys=keys_of("str"))
    else:
        lines = ["50 6 1 3 2 77 < >", *(f"{i} {' '.join(map(repr, row))}" for i, row in enumerate(table.tolist()))]
        (tmp_path / "m.floret").write_text("\n".join(lines) + "\n")
        import_subwords(tmp_path / "m.floret", path, keys=keys_of("str"))
    compare_unknown(same(path), path)


@pytest.mark.parametrize(
    ("spec", "key_type"),
    [
        *(("sq:8@50+f32@100+hash:60", key_type) for key_type in (None, "str", "int64")),
        ("f16@40+hash:60:2/pq:5@150+qr:8", "str"),
        ("hash:60:3:mean@100+floret:60@200+qr:7:learned", "bytes"),
        ("qr:60x7:crt@100+qr:7", None),
        ("mixed:16", "int64"),
        ("mixed:9:dims:0.4", "str"),
        ("mixed:12:dims:0.5:pow2", None),
    ],
)
def test_mixed_stores(tmp_path: Path, spec: str, key_type: str | None) -> None:
    path, rows = tmp_path / "a.vecs", 3000 if spec.startswith("mixed") else ROWS
    x = vectors(rows) * np.linspace(2, 0.1, DIMENSIONS, dtype=np.float32)
    importance = np.random.default_rng(0).permutation(rows) + 1
    vecstore.write(path, x, keys_of(key_type, rows), spec, importance=importance, accept_dominated=True)
    other = same(path)
    assert len({str(shard.about["codec"]) for shard in other.shards}) > 1
    if key_type is not None:
        compare_unknown(other, path)


@pytest.mark.parametrize(
    "options", [{}, {"codec": "cells:5,sq:8", "keep_order": False}, {"shard_bytes": 500_000}], ids=str
)
def test_columns(tmp_path: Path, options: dict) -> None:
    keys = [f"key {i}" for i in range(2000)]
    vecstore.write(tmp_path / "a.vecs", vectors(2000), keys, columns=columns(2000), **({"codec": "sq:8"} | options))
    other = same(tmp_path / "a.vecs")
    assert (len(other.shards) > 1) == ("shard_bytes" in options)
    sizes = other.columns()["size"]
    assert [sizes[other.find(key)] for key in keys] == columns(2000)["size"]


def test_columns_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.vecs"
    beside = {"s": ["net", None, "é"], "b": [True, None, True], "t": [["a", "b"], [], ["a"]]}
    vecstore.write(path, vectors(3, 4), codec="f32", columns=beside)
    values = {name.removeprefix(b"columns."): value for name, value in independent.Container(path).values.items()}
    assert values[b"0.validity:00000000"].rstrip(b"\0") == values[b"1.validity:00000000"].rstrip(b"\0") == b"\5"
    assert values[b"0.starts:00000000"].startswith(struct.pack("<3i", 0, 3, 5))  # of the distinct strings
    assert values[b"0.values:00000000"].rstrip(b"\0") == b"\0\0\1"
    assert values[b"0.text:00000000"].rstrip(b"\0") == "neté".encode()
    assert values[b"1.values:00000000"].rstrip(b"\0") == b"\5"
    assert values[b"2.lists:00000000"].startswith(struct.pack("<4i", 0, 2, 2, 3))
    told = independent.Container(path).description["columns"]
    assert told[1] == {"name": "b", "type": "bool", "nulls": 1}


@pytest.mark.parametrize("spec", ["f16", "pq:4x4", "pca:4,tcq:2", "sq:6,zstd", "cells:300,tcq:2", "cells:9,sq:8"])
@pytest.mark.parametrize("options", [{}, {"codec": "cells:5,sq:8"}, {"shard_bytes": 190_000}], ids=str)
def test_tokens(tmp_path: Path, spec: str, options: dict) -> None:
    rows = 6000 if "shard_bytes" in options else 2000
    items = [item / np.maximum(np.linalg.norm(item, axis=1, keepdims=True), 1e-9) for item in tokens(rows)]
    field = vecstore.Multi(items if ":" in spec else tokens(rows), codec=spec)
    vecstore.write(tmp_path / "a.vecs", vectors(rows), fields={"t": field}, **({"codec": "sq:8"} | options))
    other = same(tmp_path / "a.vecs")
    assert (len(other.shards) > 1) == ("shard_bytes" in options) and len(other.tokens()["t"]) == rows


def test_tokens_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.vecs"
    items = [np.ones((2, 1)), np.empty((0, 1)), np.full((1, 1), 3)]
    vecstore.write(path, vectors(3, 4), codec="f32", fields={"t": vecstore.Multi(items, codec="f32")})
    values = independent.Container(path).values
    assert values[b"fields.0.starts:00000000"].startswith(struct.pack("<4q", 0, 2, 2, 3))
    assert values[b"fields.0.codes.0:00000000"].startswith(struct.pack("<3f", 1, 1, 3))
    told = independent.Container(path).description["fields"]
    assert told[0] == {
        **{"name": "t", "kind": "multi", "vectors": 3, "dimensions": 1, "pool": 1, "unit": False},
        **{"codec": [[{"name": "f32", "configuration": {}}]], "certificate": {"training_vectors": 3}},
    }


@pytest.mark.parametrize("bits", [0, 4, 8])
@pytest.mark.parametrize("options", [{}, {"codec": "cells:5,sq:8"}, {"shard_bytes": 190_000}], ids=str)
def test_terms(tmp_path: Path, bits: int, options: dict) -> None:
    rows = 4300  # more than a segment
    field = vecstore.Sparse(terms(rows), weight_bits=bits)
    vecstore.write(tmp_path / "a.vecs", vectors(rows), fields={"t": field}, **({"codec": "sq:8"} | options))
    other = same(tmp_path / "a.vecs")
    assert (len(other.shards) > 1) == ("shard_bytes" in options) and len(other.sparse()["t"]) == rows


@pytest.mark.parametrize("spec", ["f32", "pca:4,tcq:2", "bin/sq:6"])
def test_dense_fields(tmp_path: Path, spec: str) -> None:
    fields = {
        "t": vecstore.Dense(vectors(2000, 7), codec=spec),
        "dot": vecstore.Dense(vectors(), codec=spec, metric="l2"),
    }
    vecstore.write(tmp_path / "a.vecs", vectors(2000), codec="sq:8", fields={"t": fields["t"]})
    assert len(same(tmp_path / "a.vecs").dense()["t"]) == 2000
    assert len(vectors()) == ROWS
    vecstore.write(tmp_path / "b.vecs", vectors(), codec="cells:3,sq:8", fields=fields | {"t": fields["dot"]})
    same(tmp_path / "b.vecs")


@pytest.mark.parametrize("options", [(3, 2, 4), (2, 0, None), (2, 3, None)], ids=str)
def test_encodings_of_tokens(tmp_path: Path, options: tuple) -> None:
    repetitions, simhash, projection = options
    items = tokens(60)
    made = vecstore.Muvera("t", repetitions=repetitions, simhash=simhash, projection=projection, codec="f32")
    fields = {"t": vecstore.Multi(items, codec="f32"), "fde": made}
    vecstore.write(tmp_path / "a.vecs", vectors(60), codec="f32", fields=fields)
    (shard,) = same(tmp_path / "a.vecs").shards
    reader = shard.dense()["fde"]
    for item, vector in zip(items, reader.items(), strict=True):
        assert vector is None if not len(item) else np.allclose(reader.encoded(item), vector, atol=1e-5)
    with vecstore.open(tmp_path / "a.vecs") as store:
        products = [-np.inf if v is None else reader.encoded(items[7], query=True) @ v for v in reader.items()]
        found = store.search(items[7], k=5, field="fde")
        np.testing.assert_allclose(found.scores, np.sort(products)[::-1][:5], rtol=1e-4)


def test_terms_to_the_byte(tmp_path: Path) -> None:
    path, rows = tmp_path / "a.vecs", [{} for _ in range(300)]
    for row in range(20):
        rows[row * 14 + 5][7] = 255.0 - row
    rows[9] = {3: 1.0, 8: 2.0}
    vecstore.write(path, vectors(300, 4), codec="f32", fields={"t": vecstore.Sparse(rows)})
    values, told = independent.Container(path).values, independent.Container(path).description["fields"]
    certificate = told[0].pop("certificate")
    assert told == [{"name": "t", "kind": "sparse", "entries": 22, "weight_bits": 8, "step": 1.0}] and certificate
    assert values[b"fields.0.groups:00000000"].startswith(struct.pack("<2I", 300, 3))
    assert values[b"fields.0.terms:00000000"].startswith(struct.pack("<3I", 3, 7, 8))
    assert values[b"fields.0.sizes:00000000"].startswith(struct.pack("<3I", 6, 95, 6))
    cut = struct.pack("<IBH", 47, 255, 20) + bytes([5, *[13] * 19]) + bytes(range(255, 235, -1))
    assert values[b"fields.0.lists:00000000"].startswith(struct.pack("<HB", 9, 1) + cut + struct.pack("<HB", 9, 2))


@pytest.mark.parametrize("spec", ["sq:8", "pq:4x4", "f32,zstd", "bin/sq:8"])
def test_norms(tmp_path: Path, spec: str) -> None:
    x = vectors() * np.arange(ROWS, dtype=np.float32)[:, None]  # with a zero vector
    vecstore.write(tmp_path / "a.vecs", x, codec=spec, keep_norms=True)
    other = same(tmp_path / "a.vecs")
    np.testing.assert_allclose(np.linalg.norm(other.vectors(), axis=1), np.linalg.norm(x, axis=1), rtol=1e-4)


def test_scales_of_one_are_written_too(tmp_path: Path) -> None:
    vecstore.write(tmp_path / "a.vecs", np.ones((100, 4)), codec="whiten:3,f32")
    assert "model.0.0.scales" in Container(tmp_path / "a.vecs").names()
    same(tmp_path / "a.vecs")


@pytest.mark.parametrize("rows", [1, 2, 31, 32, 33, 1000, 2500])
@pytest.mark.parametrize("spec", ["sq:4", "pq:3x4", "tcq:3:8"])
def test_tiles(tmp_path: Path, rows: int, spec: str) -> None:
    vecstore.write(tmp_path / "a.vecs", vectors(rows), codec=spec)
    same(tmp_path / "a.vecs")


def test_several_blocks(tmp_path: Path) -> None:
    vecstore.write(tmp_path / "a.vecs", vectors(20_000, 8), codec="f32/f16,zstd")
    parts = Container(tmp_path / "a.vecs").description["parts"]
    assert parts["codes.0"]["blocks"] > 1 and parts["codes.1"]["blocks"] > 1
    same(tmp_path / "a.vecs")


def text_keys(rows: int) -> list[str]:
    """Return keys with lengths around that of long ones, characters of several bytes, and a zero."""
    keys = [f"κλειδί {i}" if i % 7 == 0 else f"{i}" for i in range(rows)]
    for i, length in enumerate((253, 254, 255, 256, 257, 5000, 65535)):
        if 3 * i + 31 < rows:
            keys[3 * i + 31] = chr(97 + i) * length
    keys[0] = "with\0zero"
    return keys


@pytest.mark.parametrize("rows", [1, 2, 33, 20_000])
def test_text_keys(tmp_path: Path, rows: int) -> None:
    keys = text_keys(rows)
    vecstore.write(tmp_path / "s.vecs", vectors(rows, 2), keys, "sq:8")
    assert same(tmp_path / "s.vecs").find("absent") is None
    raw = [key.encode() + b"\xff" for key in keys if len(key.encode()) < 65535]
    vecstore.write(tmp_path / "b.vecs", vectors(len(raw), 2), raw, "sq:8")
    assert same(tmp_path / "b.vecs").find(b"absent") is None


def test_many_keys_take_several_pages_and_tables(tmp_path: Path) -> None:
    keys = [i * 2**40 - 2**62 for i in range(140_000)]
    vecstore.write(tmp_path / "a.vecs", vectors(len(keys), 1), keys, "sq:8")
    parts = Container(tmp_path / "a.vecs").description["parts"]
    assert parts["keys.int64"]["blocks"] == 9 and parts["keys.table"]["blocks"] > 1
    other = independent.Store(tmp_path / "a.vecs")
    assert [other.find(key) for key in keys[::700]] == list(range(0, len(keys), 700))
    assert [other.find(key + 1) for key in keys[::7000]] == [None] * 20


@pytest.mark.parametrize("rows", [9999, 30_000])
def test_sharded(tmp_path: Path, rows: int) -> None:
    keys = [f"key {i}" for i in range(rows)]
    vecstore.write(
        tmp_path / "a.vecs",
        vectors(rows, 4),
        keys,
        "f16",
        shard_bytes=80_000 + 24 * rows // 4 if rows > 9999 else 131_200,
    )
    other = same(tmp_path / "a.vecs")
    assert len(other.shards) > 2 and len(other.maps) == 1
    assert [other.find(f"absent {i}") for i in range(100)] == [None] * 100


def test_the_walk_finds_what_the_library_finds(tmp_path: Path) -> None:
    path = tmp_path / "a.vecs"
    vecstore.write(path, vectors(30_000, 8), text_keys(30_000), "f32")
    data, found = path.read_bytes(), checks.pages(path.read_bytes())
    with lmdb.open(str(path), subdir=False, readonly=True, lock=False) as environment, environment.begin() as entries:
        assert {name: data[at : at + size] for name, (at, size) in found.items()} == dict(entries.cursor())
    assert all(at % 16 == 0 and size >= 496 for at, size in found.values())
    assert Container(path)._extents == found


def test_description_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.vecs"
    vecstore.write(path, np.eye(2, dtype=np.float32), ["a", "bc"], "f32")
    value = independent.Container(path).values[b"vecstore"]
    length = int.from_bytes(value[12:16], "little")
    body = value[24 : 24 + length]
    assert value[:12] == b"VECSTORE\x01\x00\x03\x00"
    assert value[16:24] == struct.pack("<Q", xxhash.xxh3_64_intdigest(value[:16] + body))
    assert (
        body.startswith(b"{")
        and b',"checksums":{"chunk_bytes":65536,"count":3,"xxh3":"' in body
        and body.endswith(b"}")
    )
    assert b'"codec":[[{"configuration":{},"name":"f32"}]],"dimensions":2,"features":[]' in body
    assert b'"keys":{"bucket_bits":0,"row_bits":1,"type":"str"},"kind":"shard","lengths":[' in body
    assert b'],"metric":"cosine","norms":false' in body
    assert (
        b'"codes.0":{"block_rows":65504,"blocks":1,"checksums_at":0,"dtype":"|u1","shape":[2,8],"tile_rows":1}' in body
    )
    assert not any(value[24 + length :])


def test_key_index_to_the_byte(tmp_path: Path) -> None:
    """The example of section 7."""
    path = tmp_path / "a.vecs"
    vecstore.write(path, np.eye(2, dtype=np.float32), ["a", "bc"], "f32")
    values = independent.Container(path).values
    text = bytes.fromhex("02000000 00000000 00000000 01020000 616263")
    table = bytes.fromhex("00000000 02000000 03853fbb f0c44ed2")
    assert values[b"keys.text:00000000"].rstrip(b"\0") == text
    assert values[b"keys.table:00000000"].rstrip(b"\0") == table


def test_long_keys_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.vecs"
    vecstore.write(path, np.eye(3, dtype=np.float32), [b"x" * 254, b"y" * 255, b"z" * 300], "f32")
    value = independent.Container(path).values[b"keys.text:00000000"]
    head = bytes.fromhex("03000000 02000000 00000000 feffff00 01000000 ff000000 02000000 2c010000")
    assert value.startswith(head + b"x" * 254 + b"y" * 255 + b"z" * 300)


def test_tiles_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.vecs"
    vecstore.write(path, vectors(3, 4), codec="sq:4")
    container = Container(path)
    part = container.part("codes.0")
    with vecstore.open(path) as store:
        codes = store._snapshot.shards[0].layers[0].gather(np.arange(3))
    expected = b"".join(bytes(codes[:, j]).ljust(32, b"\0") for j in range(2))
    assert bytes(part.block_bytes(0)).startswith(expected)


def test_manifest_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.vecs"
    vecstore.write(path, vectors(3000, 4), codec="f32", shard_bytes=150_000)
    body = (path / "manifest.json").read_bytes()
    assert body.startswith(b'{\n "collisions": {},\n "features": [],\n "format": "vecstore",\n "generation": 0,\n')
    digits = f"{xxhash.xxh3_64_intdigest(body[:-20] + b'0' * 16 + body[-4:]):016x}".encode()
    assert body[-32:] == b',\n "xxh3": "' + digits + b'"\n}\n'


@pytest.mark.parametrize("options", [{}, {"shard_bytes": 150_000}], ids=["one file", "sharded"])
@pytest.mark.parametrize("spec", ["opq:3", "rotate,bin/sq:6,zstd"])
def test_the_same_input_gives_the_same_bytes(tmp_path: Path, spec: str, options: dict) -> None:
    x, keys = vectors(3000, 8), [f"key {i}" for i in range(3000)]
    paths = [tmp_path / "one.vecs", tmp_path / "two.vecs"]
    for path in paths:
        vecstore.write(path, x, keys, spec, seed=5, **options)
    if not options:
        assert filecmp.cmp(*paths, shallow=False)
        return
    names = sorted(file.name for file in paths[0].iterdir())
    assert filecmp.cmpfiles(*paths, names, shallow=False) == (names, [], [])


GOLDEN = [(name, version) for version in VERSIONS for name in STORES if SINCE.get(name, "1.0") <= version]


def test_the_golden_static_model_encodes() -> None:
    path = Path(__file__).parent / "1.3/static.vecs"
    tokenizer, vectors = independent.Shard(path).static()
    assert json.loads(tokenizer)["model"]["unk_token"] == "[UNK]" and len(vectors) == 15
    with vecstore.open(path) as store:
        found = Encoder(store).encode(["w1 w14 strange w1", "strange", " ".join(["w2"] * 20 + ["w3"])])
    expected = np.stack([(2 * vectors[1] + vectors[14]) / 3, 0 * vectors[0], vectors[2]])
    expected /= np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-9)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "version"), GOLDEN)
def test_golden_stores_are_read(name: str, version: str) -> None:
    """A missing file fails: golden stores are written once, by make_golden.py, and kept."""
    rows, dimensions, codec, key_type, options = STORES[name]
    path = Path(__file__).parent / version / f"{name}.vecs"
    expected = np.load(Path(__file__).parent / version / f"{name}.npy")
    x, keys = source(rows, dimensions, key_type)
    other = same(path)
    np.testing.assert_allclose(other.vectors(), expected, rtol=1e-5, atol=1e-5)
    with vecstore.open(path) as store:
        np.testing.assert_allclose(store.vectors[:], expected, rtol=1e-5, atol=1e-5)
        info = store.info()
        assert (info["format"], info["codec"], info["user"]) == (version, codec, options.get("user", {}))
        assert store.metric == options.get("metric", "cosine")
        if name in WITH_COLUMNS:
            found, places = store.columns.to_pydict(), store.rows_of(keys)
            assert {column: [values[place] for place in places] for column, values in found.items()} == columns(rows)
        if name == "terms":
            for bits, atol in (("0", 2), ("4", 0.07), ("8", 0.005)):
                for found, item in zip(store.field(bits)[keys], terms(rows), strict=True):
                    assert found.keys() == item.keys()
                    assert all(abs(found[term] - weight) < atol for term, weight in item.items())
        if name.startswith("tokens"):
            for found, item in zip(store.field("tokens")[keys], tokens(rows), strict=True):
                np.testing.assert_allclose(found, item, atol=0.05)
        if keys is not None:
            places = store.rows_of(keys)
            assert [store.keys[place] for place in places] == keys
            assert name in ("cells", "columns") or places.tolist() == list(range(rows))
            expected = expected[places]
            compare_unknown(other, path)
        scores = reference.scores(x[:5], expected, store.metric)
        best = np.sort(scores if store.metric == "l2" else -scores, axis=1)[:, :10]
        found = store.search(x[:5], rescore=rows if "/" in codec else "auto").scores
        np.testing.assert_allclose(found if store.metric == "l2" else -found, best, rtol=1e-4, atol=1e-4)
        error = ((expected - x) ** 2).sum() / (x**2).sum()
        least = {
            "pq": 0.7,
            "layers": 0.01,
            "packed": 1e-6,
            "trellis": 0.4,
            "sharded": 1e-3,
            "cells": 0.01,
            "order": 0.5,
            "axes": 0.2,
            "heads": 0.01,
            "tables": 0.3,
            "mixed": 0.9,
            "static": 1e-3,
            "columns": 1e-3,
            "sharded-columns": 1e-3,
            "tokens": 1e-3,
            "tokens-in-cells": 1e-3,
            "vectors": 1e-3,
            "models": 0.3,
            "terms": 1e-3,
        }
        assert error < least[name]


def test_the_golden_store_of_several_generations() -> None:
    path = Path(__file__).parent / VERSIONS[-1] / EDITED
    expected, (_, keys) = np.load(path.with_suffix(".npy")), source(400, 8, "str")
    names = [*keys[1:3], *keys[9:350], *keys[351:399], keys[350], keys[0]]
    other = independent.Store(path)
    living = other.living()
    np.testing.assert_allclose(other.vectors()[living], expected, rtol=1e-5, atol=1e-5)
    assert [other.keys()[row] for row in living] == names and [other.find(name) for name in names] == living
    assert not any(other.find(name) for name in (*keys[3:9], keys[399]))
    with vecstore.open(path) as store:
        assert list(store) == names and len(store) == len(expected) and store.generation == 2
        np.testing.assert_allclose(store[names], expected, rtol=1e-5, atol=1e-5)
        found = store.search(expected[:5], 3)
        assert [own[0] for own in found.keys] == names[:5]
        assert [(version.generation, version.rows, version.tags) for version in store.versions()] == [
            (0, 300, ()),
            (1, 394, ("first",)),
            (2, 393, ()),
        ]
        store.verify(deep=True)
    with vecstore.open(path, generation="first") as store:
        assert len(store) == 394 and keys[399] in store


def test_the_golden_store_whose_shards_share_a_model() -> None:
    """Of three edits and small pages; read in each generation, also by the independent reader."""
    path, (_, keys) = Path(__file__).parent / VERSIONS[-1] / LIVING, source(500, 24, "str")
    gone = {1: keys[3:9], 3: [*keys[3:9], *keys[400:420]]}
    assert len(list(path.glob("model-*.vecs"))) == 1
    for file in path.glob("*.vecs"):
        assert struct.unpack_from("<I", file.read_bytes(), 40) == (512,), file  # bytes of a page
    for generation, name, kept in (
        (1, "manifest-00000001.json", path.with_suffix(".1.npy")),
        (3, "manifest.json", path.with_suffix(".npy")),
    ):
        expected, names = np.load(kept), [key for key in keys if key not in gone[generation]]
        other = independent.Store(path, name)
        living = other.living()
        np.testing.assert_allclose(other.vectors()[living], expected, rtol=1e-5, atol=1e-5)
        assert [other.keys()[row] for row in living] == names and [other.find(key) for key in names] == living
        assert other.manifest["generation"] == generation and len({s.about["model"] for s in other.shards}) == 1
        with vecstore.open(path, generation=generation) as store:
            assert list(store) == names and not any(key in store for key in gone[generation])
            np.testing.assert_allclose(store[names], expected, rtol=1e-5, atol=1e-5)
            assert [own[0] for own in store.search(expected[:5], 3).keys] == names[:5]
            store.verify(deep=True)
    assert other.manifest["certificate"]["again"] == {
        "generation": 2,
        "rows": 474,
        "added": 200,
        "deleted": 26,
        "against": "originals",
    }
    with vecstore.open(path) as store:
        assert store.info()["certificate"] == other.manifest["certificate"] and not store.info()["certified"]["stale"]
