"""What the trellis codec promises beyond the contract."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from reference import trellis_bits, trellis_subset
from samples import glove

from vecstore.codecs.axes import rounded
from vecstore.codecs.codec import codec
from vecstore.codecs.evaluation import neighbours, overlap
from vecstore.codecs.products import FEW_ROWS
from vecstore.codecs.transforms.normalize import unit
from vecstore.codecs.transforms.pca import principal_axes
from vecstore.codecs.trellis.layout import HEAD_BITS, PARITY, CodeLayout, subsets, taps
from vecstore.codecs.trellis.tcq import TCQ
from vecstore.codecs.trellis.training import EXPONENTS, best_exponent, train
from vecstore.codecs.trellis.waterfilling import DISTORTION, allocate_bits, expected_distortion
from vecstore.errors import CodecError


@pytest.fixture(scope="module")
def words():
    return unit(np.random.default_rng(0).permutation(glove()[0]))


@pytest.fixture(scope="module")
def trained(words):
    return TCQ(12).fit(words[:2000], seed=0)


def error_of(spec, sample, x):
    fitted = codec(spec).fit(sample)
    return float(((fitted.decode(fitted.encode(x)) - x) ** 2).sum())


@pytest.mark.parametrize(("text", "parsed"), [("tcq:48", TCQ(48)), ("tcq:48:64", TCQ(48, 64)), ("tcq:9:8", TCQ(9, 8))])
def test_specification(text, parsed):
    assert codec(text).layers[0].quantizer == parsed
    assert codec(str(parsed)).layers[0].quantizer == parsed


@pytest.mark.parametrize(
    ("spec", "message"),
    [("tcq", "needs size_bytes"), ("tcq:8:12", "states=12; choose 4, 8, 16"), ("tcq:0", "size_bytes=0; choose 1 to d")],
)
def test_specifications_that_are_refused(spec, message):
    with pytest.raises(CodecError, match=message):
        codec(spec)


def test_more_bytes_than_dimensions_are_refused(words):
    with pytest.raises(CodecError, match="size_bytes=51 of 50 dimensions; choose 1 to 50"):
        codec("tcq:51").fit(words[:100])


@pytest.mark.parametrize("d", [1, 2, 7, 8, 9, 31])
def test_every_size_up_to_the_dimensions(d):
    x = np.random.default_rng(d).normal(size=(400, d)).astype(np.float32) / np.arange(1, d + 1, dtype=np.float32)
    errors = [error_of(f"tcq:{size}:8", x[:300], x[300:]) for size in range(1, d + 1)]
    assert errors[0] < (x[300:] ** 2).sum()
    # Near a byte a dimension, outliers that 300 rows do not show are what is left.
    assert all(more < 1.1 * fewer + 1e-3 * errors[0] for fewer, more in pairwise(errors))


@pytest.mark.parametrize("d", [1, 5, 8, 20, 100])
@pytest.mark.parametrize("slope", [0.0, 0.05, 1.0])
def test_bits_are_given_out_to_the_last(d, slope):
    weights = np.exp(-slope * np.arange(d))
    losses = []
    for size in range(1, d + 1):
        bits, widths = allocate_bits(weights, size)
        layout = CodeLayout(bits, widths)
        assert layout.gapless and layout.code_bytes == size and layout.coefficients <= d
        assert bits.min() >= 1 and bits.max() <= 8 and set(widths.tolist()) <= {1, 2} and (np.diff(widths) >= 0).all()
        singles = DISTORTION[bits[widths == 1]] @ weights[: (widths == 1).sum()]
        losses.append(singles + weights[(widths == 1).sum() :].sum())
    assert all(np.diff(losses) <= 1e-12) or 2 in widths or d >= 16


def test_bits_follow_the_variance():
    bits, widths = allocate_bits(4.0 ** -np.arange(32), 4)
    assert (np.diff(bits.astype(int)) <= 0).all() and bits[0] >= 6
    bits, widths = allocate_bits(np.ones(64), 4)
    assert (bits == 1).all() and (widths == 2).all()  # of equals, more at half a bit beat fewer at one
    bits, widths = allocate_bits(np.zeros(64), 4)
    assert bits.sum() == 32


@pytest.mark.parametrize("states", PARITY)
def test_branches_that_meet_or_part_lead_to_levels_far_apart(states):
    """Ungerboeck's rules: both ways out of a state, and both into one, are subsets 0 and 2 or 1 and 3."""
    own = subsets(states)
    assert np.bincount(own).tolist() == [states // 2] * 4
    windows = np.arange(states)
    assert (own[windows] ^ own[windows + states] == 2).all()
    assert (own[2 * windows] ^ own[2 * windows + 1] == 2).all()


BITS, WIDTHS = np.array([2] * 8 + [5, 3], np.uint8), np.ones(10, np.uint8)


def fitted_to(layout, states, levels=None):
    """Return a quantizer with these levels, or some that are their own numbers."""
    if levels is None:
        levels = np.concatenate([np.arange(2 << bits) for bits in layout.bits.repeat(layout.widths).tolist()])
    head = {"head_bits": np.uint8([layout.head_bits])} if layout.head_bits else {}
    return TCQ(layout.code_bytes, states).restore(
        layout.coefficients,
        {
            "bits": layout.bits,
            "widths": layout.widths,
            **head,
            "mean": np.zeros(layout.coefficients, "<f4"),
            "axes": np.eye(layout.coefficients, dtype="<f4"),
            "levels": levels.astype("<f4"),
        },
    )


@pytest.mark.parametrize(
    ("head_bits", "code"),
    [(HEAD_BITS, [0b00000101, 0b11_01_10_10, 0b10000000]), (0, [0b00000011, 0b00000101, 0b10_1001_10])],
)
def test_a_layout_to_the_bit(head_bits, code):
    """The example of the documentation: eight steps of 2 bits, then two of 5 and 3; 4 states, h0 = 1 + D^2, h1 = D."""
    layout = CodeLayout(BITS, WIDTHS, head_bits=head_bits)
    path, subs = layout.bit_places
    places = [row[row < 24].tolist() for row in subs]
    if head_bits:
        assert path.tolist() == list(range(14, 24))
        assert places == [*([i] for i in range(8)), [12, 13, 8, 9], [10, 11]]
    else:
        assert path.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 16, 17]
        assert places == [*([8 + i] for i in range(8)), [18, 19, 20, 21], [22, 23]]
    fitted = fitted_to(layout, 4)
    # Path 1, 1, 0 ...: subsets 2 z1 + z0 with z1 = u[i] ^ u[i - 2] and z0 = u[i - 1] are 2, 3, 3, 2, 0, ...
    code = np.uint8([code])
    # Step 8 has path bit 0 and sub-index 9, step 9 path bit 1 and sub-index 2.
    expected = [4 + 2, 3, 4 + 3, 2, 0, 0, 0, 0, 4 * 9, 4 * 2 + 2]
    np.testing.assert_array_equal(fitted.decode(code)[0], expected)
    np.testing.assert_array_equal(fitted.decode(np.repeat(code, 99, axis=0)), [expected] * 99)
    np.testing.assert_array_equal(fitted.encode(np.float32([expected])), code)


