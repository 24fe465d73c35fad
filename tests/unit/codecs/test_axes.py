"""Axes of few bits a number are as orthonormal as before, and keep nearly as much variance."""

from __future__ import annotations

import numpy as np
import pytest

from vecstore.codecs.axes import Axes, named_axes, orthonormal, rounded
from vecstore.codecs.product.opq import OPQ
from vecstore.codecs.transforms.pca import principal_axes
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
        _ = OPQ(4, 4).restore(12, {**opq.arrays, "rotation": rotation}).rotation


def kept(x: np.ndarray, axes: np.ndarray) -> float:
    """Return the share of the variance of x along axes."""
    z = x - x.mean(axis=0)
    return float(((z @ axes.T) ** 2).sum() / (z**2).sum())


@pytest.mark.parametrize("count", [1, 8, 9, 100, 384])
def test_packed_axes_are_orthonormal_and_keep_what_principal_axes_keep(docs: np.ndarray, count: int) -> None:
    _, exact, variances = principal_axes(docs, 384)
    axes = Axes.principal(exact, variances, count)
    np.testing.assert_allclose(axes.matrix @ axes.matrix.T, np.eye(count), atol=1e-5)
    assert kept(docs, axes.matrix) > (0.95 if count > 1 else 0.9) * kept(docs, exact[:count])
    if count <= 100:  # the last axes have no variance worth naming, and nothing may be moved there
        assert sum(array.nbytes for array in axes.arrays.values()) <= (0.6 * count + 1) * 384
    np.testing.assert_array_equal(Axes.restore(axes.arrays, (count, 384)).matrix, axes.matrix)
    np.testing.assert_array_equal(axes.first(1).matrix, axes.matrix[:1])


@pytest.mark.parametrize("d", [1, 2, 5, 31, 32, 64])
@pytest.mark.parametrize("rows", [1, 2, 20, 300])
def test_axes_of_any_vectors(d: int, rows: int) -> None:
    """Few dimensions, fewer rows than dimensions, and no variance at all."""
    rng = np.random.default_rng(d)
    for x in (rng.normal(size=(rows, d)), rng.normal(size=(rows, d)) * 10.0 ** -np.arange(d), np.ones((rows, d))):
        _, exact, variances = principal_axes(x.astype("f4"), d)
        axes = Axes.principal(exact, variances, d)
        np.testing.assert_allclose(axes.matrix @ axes.matrix.T, np.eye(d), atol=1e-5)
        np.testing.assert_array_equal(Axes.restore(axes.arrays, (d, d)).matrix, axes.matrix)


def test_axes_along_single_dimensions_take_the_fewest_bits() -> None:
    """As of vectors that are principal components already: most numbers of an axis are zero."""
    x = (np.random.default_rng(0).normal(size=(20_000, 64)) * 0.8 ** np.arange(64)).astype("f4")
    _, _, variances = principal_axes(x, 64)
    axes = Axes.principal(np.eye(64, dtype="f4"), variances, 40)
    np.testing.assert_array_equal(axes.arrays["axis_bits"], 2)
    np.testing.assert_array_equal(np.abs(axes.matrix), np.eye(64)[:40])


def test_axes_that_depend_on_each_other_are_refused() -> None:
    bits = np.array([4, 4], np.uint8)
    for row in ([0x88] * 3, [0x99, 0xAA, 0xBB]):  # zeros, and twice the same
        with pytest.raises(CodecError, match="independent"):
            _ = Axes.restore({"axes": np.array(row, np.uint8)[:, None], "axis_bits": bits}, (2, 3)).matrix
    with pytest.raises(CodecError, match="bits"):
        Axes.restore({"axes": np.zeros((3, 1), np.uint8), "axis_bits": bits - np.uint8(3)}, (2, 3))
