"""Codes of what a base leaves, codes that name their rows, and rows made of anchors."""

from __future__ import annotations

import numpy as np
import pytest
from samples import glove

import vecstore
from vecstore.codecs.codec import codec
from vecstore.codecs.dataset import Dataset
from vecstore.errors import CodecError
from vecstore.keys.packed import PackedKeys


def error(x: np.ndarray, decoded: np.ndarray) -> float:
    return float(((x - decoded) ** 2).sum() / ((x - x.mean(axis=0)) ** 2).sum())


@pytest.mark.parametrize("base", ["hash:800:2:word&ngrams3-4:mean", "hash:800:2", "floret:800:3:4:2", "hashembed:800"])
def test_a_quantizer_on_what_a_table_leaves(tmp_path, base):
    x, keys = glove(3000)
    vecstore.write(tmp_path / "s", x, keys, f"{base}/pq:10", metric="l2", accept_dominated=True)
    with vecstore.open(tmp_path / "s") as store:
        assert store.info()["codec"].endswith("/pq:10") and store.info()["bytes"]["code"] == [10]
        decoded = np.asarray(store.vectors)
        assert error(x, decoded) < 0.25
        np.testing.assert_array_equal(store[keys[::9]], decoded[::9])
        found = store.lookup([keys[7], "no such word"])
        assert found.known.tolist() == [True, False]
        np.testing.assert_array_equal(found.vectors[0], decoded[7])
        assert store.search(decoded[5], 1).keys == [keys[5]]
        alone = store._snapshot.shards[0].codec.layers[0].quantizer._base
        unknown = PackedKeys(["no such word"], "str")
        np.testing.assert_array_equal(found.vectors[1], alone.unknown(unknown)[0])
        assert "collisions" in store.info()["certificate"]["tables"]


def test_a_base_by_row_number(tmp_path):
    x, _ = glove(3000)
    for spec in ("qr:4/pq:10", "qr:8:learned/pq:10", "pca:40,hash:500:2/pq:10", "hash:500:2/pq:10,zstd"):
        fitted = codec(spec).fit(x)
        assert str(fitted.spec) == spec and len(fitted.layers) == 1
        assert error(x, fitted.approximate(x, np.arange(3000))) < 0.25
    assert len(codec("hash:500:2/pq:10/sq:8").layers) == 2 and len(codec("bin/sq:8").layers) == 2


def test_the_error_after_a_base_is_that_of_the_quantizer_alone():
    """A random subspace takes its share of the variance away, and the quantizer codes the rest."""
    x, _ = glove(3000)
    alone = codec("pq:10").fit(x)
    both = codec("hash:750:2/pq:10").fit(x)
    assert error(x, both.approximate(x, np.arange(3000))) < error(x, alone.approximate(x))


@pytest.mark.parametrize("text", ["residual", "residual:hash:pq", "hash:500", "sq:8/hash:500"])
def test_what_is_a_composition_and_what_is_not(text):
    if text.startswith("residual"):
        with pytest.raises(CodecError, match="BASE/QUANTIZER"):
            codec(text)
    else:
        assert "residual" not in repr(codec(text).to_dict())


@pytest.mark.parametrize("spec", ["hash:20/qr:4", "qr:4/hash:20", "anchor:9:1/floret:20", "hash:20/fasttext:20"])
def test_tables_on_what_a_base_leaves_are_refused(spec):
    """Decoding by key would have to know the row, and decoding by row the key."""
    with pytest.raises(CodecError, match="gives every row a code"):
        codec(spec).fit(glove(100)[0])


@pytest.mark.parametrize(("spec", "rows"), [("subspace:4x4", 4000), ("subspace:3x4", 4000), ("subspace:2x8", 3000)])
def test_every_row_has_a_code_of_its_own(spec, rows):
    x, _ = glove(rows)
    fitted = codec(spec).fit(x)
    codes = fitted.encode(x, np.arange(rows))
    assert len(np.unique(codes, axis=0)) == rows
    plain = codec(spec.replace("subspace", "pq")).fit(x)
    nearest = plain.encode(x)
    repaired = (codes != nearest).any(axis=1).mean()
    assert fitted.layers[0].quantizer.facts["repaired"] == pytest.approx(repaired, abs=1e-6) and repaired > 0
    first = np.unique(nearest, axis=0, return_index=True)[1]
    np.testing.assert_array_equal(codes[first], nearest[first])  # who comes first keeps the nearest entries
    # What uniqueness costs grows as the codes run out: 4,000 rows of 4,096 codes are the worst case.
    assert error(x, fitted.decode(codes)) < error(x, plain.decode(nearest)) * (1.6 if spec == "subspace:3x4" else 1.15)


def test_too_few_codes_are_refused(tmp_path):
    with pytest.raises(CodecError, match="has 256 codes, there are 300 rows"):
        codec("subspace:2x4").fit(glove(300)[0])


def test_unique_codes_in_a_store(tmp_path):
    x, keys = glove(2000)
    vecstore.write(tmp_path / "s", x, keys, "subspace:8x4", metric="l2", shard_bytes=300_000, accept_dominated=True)
    with vecstore.open(tmp_path / "s") as store:
        decoded = np.asarray(store.vectors)
        assert len(np.unique(decoded, axis=0)) == 2000
        assert store.search(decoded[100], 1).rows.tolist() == [100]
        assert store.info()["certificate"]["tables"]["repaired"] >= 0


def test_rows_of_anchors():
    x, _ = glove(4000)
    order = np.random.default_rng(0).permutation(4000)
    train, unseen = x[order[:3000]], x[order[3000:]]
    errors = []
    for taken in (1, 2, 4, 8):
        fitted = codec(f"anchor:300:{taken}").fit(train)
        assert fitted.code_bytes == 4 * taken
        errors.append(error(unseen, fitted.approximate(unseen)))
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.3
    anchors = codec("anchor:300:2").fit(train).arrays["0.0.anchors"]
    assert all((train == anchor).all(axis=1).any() for anchor in anchors)  # rows, not averages
    corrected = codec("anchor:300:2/pq:8").fit(train)
    assert corrected.code_bytes == 16 and error(unseen, corrected.approximate(unseen)) < errors[1] * 0.6


def test_a_row_that_is_a_sum_of_anchors_is_found():
    random = np.random.default_rng(0)
    anchors = random.normal(size=(40, 30)).astype(np.float32)
    fitted = codec("anchor:40:2").fit(anchors)
    x = anchors[[3, 9]] * np.float32(0.5) + anchors[[20, 31]] * np.float32(-1.5)
    np.testing.assert_allclose(fitted.approximate(x), x, atol=0.02)


def test_a_code_of_no_anchor_is_refused():
    fitted = codec("anchor:5:1").fit(glove(50)[0])
    with pytest.raises(CodecError, match="damaged"):
        fitted.decode(np.array([[200, 0, 0, 60]], np.uint8))


def test_residuals_train_on_rows_that_are_not_spared():
    x, _ = glove(500)
    everyone = Dataset(500, Dataset.of(x).blocks, spared=np.arange(50))
    fitted = codec("hash:100:2/pq:5").fit(x[50:], dataset=everyone)
    assert np.isfinite(fitted.approximate(x, np.arange(500))).all()