def test_few_rows_are_decoded_as_many(trained, words):
    codes = trained.encode(words[2000:3000])
    together = trained.coefficients(codes)
    for rows in (1, 3, FEW_ROWS - 1, FEW_ROWS):
        np.testing.assert_array_equal(trained.coefficients(codes[:rows]), together[:rows])
        np.testing.assert_allclose(trained.decode(codes[:rows]), trained.decode(codes)[:rows], atol=1e-6)


def test_threads_do_not_matter(trained, words, monkeypatch):
    one = trained.encode(words)
    vectors = trained.decode(one)
    monkeypatch.setenv("VECSTORE_THREADS", "3")
    np.testing.assert_array_equal(trained.encode(words), one)
    np.testing.assert_allclose(trained.decode(one), vectors, atol=1e-6)


def test_coefficients_are_an_orthonormal_map_away_from_vectors(trained, words):
    codes = trained.encode(words[:200])
    z = trained.coefficients(codes)
    np.testing.assert_allclose(trained.axes @ trained.axes.T, np.eye(len(trained.axes)), atol=1e-5)
    np.testing.assert_allclose(trained.decode(codes), z @ trained.axes + trained.mean, atol=1e-6)


def test_first_bytes_are_a_coarser_code(trained, words):
    x = words[2000:2500]
    codes = trained.encode(x)
    errors = []
    for size in range(1, 13):
        coarse = trained.first_bytes(size)
        assert coarse.code_bytes == size
        errors.append(((coarse.decode(codes[:, :size]) - x) ** 2).sum())
        np.testing.assert_array_equal(coarse.encode(x[:50]), codes[:50, :size])
        few = coarse.decode(codes[:5, :size])
        np.testing.assert_allclose(few, coarse.decode(codes[:, :size])[:5], atol=1e-6)
    assert (np.diff(errors) <= 1e-6 * errors[0]).all() and errors[-1] < 0.5 * errors[3] < 0.5 * errors[0]


