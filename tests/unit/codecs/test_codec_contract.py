"""One contract that every codec passes.

A new codec needs only its line in `EXAMPLES`, and one in `MIXING` if it has no `prefix`.
"""

from __future__ import annotations

import copy
import json
from functools import cache
from inspect import signature

import numpy as np
import pytest
from samples import glove

from vecstore.codecs.base import ByteStep, Step
from vecstore.codecs.codec import Codec, CodecSpec, codec
from vecstore.codecs.registry import codec_names
from vecstore.codecs.tables.table import TrainedTable
from vecstore.errors import CodecError, ShapeError, VecstoreError

# Step -> specifications that show it, each with the largest squared error it may have on GloVe words, as a share of
# their variance. {half} and {m} stand for half of the dimensions and an eighth.
EXAMPLES = {
    "normalize": {"normalize,f32": 1e-12},
    "center": {"center,f32": 1e-12, "center,sq:8": 1.5e-4},
    "pca": {"pca:{half},f32": 0.26, "pca:{half},sq:8": 0.26},
    "whiten": {"whiten:{half},f16": 0.26},
    "truncate": {"truncate:{half},f32": 1.3},
    "rotate": {"rotate,f32": 1e-12, "rotate,sq:4": 0.013},
    "f32": {"f32": 0},
    "f16": {"f16": 7e-8},
    "bf16": {"bf16": 5e-6},
    "sq": {"sq:8": 1.5e-4, "sq:6": 1.2e-3, "sq:4": 0.013},
    "pq": {"pq:{m}": 0.33, "pq:{m}x4": 0.6},
    "opq": {"opq:{m}": 0.27, "opq:{m}x4": 0.5},
    "tcq": {"tcq:{m}": 0.27, "tcq:{half}:8": 0.005, "tcq:{half}:256": 0.0047},
    "vaq": {"vaq:{m}": 0.27, "vaq:{m}x4": 0.5},
    "lloyd": {"rotate,lloyd:4": 0.016, "rotate,lloyd:3": 0.06, "center,rotate,lloyd:2": 0.14, "rotate,lloyd:8": 1e-4},
    "lvq": {"lvq:8": 4e-5, "lvq:4": 0.01, "lvq:4x8": 2e-7, "lvq:3x2": 0.006},
    "rabitq": {"rabitq:1": 0.4, "rabitq:3": 0.05, "rabitq:6": 6e-4},
    "rq": {"rq:{m}": 0.27},
    "lsq": {"lsq:{m}": 0.27},
    "bin": {"bin": 0.4, "bin:zero": 0.44, "bin:mean": 0.4, "bin:median": 0.4},
    "uniform": {"pca:{half},uniform:{half}": 0.26, "uniform:{m}": 0.5, "uniform:{half}": 0.007},
    "rans": {"pca:{half},uniform:{m},rans:{half}": 0.35},
    "hash": {"hash:500": 0.76, "hash:500:1:sum": 0.76, "hash:500:3:mean": 0.76},
    "qr": {"qr:4": 0.76, "qr:4:mult": 0.76, "qr:45x46:crt": 0.96, "qr:13x13x13": 0.99},
    "floret": {"floret:500:1:2:2:7": 0.79},
    "fasttext": {"fasttext:500:1:2": 1e-12},
    "hashembed": {"hashembed:500:7": 0.76},
    "subspace": {"subspace:{half}x8": 0.009},
    "anchor": {"anchor:200:4": 0.45},
    "residual": {"hash:500:2/pq:{m}": 0.3, "anchor:100:2/pq:{m}": 0.3},
    "zstd": {"f32,zstd": 0, "bf16,zstd:9:bit": 5e-6, "sq:8,zstd:1:none": 1.5e-4},
    "pco": {"f32,pco": 0, "f16,pco:3": 1e-7},
    "archive": {"f32,archive": 0, "sq:8,archive": 1.5e-4},
}
COMBINED = {"bin/sq:8": 1.5e-4, "normalize,center,rotate,pca:{half},pq:{m}/f16": 7e-8}
BOUNDS = {spec: bound for specs in [*EXAMPLES.values(), COMBINED] for spec, bound in specs.items()}
# Rows share tables fitted to them all, or have numbers learned of them all: no row is unseen.
SHARED = ("hash", "qr", "floret", "fasttext", "hashembed", "subspace")
MIXING = (
    "pca",
    "whiten",
    "rotate",
    "pq",
    "opq",
    "tcq",
    "vaq",
    "lloyd",
    "lvq",
    "rabitq",
    "rq",
    "lsq",
    "sq:6",
    "anchor",
    *SHARED,
)  # no prefix of such a code stands alone
WIDTHS = [1, 7, 50, 100, 384]

