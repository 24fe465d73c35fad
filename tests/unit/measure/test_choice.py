"""The choice among measured codecs: recall as far as the queries can tell, then bytes in the file, then speed."""

from __future__ import annotations

import numpy as np
import pytest

from vecstore.measure.choice import Measured, choose

RECALLS = np.random.default_rng(0).binomial(10, 0.85, 400) / 10
HALF_AN_ERROR = np.zeros(400)
HALF_AN_ERROR[:8] = [0.1] * 5 + [-0.1] * 3  # paired: 0.0005 on average, whose standard error is 0.0007


def test_a_tie_goes_to_fewer_bytes_though_it_is_slower_or_first():
    larger = Measured(RECALLS, 62.1, 900.0)
    smaller = Measured(RECALLS - HALF_AN_ERROR, 60.2, 450.0)
    assert choose([larger, smaller]) == 1 and choose([smaller, larger]) == 0


def test_what_keeps_more_beyond_the_error_is_taken_at_any_size():
    assert choose([Measured(RECALLS, 64.0, 1.0), Measured(RECALLS - 0.01, 8.0, 100.0)]) == 0


def test_of_files_of_the_same_size_the_faster_one_is_taken():
    slow, fast = Measured(RECALLS, 60.0, 450.0), Measured(RECALLS - HALF_AN_ERROR, 60.4, 900.0)
    assert choose([slow, fast]) == 1


def test_of_equals_the_one_of_most_recall_is_taken():
    assert choose([Measured(RECALLS - HALF_AN_ERROR, 60.0, 0.0), Measured(RECALLS, 60.0, 0.0)]) == 1


@pytest.mark.parametrize("queries", [1, 2])
def test_few_queries(queries):
    assert choose([Measured(RECALLS[:queries], 9.0, 1.0)]) == 0
