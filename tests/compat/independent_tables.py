"""Tables that rows share, as docs/format.md, section 6 (Codecs), has them, called by `independent_reader`."""

from __future__ import annotations

import math
import re
import struct
import unicodedata

import numpy as np
import xxhash

M32, M64 = 2**32 - 1, 2**64 - 1
BASES = ("hash", "floret", "hashembed", "qr", "anchor")
TABLES = ("hash", "floret", "fasttext", "hashembed", "qr")


def decode(step, codes, model, numbers, keys):
    """Return what the codes of rows of these numbers and keys (None without) stand for.

    `codes` is None for keys that the store does not hold.
    """
    name, how = step["name"], step["configuration"]
    if name == "anchor":
        entries = np.frombuffer(codes.tobytes(), [("number", "<u2"), ("weight", "<f2")]).reshape(-1, how["taken"])
        assert (entries["number"] < how["anchors"]).all()
        weights = entries["weight"].astype(np.float32)[:, :, None]
        z = np.zeros((len(entries), model("anchors").shape[1]), np.float32)
        for place in range(how["taken"]):
            z += weights[:, place] * model("anchors")[entries["number"][:, place]]
        return z
    if name == "qr":
        return of_digits(how, codes, model, numbers)
    table, (by_key,) = model("table"), model("by_key")
    assert len(table) == how["entries"] and by_key in (0, 1)
    own = None if name != "fasttext" or codes is None else codes.view("<f4")
    mean = name in ("floret", "fasttext") or how.get("combine") == "mean"
    z = np.zeros((len(keys or numbers), table.shape[1]), np.float32)
    for row, key in enumerate(keys if keys and by_key else numbers):
        entries = [table[h % len(table)] for h in hashes(name, how, key)]
        entries = entries if own is None else [own[row], *entries]
        for entry in entries:
            z[row] += entry
        if mean and entries:
            z[row] *= np.float32(1 / len(entries))
    return z


def knows_numbers(step):
    """Return whether rows share tables, by their numbers or keys."""
    return step["name"] in TABLES or (
        step["name"] == "residual" and parsed(step["configuration"]["base"])["name"] in TABLES
    )


def has_vectors_for_unknown_keys(step, model):
    if step["name"] == "residual":
        return has_vectors_for_unknown_keys(parsed(step["configuration"]["base"]), lambda name: model(f"base.{name}"))
    return step["name"] in TABLES and step["name"] != "qr" and model("by_key")[0] == 1


def of_digits(how, codes, model, numbers):
    sizes, own = model("sizes").tolist(), [int(size) for size in how["sizes"].split("x")]
    tables = [model(f"table{j}") for j in range(len(sizes))]
    assert [len(table) for table in tables] == sizes and sizes[-len(own) :] == own
    if how["order"] == "learned":
        numbers = [int.from_bytes(code.tobytes(), "little") for code in codes]
    assert all(0 <= r < math.prod(sizes) for r in numbers)
    entries = [
        table[[digit(how, sizes, j, r) for r in numbers]].reshape(-1, table.shape[1]) for j, table in enumerate(tables)
    ]
    if how["operation"] == "concat":
        return np.concatenate(entries, axis=1)
    return (np.sum if how["operation"] == "add" else np.prod)(entries, axis=0)


def digit(how, sizes, j, r):
    if how["scheme"] == "crt":
        return r % sizes[j]
    if how["compat"] == "dlrm" and j == 0:
        return min(int(np.float32(r) / np.float32(sizes[1])), sizes[0] - 1)
    return r // math.prod(sizes[j + 1 :]) % sizes[j]


