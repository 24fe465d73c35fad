"""Every kernel against its plain twin in tests/reference.py, at sizes that divide nothing."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import reference

from vecstore.codecs.product.pq import group_edges
from vecstore.codecs.trellis.layout import HEAD_BITS, PARITY, CodeLayout, subsets, taps
from vecstore.container.container import Container, ContainerWriter
from vecstore.kernels import entries
from vecstore.keys.indexes import find_many
from vecstore.keys.map import KeyMap, write_key_map
from vecstore.keys.packed import KERNEL_KEYS

ROWS = [0, 1, 31, 33]
RNG = np.random.default_rng(0)


def packed(keys, gap):
    text = b"\0".join(keys) if gap else b"".join(keys)
    starts = np.cumsum([0, *(len(key) + gap for key in keys)])
    return np.frombuffer(text, np.uint8), starts


@pytest.mark.parametrize("gap", [0, 1])
@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**64 - 1])
def test_hashes_of_keys_of_every_length(seed, gap):
    keys = [RNG.bytes(length) for length in [*range(101), 254, 255, 256, 1023]]
    found = np.empty(len(keys), np.uint64)
    entries.xxh64_packed(*packed(keys, gap), gap, seed, found)
    np.testing.assert_array_equal(found, reference.xxh64(keys, seed))


def test_hashes_of_no_keys():
    entries.xxh64_packed(np.empty(0, np.uint8), np.zeros(1, np.int64), 0, 0, np.empty(0, np.uint64))


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(("d", "m"), [(1, 1), (7, 3), (13, 13), (50, 6), (19, 1)])
@pytest.mark.parametrize("k", [16, 256])
def test_product_quantizer(rows, d, m, k):
    edges = group_edges(d, m)
    codebooks = RNG.normal(size=(m, k, int(np.diff(edges).max()))).astype(np.float32)
    z = RNG.normal(size=(rows, d)).astype(np.float32)
    codes, vectors = np.empty((rows, m), np.uint8), np.empty((rows, d), np.float32)
    entries.encode_pq(z, edges, np.ascontiguousarray(codebooks.transpose(0, 2, 1)), codes)
    np.testing.assert_array_equal(codes, reference.nearest(z, edges, codebooks))
    entries.decode_pq(codes, edges, codebooks, vectors)
    np.testing.assert_array_equal(vectors, reference.decode_rows(codes, edges, codebooks))


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("d", [1, 7, 33])
@pytest.mark.parametrize("most", [15, 255])
def test_levels_of_grids(rows, d, most):
    lowest, steps = RNG.normal(size=d).astype(np.float32), RNG.uniform(0.1, 1, d).astype(np.float32)
    x = lowest + steps * RNG.integers(-9, 2 * most + 9, (rows, d)).astype(np.float32) / 2  # between two, beyond
    found, vectors, sums = np.empty((rows, d), np.uint8), np.empty((rows, d), np.float32), np.empty(d, np.float32)
    entries.encode_levels(x, lowest, steps, float(most), found)
    np.testing.assert_array_equal(found, reference.levels(x, lowest, steps, most))
    entries.decode_levels(found, lowest, steps, vectors)
    np.testing.assert_array_equal(vectors, found * steps + lowest)
    entries.sum_errors(x, lowest, steps, float(most), sums)
    np.testing.assert_allclose(sums, ((vectors - x) ** 2).sum(axis=0), rtol=1e-5)


def test_the_first_of_equally_near_centroids_wins():
    codes = np.full((3, 1), 9, np.uint8)
    entries.encode_pq(np.zeros((3, 2), np.float32), np.array([0, 2]), np.ones((1, 2, 16), np.float32), codes)
    np.testing.assert_array_equal(codes, 0)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(("width", "taken"), [(1, 1), (5, 5), (7, 3), (8, 8), (20, 20), (24, 11)])
@pytest.mark.parametrize(("tile_rows", "block_rows"), [(8, 32), (128, 256)])
def test_rows_out_of_tiles(tmp_path, rows, width, taken, tile_rows, block_rows):
    codes = RNG.integers(0, 256, (rows, width), np.uint8)
    writer = ContainerWriter(tmp_path / "tiles")
    for start in range(0, rows, block_rows):
        writer.put_block("x", reference.tiled(codes[start : start + block_rows], tile_rows))
    writer.declare("x", "|u1", codes.shape, block_rows=block_rows, tile_rows=tile_rows)
    writer.close({})
    part = Container(tmp_path / "tiles").part("x")
    wanted = RNG.integers(0, rows, 2 * rows)
    out = np.empty((len(wanted), taken), np.uint8)
    entries.gather_tiled(part.tiles, wanted, out)
    np.testing.assert_array_equal(out, codes[wanted, :taken])
    for low, high in [(0, 0), (0, 1), (rows // 3, rows // 2), (0, min(rows, block_rows))]:
        if high <= min(rows, block_rows) and rows:
            np.testing.assert_array_equal(part.untiled(0, low, high, taken), codes[low:high, :taken])


@pytest.mark.parametrize("count", [0, 1, 31, 1000])
def test_key_map_cells(count):
    hashes = RNG.integers(0, 2**64, count, np.uint64)
    values = RNG.integers(0, 16, count).astype(np.uint16)
    third, seed = count * 41 // 100 + 16, 0
    cells = np.zeros(3 * third, np.uint16)
    while not entries.peel(hashes, values, np.uint64(seed), third, cells):
        seed += 1
    assert [reference.xor_value(cells, h, seed, third) for h in hashes.tolist()] == values.tolist()
    data = np.append(cells.astype(np.uint8), np.zeros(2, np.uint8))
    out, one = np.empty(count, np.int64), np.ones(1, np.int64)
    entries.find_values(data, 0 * one, third * one, seed * one, 0, 8, hashes, out)
    np.testing.assert_array_equal(out, values)


def test_a_key_map_that_cannot_be_built_says_so():
    hashes = np.full(2, 7, np.uint64)
    assert not entries.peel(hashes, np.arange(2).astype(np.uint16), np.uint64(0), 16, np.zeros(48, np.uint16))


@pytest.mark.parametrize("shards", [1, 2, 3, 5, 17, 300])
def test_key_map_of_many_shards(tmp_path, shards):
    hashes = [RNG.integers(0, 2**64, 1 + 7 * (i % 11), np.uint64) for i in range(shards)]
    assert write_key_map(tmp_path / "keys.vecs", hashes) == {}
    key_map = KeyMap(tmp_path / "keys.vecs")
    expected = np.repeat(np.arange(shards), [len(own) for own in hashes])
    np.testing.assert_array_equal(key_map.shards_of(np.concatenate(hashes)), expected)
    assert [key_map.shard(h) for h in np.concatenate(hashes).tolist()] == expected.tolist()
    assert key_map.verify() > 0


def test_key_map_reports_hashes_of_several_shards(tmp_path):
    shared, own = np.array([5], np.uint64), np.array([7, 9], np.uint64)
    collisions = write_key_map(tmp_path / "keys.vecs", [shared, own, np.concatenate([own[:1], shared])])
    assert collisions == {f"{5:016x}": [0, 2], f"{7:016x}": [1, 2]}


@pytest.mark.parametrize("counts", [(), (0, 0), (700,), (31, 0, 900, 33), tuple(range(60))])
def test_a_key_map_of_many_segments_is_made_in_runs(tmp_path, monkeypatch, counts):
    hashes = [RNG.integers(0, 2**64, count, np.uint64) for count in (5, *counts)]
    hashes[-1][:5] = hashes[0][: len(hashes[-1][:5])]
    monkeypatch.setattr("vecstore.keys.map.SEGMENT_KEYS", 64)
    shared = min(5, len(hashes[-1])) if counts else 0
    collisions = write_key_map(tmp_path / "keys.vecs", hashes)
    assert collisions == {f"{key:016x}": [0, len(hashes) - 1] for key in hashes[0][:shared].tolist()}
    key_map = KeyMap(tmp_path / "keys.vecs")
    for number, own in enumerate(hashes):
        alone = own[shared:] if number in (0, len(hashes) - 1) else own
        assert (key_map.shards_of(alone) == number).all()
    assert [path.name for path in tmp_path.iterdir()] == ["keys.vecs"]


def test_a_key_map_of_no_keys_is_written(tmp_path):
    assert write_key_map(tmp_path / "keys.vecs", [np.empty(0, np.uint64)] * 3) == {}
    assert KeyMap(tmp_path / "keys.vecs").verify() > 0


@pytest.mark.parametrize("count", [1, 31, 33, KERNEL_KEYS, 3 * KERNEL_KEYS])
@pytest.mark.parametrize("kind", ["bytes", "int64"])
def test_lookup_of_many_keys(key_index, kind, count):
    if kind == "int64":
        keys = (np.arange(count) ** 3 - 500).tolist()
        absent = [2**63 - 1, -(2**63), 12345]
    else:
        keys = [RNG.bytes(length % 101) + str(length).encode() for length in range(count)]
        keys[::50] = [key + b"x" * 255 for key in keys[::50]]
        absent = [b"", b"no", b"\0" * 255, keys[0] + b"\0", keys[0][:-1]]
    index = key_index(keys)
    wanted = (keys[::-1] + absent) * 2 + keys[:1] * KERNEL_KEYS
    assert find_many(index, wanted).tolist() == reference.find(keys, wanted) == [index.find(key) for key in wanted]


TRELLIS_LAYOUTS = {
    "one number": ([8], [1]),
    "short group": ([3, 5], [1, 1]),
    "unequal bits": ([4, 3, 2, 2, 2, 1, 1, 1], [1] * 8),
    "pairs last": ([2] * 8 + [1] * 8, [1] * 8 + [2] * 8),
    "three groups": ([8, 7, 5, 4, 3, 3, 1, 1] + [1] * 8 + [2, 3, 3], [1] * 19),
}


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(
    ("layout", "states"), [*((layout, 4) for layout in TRELLIS_LAYOUTS), ("pairs last", 64), ("short group", 256)]
)
@pytest.mark.parametrize("head", [True, False])
def test_trellis(rows, layout, states, head):
    rng = np.random.default_rng(rows)
    bits, widths = TRELLIS_LAYOUTS[layout]
    plan = CodeLayout(np.array(bits, np.uint8), np.array(widths, np.uint8), head_bits=HEAD_BITS * head)
    levels = rng.normal(size=plan.starts[-1]).astype(np.float32)
    own = np.split(levels.astype(np.float64), plan.starts[1:-1])
    places = plan.paths, plan.heads, plan.rests, plan.uppers
    arguments = (plan.bits, plan.firsts, plan.starts, levels, places)
    z = rng.normal(size=(rows, plan.coefficients)).astype(np.float32)
    codes = np.full((rows, plan.code_bytes), 0xAA, np.uint8)
    entries.encode_trellis(z, *arguments, subsets(states), codes)
    out = np.full((plan.coefficients, rows), np.nan, np.float32)
    entries.decode_trellis(codes, *arguments, *map(np.array, taps(states)), states.bit_length() - 1, out)
    expected = [
        reference.trellis_decode(code.tobytes(), bits, widths, own, PARITY[states], head=head) for code in codes
    ]
    np.testing.assert_array_equal(out.T, np.array(expected).reshape(out.T.shape))
    found = ((z - out.T.astype(np.float64)) ** 2).sum(axis=1)
    some = range(0, rows, 8)
    nearest = [reference.trellis_distance(z[n].astype(float), bits, widths, own, PARITY[states]) for n in some]
    np.testing.assert_allclose(found[::8], nearest, rtol=1e-5)


def test_trellis_reads_any_bytes():
    bits, widths = TRELLIS_LAYOUTS["three groups"]
    plan = CodeLayout(np.array(bits, np.uint8), np.array(widths, np.uint8))
    levels = RNG.normal(size=plan.starts[-1]).astype(np.float32)
    codes = RNG.integers(0, 256, (70, plan.code_bytes), np.uint8)
    out = np.empty((plan.coefficients, 70), np.float32)
    own = np.split(levels, plan.starts[1:-1])
    places = plan.paths, plan.heads, plan.rests, plan.uppers
    arguments = (plan.bits, plan.firsts, plan.starts, levels, places)
    entries.decode_trellis(codes, *arguments, *map(np.array, taps(32)), 5, out)
    expected = [reference.trellis_decode(code.tobytes(), bits, widths, own, PARITY[32]) for code in codes]
    np.testing.assert_array_equal(out.T, expected)


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="this is the run without the compiler")
def test_kernels_are_plain_python_too():
    """Compiled code reads past an array in silence; interpreted, the same lines raise."""
    # Numbers of 64 bits wrap around in numpy with a warning.
    wrapping = "ignore:overflow encountered:RuntimeWarning"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "-W", wrapping, __file__],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
