"""A store as its users see it: lookup, keys, vectors, prefixes, the store as a thing. Search is in test_search.py."""

from __future__ import annotations

import gc
import json
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import vecstore
from vecstore.errors import (
    ClosedError,
    CodecError,
    CorruptError,
    FormatError,
    KeyNotFoundError,
    OptionError,
    ShapeError,
    UnsupportedVersionError,
)
from vecstore.keys.packed import KERNEL_KEYS
from vecstore.shard.layers import KERNEL_ROWS
from vecstore.store.manifest import Manifest, _sealed

SHARD_BYTES = 183_000  # the least that pq:10 allows; 2,000 words in sq:8 make two shards
SPECS = ["f32", "f16", "sq:8", "sq:6", "sq:4", "pq:10", "pq:7x4", "bin", "pca:20,sq:8", "bin/sq:8", "f32,zstd"]
KEYS = ["str", "bytes", "int64", None]
LAYOUTS = {"file": {}, "shards": {"shard_bytes": SHARD_BYTES}}

every_layout = pytest.mark.parametrize("layout", LAYOUTS)


@pytest.fixture
def open_words(make_store):
    """Return a function that opens a store of the first 2,000 words, see `make_store`."""
    return lambda *spec, **options: vecstore.open(make_store(*spec, **options))


def keys_of(kind, words, rows=2000):
    given = {"str": words, "bytes": [word.encode() for word in words], "int64": [i * i - 1000 for i in range(rows)]}
    return given[kind][:rows] if kind else list(range(rows))


# Lookup


@every_layout
@pytest.mark.parametrize("kind", KEYS)
def test_every_key_leads_to_its_vector(open_words, words, word_keys, kind, layout):
    store = open_words("f32", keys=kind, **LAYOUTS[layout])
    keys = keys_of(kind, word_keys)
    assert store.key_type == kind and len(store) == 2000 and list(store) == keys
    assert (len(store.info()["bytes"]["code"]), store.info()["shards"] > 1) == (1, layout == "shards")
    for row in (0, 1, 777, 1999):
        np.testing.assert_array_equal(store[keys[row]], words[row])
        np.testing.assert_array_equal(store.get(keys[row]), words[row])
        assert keys[row] in store and keys[row] in store.keys and store.key_of(row) == keys[row]
    for count in (1, KERNEL_KEYS - 1, KERNEL_KEYS, 2000):
        np.testing.assert_array_equal(store[keys[:count][::-1]], words[:count][::-1])
        np.testing.assert_array_equal(store.rows_of(keys[:count]), np.arange(count))
    np.testing.assert_array_equal(store[np.array(keys)], words[:2000])
    np.testing.assert_array_equal(store[tuple(keys[3:5])], words[3:5])
    assert store[[]].shape == (0, 50)


@every_layout
@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("repeat", [1, KERNEL_KEYS])
def test_absent_keys(open_words, words, word_keys, kind, layout, repeat):
    store = open_words("f32", keys=kind, **LAYOUTS[layout])
    present = keys_of(kind, word_keys)[5]
    absent = {"str": "no such word", "bytes": b"no such word", "int64": 2**40, None: 2000}[kind]
    asked = [absent, present] * repeat
    assert absent not in store and store.get(absent) is None and store.get(absent, 7) == 7
    np.testing.assert_array_equal(store.rows_of(asked), [-1, 5] * repeat)
    for default in (0, -1.5, np.arange(50)):
        expected = np.where([[True], [False]] * repeat, np.float32(default), words[5])
        np.testing.assert_array_equal(store.get(asked, default=default), expected)
    for wrong in (absent, asked):
        with pytest.raises(KeyNotFoundError, match=r"no (key|row)s? .* store\.get\(\.\.\.\) takes missing"):
            store[wrong]
    there, missing = store.get([present, absent])
    np.testing.assert_array_equal(there, words[5])
    assert missing is None and store.get([]) == []
    with pytest.raises(ShapeError, match=r"default is a number or a \(50,\) vector, found 'none'"):
        store.get(asked, default="none")