every_spec = pytest.mark.parametrize("spec", BOUNDS)
pytestmark = pytest.mark.filterwarnings("ignore::vecstore.codecs.transforms.truncate.TruncationWarning")


def filled_in(spec: str, d: int) -> CodecSpec:
    return codec(spec.format(half=max(d // 2, 1), m=max(d // 8, 1)))


def noise(rows: int, d: int) -> np.ndarray:
    return np.random.default_rng(d).normal(size=(rows, d)).astype(np.float32)


@cache
def unit_words() -> np.ndarray:
    x = np.random.default_rng(0).permutation(glove()[0])
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@cache
def trained(spec: str) -> Codec:
    return filled_in(spec, 50).fit(unit_words()[:2000], seed=1)


def error_of(fitted: Codec, x: np.ndarray) -> float:
    return float(((fitted.decode(fitted.encode(x)) - x) ** 2).sum() / ((x - x.mean(axis=0)) ** 2).sum())


def copied(fitted: Codec) -> Codec:
    """Return the codec as a file would give it back: from JSON and from read-only arrays."""
    spec = CodecSpec.from_dict(json.loads(json.dumps(fitted.spec.to_dict())))
    arrays = {name: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape) for name, a in fitted.arrays.items()}
    return Codec.restore(spec, fitted.dimensions, arrays)


def test_every_registered_codec_has_examples():
    assert set(codec_names()) == set(EXAMPLES)
    for name, specs in EXAMPLES.items():
        for spec in specs:
            assert name in {step.name for layer in filled_in(spec, 50).layers for step in layer.steps}


@pytest.mark.parametrize("name", codec_names())
def test_a_step_describes_itself(name):
    step = type(next(s for s in filled_in(next(iter(EXAMPLES[name])), 50).layers[0].steps if s.name == name))
    assert step.summary and step.usage.startswith(name) and step.__doc__ and not step.__doc__.startswith(step.__name__)


@every_spec
def test_spec_travels_as_text_as_repr_and_as_json(spec):
    parsed = filled_in(spec, 50)
    assert codec(str(parsed)) == parsed == eval(repr(parsed), {"codec": codec})
    assert CodecSpec.from_dict(json.loads(json.dumps(parsed.to_dict()))) == parsed
    assert hash(copy.deepcopy(parsed)) == hash(parsed)
    for step in (step for layer in parsed.layers for step in layer.steps):
        assert isinstance(step, Step) and eval(repr(step), {type(step).__name__: type(step)}) == step


@every_spec
def test_error_of_rows_that_training_did_not_see(spec):
    shared = trained(spec).shared
    assert shared == (spec.partition(":")[0] in SHARED)
    error = error_of(trained(spec), unit_words()[:2000] if shared else unit_words()[2000:])
    assert error <= BOUNDS[spec]
    assert error >= BOUNDS[spec] / 3 or error < 1e-12, "the bound is too loose to notice a loss"


@every_spec
def test_codes_and_vectors_are_what_they_are_said_to_be(spec):
    fitted, x = trained(spec), unit_words()[:33]
    codes = fitted.encode(x)
    vectors = fitted.decode(codes)
    assert (codes.shape, codes.dtype) == ((33, fitted.code_bytes), np.uint8)
    assert (vectors.shape, vectors.dtype) == ((33, 50), np.float32)
    assert vectors.flags.writeable and not np.shares_memory(vectors, codes)
    assert fitted.code_bytes == sum(layer.code_bytes for layer in fitted.layers)
    assert fitted.model_bytes == sum(array.nbytes for array in fitted.arrays.values())
    for layer in fitted.layers:
        assert layer.quantizer.tile_rows >= 1 and layer.code_bytes % layer.quantizer.item_bytes == 0


@every_spec
def test_encode_takes_vectors_and_decode_takes_codes(spec):
    for layer in trained(spec).layers:
        assert list(signature(layer.quantizer.encode).parameters) == ["z"]
        assert list(signature(layer.quantizer.decode).parameters) == ["codes"]
        assert isinstance(layer.quantizer, TrainedTable) or not (layer.shared or layer.by_key)


@every_spec
def test_input_is_left_alone(spec):
    x = unit_words()[:33].copy()
    x.flags.writeable = False
    fitted = trained(spec)
    codes = fitted.encode(x)
    codes.flags.writeable = False
    np.testing.assert_array_equal(fitted.decode(codes), fitted.decode(codes.copy()))


@every_spec
def test_restored_from_its_arrays(spec):
    fitted, x = trained(spec), unit_words()[2000:2600]
    restored = copied(fitted)
    codes = fitted.encode(x)
    np.testing.assert_array_equal(restored.encode(x), codes)
    np.testing.assert_array_equal(restored.decode(codes), fitted.decode(codes))


@every_spec
def test_arrays_have_little_endian_types(spec):
    for name, array in trained(spec).arrays.items():
        assert array.dtype.str[0] in "<|" and array.dtype.kind in "fiu" and array.flags.c_contiguous, name
        assert np.isfinite(array).all(), name


@every_spec
def test_training_is_deterministic(spec):
    parsed, x = filled_in(spec, 50), unit_words()[:600]
    first, again = parsed.fit(x, seed=3).arrays, parsed.fit(x.copy(), seed=3).arrays
    assert first.keys() == again.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])


