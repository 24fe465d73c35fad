"""Vectors and keys from data frames, mappings and columns of arrays."""

from __future__ import annotations

import numpy as np
import pytest

import vecstore
from vecstore.conversion.sources.frames import vectors_and_keys
from vecstore.errors import OptionError, ShapeError

N, D = 40, 6
WORDS = [f"word {i}" for i in range(N)]


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)


def frame_of(library, columns):
    module = pytest.importorskip(library)
    make = {"pandas": lambda: module.DataFrame(columns), "polars": lambda: module.DataFrame(columns)}
    return module.table(columns) if library == "pyarrow" else make[library]()


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
@pytest.mark.parametrize("keys", [WORDS, list(range(7, 7 + N))], ids=["str", "int"])
def test_a_column_of_vectors_and_one_of_keys(tmp_path, x, library, keys):
    frame = frame_of(
        library, {"note": ["a"] * N, "word": keys, "embedding": list(x) if library == "pandas" else x.tolist()}
    )
    for made in (
        lambda path: vecstore.write(path, frame, codec="f32"),
        lambda path: vecstore.convert(frame, path, "f32", force=True),
        lambda path: vecstore.write(path, frame["embedding"], frame["word"], codec="f32", force=True),
        lambda path: vecstore.write(path, frame, "word", codec="f32", force=True),
    ):
        made(tmp_path / "s")
        store = vecstore.open(tmp_path / "s")
        assert list(store) == keys
        np.testing.assert_allclose(store.vectors, x, rtol=1e-6)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_columns_of_numbers_are_the_dimensions(x, library):
    frame = frame_of(library, {f"x{i}": x[:, i] for i in range(D)})
    vectors, keys = vectors_and_keys(frame)
    np.testing.assert_array_equal(vectors, x)
    assert keys is None
    vectors, keys = vectors_and_keys(frame_of(library, {"id": WORDS, **{f"x{i}": x[:, i] for i in range(D)}}))
    np.testing.assert_array_equal(vectors, x)
    assert keys == WORDS


def test_labels_of_a_pandas_frame_are_keys(x):
    pandas = pytest.importorskip("pandas")
    for frame in (pandas.DataFrame(x, index=WORDS), pandas.DataFrame({"vector": list(x)}, index=WORDS)):
        vectors, keys = vectors_and_keys(frame)
        np.testing.assert_array_equal(vectors, x)
        assert keys == WORDS


def test_a_mapping_of_keys_to_vectors(tmp_path, x):
    vecstore.write(tmp_path / "s", dict(zip(WORDS, x, strict=True)), codec="f32")
    np.testing.assert_array_equal(vecstore.open(tmp_path / "s")[WORDS], x)
    with pytest.raises(OptionError, match="keys of its own"):
        vecstore.write(tmp_path / "t", {"a": x[0]}, ["b"])


def test_an_object_column_of_arrays(x):
    column = np.empty(N, object)
    column[:] = list(x)
    np.testing.assert_array_equal(vectors_and_keys(column)[0], x)
    column[3] = x[3, :2]
    with pytest.raises(ShapeError, match=r"row 0 has shape \(6,\), row 3 \(2,\)"):
        vectors_and_keys(column)


def test_frames_that_do_not_tell(x):
    with pytest.raises(OptionError, match="several columns could be the vectors: 'a', 'b'"):
        vectors_and_keys(frame_of("polars", {"a": x.tolist(), "b": x.tolist()}))
    with pytest.raises(OptionError, match=r"no column 'wort' \(did you mean 'word'\?\); columns are word, v"):
        vectors_and_keys(frame_of("polars", {"word": WORDS, "v": x.tolist()}), "wort")
    with pytest.raises(OptionError, match="no column holds vectors, and not all are numbers: word, other"):
        vectors_and_keys(frame_of("polars", {"word": WORDS, "other": WORDS}))


def test_pairs_of_key_and_vector_are_refused_with_what_to_give(x):
    for pairs in (
        list(zip("abc", x, strict=False)),
        tuple([key, list(row)] for key, row in zip("ab", x, strict=False)),
    ):
        with pytest.raises(OptionError, match=r"dict\(pairs\)"):
            vectors_and_keys(pairs)
    assert vectors_and_keys([(1.0, 2.0), (3.0, 4.0)])[0].shape == (2, 2)
