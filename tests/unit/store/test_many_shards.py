"""A store of many shards: what they have in common is there once."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest

import vecstore
from vecstore.errors import OptionError
from vecstore.shard.shard import Shard
from vecstore.shard.sizes import bytes_beside, fixed_bytes

ROWS, SHARD_ROWS = 900, 90


@pytest.fixture
def write(tmp_path, docs, monkeypatch):
    """Return a function that writes a store with a trained codec, of shards of so many rows."""
    monkeypatch.setattr("vecstore.conversion.writer.FIXED_BYTES", 0)  # lets shards be as small as this

    def written(name, codec, shard_rows=SHARD_ROWS, **options):
        row = codec.code_bytes + ceil(bytes_beside(codec, keep_norms=False, keep_order=True))
        vecstore.write(
            tmp_path / name, docs[:ROWS], codec=codec, shard_bytes=fixed_bytes(codec) + shard_rows * row, **options
        )
        return vecstore.open(tmp_path / name)

    return written


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
    snapshot.shards += stores[1]._snapshot.shards
    with pytest.raises(OptionError, match="2 codecs, each for some rows: all tcq:24, trained on other vectors"):
        _ = stores[0].codec
