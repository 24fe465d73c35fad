"""Codecs whose rows share tables: hash and quotient-remainder."""

from __future__ import annotations

import numpy as np
import pytest
import xxhash
from samples import glove

import vecstore
from vecstore.codecs.codec import codec
from vecstore.codecs.dataset import Block, Dataset
from vecstore.codecs.tables.features import Features, ngrams, shape_of
from vecstore.codecs.tables.incidence import Incidence
from vecstore.errors import CodecError, KeyNotFoundError
from vecstore.keys.packed import PackedKeys
from vecstore.measure.advisor import advise, predict


def r2(x: np.ndarray, decoded: np.ndarray) -> float:
    return float(1 - ((x - decoded) ** 2).sum() / ((x - x.mean(axis=0)) ** 2).sum())


def design(incidence: Incidence, entries: int) -> np.ndarray:
    """Return the matrix that picks entries, densely."""
    matrix = np.zeros((len(incidence.indptr) - 1, entries))
    for row in range(len(matrix)):
        for entry in incidence.indices[incidence.indptr[row] : incidence.indptr[row + 1]]:
            matrix[row, entry] += 1
    return matrix


@pytest.fixture(scope="module")
def gaussian() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2000, 32)).astype(np.float32)


@pytest.mark.parametrize("spec", ["hash:500:1", "hash:500:2", "hash:700:4:mean", "hash:200:2"])
def test_hashing_keeps_rank_over_rows_of_gaussian_data(gaussian, spec):
    fitted = codec(spec).fit(gaussian)
    quantizer = fitted.layers[0].quantizer
    incidence = quantizer.incidence(PackedKeys(np.arange(2000), "int64"))
    rank = np.linalg.matrix_rank(design(incidence, quantizer.table.shape[0]))
    assert r2(gaussian, fitted.decode(np.zeros((2000, 0), np.uint8))) == pytest.approx(rank / 2000, abs=0.01)


@pytest.mark.parametrize("spec", ["qr:2", "qr:4", "qr:40x50", "qr:10x10x20", "qr:44x47:crt", "qr:8x250"])
def test_digits_keep_rank_over_rows_of_gaussian_data(gaussian, spec):
    fitted = codec(spec).fit(gaussian)
    sizes = fitted.layers[0].quantizer.arrays["sizes"]
    digits = codec(spec).layers[0].quantizer.digits(2000).of(np.arange(2000))
    entries = digits + np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rank = np.linalg.matrix_rank(design(Incidence.equal(entries), int(sizes.sum())))
    assert r2(gaussian, fitted.decode(np.zeros((2000, 0), np.uint8))) == pytest.approx(rank / 2000, abs=0.01)


@pytest.mark.parametrize("spec", ["hash:300:2", "hash:300:3:mean", "hash:300:2:weighted"])
def test_the_table_is_the_one_of_least_squares(gaussian, spec):
    quantizer = codec(spec).fit(gaussian).layers[0].quantizer
    matrix = design(quantizer.incidence(PackedKeys(np.arange(2000), "int64")), 300)
    if "mean" in spec:
        matrix /= matrix.sum(axis=1, keepdims=True)
    scale = np.sqrt(1 / np.arange(1, 2001))[:, None] if "weighted" in spec else 1
    best = np.linalg.lstsq(matrix * scale, gaussian * scale, rcond=None)[0]
    left = lambda table: float(((matrix @ table - gaussian) ** 2 * scale**2).sum())  # noqa: E731
    assert left(quantizer.table) <= left(best) * 1.0001


def test_digits_are_different_for_every_row():
    for spec in ("qr:4", "qr:10x20x10", "qr:44x47:crt", "qr:7x16x19:crt"):
        digits = codec(spec).layers[0].quantizer.digits(2000).of(np.arange(2000))
        assert len({tuple(row) for row in digits.tolist()}) == 2000
    np.testing.assert_array_equal(codec("qr:4").layers[0].quantizer.digits(10).of(np.array([9, 4])), [[2, 1], [1, 0]])


def test_products_recover_products():
    """Alternating least squares finds tables whose products are the data, also where a factor is zero."""
    random = np.random.default_rng(1)
    quotients, remainders = random.normal(size=(50, 8)), random.normal(size=(20, 8))
    quotients[3, 2] = remainders[4] = 0
    x = (quotients[:, None] * remainders[None]).reshape(1000, 8).astype(np.float32)
    fitted = codec("qr:50x20:mult").fit(x)
    decoded = fitted.decode(fitted.encode(x))
    assert np.isfinite(decoded).all() and r2(x, decoded) > 0.999


