from __future__ import annotations

import json
import os

import numpy as np
import pytest

import vecstore
from vecstore import Writer, codec
from vecstore.container.container import BLOCK_BYTES
from vecstore.errors import BudgetError, BusyError, DuplicateKeyError, ExistsError, FormatError, OptionError, ShapeError

SHARD_BYTES = 160_000
LAYOUTS = {"file": {}, "shards": {"shard_bytes": SHARD_BYTES}}

every_layout = pytest.mark.parametrize("layout", LAYOUTS)


@pytest.fixture(scope="session")
def sq8(words):
    return codec("sq:8").fit(words)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "words.vecs"


def written(path, trained, vectors, keys=None, *, batch=1 << 20, **options):
    with Writer(path, trained, **options) as writer:
        for start in range(0, len(vectors), batch):
            part = slice(start, start + batch)
            writer.add(vectors[part], None if keys is None else keys[part])
    return vecstore.open(path)


def contents(path):
    """Return the bytes of all files of a store, by name."""
    if not path.is_dir():
        return path.read_bytes()
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


def left_behind(path):
    return sorted(entry.name for entry in path.parent.iterdir())


def test_what_is_added_is_there(path, words, word_keys, sq8):
    store = written(path, sq8, words, word_keys, metric="dot", user={"model": "glove", "n": [1, 2]})
    np.testing.assert_array_equal(store.vectors, sq8.decode(sq8.encode(words)))
    assert list(store) == word_keys and store.metric == "dot"
    assert store.info()["user"] == {"model": "glove", "n": [1, 2]} and store.info()["certificate"] is None
    assert left_behind(path) == ["words.vecs"]


@every_layout
@pytest.mark.parametrize("spec", ["sq:8", "pq:5x4", "bin/f16,zstd", "rotate,sq:6"])
@pytest.mark.parametrize("kind", ["str", "int64", None])
def test_cuts_into_batches_change_no_byte(tmp_path, words, word_keys, spec, kind, layout):
    trained = codec(spec).fit(words)
    keys = {"str": word_keys, "int64": np.arange(5000) * 3, None: None}[kind]
    found = []
    for batch in (5000, 1111, 37):
        path = tmp_path / str(batch) / "words.vecs"
        path.parent.mkdir()
        written(path, trained, words, keys, batch=batch, keep_norms=True, **LAYOUTS[layout])
        found.append(contents(path))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("shard_bytes", [132_000, 160_000, 300_000, 10**9])
@pytest.mark.parametrize("keep_norms", [False, True])
@pytest.mark.parametrize("keyed", [False, True])
def test_shards_keep_to_their_size(path, words, word_keys, sq8, shard_bytes, keep_norms, keyed):
    keys = [key * 5 for key in word_keys] if keyed else None
    store = written(path, sq8, words, keys, batch=700, shard_bytes=shard_bytes, keep_norms=keep_norms)
    sizes = [file.stat().st_size for file in sorted(path.glob("shard-*.vecs"))]
    assert max(sizes) <= shard_bytes and len(sizes) == store.info()["shards"]
    if len(sizes) > 1:
        assert min(sizes[:-1]) > 0.5 * shard_bytes, "shards are filled before the next one begins"
    else:
        assert shard_bytes == 10**9
    assert (len(list(path.glob("keys-*.vecs"))) == 1) == (keyed and len(sizes) > 1)
    assert len(store) == 5000 and store.verify() > 0


def test_shards_of_blocks(path):
    x = np.random.default_rng(0).normal(size=(2100, 512)).astype(np.float32)
    store = written(path, codec("f32").fit(x), x, shard_bytes=5 * BLOCK_BYTES)
    assert store.info()["shards"] == 2
    np.testing.assert_array_equal(store.vectors, x)
    assert max(file.stat().st_size for file in path.glob("shard-*.vecs")) <= 5 * BLOCK_BYTES


def test_a_codec_that_is_not_trained_is_refused(path):
    with pytest.raises(OptionError, match=r"a trained one, found 'sq:8': vecstore.codec\('sq:8'\).fit"):
        Writer(path, "sq:8")
    assert not path.exists()