def test_the_first_missing_keys_are_named(open_words):
    with pytest.raises(KeyNotFoundError, match=r"no keys 'x0', 'x1', 'x2', 'x3', 'x4' and 2 more in "):
        open_words("f32")[np.array(["the", *(f"x{i}" for i in range(7))])]


@every_layout
def test_several_keys_are_no_single_one(open_words, layout):
    store = open_words("f32", **LAYOUTS[layout])
    for use in (store.rows_of, store.lookup):
        with pytest.raises(OptionError, match=r"several keys are a list; for the single key 'the' write \['the'\]"):
            use("the")
    with pytest.raises(OptionError, match=r"for the single key 7 write \[7\]"):
        store.rows_of(7)
    assert store.rows_of(key for key in ("the", "no such word")).tolist() == [0, -1]
    np.testing.assert_array_equal(store[{"the": 1, "of": 2}.keys()], store[["the", "of"]])


@every_layout
def test_keys_that_cannot_be_there(open_words, layout):
    store = open_words("f32", **LAYOUTS[layout])
    for odd in (None, 3, b"the", 1.5, ("the",), "\ud800", object()):
        assert odd not in store.keys
        assert store.rows_of([odd, "the"]).tolist() == [-1, 0]
        assert store.rows_of([odd] * KERNEL_KEYS).tolist() == [-1] * KERNEL_KEYS
    with pytest.raises(ShapeError, match="one-dimensional"):
        store[np.array([["the", "of"]])]


@every_layout
def test_row_numbers_are_the_keys_of_a_store_without_keys(open_words, layout):
    store = open_words("f32", keys=None, **LAYOUTS[layout])
    assert -1 not in store and 2000 not in store and np.int64(1999) in store
    for wrong in ("the", 1.5, True):
        with pytest.raises(OptionError, match="rows are found by number"):
            store[wrong]
    with pytest.raises(OptionError, match="rows are found by number"):
        store[["the"]]


def test_returned_arrays_are_the_callers_own(open_words):
    for spec in SPECS:
        store = open_words(spec)
        for get in (lambda s: s["the"], lambda s: s[["the"]], lambda s: s.vectors[0], lambda s: s.vectors[:1]):
            before = get(store).copy()
            got = get(store)
            got[...] = 7
            np.testing.assert_array_equal(get(store), before)


# Keys


@every_layout
@pytest.mark.parametrize("kind", KEYS)
def test_keys_behave_like_a_list(open_words, word_keys, kind, layout):
    view = open_words("f32", keys=kind, **LAYOUTS[layout]).keys
    keys = keys_of(kind, word_keys)
    assert len(view) == 2000 and list(view) == keys and str(kind or "row number") in repr(view)
    assert list(reversed(view)) == keys[::-1]
    for index in (0, 1999, -1, -2000, np.int64(5), slice(3, 9), slice(None, None, -300), slice(5, 2)):
        assert view[index] == keys[index]
    for rows in ([1, -1, 1], np.array([7, 0]), [], np.arange(2000) == 4):
        assert view[rows] == [keys[row] for row in np.arange(2000)[np.array(rows, None if len(rows) else int)]]
    for index in (2000, -2001, [0, 2000]):
        with pytest.raises(IndexError, match="of a store with 2000 rows"):
            view[index]
    assert view.index(keys[3]) == 3 and view.count(keys[3]) == 1


# Vectors

