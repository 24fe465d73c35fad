"""Several stores as one, beside plain arrays."""

from __future__ import annotations

import numpy as np
import pytest

import vecstore
from vecstore.errors import KeyNotFoundError, OptionError
from vecstore.spaces import align, combine


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def plain(a, b, how, weights):
    """Return the vectors of a combination of two stores by name."""
    there, back = align(a, b).matrix, align(b, a).matrix
    out = {}
    for key in dict.fromkeys([*a, *b]):
        of_a = unit(a[key]) if key in a else unit(b[key]) @ back
        of_b = unit(b[key]) if key in b else unit(a[key]) @ there
        if how == "concatenate":
            out[key] = np.concatenate([weights[0] * of_a, weights[1] * of_b])
        elif key in a and key in b:
            out[key] = (weights[0] * of_a + weights[1] * (unit(b[key]) @ back)) / sum(weights)
        else:
            out[key] = of_a
    return out


@pytest.mark.parametrize("how", ["concatenate", "average"])
def test_vectors_and_searches_are_those_of_arrays(spaces, how):
    a, b = spaces
    combined = combine([a, b], how, weights=[1, 2])
    expected = plain(a, b, how, [1, 2])
    assert len(combined) == 2000 and combined.keys == list(expected) and "king" in combined and "zzz" not in combined
    array = np.array(list(expected.values()))
    np.testing.assert_allclose(combined.vectors(np.arange(2000)), array, atol=1e-5)
    some = ["the", "king", combined.keys[-1]]
    np.testing.assert_allclose(combined[some], array[combined.rows_of(some)], atol=1e-5)
    scores = unit(array[combined.rows_of(some)]) @ unit(array).T
    np.testing.assert_allclose(combined.scores(combined[some]), scores, atol=1e-5)
    found = combined.search(combined[some], 5)
    np.testing.assert_allclose(found.scores, -np.sort(-scores, axis=1)[:, :5], atol=1e-5)
    assert [keys[0] for keys in found.keys] == some
    alone = combined.search(combined["king"], 3, exclude=["king"])
    assert alone.keys == [key for key in combined.search(combined["king"], 4).keys if key != "king"]


def test_a_concatenation_of_what_all_have_is_a_weighted_sum_of_cosines(spaces):
    a, b = spaces
    combined = combine([a, b], weights=[3, 1])
    shared = [key for key in a if key in b]
    query = combined["king"]
    sums = 0.9 * a.scores(a["king"]) @ np.eye(len(a))[:, a.rows_of(shared)]
    sums += 0.1 * b.scores(b["king"]) @ np.eye(len(b))[:, b.rows_of(shared)]
    np.testing.assert_allclose(combined.scores(query)[0, combined.rows_of(shared)], sums, atol=1e-5)


def test_fewer_dimensions_keep_most(spaces):
    whole = combine(spaces)
    narrow = combine(spaces, "svd", dimensions=60)
    assert (whole.dimensions, narrow.dimensions) == (100, 60)
    x = whole.vectors(np.arange(500, 1500)).astype(np.float64)
    kept = narrow.vectors(np.arange(500, 1500))
    best = np.linalg.svd(x, compute_uv=False)
    np.testing.assert_allclose((kept**2).sum(), (best[:60] ** 2).sum(), rtol=1e-4)
    np.testing.assert_allclose(
        narrow.scores(narrow["king"])[0], unit(kept_all(narrow)) @ unit(narrow["king"]), atol=1e-5
    )


def kept_all(combined):
    return combined.vectors(np.arange(len(combined)))


def test_written_out(spaces, tmp_path):
    combined = combine(spaces, "average")
    assert combined.write(tmp_path / "c.vecs", "f32").rows == 2000
    with vecstore.open(tmp_path / "c.vecs") as store:
        assert list(store) == combined.keys
        np.testing.assert_allclose(store.vectors[:], kept_all(combined), atol=1e-6)


def test_what_does_not_go_together(spaces, make_store, tmp_path):
    a, _ = spaces
    vecstore.write(tmp_path / "d.vecs", np.eye(3), ["xx", "yy", "zz"], "f32")
    with (
        vecstore.open(make_store("f32", keys="int64")) as numbers,
        vecstore.open(tmp_path / "d.vecs") as apart,
        vecstore.open(make_store("f32", keys=None)) as keyless,
    ):
        for stores in ([a], [a, numbers], [keyless, keyless]):
            with pytest.raises(OptionError):
                combine(stores)
        with pytest.raises(OptionError, match="no key is in all"):
            combine([a, apart])
        with pytest.raises(OptionError):
            combine([a, a], "sum")
        with pytest.raises(OptionError):
            combine([a, a], "svd", dimensions=1000)
        with pytest.raises(OptionError):
            combine([a, a], weights=[1, 0])
        with pytest.raises(KeyNotFoundError, match="zzz"):
            combine([a, a])["zzz"]