def test_shards_too_small(path, words, sq8):
    with pytest.raises(BudgetError, match="a shard of 1,000 bytes: one has at least 131,072"):
        Writer(path, sq8, shard_bytes=1000)
    assert left_behind(path) == []
    wide = np.ones((2, 100_000), np.float32)
    with (
        pytest.raises(BudgetError, match="one row takes 400,000 bytes, more than a shard; give a larger shard size"),
        Writer(path, codec("f32").fit(wide), shard_bytes=200_000) as writer,
    ):
        writer.add(wide)
    assert left_behind(path) == []


@every_layout
@pytest.mark.parametrize("places", [(3, 5), (0, 4999), (2500, 4998)])
@pytest.mark.parametrize("kind", ["str", "bytes", "int64"])
def test_duplicate_keys(path, words, word_keys, sq8, layout, places, kind):
    keys = {"str": list(word_keys), "bytes": [w.encode() for w in word_keys], "int64": list(range(5000))}[kind]
    first, second = places
    keys[second] = keys[first]
    with pytest.raises(DuplicateKeyError, match=r"duplicate key .* keys must be unique") as caught:
        written(path, sq8, words, keys, **LAYOUTS[layout])
    assert repr(keys[first]) in str(caught.value)
    assert left_behind(path) == []


@every_layout
@pytest.mark.parametrize("existing", [True, False])
def test_an_error_leaves_everything_as_it_was(path, words, word_keys, sq8, layout, existing):
    if existing:
        written(path, sq8, words[:10], word_keys[:10], **LAYOUTS[layout])
    before = contents(path) if existing else None
    with pytest.raises(RuntimeError), Writer(path, sq8, force=True, **LAYOUTS[layout]) as writer:
        writer.add(words, word_keys)
        raise RuntimeError
    assert left_behind(path) == (["words.vecs"] if existing else [])
    assert not existing or contents(path) == before


@every_layout
def test_abort(path, words, sq8, layout):
    writer = Writer(path, sq8, **LAYOUTS[layout])
    writer.add(words)
    assert path.parent in writer.directory.parents and not path.exists()
    writer.abort()
    writer.abort()
    assert left_behind(path) == []


@every_layout
def test_one_writer_at_a_time(path, words, sq8, layout):
    with Writer(path, sq8, **LAYOUTS[layout]) as writer:
        writer.add(words[:5])
        with pytest.raises(BusyError, match=r"another process is writing it; wait"):
            Writer(path, sq8, force=True, **LAYOUTS[layout])
        written(path.with_name("other.vecs"), sq8, words[:5])
    assert left_behind(path) == ["other.vecs", "words.vecs"] and len(vecstore.open(path)) == 5
    assert len(written(path, sq8, words[:7], force=True, **LAYOUTS[layout])) == 7


@every_layout
def test_what_a_killed_writer_left_is_cleared(path, words, sq8, layout):
    left = path.with_name(".words.vecs.partial")
    (left / "folder").mkdir(parents=True)
    (left / "shard-00000.vecs").write_bytes(b"half a shard")
    (left / "folder" / "x").write_bytes(b"")
    assert len(written(path, sq8, words[:9], **LAYOUTS[layout])) == 9
    assert left_behind(path) == ["words.vecs"]


@every_layout
def test_existing_stores(path, words, sq8, layout):
    written(path, sq8, words[:5], **LAYOUTS[layout])
    with pytest.raises(ExistsError, match=r"exists; choose another name, or replace it with force=True"):
        Writer(path, sq8, **LAYOUTS[layout])
    other = next(name for name in LAYOUTS if name != layout)
    with pytest.raises(ExistsError, match=r"and would become .*; remove it first"):
        Writer(path, sq8, force=True, **LAYOUTS[other])
    for rows in (6, 5000, 7):
        assert len(written(path, sq8, words[:rows], force=True, **LAYOUTS[layout])) == rows
    if layout == "shards":
        manifest = json.loads((path / "manifest.json").read_bytes())
        assert manifest["generation"] == 3
        named = {entry["file"] for entry in manifest["shards"] + manifest["models"]}
        assert {file.name for file in path.iterdir()} == {".lock", "manifest.json"} | named


