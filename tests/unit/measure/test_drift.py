"""The drift sentinel, and conversions with the codec of another store."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import vecstore
from vecstore.measure.drift import DriftWarning, Reference, drift_of, reference_of


def drift(reference, codec, rows):
    codes = codec.encode(rows)
    return drift_of(reference, rows, codes, codec.decode(codes))


def test_other_rows_of_the_same_data_fit(tmp_path, words):
    vecstore.write(tmp_path / "a.vecs", words[:3000], codec="pq:10")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vecstore.write(tmp_path / "b.vecs", words[3000:], like=tmp_path / "a.vecs")
    a, b = vecstore.open(tmp_path / "a.vecs"), vecstore.open(tmp_path / "b.vecs")
    assert str(b.codec.spec) == "pq:10" and b.description["reference"] == a.description["reference"]
    x = words[100:120]
    assert (a.codec.encode(x) == b.codec.encode(x)).all()


def test_other_data_is_named_with_the_measured_loss(tmp_path, words):
    vecstore.write(tmp_path / "a.vecs", words[:3000], codec="pq:10")
    turned = words[3000:, ::-1] + 1
    own = 1 - vecstore.open(tmp_path / "a.vecs").info()["certificate"]["relative_error"]
    with pytest.warns(DriftWarning, match=rf"decode with R² -?\d\.\d+, the codec's own data with {own:.3f}"):
        report = vecstore.write(tmp_path / "b.vecs", turned, like=vecstore.open(tmp_path / "a.vecs"))
    assert report.certificate["relative_error"] > 1.25 * (1 - own)


def test_what_has_moved_is_told(words):
    codec = vecstore.codec("tcq:12").fit(words[:2000])
    reference = reference_of(codec, words[2000:3000])
    same = drift(reference, codec, words[3000:4000])
    assert same.fits and same.mean_shift < 0.3 and same.spectrum_shift < 0.1 and same.code_shift < 0.05
    moved = drift(reference, codec, words[3000:4000] + 1)
    assert not moved.fits and moved.mean_shift > 0.8 and moved.spectrum_shift == same.spectrum_shift
    narrow = words[3000:4000] * np.linspace(2, 0, 50, dtype="f4")
    assert drift(reference, codec, narrow).spectrum_shift > 0.1
    assert drift(reference, codec, words[:3]) is None


def test_the_spectrum_of_few_rows_is_measured_where_they_do_not_fit(words):
    codec = vecstore.codec("tcq:12").fit(words[:2000])
    reference = reference_of(codec, words[2000:3000])
    few = words[3000:3040]
    assert drift(reference, codec, few).spectrum_shift is None
    moved = drift(reference, codec, few + 1)
    assert moved.spectrum_shift is not None and "spectrum by" in str(moved)


def test_a_reference_survives_json_and_nothing_else(words):
    codec = vecstore.codec("sq:8").fit(words[:500])
    made = reference_of(codec, words[:500])
    again = Reference.from_dict(made.to_dict(), 50)
    assert again is not None and (again.mean == made.mean).all() and again.codes == made.codes
    good = made.to_dict()
    for bad in (None, 3, {}, good | {"mean": "%%"}, good | {"mean": "AAAA"}, good | {"codes": []}, good | {"r2": "x"},
                good | {"variance": float("nan")}, good | {"shares": [10**400]}):  # fmt: skip
        assert Reference.from_dict(bad, 50) is None
    assert Reference.from_dict(good, 51) is None