MASK = np.random.default_rng(0).random(2000) < 0.3
INDICES = [
    0,
    -1,
    np.int32(5),
    np.uint8(5),
    np.array(5),
    slice(None),
    slice(10, 600),
    slice(1990, 5000),
    slice(5, 3),
    slice(-7, None),
    slice(None, None, -1),
    slice(100, 20, -7),
    slice(0, 2000, 999),
    [],
    [3],
    [5, -1, 5, 1999],
    np.array([7, 8], np.uint16),
    np.arange(1999, -1, -1),
    MASK,
    MASK.tolist(),
    ...,
    (),
    (3,),
    (3, 4),
    (-3, slice(2, 9)),
    (slice(2, 4), 7),
    (slice(2, 900), slice(None, None, 5)),
    (MASK, slice(0, 3)),
    (MASK, 3),
    ([1, 2, 3], [4, 5, 6]),
    ([1, 2, 3], 4),
    ([1], [4, 5, 6]),
    (slice(None), [4, 5]),
    (..., 3),
    (..., [4, 5]),
    (..., 3, 4),
    (5, ...),
    ([5, 6], ...),
    (slice(0, 3), np.arange(50) % 2 == 0),
    (slice(0, 3), None),
    (0, [1, 1]),
    [[1, 2], [3, 1]],
    np.array([[[5, -1, 5]], [[7, 7, 1999]]]),
    np.empty((0, 3), np.int64),
    ([[1, 2], [3, 1]], slice(0, 3)),
    ([[1, 2], [3, 1]], 3),
]


@every_layout
@pytest.mark.parametrize("spec", ["f32", "pq:7x4", "bin/sq:8", "f32,zstd"])
@pytest.mark.parametrize("index", INDICES, ids=lambda index: repr(index)[:30])
def test_indexing_is_that_of_numpy(open_words, spec, layout, index):
    vectors = open_words(spec, **LAYOUTS[layout]).vectors
    expected = np.asarray(vectors)[index]
    found = vectors[index]
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    # One row of a matrix product may be rounded otherwise than a batch of them.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (2000, IndexError, "row 2000 of a store with 2000 rows"),
        (-2001, IndexError, "row -2001"),
        ([0, 2000], IndexError, "row 2000"),
        ([0, -2001], IndexError, "row -2001"),
        ((0, 50), IndexError, "out of bounds"),
        ((0, 0, 0), IndexError, "too many indices"),
        ("the", ShapeError, "one-dimensional"),
        (["the"], ShapeError, r"keys go to store\[keys\]"),
        ([1.5], ShapeError, "integers or a mask"),
        (np.eye(2, dtype=bool), ShapeError, "one-dimensional"),
        (([[1, 2]], [0]), ShapeError, "a number or a slice"),
        (MASK[:-1], ShapeError, "a mask of 1999 for 2000 rows"),
    ],
)
def test_indices_that_numpy_refuses_too(open_words, index, error, message):
    with pytest.raises(error, match=message):
        open_words("f32").vectors[index]


@every_layout
@pytest.mark.parametrize("spec", SPECS)
def test_vectors_are_the_same_however_they_are_read(open_words, spec, layout):
    store = open_words(spec, **LAYOUTS[layout])
    everything = np.asarray(store.vectors)
    rows = np.random.default_rng(0).integers(0, 2000, KERNEL_ROWS + 3)
    for found, expected in [
        (store.vectors[rows], everything[rows]),
        (store.vectors[rows[:5]], everything[rows[:5]]),
        (np.stack(list(store.vectors)), everything),
        (np.stack([store.vectors[row] for row in range(0, 2000, 97)]), everything[::97]),
        (store[store.keys[rows]], everything[rows]),
    ]:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_vectors_are_an_array_to_others(open_words, words):
    vectors = open_words("f32").vectors
    assert (vectors.shape, vectors.ndim, vectors.dtype, len(vectors)) == ((2000, 50), 2, np.float32, 2000)
    assert (vectors.size, vectors.nbytes) == (100_000, 400_000) and "2000 x 50" in repr(vectors)
    np.testing.assert_array_equal(np.asarray(vectors, np.float64), words[:2000].astype(np.float64))
    np.testing.assert_allclose(np.dot(vectors, words[0]), words[:2000] @ words[0], rtol=1e-5)
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        with pytest.raises(ValueError, match="always a copy"):
            np.asarray(vectors, copy=False)


def test_stored_f32_is_the_input(open_words, words):
    np.testing.assert_array_equal(open_words("f32").vectors, words[:2000])
    np.testing.assert_array_equal(open_words("f32,zstd:9:bit").vectors, words[:2000])


# Lengths


