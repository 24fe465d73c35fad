"""Entropy coding, and the uniform quantizer that is made for it."""

from __future__ import annotations

import numpy as np
import pytest
from samples import glove

import vecstore
from vecstore.codecs.bytes.rans import Rans, cumulative_models
from vecstore.codecs.codec import codec
from vecstore.errors import CodecError
from vecstore.shard.shard import Shard


def block(rows: int, columns: int) -> bytes:
    rng = np.random.default_rng(rows)
    spread = np.geomspace(0.2, 30, columns)
    levels = np.rint(rng.normal(size=(rows, columns)) * spread) + rng.integers(0, 256, columns)
    return levels.astype(np.int64).astype(np.uint8).tobytes()


def test_models_are_whole_and_leave_no_symbol_out():
    frequencies = np.diff(cumulative_models().astype(np.int64), axis=1)
    assert frequencies.shape == (68, 256) and (frequencies >= 1).all() and (frequencies.sum(axis=1) == 65536).all()
    assert (frequencies.argmax(axis=1) == 128).all() and len(np.unique(frequencies, axis=0)) >= 60


@pytest.mark.parametrize("columns", [1, 7, 24])
@pytest.mark.parametrize("rows", [0, 1, 31, 33, 400])
def test_what_was_packed_comes_back(rows, columns):
    raw = block(rows, columns)
    assert Rans(columns).unpack(Rans(columns).pack(raw, 1), len(raw), 1) == raw


def test_size_is_close_to_the_entropy():
    raw = block(5000, 24)
    levels = np.frombuffer(raw, np.uint8).reshape(-1, 24)
    shares = np.stack([np.bincount(column, minlength=256) for column in levels.T]) / len(levels)
    entropy = -(shares * np.log2(np.maximum(shares, 1e-12))).sum() * len(levels) / 8
    assert 0.99 * entropy < len(Rans(24).pack(raw, 1)) < 1.03 * entropy


def test_damage_is_noticed_or_harmless():
    """Whatever bytes are changed: an error, or as many bytes as asked for; never more, never a crash."""
    raw = block(60, 7)
    packed = Rans(7).pack(raw, 1)
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(packed)
        for at in rng.integers(0, len(packed), 3):
            damaged[at] = rng.integers(256)
        damaged = damaged[: rng.integers(len(packed) // 2, len(packed) + 1)]
        try:
            assert len(Rans(7).unpack(bytes(damaged), len(raw), 1)) == len(raw)
        except CodecError as error:
            assert "damaged" in str(error)


@pytest.mark.parametrize("packed", [b"", b"\0", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\0abcd"])
def test_what_is_no_block(packed):
    with pytest.raises(CodecError, match="damaged"):
        Rans(7).unpack(packed, 70, 1)


@pytest.mark.parametrize("size_bytes", [4, 12, 25])
def test_a_row_takes_what_was_asked_for(size_bytes):
    x = np.random.default_rng(0).permutation(glove()[0])
    fitted = codec(f"pca:50,uniform:{size_bytes},rans:50").fit(x[:3000])
    codes = fitted.encode(x[3000:])
    packed = Rans(50).pack(codes.tobytes(), 1)
    assert 0.95 * size_bytes < len(packed) / len(codes) < 1.05 * size_bytes + 0.2


def test_columns_are_the_bytes_of_a_code():
    x = np.random.default_rng(0).standard_normal((300, 24)).astype(np.float32)
    with pytest.raises(CodecError, match="rans:20 behind codes of 24 bytes; write rans:24"):
        vecstore.codec("uniform:8,rans:20").fit(x)


def test_a_store_with_it_is_smaller_and_read_alike(tmp_path):
    x = glove()[0][:6000]
    for name, spec in (("plain", "pca:50,uniform:12"), ("packed", "pca:50,uniform:12,rans:50")):
        vecstore.write(tmp_path / f"{name}.vecs", x, codec=spec)
    with vecstore.open(tmp_path / "plain.vecs") as plain, vecstore.open(tmp_path / "packed.vecs") as packed:
        codes = [Shard(store.path).layers[0].gather(np.arange(len(store))) for store in (plain, packed)]
        np.testing.assert_array_equal(*codes)
        # Blocks of other sizes are multiplied, which may round otherwise.
        np.testing.assert_allclose(plain.vectors[:], packed.vectors[:], rtol=0, atol=1e-5)
        np.testing.assert_array_equal(plain.search(x[:5], k=10).rows, packed.search(x[:5], k=10).rows)
    assert (tmp_path / "packed.vecs").stat().st_size < 0.6 * (tmp_path / "plain.vecs").stat().st_size
