"""Axes in a byte a number are as orthonormal as before."""

from __future__ import annotations

import numpy as np
import pytest

from vecstore.codecs.axes import named_axes, orthonormal, rounded
from vecstore.codecs.opq import OPQ
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


@pytest.fixture(scope="module")
def opq():
    return OPQ(4, 4).fit(np.random.default_rng(3).normal(size=(400, 12)).astype("f4"), seed=0)


def test_the_rotation_of_opq_takes_a_byte_a_number_and_is_read_as_it_was_fitted(opq) -> None:
    assert opq.arrays["rotation"].nbytes == 12 * 12
    np.testing.assert_allclose(opq.rotation @ opq.rotation.T, np.eye(12), atol=2e-6)
    np.testing.assert_array_equal(OPQ(4, 4).restore(12, opq.arrays).rotation, opq.rotation)


def test_rotations_of_older_files_are_taken_as_they_are(opq) -> None:
    older = OPQ(4, 4).restore(12, {**opq.arrays, "rotation": opq.rotation.astype("<f4")})
    np.testing.assert_array_equal(older.rotation, opq.rotation)


def test_a_damaged_rotation_is_refused(opq) -> None:
    rotation = opq.arrays["rotation"].copy()
    rotation[3] = 0
    with pytest.raises(CodecError, match="not finite"):
        OPQ(4, 4).restore(12, {**opq.arrays, "rotation": rotation})
