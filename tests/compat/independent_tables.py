"""Tables that rows share, read from docs/format.md alone: its section of that name, row after row."""

from __future__ import annotations

import functools
import operator
import re
import struct

import numpy as np
import xxhash

M64 = 2**64 - 1
NAMES = ("hash", "floret", "fasttext", "hashembed", "qr", "anchor", "residual")


def decoded(step, codes, model, rows, keys, dequantize):
    """Return the vectors of rows: their codes (None where the store does not hold the keys), numbers, and keys or None.

    `dequantize(step, codes, model)` decodes a fine quantizer.
    """
    name, how = step["name"], step["configuration"]
    if name == "residual":
        base = decoded_base(parsed(how["base"]), codes, within(model, "base"), rows, keys)
        z, used = base
        if codes is None:
            return z
        return z + dequantize(parsed(how["fine"]), np.ascontiguousarray(codes[:, used:]), within(model, "fine"))
    return decoded_base(step, codes, model, rows, keys)[0]


def within(model, part):
    return lambda name: model(f"{part}.{name}")


def decoded_base(step, codes, model, rows, keys):
    """Return vectors, and how many bytes of the codes they took."""
    name, how = step["name"], step["configuration"]
    if name == "anchor":
        return anchored(how, codes, model), 4 * how["taken"]
    if name == "qr":
        return digits_decoded(how, codes, model, rows)
    table, by_key = model("table"), model("by_key")
    assert table.shape[0] == how["entries"] and by_key.tolist() in ([0], [1])
    named = keys if by_key[0] and keys is not None else rows
    picks = {"hash": hash_picks, "floret": floret_picks, "fasttext": fasttext_picks, "hashembed": hashembed_picks}[name]
    lists = [picks(how, key) for key in named]
    mean = name in ("floret", "fasttext") or how.get("combine") == "mean"
    own = name == "fasttext" and codes is not None
    z = np.zeros((len(lists), table.shape[1]), np.float32)
    if own:
        z = np.frombuffer(codes[:, : 4 * table.shape[1]].tobytes(), "<f4").reshape(z.shape).copy()
    for row, entries in enumerate(lists):
        for entry in entries:
            z[row] += table[entry % how["entries"]]
        if mean:
            z[row] *= np.float32(1 / max(len(entries) + own, 1))
    return z, 4 * table.shape[1] if name == "fasttext" else 0


def raw(key):
    return key.encode() if isinstance(key, str) else key if isinstance(key, bytes) else struct.pack("<q", key)


def hash_picks(how, key):
    found = []
    for number, feature in enumerate(how["features"].split("&")):
        assert feature == "word" or isinstance(key, str)
        for text in [raw(key)] if feature == "word" else [text.encode() for text in texts(feature, key)]:
            found += [xxhash.xxh64_intdigest(text, 16 * number + h) for h in range(how["hashes"])]
    return found


def texts(feature, key):
    kind, numbers = re.fullmatch(r"([a-z]+)([\d-]*)", feature).groups()
    numbers = [int(number) for number in numbers.split("-") if number]
    if kind == "prefix":
        return [key[: numbers[0]]]
    if kind == "suffix":
        return [key[-numbers[0] :]]
    if kind == "shape":
        letters = [("X" if c.isupper() else "x") if c.isalpha() else "d" if c.isdigit() else c for c in key]
        kept = [c for i, c in enumerate(letters) if i < 4 or letters[i - 4 : i] != [c] * 4]
        return ["".join(kept)]
    assert kind == "ngrams"
    marked = f"<{key}>"
    sizes = range(numbers[0], numbers[1] + 1)
    return [marked[at : at + size] for size in sizes for at in range(len(marked) - size + 1)]


def marked(key):
    return b"<" + (b"%d" % key if isinstance(key, int) else raw(key)) + b">"


def word_ngrams(word, least, most):
    """Return the n-grams of `floret` and `fasttext`, from each character on."""
    starts = [at for at, byte in enumerate(word) if not 0x80 <= byte < 0xC0] + [len(word)]
    count, found = len(starts) - 1, []
    for first in range(count):
        for size in range(max(least, 1), most + 1):
            if first + size <= count and not (size == 1 and first in (0, count - 1)):
                found.append(word[starts[first] : starts[first + size]])
    return found


def floret_picks(how, key):
    word = marked(key)
    grams = [word, *word_ngrams(word, how["least"], how["most"])]
    return [piece for gram in grams for piece in murmur3_pieces(gram, how["seed"])[: how["hashes"]]]


def fasttext_picks(how, key):
    if raw(key) == b"</s>":
        return []
    return [fnv1a(gram) for gram in word_ngrams(marked(key), how["least"], how["most"])]


def hashembed_picks(how, key):
    number = raw(key) if isinstance(key, int) else struct.pack("<Q", murmur64a(raw(key), 1))
    return murmur3_pieces(number, how["seed"])


def fnv1a(data):
    h = 2166136261
    for byte in data:
        h = (h ^ (byte if byte < 128 else byte + 0xFFFFFF00)) * 16777619 % 2**32
    return h