def test_first_bytes_tell_means(trained, words):
    """Each coefficient is the mean of all levels that the bits at hand leave open."""
    codes = trained.encode(words[2000:2200])
    layout = trained.layout
    for size in (2, 5, 8, 10, 11):
        coarse = trained.first_bytes(size)
        z = coarse.coefficients(codes[:, :size])
        for row, code in enumerate(codes[:20]):
            path, subs = trellis_bits(code.tobytes(), layout.bits.tolist(), head=True)
            for j, step in enumerate(np.repeat(np.arange(len(coarse.layout.bits)), coarse.layout.widths)):
                known, lower = coarse.layout.known_bits[step], layout.bits[step] - 1 - coarse.layout.known_bits[step]
                numbers = np.arange(2 << layout.bits[step])
                open_ = numbers[numbers >> 2 >> lower == subs[step] >> lower] if known else numbers
                if coarse.layout.known_paths[step]:
                    open_ = open_[open_ % 4 == trellis_subset(path, step, PARITY[trained.states])]
                own = trained.levels[layout.starts[j] : layout.starts[j + 1]]
                np.testing.assert_allclose(z[row, j], own[open_].mean(dtype=np.float64), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("d", "size", "fall"), [(64, 8, 0.3), (192, 24, 0.4)])
def test_path_bits_tell_of_steps_of_one_bit(d, size, fall):
    """They lie last, and every one of them counts: also where no step has more."""
    x = np.random.default_rng(0).normal(size=(3000, d)).astype(np.float32) * np.arange(1, d + 1) ** -np.float32(fall)
    fitted = TCQ(size).fit(x[:2000], seed=0)
    codes, layout = fitted.encode(x[2000:]), fitted.layout
    assert (layout.bits == 1).any()
    first = int(layout.paths[np.flatnonzero(layout.bits == 1)[0]]) // 8 + 1
    errors = [
        ((fitted.first_bytes(cut).decode(codes[:, :cut]) - x[2000:]) ** 2).sum() for cut in range(first, size + 1)
    ]
    assert len(errors) > 2 and (np.diff(errors) < 0).all()


def test_groups_of_before_are_cut_where_they_end(words):
    bits = np.uint8([5] * 8 + [3] * 8)
    layout = CodeLayout(bits, np.ones(16, np.uint8), head_bits=0)
    fitted = fitted_to(layout, 64)
    codes = np.random.default_rng(0).integers(0, 256, (99, 8), np.uint8)
    for size in (5, 6, 7):
        assert fitted.first_bytes(size).code_bytes == 5
    np.testing.assert_array_equal(fitted.first_bytes(5).coefficients(codes[:, :5]), fitted.coefficients(codes)[:, :8])
    with pytest.raises(CodecError, match="choose 5 to 8"):
        fitted.first_bytes(4)


def test_more_states_lower_the_error(words):
    errors = [error_of(f"tcq:8:{states}", words[:2000], words[2000:]) for states in (4, 16, 64, 256)]
    assert (np.diff(errors) < 0).all()


def test_the_exponent_is_one_of_those_tried_and_none_for_few_rows(words):
    components = principal_axes(words, 50)
    assert best_exponent(words, components, 8, seed=0) in EXPONENTS
    assert best_exponent(words[:300], components, 8, seed=0) == 0