@every_spec
def test_a_row_alone_is_coded_as_in_a_batch(spec):
    fitted, x = trained(spec), unit_words()[2000:2600]
    together = fitted.decode(fitted.encode(x, np.arange(len(x))))
    rows = np.arange(len(x))[:, None]  # table codecs know a row by its number
    alone = np.concatenate([fitted.decode(fitted.encode(x[at], at), at) for at in rows])
    # A matrix product may round its last bit otherwise for one row, which moves a value that lies on an edge.
    assert np.isclose(alone, together, rtol=1e-3, atol=1e-5).mean() > 0.999


@every_spec
def test_no_rows(spec):
    fitted = trained(spec)
    codes = fitted.encode(np.empty((0, 50)))
    assert codes.shape == (0, fitted.code_bytes) and fitted.decode(codes).shape == (0, 50)


@pytest.mark.parametrize(
    ("d", "spec"),
    [
        # 48 stages of lsq solve 12,288 equations, several times.
        pytest.param(d, spec, marks=[pytest.mark.slow] if (d, spec) == (384, "lsq:{m}") else [])
        for d in WIDTHS
        for spec in [*BOUNDS, *["lsq:12"] * (d == 384)]
    ],
)
def test_any_width(d, spec):
    x = noise(200, d)
    fitted = filled_in(spec, d).fit(x, seed=0)
    decoded = copied(fitted).decode(fitted.encode(x))
    assert decoded.shape == x.shape and np.isfinite(decoded).all()
    if d > 1 and not {"normalize", "truncate", *SHARED} & {step.name for step in fitted.spec.layers[-1].steps}:
        assert ((decoded - x) ** 2).sum() < 0.9 * (x**2).sum()