@every_layout
@pytest.mark.parametrize("spec", ["f32", "sq:8", "bin", "pq:10"])
def test_kept_lengths(open_words, words, spec, layout):
    store = open_words(spec, keep_norms=True, **LAYOUTS[layout])
    expected = np.linalg.norm(words[:2000], axis=1)
    np.testing.assert_allclose(np.linalg.norm(store.vectors, axis=1), expected, rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(store[store.keys[:600]], axis=1), expected[:600], rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(store["the"]), expected[0], rtol=1e-4)
    assert store.info()["norms"] is True


def test_a_zero_vector_keeps_its_length(tmp_path, words):
    x = words[:50].copy()
    x[7] = 0
    vecstore.write(tmp_path / "w.vecs", x, codec="sq:8", keep_norms=True)
    store = vecstore.open(tmp_path / "w.vecs")
    np.testing.assert_array_equal(store.vectors[7], 0)
    assert np.isfinite(store.search(x[7], k=3).scores).all()


# Prefixes


@every_layout
@pytest.mark.parametrize("spec", ["f32", "f16", "bf16", "sq:8", "sq:4", "bin", "bin/sq:8", "center,f32", "f32,zstd"])
@pytest.mark.parametrize("width", [1, 7, 50])
def test_truncated(open_words, spec, width, layout):
    store = open_words(spec, **LAYOUTS[layout])
    short = store.truncated(width)
    cut = np.asarray(store.vectors)[:, :width]
    expected = cut / np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), 1e-30)
    assert short.dimensions == width and len(short) == 2000
    np.testing.assert_allclose(short.vectors, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(short[["of", "the"]], expected[[store.keys.index("of"), 0]], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(short["the"], expected[0], rtol=1e-4, atol=1e-6)
    for query in (store["king"], store["king"][:width]):
        assert short.search(query, k=5).keys == short.search(store["king"], k=5).keys
    assert list(short.keys[:3]) == list(store.keys[:3])


@pytest.mark.parametrize("spec", ["pq:10", "pca:20,sq:8", "sq:6", "rotate,f32", "bin/pq:10"])
def test_codecs_that_mix_dimensions_cannot_be_truncated(open_words, spec):
    with pytest.raises(CodecError, match=r"mixes dimensions.*convert with truncate:7"):
        open_words(spec).truncated(7)


@pytest.mark.parametrize("width", [0, -1, 51])
def test_truncated_out_of_range(open_words, width):
    with pytest.raises(CodecError, match="choose 1 to 50"):
        open_words("f32").truncated(width)


# The store as a thing


@every_layout
@pytest.mark.parametrize("spec", SPECS)
def test_info_is_json_and_true(make_store, spec, layout):
    path = make_store(spec, **LAYOUTS[layout])
    info = vecstore.open(path).info()
    assert json.loads(json.dumps(info)) == info
    files = list(path.iterdir()) if path.is_dir() else [path]
    assert info["bytes"]["stored"] == sum(file.stat().st_size for file in files)
    assert info["bytes"]["per_vector"] == pytest.approx(info["bytes"]["stored"] / 2000, abs=0.01)
    assert (info["rows"], info["dimensions"], info["metric"], info["codec"]) == (2000, 50, "cosine", spec)
    assert info["certificate"]["held_out"] is True and info["provenance"]["rows"] == 2000
    assert info["path"] == str(path) and info["format"].startswith("1.") and info["user"] == {}
    if "zstd" not in spec:
        assert info["bytes"]["resident"] >= 2000 * info["bytes"]["code"][0]


@every_layout
def test_verify_reads_everything(make_store, layout):
    path = make_store("sq:8", **LAYOUTS[layout])
    files = sorted(path.glob("*.vecs")) if path.is_dir() else [path]
    total = sum(file.stat().st_size for file in files)
    assert 0.5 * total < vecstore.open(path).verify() <= total


def test_a_closed_store(make_store):
    store = vecstore.open(make_store("sq:8"))
    vector, keys, vectors = store["the"], store.keys, store.vectors
    store.close()
    store.close()
    uses = [
        lambda: store["the"],
        lambda: store[["the"]],
        lambda: store.get("the"),
        lambda: store.get(["the"], default=0),
        lambda: "the" in store,
        lambda: store.keys,
        lambda: store.vectors,
        lambda: store.rows_of(["the"]),
        lambda: store.search(np.zeros(50)),
        lambda: store.most_similar("the"),
        lambda: store.truncated(5),
        lambda: store.key_of(3),
        lambda: list(store),
        store.info,
        store.verify,
        lambda: "the" in keys,
        lambda: keys[0],
        lambda: list(keys),
        lambda: vectors[0],
        lambda: vectors[[1, 2]],
        lambda: np.asarray(vectors),
    ]
    for use in uses:
        with pytest.raises(ClosedError, match="is closed; open it again"):
            use()
    assert "closed" in repr(store) and np.isfinite(vector).all()


@every_layout
def test_views_travel_and_know_their_size_when_closed(make_store, layout):
    store = vecstore.open(make_store("sq:8", **LAYOUTS[layout]))
    keys, vectors = pickle.loads(pickle.dumps((store.keys, store.vectors)))
    assert keys[5] == store.keys[5] and np.array_equal(vectors[5], store.vectors[5])
    held = store.keys
    store.close()
    assert len(held) == 2000 and "2000 str keys" in repr(held)


def test_context_manager(make_store):
    with vecstore.open(make_store("sq:8")) as store:
        assert "2000 x 50, sq:8, cosine" in repr(store)
    with pytest.raises(ClosedError):
        store["the"]


def test_two_handles_do_not_disturb_each_other(make_store):
    one, other = vecstore.open(make_store("sq:8")), vecstore.open(make_store("sq:8"))
    one.close()
    assert len(other["the"]) == 50


def test_closing_gives_back_files(make_store):
    def handles():
        gc.collect()
        links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
        opened = [os.readlink(link) for link in links if os.path.lexists(link)]  # one was open for the list alone
        return sum(".vecs" in target for target in opened), Path("/proc/self/maps").read_text().count(".vecs")

    path = make_store("sq:8", **LAYOUTS["shards"])
    before = handles()
    for _ in range(3):
        with vecstore.open(path) as store:
            store.search(store["the"])
            assert handles() > before
    del store
    assert handles() == before


def test_nothing_is_read_unchecked(make_store, tmp_path):
    """Damage is noticed at the first touch, unless told not to look."""
    path = tmp_path / "w.vecs"
    shutil.copy(make_store("f32"), path)
    expected = vecstore.open(path).vectors[:]
    body = bytearray(path.read_bytes())
    at = body.find(expected[1000].tobytes())
    body[at] ^= 1
    path.write_bytes(body)
    for use in (
        lambda store: store.vectors[1000],
        lambda store: store.vectors[[1, 1000]],
        lambda store: store.vectors[:],
        lambda store: store.search(expected[0]),
        lambda store: store.verify(),
    ):
        with pytest.raises(CorruptError, match="restore"):
            use(vecstore.open(path))
    unchecked = vecstore.open(path, check=False)
    assert (unchecked.vectors[1000] != expected[1000]).sum() == 1
    with pytest.raises(CorruptError, match="restore"):
        unchecked.verify()


@every_layout
def test_a_store_that_is_replaced_while_it_is_open(tmp_path, words, word_keys, layout):
    path, options = tmp_path / "w.vecs", LAYOUTS[layout]
    vecstore.write(path, words[:2000], word_keys[:2000], "f32", **options)
    old = vecstore.open(path)
    first = old["the"]
    vecstore.write(path, words[:1500] + 1, word_keys[:1500], "f32", force=True, **options)
    new = vecstore.open(path)
    assert (len(old), len(new)) == (2000, 1500)
    np.testing.assert_array_equal(old["the"], first)
    np.testing.assert_array_equal(old.vectors, words[:2000])
    np.testing.assert_array_equal(old[word_keys[:2000]], words[:2000])
    np.testing.assert_array_equal(new["the"], first + 1)
    assert old.verify() > 0 and new.verify() > 0
    if layout == "shards":
        assert {file.name for file in path.iterdir()} == new._snapshot.manifest.files | {"manifest.json", ".lock"}


def test_moved_store(tmp_path, make_store):
    shutil.copytree(make_store("sq:8", **LAYOUTS["shards"]), tmp_path / "elsewhere")
    assert len(vecstore.open(tmp_path / "elsewhere")) == 2000


def test_each_shard_is_a_store(make_store, word_keys):
    path = make_store("sq:8", **LAYOUTS["shards"])
    whole, first = vecstore.open(path), 0
    for entry in json.loads((path / "manifest.json").read_bytes())["shards"]:
        shard = vecstore.open(path / entry["file"])
        np.testing.assert_array_equal(shard.vectors, whole.vectors[first : first + len(shard)])
        assert list(shard) == word_keys[first : first + len(shard)]
        first += len(shard)
    assert first == len(whole)


def test_what_is_no_store(tmp_path, make_store):
    with pytest.raises(FileNotFoundError):
        vecstore.open(tmp_path / "nothing.vecs")
    for body in (b"", b"x", b"a" * 5000):
        (tmp_path / "x.vecs").write_bytes(body)
        with pytest.raises(FormatError, match="not a vecstore store"):
            vecstore.open(tmp_path / "x.vecs")
    (tmp_path / "x.vecs").write_bytes(b"hello\n")
    with pytest.raises(FormatError, match="found 6 bytes"):
        vecstore.open(tmp_path / "x.vecs")
    with pytest.raises(FormatError, match=r"without manifest\.json"):
        vecstore.open(tmp_path)
    key_map = next(make_store("sq:8", **LAYOUTS["shards"]).glob("keys-*.vecs"))
    with pytest.raises(FormatError, match="part of a store; open its directory"):
        vecstore.open(key_map)


def test_manifests_that_do_not_fit(tmp_path, make_store):
    whole = make_store("sq:8", **LAYOUTS["shards"])
    manifest = Manifest.read(whole)
    shards = manifest.shards

    def opened(name, **changes):
        directory = tmp_path / name
        shutil.copytree(whole, directory)
        replace(manifest, **changes).write(directory)
        return vecstore.open(directory)

    assert len(opened("unknown members are ignored", more={"future": {"a": 1}})) == 2000
    with pytest.raises(CorruptError, match="that the manifest means"):
        swapped = [{**shards[a], "file": shards[b]["file"]} for a, b in ((0, 1), (1, 0))]
        opened("swapped", shards=(*swapped, *shards[2:]))
    unmapped = opened("no map", key_maps=())
    np.testing.assert_array_equal(unmapped.rows_of(list(unmapped.keys)), np.arange(2000))
    assert unmapped.keys.index("the") == 0 and "no such word" not in unmapped
    with pytest.raises(CorruptError, match="missing"):
        opened("lost", shards=(*shards, {**shards[0], "file": "shard-00099.vecs"}))
    for name in ("../evil.vecs", "/etc/x.vecs", ".hidden.vecs"):
        with pytest.raises(FormatError, match="directory"):
            opened(name.replace("/", "_"), shards=({**shards[0], "file": name},))


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ('"models"\n', '"ragged"\n', "needs ragged"),
        ('"version": [\n  1', '"version": [\n  2', "newer"),
    ],
)
def test_manifests_of_a_newer_version(tmp_path, make_store, member, value, message):
    directory = tmp_path / "w.vecs"
    shutil.copytree(make_store("sq:8", **LAYOUTS["shards"]), directory)
    text = (directory / "manifest.json").read_text()
    assert member in text
    (directory / "manifest.json").write_bytes(_sealed(text.replace(member, value).encode()))
    with pytest.raises(UnsupportedVersionError, match=message):
        vecstore.open(directory)


def test_a_warm_store_answers_as_before(make_store):
    with vecstore.open(make_store("pq:25x4")) as store, vecstore.open(make_store("pq:25x4")) as cold:
        store.warm()
        np.testing.assert_array_equal(store.search(cold.vectors[7]).rows, cold.search(cold.vectors[7]).rows)
