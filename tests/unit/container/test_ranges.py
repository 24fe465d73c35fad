"""Ranges of rows: cut and divided as their rows are."""

from __future__ import annotations

import numpy as np
import pytest

from vecstore.container.ranges import cut, divided, length_of, rows_in, without


def some_ranges(rng, most=200):
    edges = np.sort(rng.choice(most, 2 * rng.integers(1, 12), replace=False))
    return edges.reshape(-1, 2)


@pytest.mark.parametrize("seed", range(20))
def test_ranges_are_cut_at_edges(seed):
    rng = np.random.default_rng(seed)
    ranges, edges = some_ranges(rng), np.unique([0, *rng.integers(0, 200, 7), 200])
    pieces, behind = cut(ranges, edges)
    np.testing.assert_array_equal(rows_in(pieces), rows_in(ranges))
    assert (pieces[:, 0] >= edges[behind]).all() and (pieces[:, 1] <= edges[behind + 1]).all()


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("size", [1, 7, 32, 1000])
def test_ranges_are_divided_evenly(seed, size):
    ranges = some_ranges(np.random.default_rng(seed))
    parts = divided(ranges, size)
    np.testing.assert_array_equal(np.concatenate([rows_in(part) for part in parts]), rows_in(ranges))
    assert all(length_of(part) == size for part in parts[:-1]) and 0 < length_of(parts[-1]) <= size
    assert divided(ranges[:0], size) == [] and divided(np.array([[5, 5]]), size) == []


@pytest.mark.parametrize("seed", range(20))
def test_what_is_left_without_others(seed):
    rng = np.random.default_rng(seed)
    ranges, gaps = some_ranges(rng), some_ranges(rng)
    left = without(ranges, gaps)
    np.testing.assert_array_equal(rows_in(left), np.setdiff1d(rows_in(ranges), rows_in(gaps)))
    assert (left[:, 0] < left[:, 1]).all()
    assert without(ranges, gaps[:0]) is ranges and not len(without(ranges[:0], gaps))


def test_empty_cells_are_left_out():
    pieces, behind = cut(np.array([[0, 10]]), np.array([0, 4, 4, 4, 9, 10]))
    assert pieces.tolist() == [[0, 4], [4, 9], [9, 10]] and behind.tolist() == [0, 3, 4]