def test_an_expected_distortion_is_about_the_one_that_comes(trained, words):
    x = words[2000:]
    z = trained.project(x)
    missed = z - trained.coefficients(trained.encode(x)) / trained.stretch
    shares = (missed**2).sum(axis=0) / (z**2).sum(axis=0)
    np.testing.assert_allclose(shares.mean(), expected_distortion(trained.layout).mean(), rtol=0.15)


def test_decoded_coefficients_are_as_long_as_before(trained, words):
    x = words[2000:]
    z = trained.project(x)
    decoded = trained.coefficients(trained.encode(x))
    np.testing.assert_allclose((decoded**2).mean(), (z**2).mean(), rtol=0.05)
    assert trained.stretch.min() >= 1 and trained.stretch[-1] > trained.stretch[0]


def test_stretch_does_not_change_what_is_encoded(trained, words):
    arrays, stretch = dict(trained.arrays), trained.stretch
    del arrays["stretch"], arrays["scale"]
    arrays["levels"] = trained.levels / stretch.repeat(np.diff(trained.layout.starts))
    plain = TCQ(12).restore(50, arrays)  # as files were before there was a stretch
    codes = trained.encode(words[:500])
    np.testing.assert_array_equal(plain.encode(words[:500]), codes)
    np.testing.assert_allclose(plain.coefficients(codes) * stretch, trained.coefficients(codes), rtol=1e-5)


def test_stretching_keeps_more_neighbours(docs):
    fitted = TCQ(16).fit(docs[:1000], seed=0)
    queries, x = docs[1000:1300], docs[1300:]
    z = fitted.coefficients(fitted.encode(x))
    wanted = neighbours(queries, x, 10)
    stretched, means = (
        overlap(neighbours(queries, (y @ fitted.axes + fitted.mean).astype(np.float32), 10), wanted)
        for y in (z, z / fitted.stretch)
    )
    assert stretched > means


@pytest.mark.parametrize("value", [np.nan, np.inf, 0, 0.5, -1])
def test_a_stretch_that_is_none_is_refused(trained, value):
    stretch = trained.arrays["stretch"].copy()
    stretch[2] = value
    with pytest.raises(CodecError, match="stretch"):
        TCQ(12).restore(50, {**trained.arrays, "stretch": stretch})


def test_an_exponent_spends_on_the_strong_coefficients():
    x = (np.random.default_rng(0).normal(size=(900, 64)) / np.arange(1, 65)).astype(np.float32)
    flat, steep = (train(x, 8, 8, exponent, seed=0).layout for exponent in (0.0, 0.4))
    assert steep.coefficients < flat.coefficients


def test_unequal_lengths(words):
    x = (
        words
        * np.geomspace(0.04, 12, len(words), dtype=np.float32)[np.random.default_rng(1).permutation(len(words))][
            :, None
        ]
    )
    assert error_of("tcq:12", x[:2000], x[2000:]) < 0.15 * ((x[2000:] - x.mean(axis=0)) ** 2).sum()


@pytest.mark.parametrize("value", [0, 1, 3, 255])
def test_a_head_of_other_bits_is_refused(trained, value):
    with pytest.raises(CodecError, match="damaged"):
        TCQ(12).restore(50, {**trained.arrays, "head_bits": np.uint8([value])})


@pytest.mark.parametrize("name", ["bits", "widths"])
@pytest.mark.parametrize("value", [0, 9, 255])
def test_a_damaged_layout_is_refused(trained, name, value):
    arrays = dict(trained.arrays)
    arrays[name] = arrays[name].copy()
    arrays[name][3] = value
    with pytest.raises(CodecError, match="damaged"):
        TCQ(12).restore(50, arrays)


def test_groups_that_do_not_fill_bytes_are_refused(trained):
    bits = trained.layout.bits.copy()
    bits[0] -= 1
    bits[8] += 1  # as many bits in all
    with pytest.raises(CodecError, match="damaged"):
        TCQ(12).restore(50, {**trained.arrays, "bits": bits})