def test_side_by_side_is_a_mean_a_side(gaussian):
    fitted = codec("qr:40x50:concat").fit(gaussian)
    decoded = fitted.decode(fitted.encode(gaussian))
    np.testing.assert_allclose(decoded[7, :16], gaussian[:50, :16].mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(decoded[7, 16:], gaussian[7::50, 16:].mean(axis=0), atol=1e-5)


def test_learned_numbers_put_alike_rows_together():
    x, _ = glove(2000)
    by_row, learned = codec("qr:8").fit(x), codec("qr:8:learned").fit(x)
    assert learned.code_bytes == 2 and by_row.code_bytes == 0
    codes = learned.encode(x)
    numbers = codes.view("<u2")[:, 0]
    assert sorted(numbers.tolist()) == list(range(2000))
    assert r2(x, learned.decode(codes)) > r2(x, by_row.decode(by_row.encode(x))) + 0.1
    restored = vecstore.Codec.restore(learned.spec, 50, learned.arrays)
    np.testing.assert_array_equal(restored.decode(codes), learned.decode(codes))
    with pytest.raises(CodecError, match="cannot encode others"):
        restored.encode(x)


@pytest.mark.parametrize(
    "text",
    ["hash", "hash:0", "hash:10:5", "hash:10:2:letters", "hash:10:2:ngrams5-3", "qr", "qr:0", "qr:4:plus", "qr:4x6:crt",
     "qr:3x3x3:dlrm", "qr:x", "qr:7:crt"],
)  # fmt: skip
def test_what_is_no_table_codec_says_so(text):
    with pytest.raises(CodecError):
        codec(text)


def test_specifications_are_short():
    for text in ("hash:10:2", "hash:10:4:prefix2&shape:mean:weighted", "qr:4", "qr:3x5:mult:crt:learned", "qr:4:dlrm"):
        assert str(codec(text)) == text
    assert str(codec("hash:10")) == "hash:10:2" and codec("hash:10:shape").layers[0].quantizer.features == "shape"


def test_too_few_digits_are_refused(gaussian):
    with pytest.raises(CodecError, match="tells 100 rows apart, there are 2,000"):
        codec("qr:10x10").fit(gaussian)


def test_features_of_a_key():
    assert shape_of("McDonalds-2024!") == "XxXxxxx-dddd!" and shape_of("") == ""
    assert ngrams("<ab>", 2, 3) == ["<a", "ab", "b>", "<ab", "ab>"]
    keys = PackedKeys(["Ab", "x", "Ab"], "str")
    incidence = Features("word&prefix1&shape&ngrams3-3").incidence(keys, 2, 1000)
    assert incidence.counts.tolist() == [10, 8, 10]
    np.testing.assert_array_equal(incidence.indices[:10], incidence.indices[18:])
    expected = [xxhash.xxh64_intdigest(b"Ab", 0), xxhash.xxh64_intdigest(b"Ab", 1), xxhash.xxh64_intdigest(b"A", 16)]
    assert incidence.indices[:3].tolist() == [h % 1000 for h in expected]


@pytest.mark.parametrize("rows", [1, 63, 64, 300])
def test_sums_do_not_depend_on_the_way_they_are_made(rows):
    random = np.random.default_rng(rows)
    table = random.normal(size=(50, 7)).astype(np.float32)
    starts = np.concatenate([[0], np.cumsum(random.integers(0, 5, rows))])
    incidence = Incidence(starts, random.integers(0, 50, int(starts[-1])))
    for mean in (False, True):
        expected = np.zeros((rows, 7), np.float32)
        for row in range(rows):
            for entry in incidence.indices[starts[row] : starts[row + 1]]:
                expected[row] += table[entry]
            if mean and starts[row + 1] > starts[row]:
                expected[row] *= np.float32(1 / (starts[row + 1] - starts[row]))
        np.testing.assert_array_equal(incidence.sums(table, mean=mean), expected)


@pytest.fixture(scope="module", params=["hash:800:2:word&prefix3&ngrams3-4:mean", "hash:800:2"])
def hashed(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("hash") / "words.vecs"
    x, keys = glove(3000)
    vecstore.write(path, x, keys, request.param, shard_bytes=400_000, accept_dominated=True)
    with vecstore.open(path) as store:
        yield store


def test_a_hashed_store_answers_for_known_and_unknown_keys(hashed):
    keys = glove(3000)[1]
    asked = [keys[5], "no such word", keys[2999], "neither this"]
    found = hashed.lookup(asked)
    assert found.known.tolist() == [True, False, True, False]
    np.testing.assert_array_equal(found.vectors[[0, 2]], hashed[[keys[5], keys[2999]]])
    quantizer = hashed._snapshot.shards[0].codec.layers[0].quantizer
    np.testing.assert_array_equal(found.vectors, quantizer.unknown(PackedKeys(asked, "str")))
    assert "no such word" not in hashed and hashed.get("no such word") is None
    assert hashed.lookup([]).vectors.shape == (0, 50)


def test_a_hashed_store_reads_and_searches_like_any_other(hashed):
    x, keys = glove(3000)
    decoded = np.asarray(hashed.vectors)
    np.testing.assert_array_equal(hashed[keys[::11]], decoded[::11])
    np.testing.assert_array_equal(hashed[keys[17]], decoded[17])
    assert r2(x, decoded) > 0.25
    found = hashed.search(x[:3], 5, metric="dot")
    np.testing.assert_allclose(found.scores, -np.sort(-(x[:3] @ decoded.T), axis=1)[:, :5], rtol=1e-4)
    fidelity = hashed.info()["certificate"]
    assert not fidelity["held_out"] and 0 <= fidelity["tables"]["collisions"] < 0.05
    hashed.verify()


def test_collisions_are_counted(tmp_path):
    vecstore.write(tmp_path / "s", glove(1000)[0], glove(1000)[1], "hash:10:1", accept_dominated=True)
    with vecstore.open(tmp_path / "s") as store:
        assert store.info()["certificate"]["tables"] == {"collisions": 1.0, "entries_used": 1.0}


@pytest.mark.parametrize("spec", ["qr:200", "qr:200:learned", "hash:300:2", "f16@500+hash:300:2", "f16@500+qr:200"])
def test_rows_count_through_the_shards(tmp_path, spec):
    """The vectors of a store cut into shards are those of the store in one piece."""
    x = np.random.default_rng(0).normal(size=(50_000, 4)).astype(np.float32)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    vecstore.write(whole, x, None, spec, keep_norms=True, accept_dominated=True)
    vecstore.write(cut, x, None, spec, keep_norms=True, shard_bytes=150_000, accept_dominated=True)
    with vecstore.open(whole) as one, vecstore.open(cut) as many:
        assert many.info()["shards"] >= one.info()["shards"] + 1
        np.testing.assert_array_equal(np.asarray(many.vectors), np.asarray(one.vectors))
        rows = [49_999, 5, 7000]
        np.testing.assert_array_equal(many.vectors[rows], np.asarray(one.vectors)[rows])
        np.testing.assert_array_equal(many.vectors[49_999], one.vectors[49_999])
        assert many.search(x[0], 3).rows.tolist() == one.search(x[0], 3).rows.tolist()


def test_exact_head_and_hashed_tail(tmp_path):
    x, keys = glove(3000)
    vecstore.write(tmp_path / "s", x, keys, "f32@500+hash:600:2:word&ngrams3-5:mean", accept_dominated=True)
    with vecstore.open(tmp_path / "s") as store:
        np.testing.assert_array_equal(store.vectors[:500], x[:500])
        found = store.lookup([keys[3], "unheard-of", keys[2000]])
        assert found.known.tolist() == [True, False, True]
        np.testing.assert_array_equal(found.vectors[0], x[3])
        assert np.linalg.norm(found.vectors[1]) > 0.1


def test_fields_share_one_pool(tmp_path):
    """The same value in two fields is two keys, with entries of their own in the one table."""
    x, words = glove(1000)
    keys = [f"{field}:{word}" for field in ("city", "name") for word in words]
    vecstore.write(tmp_path / "s", np.concatenate([x, -x]), keys, "hash:1000:2", accept_dominated=True)
    with vecstore.open(tmp_path / "s") as store:
        found = store.lookup(["city:rome", "name:rome", "city:nowhere"])
        assert found.known.tolist()[2] is False
        assert not np.allclose(found.vectors[0], found.vectors[1])
        assert store._snapshot.shards[0].codec.model_bytes == 1000 * 50 * 4 + 1


def test_integer_keys_are_hashed_too(tmp_path):
    x, _ = glove(1000)
    vecstore.write(tmp_path / "s", x, np.arange(1000) * 7, "hash:400:2", accept_dominated=True)
    with vecstore.open(tmp_path / "s") as store:
        assert store.lookup(np.array([7, 8])).known.tolist() == [True, False]
    with pytest.raises(CodecError, match="keys here are int64"):
        vecstore.write(tmp_path / "t", x, np.arange(1000), "hash:400:2:shape", accept_dominated=True)


def test_codecs_without_vectors_for_unknown_keys_say_so(make_store):
    with vecstore.open(make_store("sq:8")) as store:
        assert store.lookup(["the"]).known.all()
        with pytest.raises(KeyNotFoundError, match="no key 'no such word'"):
            store.lookup(["the", "no such word"])
    with vecstore.open(make_store("sq:8", keys=None)) as store, pytest.raises(KeyNotFoundError):
        store.lookup([5, 5_000_000])


@pytest.mark.parametrize("spec", ["hash:500:2", "hash:300:1", "qr:4", "qr:4:concat", "pq:8", "qr:8:learned"])
def test_predictions_hold(gaussian, spec):
    x = gaussian + np.float32(0.5)
    predicted = predict(spec, x, 2000)
    fitted = codec(spec).fit(x)
    decoded = fitted.approximate(x)
    if not fitted.shared:  # a prediction is of rows that training did not see
        x = np.random.default_rng(1).normal(size=x.shape).astype(np.float32) + np.float32(0.5)
        decoded = fitted.approximate(x)
    cosines = (x * decoded).sum(axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(decoded, axis=1)
    assert predicted.r2 == pytest.approx(r2(x, decoded), abs=0.05 if "learned" in spec else 0.03)
    assert predicted.cosine == pytest.approx(cosines.mean(), abs=0.05)
    assert predicted.row_bytes == pytest.approx(fitted.code_bytes + fitted.model_bytes / 2000, rel=0.05)


def test_a_dominated_codec_is_refused_unless_insisted_on(tmp_path):
    x, keys = glove(3000)
    with pytest.raises(CodecError, match=r"hash:750:2 keeps 0\.2\d+ .*PQ at the same bytes keeps 0\.9\d+"):
        vecstore.write(tmp_path / "s", x, keys, "hash:750:2")
    with pytest.raises(CodecError, match="choose pq:"):
        vecstore.write(tmp_path / "s", x, keys, "f32@500+qr:4")
    assert not list(tmp_path.iterdir())
    for insisting in ({"force": True}, {"accept_dominated": True}):
        report = vecstore.write(tmp_path / f"{insisting}", x, keys, "hash:750:2", **insisting)
        assert len(report.advice) == 1 and "PQ at the same bytes keeps" in report.advice[0]
    assert not vecstore.write(tmp_path / "plain", x, keys, "sq:8").advice


@pytest.mark.parametrize("spec", ["hash:750:2/pq:10", "anchor:500:3", "qr:4/sq:4", "subspace:24x4"])
def test_advice_covers_every_codec_that_shares_tables(spec):
    x, _ = glove(3000)
    (advice,) = advise(codec(spec), x, 3000)
    assert advice.wanted.spec == spec and advice.rival is not None
    assert advice.rival.row_bytes <= advice.wanted.row_bytes  # codebooks counted
    if "/" in spec:  # entries stand for rows, so the fitted table is as large as the predicted one
        fitted = codec(spec).fit(x)
        assert advice.wanted.row_bytes == pytest.approx(fitted.code_bytes + fitted.model_bytes / 3000, rel=0.1)
        assert advice.wanted.r2 == pytest.approx(r2(x, fitted.approximate(x)), abs=0.05)


def test_what_is_smaller_than_any_quantizer_is_not_refused(tmp_path):
    report = vecstore.write(tmp_path / "s", glove(3000)[0], None, "hash:10:1")
    assert "no product quantizer is that small" in report.advice[0]


def test_tables_and_cells_exclude_each_other(tmp_path):
    x, keys = glove(2000)
    for spec in ("cells:4,hash:500:2", "cells:4,qr:4", "cells:4,subspace:10x4"):
        with pytest.raises(CodecError, match="use one or the other"):
            vecstore.write(tmp_path / "s", x, keys, spec, accept_dominated=True)
    vecstore.write(tmp_path / "s", x, keys, "f16@200+cells:4,pq:5")
    with vecstore.open(tmp_path / "s") as store:
        np.testing.assert_array_equal(store[keys[:200]], x[:200].astype(np.float16))
        assert r2(x[200:], store[keys[200:]]) > 0.4


def test_a_dataset_is_read_anew():
    x, keys = glove(100)
    everyone = Dataset.of(x, PackedKeys(keys, "str"))
    for _ in range(2):
        blocks = list(everyone.mapped(lambda z: 2 * z).blocks())
        assert isinstance(blocks[0], Block)
        np.testing.assert_array_equal(np.concatenate([block.vectors for block in blocks]), 2 * x)
    taken = everyone.take(np.array([3, 50]))
    np.testing.assert_array_equal(taken.vectors, x[[3, 50]])
    assert taken.keys is not None and len(taken.keys) == 2


def test_damaged_tables_are_refused(gaussian):
    for spec in ("qr:4", "hash:100:2"):
        fitted = codec(spec).fit(gaussian)
        for name, array in fitted.arrays.items():
            without = {other: a for other, a in fitted.arrays.items() if other != name}
            with pytest.raises(CodecError):
                vecstore.Codec.restore(fitted.spec, 32, without)
            with pytest.raises(CodecError):
                vecstore.Codec.restore(fitted.spec, 32, {**fitted.arrays, name: array[:-1]})
    with pytest.raises(CodecError, match="beyond"):
        codec("qr:4").fit(gaussian).decode(np.zeros((1, 0), np.uint8), np.array([5000]))
