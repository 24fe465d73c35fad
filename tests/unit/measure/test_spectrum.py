"""The rate-distortion bound against what is known of it."""

from __future__ import annotations

import numpy as np
import pytest

from vecstore.measure.spectrum import distortion_bound, spectrum


def test_equal_variances_share_the_bits_equally() -> None:
    assert distortion_bound(np.ones(8), 1) == pytest.approx(8 * 2.0**-2)  # one bit each


def test_no_bytes_keep_the_variance_as_error() -> None:
    assert distortion_bound([4.0, 1.0, 0.5], 0) == pytest.approx(5.5)


def test_components_below_the_water_level_are_given_up() -> None:
    assert distortion_bound([64.0, 0.001], 0.125) == pytest.approx(64 / 4 + 0.001)


def test_bytes_spent_at_a_water_level_are_those_asked_for() -> None:
    v = np.random.default_rng(0).gamma(0.3, size=100)
    level = np.minimum(v, t := 0.05)
    size_bytes = np.log2(v / level).sum() / 2 / 8
    assert distortion_bound(v, size_bytes) == pytest.approx(np.minimum(v, t).sum())


def test_spectrum_is_the_variance_along_the_axes() -> None:
    x = np.random.default_rng(0).normal(size=(4000, 3)).astype("f4") * np.array([3, 1, 0], "f4")
    assert spectrum(x) == pytest.approx([9, 1, 0], rel=0.1, abs=1e-6)