@every_spec
@pytest.mark.parametrize("squares", ["none", "equal", "any"])
def test_tables_sum_to_what_decoding_gives(spec, squares):
    rng = np.random.default_rng(5)
    for layer in trained(spec).layers:
        k = layer.quantizer.dimensions
        linear = rng.normal(size=(3, k)).astype(np.float32)
        quadratic = {"none": None, "equal": np.full(k, 0.7, np.float32), "any": rng.random(k).astype(np.float32)}[
            squares
        ]
        tables = layer.quantizer.tables(linear, quadratic)
        if tables is None:
            continue
        small = tables.shape[2] == 16
        assert tables.shape == ((3, 2 * layer.code_bytes, 16) if small else (3, layer.code_bytes, 256))
        assert tables.dtype == np.float32 and layer.quantizer.tile_rows == 32
        codes = layer.encode(unit_words()[:100])
        z = layer.quantizer.decode(codes).astype(np.float64)
        expected = linear @ z.T + (0 if quadratic is None else z**2 @ quadratic)
        if small:
            codes = np.stack([codes & 15, codes >> 4], axis=2).reshape(100, -1)
        found = tables[:, np.arange(codes.shape[1]), codes].sum(axis=2)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@every_spec
def test_codes_that_are_numbers(spec):
    for layer in trained(spec).layers:
        numbers = layer.quantizer.numbers
        if numbers is None or numbers.dtype == "u6":  # see tests/unit/test_scan_kernels.py
            continue
        assert layer.quantizer.tile_rows == 1 and layer.quantizer.tables(np.zeros((1, numbers.scale.size))) is None
        codes = layer.encode(unit_words()[:100])
        plain = {"u1": "|u1", "f2": "<f2", "bf2": "<u2", "f4": "<f4"}[numbers.dtype]
        values = codes.view(plain)
        values = (values.astype("<u4") << 16).view("<f4") if numbers.dtype == "bf2" else values
        found = numbers.offset + numbers.scale * values.astype(np.float32)
        np.testing.assert_allclose(found, layer.quantizer.decode(codes), rtol=1e-6, atol=1e-6)


@every_spec
def test_affine_map_is_what_decoding_does(spec):
    for layer in trained(spec).layers:
        codes = layer.encode(unit_words()[:100])
        z = layer.quantizer.decode(codes)
        affine = layer.affine
        np.testing.assert_allclose(z @ affine.linear + affine.offset, layer.decode(codes), rtol=1e-4, atol=1e-5)
        gram = affine.gram if affine.gram.ndim == 2 else np.diag(affine.gram)
        np.testing.assert_allclose(gram, affine.linear @ affine.linear.T, rtol=1e-4, atol=1e-4 * np.abs(gram).max())


@every_spec
@pytest.mark.parametrize("width", [1, 7, 33, 50])
def test_prefix_reads_what_truncating_decoded_vectors_gives(spec, width):
    fitted, x = trained(spec), unit_words()[:100]
    names = {str(step) for layer in fitted.spec.layers for step in layer.steps}
    if any(name.startswith(MIXING) for name in names):
        with pytest.raises(CodecError, match="mixes dimensions"):
            fitted.prefix(width)
        return
    shorter = fitted.prefix(width)
    for layer, short in zip(fitted.layers, shorter.layers, strict=True):
        codes = layer.encode(x)
        np.testing.assert_allclose(
            short.decode(codes[:, : short.code_bytes].copy()), layer.decode(codes)[:, :width], rtol=1e-6, atol=1e-7
        )


@every_spec
def test_prefix_out_of_range(spec):
    for width in (0, -1, 51):
        with pytest.raises(CodecError, match="choose 1 to 50"):
            trained(spec).prefix(width)


@every_spec
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.full((2, 50), np.nan), "row 0 holds NaN"),
        (np.where(np.eye(50) == 1, np.inf, 0), "row 0 holds NaN"),
        (np.full((1, 50), 1e39), "beyond float32"),
        (np.zeros((2, 49)), "50 dimensions here, found 49"),
        (np.zeros(50), "an \\(n, d\\) array"),
        (np.zeros((2, 50), "U1"), "numbers"),
        ([[0.0] * 50, [0.0]], "same length"),
    ],
    ids=["nan", "inf", "beyond", "width", "vector", "text", "ragged"],
)
def test_what_is_no_vector_is_refused(spec, bad, message):
    with pytest.raises(ShapeError, match=message):
        trained(spec).encode(bad)