def test_places_that_hold_something_else(tmp_path, sq8):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "letter.txt").write_text("dear")
    with pytest.raises(ExistsError, match="not of a store; it is left alone"):
        Writer(tmp_path / "folder", sq8, shard_bytes=SHARD_BYTES, force=True)
    with pytest.raises(FormatError, match="no such directory; create it first"):
        Writer(tmp_path / "nowhere" / "x.vecs", sq8)
    os.symlink(tmp_path / "nothing", tmp_path / "link.vecs")
    with pytest.raises(ExistsError, match="exists"):
        Writer(tmp_path / "link.vecs", sq8)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder", "link.vecs"]


def test_a_store_has_rows(path, sq8):
    with pytest.raises(ShapeError, match="at least one row; none was added"), Writer(path, sq8) as writer:
        writer.add(np.empty((0, 50)))
        writer.add(np.empty((0, 50)), [])
    assert left_behind(path) == []


@pytest.mark.parametrize(
    ("add", "message", "error"),
    [
        ((np.zeros((2, 49)), None), "50 dimensions here, found 49", ShapeError),
        ((np.full((2, 50), np.nan), None), "row 0 holds NaN", ShapeError),
        ((np.zeros(50), None), "an \\(n, d\\) array", ShapeError),
        ((np.zeros((2, 50)), ["a"]), "1 keys for 2 vectors", ShapeError),
        ((np.zeros((2, 50)), ["a", 1]), "all str, all bytes or all int", OptionError),
        ((np.zeros((1, 50)), ["\ud800"]), "UTF-8", OptionError),
        ((np.zeros((1, 50)), ["x" * 65536]), "at most 65535", OptionError),
        ((np.zeros((1, 50)), [2**63]), "store larger ones as strings", OptionError),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@every_layout
def test_rows_that_cannot_be_added(path, sq8, layout, add, message, error):
    with pytest.raises(error, match=message), Writer(path, sq8, **LAYOUTS[layout]) as writer:
        writer.add(*add)
    assert left_behind(path) == []


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        (["a"], None, "keys were str before, now not given"),
        (None, ["a"], "keys were not given before, now str"),
        ([1], ["a"], "keys were int64 before, now str"),
    ],
)
def test_keys_of_some_rows_only(path, sq8, first, then, message):
    with pytest.raises(OptionError, match=message), Writer(path, sq8) as writer:
        writer.add(np.zeros((1, 50)), first)
        writer.add(np.zeros((1, 50)), then)


def test_unknown_metric(path, sq8):
    with pytest.raises(OptionError, match="unknown metric 'l1'; choose one of cosine, dot, l2"):
        Writer(path, sq8, metric="l1")


def test_metadata_that_json_cannot_hold(path, words, sq8):
    deep: list = []
    for _ in range(70):
        deep = [deep]
    strange = ({"x": "\ud800"}, {"x": deep}, {"x": [0] * 300_000}, {1: 2, "1": 3})
    for user in ({"x": {1, 2}}, {"x": float("nan")}, {1.5: np.zeros(2)}, *strange):
        with pytest.raises(OptionError, match="user metadata"):
            written(path, sq8, words[:5], user=user)
        assert left_behind(path) == []


def test_empty_and_odd_keys(path, sq8, words):
    keys = ["", " ", "\0", "a\0b", "\n", "ü", "𝄞", "x" * 300]
    store = written(path, sq8, words[: len(keys)], keys)
    assert list(store) == keys and all(key in store for key in keys)
    assert store.verify() > 0


@pytest.mark.parametrize("options", [{}, {"shard_bytes": 200_000}], ids=["file", "shards"])
def test_what_appears_at_the_destination_meanwhile_is_not_overwritten(docs, tmp_path, options):
    path = tmp_path / "out.vecs"
    writer = vecstore.Writer(path, codec("f16").fit(docs[:50]), **options)
    writer.add(docs[:50])
    path.write_text("somebody else's")
    with pytest.raises(ExistsError, match="exists"):
        writer.close()
    writer.abort()
    assert path.read_text() == "somebody else's"
    assert list(tmp_path.iterdir()) == [path]
