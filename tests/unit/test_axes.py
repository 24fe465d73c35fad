"""Axes in a byte a number are as orthonormal as before."""

from __future__ import annotations

import numpy as np
import pytest

from vecstore.codecs.axes import named_axes, orthonormal, rounded
from vecstore.errors import CodecError


@pytest.mark.parametrize(("c", "d"), [(1, 1), (1, 7), (5, 5), (40, 64), (384, 384)])
def test_what_was_rounded_is_orthonormal_again_and_close(c: int, d: int) -> None:
    axes = np.linalg.qr(np.random.default_rng(c).normal(size=(d, d)))[0][:c].astype("f4")
    found = orthonormal(rounded(axes))
    np.testing.assert_allclose(found @ found.T, np.eye(c), atol=2e-6)
    assert (np.abs(found - axes) < 0.01).all()


def test_axes_of_older_files_are_taken_as_they_are() -> None:
    axes = np.eye(3, dtype="<f4")[:2]
    assert orthonormal(named_axes({"axes": axes}, (2, 3))) is axes


def test_other_types_are_refused() -> None:
    with pytest.raises(CodecError, match="axes"):
        named_axes({"axes": np.eye(3, dtype="<i2")}, (3, 3))