@every_spec
def test_what_is_no_code_is_refused(spec):
    fitted = trained(spec)
    for bad in (
        np.zeros((2, fitted.code_bytes + 1), np.uint8),
        np.zeros(fitted.code_bytes, np.uint8),
        np.zeros((2, 2)),
    ):
        with pytest.raises(ShapeError, match="codes of"):
            fitted.decode(bad)


@every_spec
def test_training_refuses_what_is_no_sample(spec):
    for bad in (np.empty((0, 50)), np.full((9, 50), np.nan), np.zeros(50), np.zeros((3, 0))):
        with pytest.raises(ShapeError):
            filled_in(spec, 50).fit(bad)


@every_spec
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_tiny_samples(spec, rows):
    x = unit_words()[:rows]
    fitted = filled_in(spec, 50).fit(x)
    assert np.isfinite(fitted.decode(fitted.encode(x))).all()
    if not fitted.shared:
        assert np.isfinite(fitted.decode(fitted.encode(unit_words()[rows:100]))).all()


@every_spec
def test_constant_columns(spec):
    x = unit_words()[:300].copy()
    x[:, ::3], x[:, 1] = 0.25, 0
    fitted = filled_in(spec, 50).fit(x)
    decoded = fitted.decode(fitted.encode(x))
    assert np.isfinite(decoded).all()
    if not any(name in spec for name in ("truncate", "normalize")):
        np.testing.assert_allclose(decoded[:, ::3].mean(), 0.25, atol=0.01)


@every_spec
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_sample_of_one_vector_repeated(spec, value):
    x = np.full((300, 50), value, np.float32)
    fitted = filled_in(spec, 50).fit(x)
    decoded = fitted.decode(fitted.encode(x))
    assert np.isfinite(decoded).all()
    if value == 0:
        np.testing.assert_allclose(decoded, 0, atol=1e-6)


@every_spec
@pytest.mark.parametrize("scale", [1e-30, 1e30], ids=["tiny", "huge"])
def test_values_near_the_ends_of_float32(spec, scale):
    """Such a sample gives codes as good as any other, or an error; never NaN or a vector lost in silence."""
    x = (unit_words()[:600].astype(np.float64) * scale).astype(np.float32)
    try:
        fitted = filled_in(spec, 50).fit(x)
        decoded = fitted.decode(fitted.encode(x))
    except VecstoreError:
        assert scale > 1
        return
    assert np.isfinite(decoded).all()
    if scale > 1:
        expected = trained(spec)
        likeness = np.einsum("ij,ij->i", decoded / np.float64(scale), unit_words()[:600])
        assert np.abs(likeness).min() > 0, f"all is lost, where {expected} keeps something"


@every_spec
def test_outliers_after_training(spec):
    """A value far beyond the sample is clipped, kept or refused."""
    x = unit_words()[:3].copy()
    x[1] *= 1e30
    try:
        decoded = trained(spec).decode(trained(spec).encode(x))
    except ShapeError:
        return
    assert np.isfinite(decoded).all()


@pytest.mark.parametrize("spec", [spec for spec in BOUNDS if filled_in(spec, 50).layers[-1].byte_steps])
@pytest.mark.parametrize("size", [0, 1, 3, 4096, 4099])
@pytest.mark.parametrize("item_bytes", [1, 2, 4])
def test_byte_steps_lose_nothing(spec, size, item_bytes):
    step = filled_in(spec, 50).layers[0].byte_steps[0]
    assert isinstance(step, ByteStep)
    block = np.random.default_rng(size).integers(0, 9, size, np.uint8).tobytes()
    if step.name == "pco" and item_bytes == 1:
        with pytest.raises(CodecError, match="take zstd or rans"):
            step.pack(block, item_bytes)
        return
    packed = step.pack(block, item_bytes)
    assert step.unpack(packed, size, item_bytes) == block
    if size:
        with pytest.raises(CodecError, match="damaged"):
            step.unpack(packed[:-1], size, item_bytes)
