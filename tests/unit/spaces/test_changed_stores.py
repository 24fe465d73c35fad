"""Spaces of stores whose rows were deleted, or have other numbers than in the dump."""

from __future__ import annotations

import numpy as np
from samples import glove

import vecstore
from vecstore.spaces import Map, Neighbourhoods, adapt, combine, hubness

ROWS = 600
GONE = slice(50, 90)


def test_deleted_rows_are_passed_over(tmp_path, turn):
    vectors, keys = glove(ROWS)
    vecstore.write(tmp_path / "a.vecs", vectors, keys, "f32", shard_bytes=200_000)
    with vecstore.edit(tmp_path / "a.vecs") as edit:
        edit.delete(keys[GONE])
    left = np.delete(np.arange(ROWS), GONE)
    vecstore.write(tmp_path / "left.vecs", vectors[left], [keys[row] for row in left], "f32")
    with vecstore.open(tmp_path / "a.vecs") as store, vecstore.open(tmp_path / "left.vecs") as same:
        np.testing.assert_array_equal(hubness(store, 5).counts, hubness(same, 5).counts)
        few = hubness(store, 5, queries=100).counts
        assert few.shape == (len(left),) and few.sum() == 500
        found, expected = (Neighbourhoods(each, each, 5) for each in (store, same))
        np.testing.assert_allclose(found.near, expected.near, atol=1e-6)
        assert found.search(same.vectors[:9], 4).keys == expected.search(same.vectors[:9], 4).keys
        known = [keys[row] for row in left[::3]]
        asked, other = (adapt(each, known, vectors[left[::3]] @ turn) for each in (store, same))
        assert asked.recall == other.recall > 0.99
        assert asked.search(vectors[:3] @ turn, 4).keys == other.search(vectors[:3] @ turn, 4).keys
        Map(turn).convert(store, tmp_path / "turned.vecs")
        both = combine([store, same])
        assert both.keys == list(same)
        halves = np.split(both.vectors(np.arange(len(left))), 2, axis=1)
        np.testing.assert_allclose(*halves, atol=1e-6)
    with vecstore.open(tmp_path / "turned.vecs") as turned:
        assert list(turned) == [keys[row] for row in left]
        np.testing.assert_allclose(turned.vectors[:], vectors[left] @ turn, rtol=1e-3, atol=1e-4)


def test_rows_that_lie_by_cells(make_store, turn, tmp_path):
    with (
        vecstore.open(make_store("cells:8,f32", rows=1000, keep_order=False)) as cells,
        vecstore.open(make_store("f32", rows=1000)) as plain,
    ):
        assert cells.renumbered
        both, expected = combine([cells, plain]), combine([plain, plain])
        np.testing.assert_allclose(both["king"], expected["king"], atol=1e-4)
        assert both.search(both["king"], 5).keys == expected.search(expected["king"], 5).keys
        assert sorted(hubness(cells, 5).counts) == sorted(hubness(plain, 5).counts)
        near = Neighbourhoods(cells, cells, 5).search(plain["king"], 5)
        assert near.keys == Neighbourhoods(plain, plain, 5).search(plain["king"], 5).keys
        assert cells.search(plain["king"], 3, exclude=near.rows[:1]).keys  # the numbers are the store's own
        Map(turn).convert(cells, tmp_path / "turned.vecs")
        with vecstore.open(tmp_path / "turned.vecs") as turned:
            np.testing.assert_allclose(turned["king"], plain["king"] @ turn, rtol=1e-3, atol=1e-3)