def code_bytes(step, model):
    """Return how many bytes the code of a base has."""
    how = step["configuration"]
    if step["name"] == "anchor":
        return 4 * how["taken"]
    if step["name"] == "qr" and how["order"] == "learned":
        return max(-(-(math.prod(model("sizes").tolist()) - 1).bit_length() // 8), 1)
    return 0


def parsed(text):
    """Return the step that `base` or `fine` of a residual names."""
    name, *values = text.split(":")
    if name in ("pq", "opq", "vaq", "subspace"):
        m, _, bits = values[0].partition("x")
        how = {"m": int(m), "bits": int(bits or (4 if name == "subspace" else 8))}
    elif name == "lvq":
        bits, _, rest = values[0].partition("x")
        how = {"bits": int(bits), "residual_bits": int(rest or 0)}
    elif name == "bin":
        how = {"threshold": values[0] if values else "auto"}
    elif name == "hash":
        how = {"entries": int(values[0]), "hashes": int(values[1]) if values[1:] else 2}
        how |= {"combine": "mean" if "mean" in values[2:] else "sum"}
        how |= {"features": "".join(value for value in values[2:] if value not in ("mean", "weighted")) or "word"}
    elif name == "qr":
        how = {"sizes": values[0], "operation": ({"mult", "concat"} & set(values) or {"add"}).pop()}
        how |= {"scheme": "crt" if "crt" in values else "radix", "compat": "dlrm" if "dlrm" in values else ""}
        how |= {"order": "learned" if "learned" in values else "row"}
    else:
        members = {
            "sq": {"bits": None},
            "tcq": {"size_bytes": None, "states": 64},
            "lloyd": {"bits": None},
            "rabitq": {"bits": None},
            "rq": {"m": None},
            "lsq": {"m": None},
            "uniform": {"size_bytes": None},
            "floret": {"entries": None, "least": 4, "most": 5, "hashes": 2, "seed": 2166136261},
            "hashembed": {"entries": None, "seed": 0},
            "anchor": {"anchors": None, "taken": 4},
        }.get(name, {})
        how = members | dict(zip(members, map(int, values), strict=False))
    return {"name": name, "configuration": how}


def hashes(name, how, key):
    """Return the hashes, before the modulus, by which a key picks its entries, in order."""
    grams = [re.fullmatch(r"ngrams(\d+)-(\d+)", feature) for feature in how.get("features", "").split("&")]
    lengths = sum(int(found[2]) - int(found[1]) + 1 for found in grams if found)
    lengths += how["most"] - how["least"] + 1 if "most" in how else 0
    assert isinstance(key, int) or max(lengths, 0) * len(as_bytes(key)) <= 2**18
    if name == "hash":
        return [
            xxhash.xxh64_intdigest(as_bytes(text), 16 * f + i)
            for f, feature in enumerate(how["features"].split("&"))
            for text in texts(feature, key)
            for i in range(how["hashes"])
        ]
    if name == "hashembed":
        number = as_bytes(key) if isinstance(key, int) else struct.pack("<Q", murmur64a(as_bytes(key), 1))
        return pieces(number, how["seed"])
    word = str(key).encode() if isinstance(key, int) else as_bytes(key)
    if name == "fasttext":
        return [] if word == b"</s>" else [fnv1a(text) for text in subwords(b"<%b>" % word, how)]
    word = b"<%b>" % word
    return [h for text in [word, *subwords(word, how)] for h in pieces(text, how["seed"])[: how["hashes"]]]


def as_bytes(text):
    return struct.pack("<q", text) if isinstance(text, int) else text.encode() if isinstance(text, str) else text


def texts(feature, key):
    if feature == "word":
        return [key]
    assert isinstance(key, str)
    if feature == "shape":
        kinds = "".join(map(shape_of, key))
        return ["".join(run[0][:4] for run in re.finditer(r"(.)\1*", kinds, re.DOTALL))]
    kind, first, last = re.fullmatch(r"(prefix|suffix|ngrams)(\d+)(?:-(\d+))?", feature).groups()
    if kind == "prefix":
        return [key[: int(first)]]
    if kind == "suffix":
        return [key[-int(first) :]]
    marked = f"<{key}>"
    return [marked[i : i + n] for n in range(int(first), int(last) + 1) for i in range(len(marked) - n + 1)]


def shape_of(character):
    category = unicodedata.category(character)
    if category[0] == "L":
        return "X" if category == "Lu" else "x"
    return "d" if unicodedata.digit(character, None) is not None else character


def subwords(word, how):
    """Return the n-grams of `floret` and `fasttext`."""
    starts = [at for at, byte in enumerate(word) if byte >> 6 != 0b10]
    edges, count = [*starts, len(word)], len(starts)
    return [
        word[edges[i] : edges[i + n]]
        for i in range(count)
        for n in range(max(how["least"], 1), how["most"] + 1)
        if i + n <= count and not (n == 1 and i in (0, count - 1))
    ]


def fnv1a(data):
    h = 2166136261
    for byte in data:
        h = (h ^ (byte - 256 if byte > 127 else byte) & M32) * 16777619 & M32
    return h


def pieces(data, seed):
    return [half >> shift & M32 for half in murmur3(data, seed) for shift in (0, 32)]


def murmur64a(data, seed):
    """MurmurHash64A of Austin Appleby."""
    m, h = 0xC6A4A7935BD1E995, seed ^ len(data) * 0xC6A4A7935BD1E995 & M64
    tail = len(data) % 8
    for (k,) in struct.iter_unpack("<Q", data[: len(data) - tail]):
        k = k * m & M64
        h = (h ^ (k ^ k >> 47) * m & M64) * m & M64
    if tail:
        h = (h ^ int.from_bytes(data[-tail:], "little")) * m & M64
    h = (h ^ h >> 47) * m & M64
    return h ^ h >> 47


def murmur3(data, seed):
    """MurmurHash3_x64_128 of Austin Appleby."""
    c1, c2 = 0x87C37B91114253D5, 0x4CF5AD432745937F
    rotated = lambda x, by: (x << by | x >> 64 - by) & M64  # noqa: E731
    first = lambda k: rotated(k * c1 & M64, 31) * c2 & M64  # noqa: E731
    second = lambda k: rotated(k * c2 & M64, 33) * c1 & M64  # noqa: E731
    a = b = seed
    tail = len(data) % 16
    for k1, k2 in struct.iter_unpack("<QQ", data[: len(data) - tail]):
        a = (rotated(a ^ first(k1), 27) + b) * 5 + 0x52DCE729 & M64
        b = (rotated(b ^ second(k2), 31) + a) * 5 + 0x38495AB5 & M64
    k1, k2 = struct.unpack("<QQ", data[len(data) - tail :].ljust(16, b"\0"))
    a, b = a ^ first(k1) ^ len(data), b ^ second(k2) ^ len(data)
    a = a + b & M64
    b = a + b & M64
    a, b = mixed(a), mixed(b)
    a = a + b & M64
    return a, a + b & M64


def mixed(k):
    k = (k ^ k >> 33) * 0xFF51AFD7ED558CCD & M64
    k = (k ^ k >> 33) * 0xC4CEB9FE1A85EC53 & M64
    return k ^ k >> 33