@pytest.mark.parametrize("name", ["bits", "widths", "mean", "axes", "levels", "stretch"])
def test_malformed_arrays_are_refused(trained, name):
    array = trained.arrays[name]
    shapes = [array[:0], array[:-1], array[None], array.reshape(-1)[0], np.concatenate([array, array])]
    for damaged in [*shapes, array.astype("<f8"), array.astype("<i2")]:
        with pytest.raises(CodecError):
            TCQ(12).restore(50, {**trained.arrays, name: damaged})
    if name != "stretch":
        with pytest.raises(CodecError, match="lacks"):
            TCQ(12).restore(50, {other: value for other, value in trained.arrays.items() if other != name})


@pytest.mark.parametrize("name", ["mean", "scale", "levels"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(trained, name, value):
    array = trained.arrays[name].copy()
    array.flat[-1] = value
    with pytest.raises(CodecError, match="not finite"):
        TCQ(12).restore(50, {**trained.arrays, name: array})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_axes_of_format_1_1_are_read_and_refused_if_not_finite(trained, value):
    older = {name: array for name, array in trained.arrays.items() if name != "axis_bits"}
    axes = trained.axes.astype("<f4")
    np.testing.assert_array_equal(TCQ(12).restore(50, {**older, "axes": axes}).axes, trained.axes)
    axes = axes.copy()
    axes[-1, -1] = value
    with pytest.raises(CodecError, match="not finite"):
        _ = TCQ(12).restore(50, {**older, "axes": axes}).axes


def test_axes_of_a_byte_a_number_are_read(trained):
    """As files had them before they were packed."""
    older = {name: array for name, array in trained.arrays.items() if name != "axis_bits"}
    whole = rounded(trained.axes)
    np.testing.assert_allclose(TCQ(12).restore(50, {**older, "axes": whole}).axes, trained.axes, atol=0.01)
    whole = whole.copy()
    whole[3] = 0
    with pytest.raises(CodecError, match="not finite"):
        _ = TCQ(12).restore(50, {**older, "axes": whole}).axes


@pytest.mark.parametrize("rows", [3, 200])
@pytest.mark.parametrize("head_bits", [HEAD_BITS, 0])
def test_any_bytes_are_a_code_of_any_layout(rows, head_bits):
    """Decoding stays inside the tables, and finds in them what the layout says; encoding gives the bytes back."""
    rng = np.random.default_rng(0)
    for states in PARITY:
        bits = rng.integers(1, 9, 21).astype(np.uint8)
        for start in range(0, 21, 8):  # fill up bytes
            while bits[start : start + 8].sum() % 8:
                bits[start + rng.integers(len(bits[start : start + 8]))] = rng.integers(1, 9)
        widths = rng.integers(1, 3, 21).astype(np.uint8)
        layout = CodeLayout(bits, widths, head_bits=head_bits)
        d, fitted = layout.coefficients, fitted_to(layout, states, rng.permutation(int(layout.starts[-1])))
        codes = rng.integers(0, 256, (rows, layout.code_bytes)).astype(np.uint8)
        codes[0], codes[-1] = 0, 255
        z = fitted.decode(codes)
        for j in range(d):
            assert np.isin(z[:, j], fitted.levels[layout.starts[j] : layout.starts[j + 1]]).all()
        np.testing.assert_array_equal(fitted.encode(z), codes)


def test_the_page_of_the_format_tells_the_trellis():
    page = (Path(__file__).parents[3] / "docs" / "format.md").read_text(encoding="utf-8")
    table = page.partition("| S | b for z1 | b for z0 |")[2].partition("\n\n")[0]
    rows = [
        [[int(number) for number in cell.split(",")] for cell in row[2:-2].split("|")] for row in table.split("\n")[2:]
    ]
    assert {states: (tuple(high), tuple(low)) for [states], high, low in rows} == {s: taps(s) for s in PARITY}


def test_arrays_that_do_not_fit_the_layout_are_refused(trained):
    with pytest.raises(CodecError, match="codes of 11 bytes"):
        TCQ(11).restore(50, trained.arrays)
    with pytest.raises(CodecError, match="'levels' is"):
        TCQ(12).restore(50, {**trained.arrays, "levels": trained.levels[:-1]})
    with pytest.raises(CodecError, match="lacks"):
        TCQ(12).restore(50, {"bits": trained.layout.bits})
    with pytest.raises(CodecError):
        TCQ(12).restore(10, trained.arrays)
