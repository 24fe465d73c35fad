"""Filters by mask and by row number: the same rows whichever way they are kept, and keys of many rows at once."""

from __future__ import annotations

import numpy as np
import pytest

import vecstore
from vecstore.errors import OptionError
from vecstore.search.selection import EVERYTHING, PICKED_BYTES, Selection

ROWS = 2000
FEW = ROWS * 8 * 2 // PICKED_BYTES  # rows of eight numbers of two bytes


@pytest.fixture(scope="module", params=["f16", "cells:4,f16"])
def sections(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "a.vecs"
    x = np.random.default_rng(0).normal(size=(ROWS, 8)).astype("f4")
    vecstore.write(path, x, codec=request.param)  # without keys rows keep their numbers, in cells, too
    return vecstore.open(path)._snapshot.prepared.sections


def found_by(sections, selection):
    """Return the rows that a selection leaves, in three ways."""
    position_of = sections[0].positions(np.arange(ROWS))
    bits = selection.bits(0, sections[0].layers[0].part)
    by_bits = np.ones(ROWS, bool) if bits is EVERYTHING else np.unpackbits(bits.view("u1"), bitorder="little")[:ROWS]
    by_list = np.zeros(ROWS, bool)
    by_list[selection.among(0, np.arange(ROWS))] = True
    assert np.array_equal(by_bits.astype(bool), by_list)
    return by_list[position_of]


@pytest.mark.parametrize("count", [0, 1, FEW, FEW + 1, ROWS // 2, ROWS])
@pytest.mark.parametrize("form", ["mask", "numbers"])
@pytest.mark.parametrize("without", [None, 0, 5, ROWS // 3])
def test_rows_and_exclude(sections, count, form, without):
    rng = np.random.default_rng(count)
    some, others = rng.choice(ROWS, count, replace=False), rng.choice(ROWS, without or 0, replace=False)
    may, left_out = np.zeros(ROWS, bool), np.zeros(ROWS, bool)
    may[some], left_out[others] = True, True
    given = may if form == "mask" else np.concatenate([some, some[:2]])  # a number twice counts once
    exclude = None if without is None else left_out if form == "mask" else others
    selection = Selection(sections, [0, ROWS], given, exclude)
    assert np.array_equal(found_by(sections, selection), may & ~left_out)
    assert selection.count == (may & ~left_out).sum()
    assert (selection.listed is not None) == (selection.count <= FEW)


def test_masks_of_users_are_left_alone(sections):
    mask = np.arange(ROWS) % 2 == 0
    Selection(sections, [0, ROWS], mask, [0, 2])
    assert mask[:4].tolist() == [True, False, True, False]


def test_numbers_that_are_no_rows(sections):
    with pytest.raises(OptionError, match="-1 is no row of a store with 2,000 rows"):
        Selection(sections, [0, ROWS], [3, -1], None)


@pytest.mark.parametrize("keys", ["text", "long", "integers"])
@pytest.mark.parametrize("shards", [1, 3])
def test_keys_of_many_rows(tmp_path, keys, shards):
    x = np.random.default_rng(0).normal(size=(ROWS, 8)).astype("f4")
    given = {
        "text": [f"κ {i}" for i in range(ROWS)],
        "long": ["a" * (i % 400) + str(i) for i in range(ROWS)],
        "integers": [7 * i - 100 for i in range(ROWS)],
    }[keys]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vecstore.conversion.shards.cutting.FIXED_BYTES", 0)
        vecstore.write(tmp_path / "a", x, given, codec="f32", shard_bytes=None if shards == 1 else 40_000)
    store = vecstore.open(tmp_path / "a")
    assert (len(store._snapshot.shards) > 1) == (shards > 1)
    found = store.search(x[5], 1000)
    assert found.keys == [given[row] for row in found.rows]
    assert found.keys[0] == given[5]