def murmur64a(data, seed):
    m = 0xC6A4A7935BD1E995
    h = seed ^ len(data) * m & M64
    whole = len(data) - len(data) % 8
    for (k,) in struct.iter_unpack("<Q", data[:whole]):
        k = k * m & M64
        k = (k ^ k >> 47) * m & M64
        h = (h ^ k) * m & M64
    if data[whole:]:
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & M64
    h = (h ^ h >> 47) * m & M64
    return h ^ h >> 47


def murmur3_pieces(data, seed):
    """Return the four pieces of MurmurHash3_x64_128."""
    c1, c2 = 0x87C37B91114253D5, 0x4CF5AD432745937F
    rotate = lambda x, by: (x << by | x >> (64 - by)) & M64  # noqa: E731
    first = lambda k: rotate(k * c1 & M64, 31) * c2 & M64  # noqa: E731
    second = lambda k: rotate(k * c2 & M64, 33) * c1 & M64  # noqa: E731
    a = b = seed
    whole = len(data) - len(data) % 16
    for k1, k2 in struct.iter_unpack("<QQ", data[:whole]):
        a = ((rotate(a ^ first(k1), 27) + b) * 5 + 0x52DCE729) & M64
        b = ((rotate(b ^ second(k2), 31) + a) * 5 + 0x38495AB5) & M64
    rest = data[whole:].ljust(16, b"\0")
    a ^= first(int.from_bytes(rest[:8], "little")) ^ len(data)
    b ^= second(int.from_bytes(rest[8:], "little")) ^ len(data)
    a = (a + b) & M64
    b = (a + b) & M64
    a, b = mixed(a), mixed(b)
    a = (a + b) & M64
    b = (a + b) & M64
    return [a & 0xFFFFFFFF, a >> 32, b & 0xFFFFFFFF, b >> 32]


def mixed(k):
    k = (k ^ k >> 33) * 0xFF51AFD7ED558CCD & M64
    k = (k ^ k >> 33) * 0xC4CEB9FE1A85EC53 & M64
    return k ^ k >> 33


def digits_decoded(how, codes, model, rows):
    sizes = model("sizes").tolist()
    number = int(np.prod(sizes, dtype=object))
    size_bytes = max((number - 1).bit_length() + 7, 8) // 8 if how["order"] == "learned" else 0
    if size_bytes:
        rows = [int.from_bytes(code[:size_bytes].tobytes(), "little") for code in codes]
    tables = [model(f"table{j}") for j in range(len(sizes))]
    assert [len(table) for table in tables] == sizes and all(row < number for row in rows)
    vectors = []
    for row in rows:
        entries = [table[digit] for table, digit in zip(tables, digits(how, sizes, row), strict=True)]
        if how["operation"] == "concat":
            vectors.append(np.concatenate(entries))
        else:
            vectors.append(functools.reduce({"add": operator.add, "mult": operator.mul}[how["operation"]], entries))
    return np.array(vectors), size_bytes


def digits(how, sizes, row):
    if how["scheme"] == "crt":
        return [row % size for size in sizes]
    found, left = [], row
    for size in reversed(sizes):
        found.insert(0, left % size)
        left //= size
    if how["compat"] == "dlrm":
        found[0] = min(int(np.float32(row) / np.float32(sizes[1])), sizes[0] - 1)
    return found


def anchored(how, codes, model):
    anchors, z = model("anchors"), 0
    assert len(anchors) == how["anchors"]
    for at in range(0, 4 * how["taken"], 4):
        numbers = np.frombuffer(codes[:, at : at + 2].tobytes(), "<u2")
        weights = np.frombuffer(codes[:, at + 2 : at + 4].tobytes(), "<f2").astype(np.float32)
        assert (numbers < len(anchors)).all()
        z = z + weights[:, None] * anchors[numbers]
    return z


def parsed(text):
    """Return the step that a string of `residual` specifies."""
    name, *values = text.split(":")
    if name == "hash":
        how = {"entries": int(values[0]), "hashes": int(values[1]), "features": "word", "combine": "sum"}
        for value in values[2:]:
            how.update({"mean": {"combine": "mean"}, "weighted": {}}.get(value, {"features": value}))
    elif name == "qr":
        how = {"operation": "add", "scheme": "radix", "order": "row", "compat": "", "sizes": values[0]}
        members = {"mult": "operation", "concat": "operation", "crt": "scheme", "learned": "order", "dlrm": "compat"}
        how.update({members[value]: value for value in values[1:]})
    elif name in ("pq", "opq", "vaq", "subspace", "lvq"):
        first, second = ("bits", "residual_bits") if name == "lvq" else ("m", "bits")
        number, *more = values[0].split("x")
        how = {first: int(number), second: int(more[0]) if more else 0 if name == "lvq" else 8}
    elif name == "bin":
        how = {"threshold": values[0] if values else "auto"}
    else:
        members = {
            **{"floret": ("entries", "least", "most", "hashes", "seed"), "hashembed": ("entries", "seed")},
            **{"anchor": ("anchors", "taken"), "tcq": ("size_bytes", "states"), "uniform": ("size_bytes",)},
            **{"sq": ("bits",), "lloyd": ("bits",), "rabitq": ("bits",), "rq": ("m",), "lsq": ("m",)},
        }
        how = dict(zip(members.get(name, ()), map(int, values), strict=False))
        if name == "tcq":
            how.setdefault("states", 64)
    return {"name": name, "configuration": how}
