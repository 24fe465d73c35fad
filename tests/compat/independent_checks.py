"""What docs/format.md says that a reader must refuse, called by `independent_reader`: by failed assertions."""

from __future__ import annotations

import json
import math
import re
import struct
from itertools import pairwise

import independent_tables as tables

MOST = 2**63 - 1
DTYPES = ("|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8")
TRANSFORMS = ("normalize", "center", "pca", "whiten", "truncate", "rotate")
BYTE_STEPS = ("zstd", "pco", "archive", "rans")


def whole(value, least=0, most=MOST):
    """Return a number of JSON as section 3 has them."""
    assert type(value) is int and least <= value <= most
    return value


def document(body):
    """Return the object that JSON is, by the rules of section 3."""

    def distinct(pairs):
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    def constant(name):
        raise AssertionError(name)

    def real(text):
        numbers.append(float(text))
        return numbers[-1]

    numbers = []
    found = json.loads(body.decode("utf-8"), object_pairs_hook=distinct, parse_constant=constant, parse_float=real)
    assert isinstance(found, dict) and all(map(math.isfinite, numbers))
    json.dumps(found, ensure_ascii=False).encode()  # no halves of surrogate pairs
    return found


def pages(data):
    """Return where values lie, by section 2: {name: (place, size)}."""
    assert len(data) >= 1024
    (p,) = struct.unpack_from("<I", data, 40)
    assert p in [2**i for i in range(9, 17)] and len(data) >= 2 * p
    metas = []
    for page in (0, 1):
        number, kind, magic, version = struct.unpack_from("<Q2xH4xII", data, page * p)
        size, flags, depth, entries, root, last, transaction = struct.unpack_from(
            "<I44x4xHH24xQQQQ", data, page * p + 40
        )
        assert (number, kind, magic, version, size, flags) == (page, 8, 0xBEEFC0DE, 1, p, 0) and depth <= 16
        assert root == 2**64 - 1 or (2 <= root <= last and depth >= 1)
        metas.append((transaction, -page, depth, entries, root, last))
    *_, depth, entries, root, last = max(metas)
    assert (last + 1) * p <= len(data)
    found, visited = {}, set()

    def visit(page, depth):
        assert 2 <= page <= last and page not in visited
        visited.add(page)
        at = page * p
        number, kind, lower, upper = struct.unpack_from("<Q2xHHH", data, at)
        assert number == page and kind == (2 if depth == 1 else 1) and 16 <= lower <= upper <= p and lower % 2 == 0
        for i in range((lower - 16) // 2):
            (pointer,) = struct.unpack_from("<H", data, at + 16 + 2 * i)
            assert upper <= pointer <= p - 8
            low, high, more, length = struct.unpack_from("<HHHH", data, at + pointer)
            if depth > 1:
                visit(low | high << 16 | more << 32, depth - 1)
                continue
            assert more == 1 and pointer + 8 + length + 8 <= p
            name, size = data[at + pointer + 8 : at + pointer + 8 + length], low | high << 16
            (first,) = struct.unpack_from("<Q", data, at + pointer + 8 + length)
            assert name not in found and first >= 2 and first * p + 16 + size <= (last + 1) * p
            found[name] = (first * p + 16, size)

    if root != 2**64 - 1:
        visit(root, depth)
    assert len(found) == entries
    ends = sorted((at, at + size) for at, size in found.values())
    assert all(end <= after for (_, end), (after, _) in pairwise(ends))
    return found


def part(about, sizes):
    """Check one of `parts`, of which the values have these sizes (section 4)."""
    assert about["dtype"] in DTYPES and isinstance(about["shape"], list) and len(about["shape"]) <= 8
    shape = [whole(length, most=2**48) for length in about["shape"]]
    assert math.prod(max(length, 1) for length in shape) <= 2**48
    block_rows, tile = whole(about["block_rows"], 1, 2**48), whole(about["tile_rows"], 1)
    assert block_rows % tile == 0 and (tile <= 64 or tile % 64 == 0)
    if about.get("encoding") is None:
        rows, width = (shape or [1])[0], int(about["dtype"][2]) * math.prod(shape[1:])
        assert len(sizes) == (-(-rows // block_rows) if width else 0)
        for i, size in enumerate(sizes):
            held, unit = min(block_rows, rows - i * block_rows), min(tile, 64)
            assert size >= -(-held // unit) * unit * width


def shard(about):
    """Check the members of a shard's description (section 5)."""
    whole(about["rows"], most=2**32)
    whole(about["dimensions"], 1, 2**20)
    assert isinstance(about["metric"], str) and isinstance(about["norms"], bool)
    assert set(about["features"]) <= {"cells", "model", "order"}
    assert ("order" in about["features"]) == (about.get("order") is True)
    assert ("cells" in about["features"]) == isinstance(about.get("cells"), dict)
    if "cells" in about:
        whole(about["cells"]["configuration"]["count"], 1, 65536)
    whole(about.get("first_row", 0), most=2**63 - 2**32 - 1)
    if about.get("lengths") is not None:
        least, largest = about["lengths"]
        assert {type(least), type(largest)} <= {int, float} and 0 <= least <= largest < 2.0**128
    assert type(about.get("residuals", False)) is bool
    assert not about.get("residuals") or len(about["codec"]) == 2
    if set(about["features"]) & {"cells", "order"}:
        assert not any(tables.knows_numbers(step) for steps in about["codec"] for step in steps)
    codec(about["codec"], about["dimensions"], single=len(about["codec"]) == 1)


def codec(layers, dimensions, *, single):
    """Check layers, their steps and the ranges of configurations (section 6)."""
    assert isinstance(layers, list) and 1 <= len(layers) <= 2
    for number, steps in enumerate(layers):
        kinds = "".join(kind_of(step["name"]) for step in steps)
        assert re.fullmatch("t*qb*" if single or number else "t*q", kinds)
        d = dimensions
        for step in steps:
            how = step["configuration"]
            assert set(how) <= set(MEMBERS[step["name"]])
            RANGES[step["name"]](how, d)
            d = how.get("dimensions", d) if step["name"] in TRANSFORMS else d


def kind_of(name):
    assert name in MEMBERS
    return "t" if name in TRANSFORMS else "b" if name in BYTE_STEPS else "q"


def both(least, most, *names):
    return lambda how, d: [whole(how[name], least, d if most is None else most) for name in names]


def one_of(name, *allowed):
    return lambda how, d: require(type(how[name]) is not bool and how[name] in allowed)


def require(condition):
    assert condition


def every(*checks):
    return lambda how, d: [check(how, d) for check in checks]


def anchors(how, d):
    whole(how["taken"], 1, min(64, whole(how["anchors"], 1, 65536)))


def digits(how, d):
    sizes = [int(size) for size in how["sizes"].split("x")]
    assert all(1 <= size < 2**31 for size in sizes)
    assert how["scheme"] == "radix" or (len(sizes) > 1 and math.lcm(*sizes) == math.prod(sizes))
    assert not how["compat"] or (how["scheme"] == "radix" and len(sizes) <= 2)


def residual(how, d):
    base, fine = tables.parsed(how["base"]), tables.parsed(how["fine"])
    assert base["name"] in tables.BASES and fine["name"] not in ("residual", *tables.TABLES)
    for step in (base, fine):
        RANGES[step["name"]](DEFAULTS.get(step["name"], {}) | step["configuration"], d)


NONE = every()
GROUPS = every(both(1, None, "m"), one_of("bits", 4, 8))
ENTRIES = both(1, 2**31 - 1, "entries")
SEED = both(0, 2**32 - 1, "seed")
NGRAMS = both(0, 64, "least", "most")
DEFAULTS = {"hash": {"weights": "equal"}}
MEMBERS = {
    **dict.fromkeys(("normalize", "center", "rotate", "f32", "f16", "bf16", "archive"), ()),
    **dict.fromkeys(("pca", "whiten", "truncate"), ("dimensions",)),
    **dict.fromkeys(("pq", "opq", "vaq", "subspace"), ("m", "bits")),
    **dict.fromkeys(("sq", "lloyd", "rabitq"), ("bits",)),
    "lvq": ("bits", "residual_bits"),
    "rq": ("m",),
    "lsq": ("m",),
    "uniform": ("size_bytes",),
    "bin": ("threshold",),
    "tcq": ("size_bytes", "states"),
    "anchor": ("anchors", "taken"),
    "hash": ("entries", "hashes", "features", "combine", "weights"),
    "floret": ("entries", "least", "most", "hashes", "seed"),
    "fasttext": ("entries", "least", "most"),
    "hashembed": ("entries", "seed"),
    "qr": ("sizes", "operation", "scheme", "order", "compat"),
    "residual": ("base", "fine"),
    "zstd": ("level", "shuffle"),
    "pco": ("level",),
    "rans": ("columns",),
}
RANGES = {
    **dict.fromkeys(("normalize", "center", "rotate", "f32", "f16", "bf16", "archive"), NONE),
    **dict.fromkeys(("pca", "whiten", "truncate"), both(1, None, "dimensions")),
    **dict.fromkeys(("pq", "opq", "vaq", "subspace"), GROUPS),
    **dict.fromkeys(("lloyd", "rabitq"), both(1, 8, "bits")),
    **dict.fromkeys(("rq", "lsq"), both(1, 64, "m")),
    "sq": one_of("bits", 4, 6, 8),
    "lvq": every(both(1, 8, "bits"), both(0, 8, "residual_bits")),
    "uniform": both(1, MOST, "size_bytes"),
    "bin": one_of("threshold", "auto", "zero", "mean", "median"),
    "tcq": every(both(1, None, "size_bytes"), one_of("states", 4, 8, 16, 32, 64, 128, 256)),
    "anchor": anchors,
    "hash": every(
        ENTRIES, both(1, 4, "hashes"), one_of("combine", "sum", "mean"), one_of("weights", "equal", "importance")
    ),
    "floret": every(ENTRIES, NGRAMS, both(1, 4, "hashes"), SEED, lambda how, d: require(how["least"] <= how["most"])),
    "fasttext": every(ENTRIES, NGRAMS),
    "hashembed": every(ENTRIES, SEED),
    "qr": every(digits, one_of("operation", "add", "mult", "concat"), one_of("order", "row", "learned")),
    "residual": residual,
    "zstd": every(both(1, 22, "level"), one_of("shuffle", "none", "byte", "bit")),
    "pco": both(1, 12, "level"),
    "rans": both(1, MOST, "columns"),
}


def arrays(name, how, d, model):
    """Check dtypes and shapes of a step's arrays, and return the bytes of a code of a quantizer."""

    def has(array, *shape, dtype="<f4"):
        found = model(array)
        assert found is not None and found.shape == shape and found.dtype == dtype
        return found

    def bits_bytes(bits):
        return -(-d * bits // 8)

    if name in ("center", "pca", "whiten"):
        has("mean", d)
    if name in ("pca", "whiten"):
        has("axes", how["dimensions"], d)
    if name == "whiten":
        has("scales", how["dimensions"])
    if name in ("rotate", "rabitq"):
        if model("signs") is None:
            has("matrix", d, d)
        else:
            has("signs", d, dtype="|i1")
    if name == "sq":
        has("lowest", d), has("steps", d)
        return {8: d, 6: -(-d // 2) + -(-d // 4), 4: -(-d // 2)}[how["bits"]]
    if name in ("pq", "opq", "subspace", "vaq"):
        m, k = how["m"], 2 ** how["bits"]
        if name == "vaq":
            widths = has("widths", m, dtype="<u4").tolist()
            assert min(widths) >= 1 and sum(widths) <= d
            has("centroids", sum(widths), k), has("mean", d)
        else:
            has("codebooks", m, k, -(-d // m))
        if name == "opq":
            has("rotation", d, d, dtype="<f4" if model("rotation").dtype == "<f4" else "|i1")
        return m if how["bits"] == 8 else -(-m // 2)
    if name == "lloyd":
        levels, uneven = has("levels", 2 ** how["bits"]), has("uneven", 1, dtype="|u1")[0]
        assert (levels[1:] > levels[:-1]).all() and 0 <= has("scale", 1)[0] < math.inf and uneven <= 1
        return bits_bytes(how["bits"]) + 2 * int(uneven)
    if name in ("lvq", "rabitq"):
        has("mean", d), has("scale", 1)
        return 4 + bits_bytes(how["bits"]) + bits_bytes(how.get("residual_bits", 0))
    if name in ("rq", "lsq"):
        has("codebooks", how["m"], 256, d)
        return how["m"]
    if name == "uniform":
        has("middle", d), has("step", 1)
        return d
    if name == "bin":
        has("thresholds", d), has("levels", 2, d)
        return -(-d // 8)
    if name == "tcq":
        has("mean", d)
        return how["size_bytes"]
    if name == "anchor":
        has("anchors", how["anchors"], d)
        return 4 * how["taken"]
    if name in ("hash", "floret", "fasttext", "hashembed"):
        has("table", how["entries"], d), has("by_key", 1, dtype="|u1")
        return 4 * d if name == "fasttext" else 0
    return {"f32": 4 * d, "f16": 2 * d, "bf16": 2 * d}.get(name)
