"""A store of many shards: what they have in common is there once."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest

import vecstore
from vecstore.errors import CorruptError, OptionError
from vecstore.keys.packed import KERNEL_KEYS
from vecstore.shard.shard import Shard
from vecstore.shard.sizes import bytes_beside
from vecstore.store.shards import Shards

ROWS, SHARD_ROWS = 900, 90


@pytest.fixture
def write(tmp_path, docs, monkeypatch):
    """Return a function that writes a store with a trained codec, of shards of so many rows."""
    monkeypatch.setattr("vecstore.conversion.shards.cutting.FIXED_BYTES", 0)  # lets shards be as small as this

    def written(name, codec, shard_rows=SHARD_ROWS, **options):
        row = codec.code_bytes + ceil(bytes_beside(codec, keep_norms=False, keep_order=True))
        vecstore.write(tmp_path / name, docs[:ROWS], codec=codec, shard_bytes=shard_rows * row, **options)
        return vecstore.open(tmp_path / name)

    return written


# what is searched, of two stores of the same rows; scores by trellis are not exact, those of other scans are
PLACES = {
    "pq:48x4": {},
    "pq:48": {},
    "sq:8": {},
    "f16": {"keep_norms": True},
    "bin": {},
    "lvq:4": {},
    "tcq:48": {},
    "sq:8,zstd": {},
    "tcq:48/sq:8": {},
    "cells:4,tcq:48": {},
    "cells:4,pq:48x4": {},
    "cells:4,sq:8/f16": {"keep_order": False},
    "cells:4,lvq:4": {},
}
SOME, FEW = np.arange(ROWS) % 3 > 0, np.arange(ROWS) % 90 == 7


@pytest.mark.parametrize("spec", PLACES)
def test_many_shards_are_searched_as_one_file_is(write, docs, queries, spec):
    codec = vecstore.codec(spec).fit(docs[ROWS:], rows=SHARD_ROWS)
    many, one = (write(name, codec, rows, **PLACES[spec]) for name, rows in (("many", SHARD_ROWS), ("one", 2 * ROWS)))
    assert len(many._snapshot.shards) >= 6 and len(many._snapshot.prepared.sections) == 1
    ways = [
        {},
        {"rows": SOME},
        {"rows": np.flatnonzero(FEW)},
        {"exclude": [3, 5, 700]},
        {"metric": "dot"},
        {"rescore": 0},
    ]
    if "/" in spec:
        ways += [{"exact": True}, {"rescore": 90}]
    if many.renumbered:  # cells of one file are not those of ten
        ways = [way for way in ways if not {"rows", "exclude"} & set(way)]
    for options in ways:
        for asked in (queries[0], queries[:3], queries[:20]):
            found, expected = many.search(asked, 10, **options), one.search(asked, 10, **options)
            assert np.mean(np.sort(found.scores) >= np.sort(expected.scores) - 2e-5) > (
                0.98 if "tcq" in spec else 0.999
            )
            np.testing.assert_allclose(found.scores, expected.scores, atol=2e-3)
            if options.get("metric") is None and not many.renumbered and "tcq" not in spec:
                assert np.mean(found.rows == expected.rows) > 0.99
    least = float(np.quantile(one.search(queries[0], ROWS).scores, 0.95))
    found, expected = (store.range_search(queries[:3], min_score=least) for store in (many, one))
    assert [len(own.rows) for own in found] == [len(own.rows) for own in expected]


@pytest.mark.parametrize("spec", ["cells:4,pq:48x4", "cells:4,tcq:48", "cells:4,lvq:4"])
def test_cells_of_many_shards_are_probed_together(write, docs, queries, spec):
    codec = vecstore.codec(spec).fit(docs[ROWS:], rows=SHARD_ROWS)
    many, one = write("many", codec), write("one", codec, 2 * ROWS)
    for options in ({}, {"rows": SOME}, {"rows": np.flatnonzero(FEW)}):
        found, expected = (store.search(queries[:9], 10, nprobe=2, **options) for store in (many, one))
        np.testing.assert_allclose(found.scores, expected.scores, atol=2e-3)


@pytest.mark.parametrize("key_type", ["str", "int64"])
@pytest.mark.parametrize("spec", ["sq:8", "tcq:24", "cells:4,pq:48x4", "sq:8,zstd", "bin/f16"])
def test_many_shards_are_looked_up_as_one_file_is(write, docs, spec, key_type):
    codec = vecstore.codec(spec).fit(docs[ROWS:], rows=SHARD_ROWS)
    options = {
        "keys": [f"key {row * row}" for row in range(ROWS)] if key_type == "str" else np.arange(ROWS) ** 2 - 40,
        "keep_order": spec != "cells:4,pq:48x4",
        "keep_norms": spec == "tcq:24",
    }
    one = write("one", codec, 2 * ROWS, **options)
    write("many", codec, **options)
    asked = np.random.default_rng(0).integers(0, ROWS, 3 * KERNEL_KEYS)
    names = [options["keys"][row] for row in asked.tolist()]
    missing = ["none", ""] if key_type == "str" else [-1, 2**62]
    first = write("many", codec, force=True, **options)  # nothing of it was read before
    for _ in range(2):  # shards are read by the first lookup, and asked together by the second
        rows = first.rows_of([*names, *missing])
        assert (rows[-2:] == -1).all()
        assert [first.key_of(row) for row in rows[:50].tolist()] == names[:50]
        np.testing.assert_allclose(first[names], one[names], atol=1e-6)
        np.testing.assert_allclose(first[names[:5]], first[names][:5], atol=1e-6)
        assert first._snapshot.shards.are_read
    few = [
        key
        for key, shard in zip(names, np.searchsorted(first._snapshot.edges, rows, "right"), strict=False)
        if shard == 2
    ]
    cold = vecstore.open(first.path)
    np.testing.assert_allclose(cold[few * KERNEL_KEYS], first[few * KERNEL_KEYS], atol=1e-6)
    assert not cold._snapshot.shards.are_read, "no shard is read for keys of others"


def test_sections_are_of_one_model_and_layout(write, docs, queries):
    specification = vecstore.codec("tcq:24")
    first, second = specification.fit(docs[ROWS:]), specification.fit(docs[ROWS + 500 :])
    stores = [write(name, codec) for name, codec in (("a", first), ("b", first), ("c", second), ("d", first))]
    joined = vecstore.open([store.path for store in stores])
    sections = joined._snapshot.prepared.sections
    assert [section.rows for section in sections] == [2 * ROWS, ROWS, ROWS]
    found = joined.search(queries[:5], 4 * ROWS)
    assert (np.sort(found.rows) == np.arange(4 * ROWS)).all()


@pytest.mark.parametrize("spec", ["sq:8", "pq:48x4", "tcq:24"])
def test_damage_is_found_where_it_is(write, docs, queries, spec):
    store = write("a", vecstore.codec(spec).fit(docs[ROWS:]))
    shard = store._snapshot.shards[4]
    offset = int(shard.container.part("codes.0").offsets[0])
    store.close()
    with open(shard.path, "r+b") as file:
        file.seek(offset + 100)
        byte = file.read(1)[0]
        file.seek(offset + 100)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(CorruptError, match=shard.path.rsplit("/", 1)[1]):
        vecstore.open(store.path).search(queries[0], 10)


def test_a_model_is_restored_once(write, docs):
    store = write("a", vecstore.codec("tcq:24").fit(docs[ROWS:]))
    shards = store._snapshot.shards
    assert len(shards) >= 8 and len({id(shard.codec) for shard in shards}) == 1
    assert str(store.codec.spec) == "tcq:24"
    assert Shard(shards[0].path).codec is not shards[0].codec, "a shard opened by itself"


def test_codecs_that_were_trained_on_other_vectors_are_others(write, tmp_path, docs, queries):
    specification = vecstore.codec("tcq:24")
    first, second = specification.fit(docs[ROWS:]), specification.fit(docs[ROWS + 500 :])
    stores = [write("a", first), write("b", second), write("c", first)]
    joined = vecstore.open([store.path for store in stores])
    codecs = [shard.codec for store in joined._snapshot.stores for shard in store.shards]
    assert len({id(codec) for codec in codecs}) == 2 and codecs[0] is codecs[-1] is not codecs[len(codecs) // 2]
    found = joined.search(queries[:5], 10)
    for store, start in zip(stores, (0, ROWS, 2 * ROWS), strict=True):
        own = np.sort(store.search(queries[:5], 10).scores[:, 0])
        here = (found.rows >= start) & (found.rows < start + ROWS)
        assert (own <= found.scores[:, 0].max() + 1e-6).all() and here.any()


def test_a_store_of_two_trainings_has_no_single_codec(write, tmp_path, docs):
    specification = vecstore.codec("tcq:24")
    stores = [write(name, specification.fit(docs[start:])) for name, start in (("a", ROWS), ("b", ROWS + 500))]
    snapshot = stores[0]._snapshot
    snapshot.shards = Shards(snapshot.shards.files + stores[1]._snapshot.shards.files)
    with pytest.raises(OptionError, match="2 codecs, each for some rows: all tcq:24, trained on other vectors"):
        _ = stores[0].codec


def test_rows_of_many_shards_are_checked_together(write, docs):
    store = write("a", vecstore.codec("sq:8").fit(docs[ROWS:]))
    shards = store._snapshot.shards
    part = store._snapshot.prepared.sections[0].layers[0].part
    before = part.unchecked
    part.check_rows(part.slots_of(np.array([ROWS - 1, 3, 5, 5])))
    own = [shard.layers[0].part.unchecked for shard in shards]
    assert part.unchecked == sum(own) == before - 2 and own[0] < own[1] and own[-1] < own[1]
    path, offset = shards[2].path, int(shards[2].layers[0].part.offsets[0])
    with open(path, "r+b") as file:
        file.seek(offset + 9)
        byte = file.read(1)[0]
        file.seek(offset + 9)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(CorruptError, match=path.rsplit("/", 1)[1]):
        part.check_rows(part.slots_of(np.arange(ROWS)))
