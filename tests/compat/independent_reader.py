"""A reader of format 1.3 written from docs/format.md alone: numpy, lmdb, xxhash and zstandard, nothing of vecstore.

It is meant to be read beside that page, and favours plainness over speed. It refuses what the page says: by a failed
assertion, or by whatever Python raises for a number that fits nothing.
"""

from __future__ import annotations

import bisect
import copy
import math
import re
import struct
from itertools import pairwise
from pathlib import Path

import independent_checks as checks
import independent_tables as tables
import numpy as np
import pcodec
import xxhash
import zstandard

CHUNK = 65536
M64 = 2**64 - 1


class Container:
    """Sections 2 to 4."""

    def __init__(self, path):
        assert Path(path).is_file()
        data = Path(path).read_bytes()
        self.values = {name: data[at : at + size] for name, (at, size) in checks.pages(data).items()}
        value = self.values[b"vecstore"]
        magic, major, _minor, length, fingerprint = struct.unpack_from("<8sHHIQ", value)
        assert magic == b"VECSTORE" and major == 1
        body = value[24 : 24 + length]
        assert len(body) == length and not any(value[24 + length :])
        assert xxhash.xxh3_64_intdigest(value[:16] + body) == fingerprint
        self.fingerprint = f"{fingerprint:016x}"
        self.description = checks.document(body)
        assert self.description["kind"] in ("shard", "key-map", "model", "tombstones")
        assert set(self.description["features"]) <= {"cells", "model", "order"}
        self.check()

    def check(self):
        about = self.description["checksums"]
        assert about["chunk_bytes"] == CHUNK
        sums = self.values[b"checksums"][: 8 * checks.whole(about["count"])]
        assert len(sums) == 8 * about["count"]
        assert not any(self.values[b"checksums"][8 * about["count"] :])
        assert f"{xxhash.xxh3_64_intdigest(sums):016x}" == about["xxh3"]
        found, at = np.frombuffer(sums, "<u8").tolist(), 0
        for name in sorted(self.description["parts"]):
            part = self.description["parts"][name]
            assert part["checksums_at"] == at
            values = [self.block(name, block) for block in range(checks.whole(part["blocks"], most=len(self.values)))]
            checks.part(part, list(map(len, values)))
            for value in values:
                for start in range(0, len(value), CHUNK):
                    assert xxhash.xxh3_64_intdigest(value[start : start + CHUNK]) == found[at]
                    at += 1
        assert at == len(found)

    def block(self, name, number):
        return self.values[f"{name}:{number:08x}".encode()]

    def array(self, name):
        """Section 4: a part without encoding, tiles undone."""
        part = self.description["parts"][name]
        assert "encoding" not in part
        dtype, shape, tile = np.dtype(part["dtype"]), part["shape"], part["tile_rows"]
        row_bytes = dtype.itemsize * int(np.prod(shape[1:]))
        rows = []
        for block in range(part["blocks"]):
            value = self.block(name, block)
            count = min(part["block_rows"], shape[0] - block * part["block_rows"])
            unit = min(tile, 64)
            held = -(-count // unit) * unit
            for row in range(count):
                if tile == 1:
                    rows.append(value[row * row_bytes : (row + 1) * row_bytes])
                else:
                    first = row // tile * tile
                    height = min(tile, held - first)
                    together = 8 if tile > 64 else 1
                    places = []
                    for j in range(row_bytes):
                        chunk = j // together * together
                        wide = min(together, row_bytes - chunk)
                        places.append(first * row_bytes + chunk * height + (row - first) * wide + j - chunk)
                    rows.append(bytes(value[place] for place in places))
        return np.frombuffer(b"".join(rows), dtype).reshape(shape)


TRANSFORMS = checks.TRANSFORMS


class Shard:
    """Sections 5 and 6."""

    def __init__(self, path):
        self.container = Container(path)
        about = self.about = self.container.description
        assert about["kind"] == "shard"
        checks.shard(about)
        self.keys = KeyIndex(self.container) if about["keys"] is not None else None
        self.holder = self.container  # of the arrays of the codec
        assert ("model" in about) == ("model" in about["features"])
        if "model" in about:
            assert re.fullmatch("[0-9a-f]{16}", about["model"])
            self.holder = Container(path.with_name(f"model-{about['model']}.vecs"))
            told = self.holder.description
            assert told["kind"] == "model" and told["features"] == [] and self.holder.fingerprint == about["model"]
            assert all(told.get(name) == about.get(name) for name in ("dimensions", "codec", "cells"))

    def vectors(self):
        """Return all vectors, from the finest layer."""
        x = [self.layer(number) for number in range(len(self.about["codec"]))][-1]
        if self.about["norms"]:
            lengths = np.linalg.norm(x, axis=1)
            x = x / np.where(lengths > 0, lengths, 1)[:, None] * self.plain("norms", "<f4", len(x))[:, None]
        if not self.about.get("order"):
            return x
        assert "order" in self.about["features"]
        row_of = self.plain("order.row_of", "<u4", len(x))
        assert sorted(row_of) == list(range(len(x)))
        numbered = np.empty_like(x)
        numbered[row_of] = x
        return numbered

    def centroids(self):
        """Return the centroid of each position's cell, or zero."""
        if "cells" not in self.about:
            return np.float32(0)
        assert "cells" in self.about["features"] and self.about["cells"]["name"] == "cells"
        sizes = self.plain("cells.sizes", "<u4", self.about["cells"]["configuration"]["count"])
        assert sizes.sum() == self.about["rows"]
        return np.repeat(self.centroids_of(len(sizes)), sizes, axis=0)

    def centroids_of(self, count):
        """Return the centroids of so many cells (section 5, Cells)."""
        model = lambda name: self.optional(f"model.cells.{name}")  # noqa: E731
        mean, scales, bits, packed = (model(name) for name in ("mean", "scales", "bits", "levels"))
        assert all(1 <= width <= 8 for width in bits.tolist())
        axes = axes_of(model, ready=np.float32)
        levels = np.zeros((count, len(bits)))
        at = 0
        for i, width in enumerate(bits.tolist()):
            for b in range(width):
                levels[:, i] += (packed[:, at // 8] >> at % 8 & 1).astype(int) << b
                at += 1
        centroids = ((levels - (2.0**bits - 1) / 2) * scales) @ axes + mean
        assert (np.abs(centroids) <= 1e16).all()
        return centroids.astype(np.float32)

    def static(self):
        """Return ``tokenizer.json``, and the vector of each token (section 5, Static models)."""
        about = self.about["static"]
        tokens = checks.whole(about["tokens"], 1, 2**31)
        packed = self.container.array("static.tokenizer").tobytes()
        assert checks.whole(about["tokenizer_bytes"], most=2**26) <= 1000 * len(packed)
        assert zstandard.frame_content_size(packed) == about["tokenizer_bytes"]
        rows = self.plain("static.rows", "<u4", tokens) if about["rows"] else np.arange(tokens)
        vectors = self.vectors()[rows]
        if about["weights"]:
            vectors = vectors * self.plain("static.weights", "<f4", tokens)[:, None]
        assert np.isfinite(vectors).all() and all(0 <= token < tokens for token in about["skip"])
        return zstandard.ZstdDecompressor().decompress(packed), vectors

    def plain(self, name, dtype, *shape):
        """Return a part that has no encoding, and this type and shape."""
        array = self.container.array(name)
        assert array.dtype == dtype and array.shape == shape and self.about["parts"][name]["tile_rows"] == 1
        return array

    def columns(self):
        """Return the columns of attributes: a list of values, None for null, by name."""
        found = {}
        assert len(self.about.get("columns", ())) <= 1024
        for number, column in enumerate(self.about.get("columns", ())):
            assert column["name"] and column["name"] not in found
            found[column["name"]] = self.column(column, f"columns.{number}.")
        return found

    def tokens(self):
        """Return the fields of several vectors a row (section 5, Fields): a list of (t, d) arrays by name."""
        found, names = {}, [field["name"] for field in self.about.get("fields", ())]
        assert len(names) <= 64 and len(set(names)) == len(names) and all(name.isprintable() and name for name in names)
        for number, field in enumerate(self.about.get("fields", ())):
            if field["kind"] == "multi":
                found[field["name"]] = Tokens(self, field, f"fields.{number}.").items()
        return found

    def dense(self):
        """Return the dense fields (section 5, Fields): what reads them, by name."""
        fields = enumerate(self.about.get("fields", ()))
        chosen = [(number, field) for number, field in fields if field["kind"] == "dense"]
        return {field["name"]: Vectors(self, field, f"fields.{number}.") for number, field in chosen}

    def sparse(self):
        """Return the sparse fields (section 5, Fields): a list of {term: weight} by name."""
        fields = enumerate(self.about.get("fields", ()))
        chosen = [(number, field) for number, field in fields if field["kind"] == "sparse"]
        return {field["name"]: self.terms(field, f"fields.{number}.") for number, field in chosen}

    def terms(self, field, prefix):
        n, bits, step = self.about["rows"], field["weight_bits"], np.float32(field["step"])
        assert bits in (0, 4, 8) and 0 < field["step"] < 1e30
        count = self.about["parts"][f"{prefix}groups"]["shape"][0]
        groups = self.plain(f"{prefix}groups", "<u4", count, 2).reshape(-1, 2).tolist()
        terms = self.plain(f"{prefix}terms", "<u4", sum(lists for _, lists in groups)).tolist()
        sizes = self.plain(f"{prefix}sizes", "<u4", len(terms)).tolist()
        assert sum(rows for rows, _ in groups) == n
        items, at = [], 0
        for number, (rows, lists) in enumerate(groups):
            assert 1 <= rows <= 65536 and terms[at : at + lists] == sorted(set(terms[at : at + lists]))
            block = bytes(self.container.block(f"{prefix}lists", number))
            found, start = [{} for _ in range(rows)], 0
            for term, size in zip(terms[at : at + lists], sizes[at : at + lists], strict=True):
                own = block[start : start + size // 2]
                assert len(own) == size // 2
                entries = cut_list(own, rows, bits) if size % 2 else whole_list(own, bits)
                before = -1
                for row, code in entries:
                    assert before < row < rows and code
                    found[row][term], before = float(np.float32(code) * step), row
                start += size // 2
            items, at = items + found, at + lists
        assert sum(map(len, items)) == field["entries"]
        return items

    def column(self, column, prefix):
        n, kind, nulls = self.about["rows"], column["type"], checks.whole(column["nulls"])
        if kind == "bool":
            values = self.bits(f"{prefix}values", n)
        elif kind == "timestamp":
            assert column["unit"] in ("s", "ms", "us", "ns")
            assert "zone" not in column or (len(column["zone"]) <= 64 and column["zone"].isprintable())
            values = self.buffer(f"{prefix}values", ("<i8",), n).tolist()
        elif kind == "string":
            values = self.strings(column, prefix, n)
        elif kind == "strings":
            lists = self.starts(f"{prefix}lists", n)
            flat = self.strings(column, prefix, lists[-1])
            values = [flat[lists[r] : lists[r + 1]] for r in range(n)]
        else:
            assert re.fullmatch("u?int(8|16|32|64)|float(16|32|64)", kind)
            values = self.buffer(f"{prefix}values", (np.dtype(kind).newbyteorder("<").str,), n).tolist()
        there = self.bits(f"{prefix}validity", n) if nulls else [True] * n
        assert there.count(False) == nulls
        return [value if known else None for value, known in zip(values, there, strict=True)]

    def strings(self, column, prefix, count):
        coded = column["dictionary"]
        assert isinstance(coded, bool)
        starts = self.starts(f"{prefix}starts", None if coded else count)
        text = self.buffer(f"{prefix}text", ("|u1",), starts[-1]).tobytes()
        entries = [text[start:end].decode() for start, end in pairwise(starts)]
        if not coded:
            return entries
        codes = self.buffer(f"{prefix}values", ("|i1", "<i2", "<i4"), count).tolist()
        assert all(0 <= code < len(entries) for code in codes)
        return [entries[code] for code in codes]

    def bits(self, name, count):
        packed = self.buffer(name, ("|u1",), -(-count // 8)).tolist()
        return [packed[r // 8] >> r % 8 & 1 == 1 for r in range(count)]

    def starts(self, name, count):
        found = self.buffer(name, ("<i4", "<i8"), None if count is None else count + 1).tolist()
        assert found[0] == 0 and found == sorted(found)
        return found

    def buffer(self, name, dtypes, count):
        array, part = self.container.array(name), self.about["parts"][name]
        assert array.dtype.str in dtypes and array.shape == (len(array) if count is None else count,)
        assert part["blocks"] <= 1 and part["tile_rows"] == 1
        return array

    def unknown(self, key):
        """Return the vector of a key that the store does not hold, or None."""
        steps, last = self.about["codec"][-1], len(self.about["codec"]) - 1
        number = next(i for i, step in enumerate(steps) if step["name"] not in TRANSFORMS)
        model = lambda name: self.model(last, number, name)  # noqa: E731
        if self.keys is None or not tables.has_vectors_for_unknown_keys(steps[number], model):
            return None
        return self.layer(last, [key])[0]

    def layer(self, number, unknown=None):
        """Return what a layer decodes to, or what it makes of unknown keys."""
        steps = self.about["codec"][number]
        widths, quantizer = [self.about["dimensions"]], 0
        while steps[quantizer]["name"] in TRANSFORMS:
            widths.append(steps[quantizer]["configuration"].get("dimensions", widths[-1]))
            quantizer += 1
        models = [
            lambda name, step=step: self.model(number, step, name)  # by number of the step
            for step in range(quantizer + 1)
        ]
        for step in range(quantizer):
            checks.arrays(steps[step]["name"], steps[step]["configuration"], widths[step], models[step])
        size = code_bytes_of(steps[quantizer], widths[-1], models[quantizer])
        if unknown is None:
            item_bytes = {"f32": 4, "f16": 2, "bf16": 2}.get(steps[quantizer]["name"], 1)
            codes = self.codes(number, steps[quantizer + 1 :], item_bytes)
            assert codes.dtype == np.uint8 and codes.ndim == 2 and codes.shape[1] >= size
            codes = codes[:, :size]
            first, rows = self.about.get("first_row", 0), self.about["rows"]
            assert len(codes) == rows
            of_rows = range(first, first + rows), self.keys and [self.keys.key(row) for row in range(rows)]
        else:
            codes, of_rows = None, (None, unknown)
        z = quantized(steps[quantizer], codes, widths[-1], models[quantizer], *of_rows)
        for step in reversed(range(quantizer)):
            z = undo(steps[step]["name"], z, widths[step], models[step])
        return z if unknown else z + self.centroids()

    def model(self, layer, step, name):
        return self.optional(f"model.{layer}.{step}.{name}")

    def optional(self, part):
        holder = self.holder
        return holder.array(part) if part in holder.description["parts"] else None

    def codes(self, layer, byte_steps, item_bytes):
        name = f"codes.{layer}"
        part = self.about["parts"][name]
        if not byte_steps:
            return self.container.array(name)
        assert part["encoding"] == "packed" and part["tile_rows"] == 1
        (rows, width), block_rows = part["shape"], part["block_rows"]
        assert rows == self.about["rows"] and min(block_rows, rows) * width <= 2**24
        assert part["blocks"] == (-(-rows // block_rows) if width else 0)
        blocks = []
        for block in range(part["blocks"]):
            value = self.container.block(name, block)
            (length,) = struct.unpack_from("<Q", value)
            assert length <= len(value) - 8
            raw = value[8 : 8 + length]
            size = min(part["block_rows"], rows - block * part["block_rows"]) * width
            assert not any(step["name"] in ("pco", "rans") for step in byte_steps[1:])
            for step in reversed(byte_steps):
                if step["name"] == "rans":
                    assert step["configuration"]["columns"] == width
                    raw = range_decoded(raw, size, width)
                    continue
                shuffle = step["configuration"].get("shuffle")
                if step["name"] == "archive":
                    assert raw[0] <= 3
                    shuffle, raw = ("none", "byte", "bit", None)[raw[0]], raw[1:]
                if shuffle is None:
                    raw = numbers_decoded(raw, size, item_bytes)
                    continue
                assert 0 <= zstandard.frame_content_size(raw) <= size + size // 128 + 1024
                raw = unshuffle(
                    zstandard.ZstdDecompressor().decompress(raw, allow_extra_data=False), item_bytes, shuffle
                )
            assert len(raw) == size
            blocks.append(raw)
        return np.frombuffer(b"".join(blocks), np.uint8).reshape(rows, width)


class Tokens(Shard):
    """Section 5, Fields: the vectors of all rows lie as those of a shard, under names that begin with a prefix."""

    def __init__(self, shard, field, prefix):
        self.starts_of_rows = shard.plain(f"{prefix}starts", "<i8", shard.about["rows"] + 1).tolist()
        checks.whole(field["vectors"], most=2**32)
        checks.whole(field["dimensions"], 1, 2**20)
        checks.whole(field["pool"], 1, 65536)
        assert isinstance(field.get("unit", False), bool)
        checks.codec(field["codec"], field["dimensions"], single=True)
        assert len(field["codec"]) == 1 and not any(tables.knows_numbers(step) for step in field["codec"][0])
        self.take(shard, {**field, "rows": field["vectors"]}, prefix)

    def take(self, shard, about, prefix):
        """Take the parts of a shard whose names begin with a prefix."""
        parts = shard.about["parts"].items()
        parts = {name.removeprefix(prefix): part for name, part in parts if name.startswith(prefix)}
        self.about, self.keys = {**about, "parts": parts}, None
        self.container = copy.copy(shard.container)
        self.container.description = self.about
        values, start = shard.container.values.items(), prefix.encode()
        self.container.values = {name.removeprefix(start): value for name, value in values if name.startswith(start)}
        self.holder = self.container  # a field keeps the arrays of its codec itself

    def centroids(self):
        """Return the centroid of each vector's cell, or zero: cells are kept by number."""
        if "cells" not in self.about:
            return np.float32(0)
        assert self.about["cells"]["name"] == "cells"
        count = checks.whole(self.about["cells"]["configuration"]["count"], 1, 65536)
        return self.centroids_of(count)[self.plain("cells", "|u1" if count <= 256 else "<u2", self.about["vectors"])]

    def items(self):
        starts = self.starts_of_rows
        assert starts[0] == 0 and starts == sorted(starts) and starts[-1] == self.about["vectors"]
        x = self.layer(0) if starts[-1] else np.empty((0, self.about["dimensions"]))
        if self.about.get("unit", False) is True:
            lengths = np.linalg.norm(x, axis=1, keepdims=True)
            x = x / np.where(lengths > 0, lengths, 1)
        return [x[start:end] for start, end in pairwise(starts)]


class Vectors(Tokens):
    """Section 5, Fields: the vectors of a dense field lie as those of a shard, under names that begin with a prefix."""

    def __init__(self, shard, field, prefix):
        checks.whole(field["dimensions"], 1, 2**20)
        checks.codec(field["codec"], field["dimensions"], single=len(field["codec"]) == 1)
        assert not any(tables.knows_numbers(step) for layer in field["codec"] for step in layer)
        assert field["metric"] in ("cosine", "dot", "l2")
        self.take(shard, {**field, "rows": shard.about["rows"]}, prefix)

    def items(self):
        n = self.about["rows"]
        x = self.layer(len(self.about["codec"]) - 1)
        if self.about["metric"] == "cosine":
            lengths = np.linalg.norm(x, axis=1, keepdims=True)
            x = x / np.where(lengths > 0, lengths, 1)
        there = [True] * n
        if self.about["missing"]:
            bits = self.plain("validity", "|u1", -(-n // 8)).tolist()
            there = [bits[r // 8] >> r % 8 & 1 == 1 for r in range(n)]
        assert there.count(False) == self.about["missing"]
        return [vector if has else None for vector, has in zip(x, there, strict=True)]

    def encoded(self, tokens, query=False):
        """Return the vector of a row's or a query's token vectors."""
        about = self.about["muvera"]
        many, planes, t, width = (about[name] for name in ("repetitions", "simhash", "token_dimensions", "projection"))
        drawn = self.plain("encoding.planes", "<f4", many * planes, t).reshape(many, planes, t) if planes else None
        signs = None if width is None else self.plain("encoding.signs", "|i1", many * width, t).reshape(many, width, t)
        found = []
        for r in range(many):
            cells = [sum(2**i for i in range(planes) if drawn[r][i] @ token > 0) for token in tokens]
            small = [token if width is None else signs[r] @ token / math.sqrt(width) for token in tokens]
            for cell in range(2**planes):
                own = [y for y, its in zip(small, cells, strict=True) if its == cell]
                far = [(its ^ cell).bit_count() for its in cells]
                if query:
                    found.append(np.sum(own, axis=0) if own else np.zeros(len(small[0])))
                else:
                    found.append(np.mean(own, axis=0) if own else small[far.index(min(far))])
        found = np.concatenate(found)
        assert len(found) == self.about["dimensions"]
        return found


def codes_of(data, count, bits):
    """Return the codes of a sparse list's entries."""
    assert len(data) == (count * bits + 7) // 8
    return [1 if bits == 0 else data[i] if bits == 8 else data[i // 2] >> 4 * (i % 2) & 15 for i in range(count)]


def whole_list(data, bits):
    """Return the rows and codes of a sparse list that is not cut by segments."""
    count = 8 * len(data) // (16 + bits)
    return zip(struct.unpack_from(f"<{count}H", data), codes_of(data[2 * count :], count, bits), strict=True)


def cut_list(data, rows, bits):
    """Return those of a list that is."""
    segments = -(-rows // 4096)
    ends = [5 * segments, *struct.unpack_from(f"<{segments}I", data)]
    assert len(data) >= 5 * segments and ends == sorted(ends) and ends[-1] <= len(data)
    found = []
    for segment, (start, end) in enumerate(pairwise(ends)):
        own = chunk_entries(data[start:end], min(rows - 4096 * segment, 4096), bits) if start < end else []
        assert max([0, *(code for _, code in own)]) == data[4 * segments + segment]
        found += [(4096 * segment + row, code) for row, code in own]
    return found


def chunk_entries(data, held, bits):
    (count,), data = struct.unpack_from("<H", data), data[2:]
    if count == 65535:
        half, every = (held + 1) // 2, range(held)
        assert len(data) == {8: held, 4: half, 0: (held + 7) // 8}[bits]
        codes = {
            8: lambda i: data[i],
            4: lambda i: data[i % half] >> 4 * (i >= half) & 15,
            0: lambda i: data[i // 8] >> i % 8 & 1,
        }[bits]
        return [(i, codes(i)) for i in every if codes(i)]
    size = len(data) - (count * bits + 7) // 8
    rows, row = [], 0
    for gap in data[:size]:
        row += gap
        if gap < 255:
            rows.append(row)
            row += 1
    assert count == len(rows) > 0 and data[size - 1] < 255 and rows[-1] < held
    return list(zip(rows, codes_of(data[size:], count, bits), strict=True))


def code_bytes_of(step, d, model):
    """Check a quantizer's arrays; return the bytes of its codes."""
    name, how = step["name"], step["configuration"]
    if name == "residual":
        parts = ((part, tables.parsed(how[part])) for part in ("base", "fine"))
        return sum(code_bytes_of(inner, d, lambda array, part=part: model(f"{part}.{array}")) for part, inner in parts)
    return tables.code_bytes(step, model) if name == "qr" else checks.arrays(name, how, d, model)


def numbers_decoded(content, size, s):
    rest = size % s
    numbers = pcodec.standalone.simple_decompress(content[rest:])
    assert numbers.dtype == f"<f{s}"
    return numbers.tobytes() + content[:rest]


def unshuffle(content, s, shuffle):
    c = len(content) // s
    out = bytearray(content)
    content = np.frombuffer(content, np.uint8)
    if shuffle == "byte":
        for j in range(s):
            out[j : c * s : s] = content[j * c : (j + 1) * c].tobytes()
    if shuffle == "bit":
        bits = (content[:, None] >> np.arange(8) & 1).reshape(-1)
        for j in range(s):
            value = sum(bits[(8 * j + b) * c : (8 * j + b + 1) * c].astype(int) << b for b in range(8))
            out[j : c * s : s] = value.astype(np.uint8).tobytes()
    return bytes(out)


def model_frequencies(number):
    ratios = [(1, 1 << i) for i in range(1, 10)]
    ratios += [(math.isqrt(1 << i), math.isqrt(1 << i) + 1) for i in range(2, 27)]
    a, b = ratios[number % 34]
    r = (a << 62) // b
    q, w = r * r >> 62, [1 << 62]
    for _ in range(128):
        w.append(w[-1] * r >> 62)
        if number >= 34:
            r = r * q >> 62
    total = sum(w[abs(s - 128)] for s in range(256))
    found = [1 + w[abs(s - 128)] * 65280 // total for s in range(256)]
    found[128] += 65536 - sum(found)
    return found


def range_decoded(raw, size, c):
    (h,) = struct.unpack_from("<I", raw)
    assert 4 + h <= len(raw) and (len(raw) - 4 - h) % 2 == 0
    assert zstandard.frame_content_size(raw[4 : 4 + h]) == 2 * c
    header = zstandard.ZstdDecompressor().decompress(raw[4 : 4 + h], allow_extra_data=False)
    assert max(header[c:]) < 68
    centers, frequencies = header[:c], [model_frequencies(number) for number in header[c:]]
    below = [[sum(own[:s]) for s in range(257)] for own in frequencies]
    words = [value for (value,) in struct.iter_unpack("<H", raw[4 + h :])]
    state, words, out = words[0] << 16 | words[1], words[2:], bytearray()
    for i in range(size):
        slot = state & 0xFFFF
        s = bisect.bisect_right(below[i % c], slot) - 1
        out.append((s + centers[i % c] - 128) % 256)
        state = frequencies[i % c][s] * (state >> 16) + slot - below[i % c][s]
        if state < 65536:
            state = state << 16 | words.pop(0)
    assert state == 65536 and not words
    return bytes(out)


def quantized(step, codes, d, model, numbers, keys):
    """Return what the codes of rows of these numbers and keys stand for; what rows share tables for needs both."""
    if step["name"] == "residual":
        base, fine = (tables.parsed(step["configuration"][part]) for part in ("base", "fine"))
        assert base["name"] in tables.BASES and fine["name"] not in ("residual", *tables.TABLES)
        under = lambda part: lambda name: model(f"{part}.{name}")  # noqa: E731
        if codes is None:
            return tables.decode(base, None, under("base"), numbers, keys)
        cut = tables.code_bytes(base, under("base"))
        z = tables.decode(base, codes[:, :cut], under("base"), numbers, keys)
        return z + quantized(fine, codes[:, cut:], d, under("fine"), numbers, keys)
    if step["name"] in (*tables.BASES, *tables.TABLES):
        return tables.decode(step, codes, model, numbers, keys)
    return dequantize(step, codes, d, model)


def dequantize(step, codes, d, model):
    name, how = step["name"], step["configuration"]
    if name == "f32":
        return np.frombuffer(codes.tobytes(), "<f4").reshape(-1, d)
    if name == "f16":
        return np.frombuffer(codes.tobytes(), "<f2").reshape(-1, d).astype(np.float32)
    if name == "bf16":
        upper = np.frombuffer(codes.tobytes(), "<u2").reshape(-1, d)
        return (upper.astype(np.uint32) << 16).view(np.float32)
    if name == "sq":
        return sq_levels(codes, d, how["bits"]) * model("steps") + model("lowest")
    if name in ("pq", "opq", "subspace"):
        return product(name, how, codes, d, model)
    if name == "tcq":
        return trellis(how, codes, d, model) @ axes_of(model) + model("mean")
    if name == "vaq":
        return runs(how, codes, model) @ axes_of(model) + model("mean")
    if name == "lloyd":
        values = model("levels") * (model("scale") / np.float32(d**0.5))
        if model("uneven")[0]:
            return values[bit_levels(codes[:, 2:], d, how["bits"])] * factor(codes, 0)
        return values[bit_levels(codes, d, how["bits"])]
    if name == "lvq":
        bits, rest = how["bits"], how["residual_bits"]
        z, scale = bit_levels(codes[:, 4:], d, bits).astype(np.float32), model("scale")
        if rest:
            finer = bit_levels(codes[:, 4 + -(-d * bits // 8) :], d, rest).astype(np.float32)
            z = (z + finer * np.float32(1 / (2**rest - 1))) - np.float32(0.5)
        return (z * (factor(codes, 2) * scale) + factor(codes, 0) * scale) + model("mean")
    if name == "rabitq":
        y = bit_levels(codes[:, 4:], d, how["bits"]) - (2 ** how["bits"] - 1) / 2
        y *= (
            factor(codes, 0)
            * model("scale")
            / np.sqrt(1 + factor(codes, 2) ** 2)
            / np.linalg.norm(y, axis=1, keepdims=True)
        )
        return undo("rotate", y.astype(np.float32), d, model) + model("mean")
    if name == "uniform":
        return (model("middle") - 128 * model("step")) + model("step") * codes.astype(np.float32)
    if name in ("rq", "lsq"):
        return sum(model("codebooks")[g][codes[:, g]] for g in range(how["m"]))
    assert name == "bin"
    bits = np.stack([codes[:, i // 8] >> (i % 8) & 1 for i in range(d)], axis=1)
    low, high = model("levels")
    return bits.astype(np.float32) * (high - low) + low


def sq_levels(codes, d, bits):
    if bits == 8:
        return codes.astype(np.float32)
    upper = np.stack([codes[:, i // 2] >> 4 * (i % 2) & 15 for i in range(d)], axis=1)
    if bits == 6:
        rest = codes[:, -(-d // 2) :]
        upper = upper << 2 | np.stack([rest[:, i // 4] >> 2 * (i % 4) & 3 for i in range(d)], axis=1)
    return upper.astype(np.float32)


def product(name, how, codes, d, model):
    m, books = how["m"], model("codebooks")
    groups = []
    for g in range(m):
        code = codes[:, g] if how["bits"] == 8 else codes[:, g // 2] >> 4 * (g % 2) & 15
        groups.append(books[g, code, : d // m + (g < d % m)])
    y = np.concatenate(groups, axis=1)
    return y @ orthonormal(model("rotation")).T if name == "opq" else y


def runs(how, codes, model):
    columns, first = [], 0
    for g, width in enumerate(model("widths").tolist()):
        code = codes[:, g] if how["bits"] == 8 else codes[:, g // 2] >> 4 * (g % 2) & 15
        columns += [model("centroids")[first + i][code] for i in range(width)]
        first += width
    return np.stack(columns, axis=1)


def factor(codes, at):
    return np.frombuffer(codes[:, at : at + 2].tobytes(), "<f2").astype(np.float32)[:, None]


def bit_levels(codes, d, bits):
    number = [
        sum((codes[:, x // 8] >> x % 8 & 1).astype(int) << x - bits * i for x in range(bits * i, bits * i + bits))
        for i in range(d)
    ]
    return np.stack(number, axis=1)


PATH_BITS = {
    4: ((0, 2), (1,)),
    8: ((0, 1, 3), (2,)),
    16: ((0, 1, 4), (2,)),
    32: ((0, 2, 5), (3,)),
    64: ((0, 1, 6), (2, 4)),
    128: ((0, 2, 3, 4, 7), (1, 2, 4, 6)),
    256: ((0, 2, 3, 6, 8), (1, 4, 5, 6, 7)),
}  # states: how far back the path bits lie that make up z1, and z0


def orthonormal(axes):
    if axes.dtype == "<f4":
        return axes
    assert axes.any(axis=1).all()
    a = axes / np.linalg.norm(axes.astype(np.float64), axis=1, keepdims=True)
    for _ in range(2):
        a = (3 * a - a @ a.T @ a) / 2
    return a


def axes_of(model, ready=None):
    """The axes of `tcq`, `vaq` and of cells; `ready` makes those of them that are not packed ready for use."""
    bits = model("axis_bits")
    if bits is None:
        return (ready or orthonormal)(model("axes"))
    bits = bits.tolist()
    assert all(2 <= b <= 8 for b in bits)
    numbers = []
    for row in model("axes"):
        integer, column = int.from_bytes(row.tobytes(), "little"), []
        for b in bits:
            column.append((integer & (2**b - 1)) - 2 ** (b - 1))
            integer >>= b
        assert integer == 0
        numbers.append(column)
    a = np.array(numbers, float).reshape(len(numbers), len(bits)).T
    axes = []
    for row in a:  # Gram and Schmidt
        length = np.linalg.norm(row)
        for before in axes:
            row = row - (row @ before) * before
        assert np.linalg.norm(row) > 1e-6 * length
        axes.append(row / np.linalg.norm(row))
    return np.array(axes, np.float32).reshape(a.shape)


def trellis(how, codes, d, model):
    """Codes of `tcq`, to coefficients."""
    bits, widths, levels = model("bits").tolist(), model("widths").tolist(), model("levels")
    if model("scale") is not None:
        levels = levels.astype(np.float32) * model("scale")
    assert set(bits) <= set(range(1, 9)) and set(widths) <= {1, 2} and 1 <= sum(widths) <= d
    groups = [bits[start : start + 8] for start in range(0, len(bits), 8)]
    assert not any(sum(group) % 8 for group in groups) and sum(bits) // 8 == how["size_bytes"] == codes.shape[1]
    assert len(levels) == sum(2 ** (b + 1) * width for b, width in zip(bits, widths, strict=True))
    assert model("stretch") is None or (model("stretch") >= 1).all()
    head = model("head_bits")
    assert head is None or head.tolist() == [2]
    bits_of = grouped if head is None else headed
    return np.array(
        [trellis_row(how["states"], *bits_of(code.tobytes(), groups), bits, widths, levels) for code in codes]
    )


def grouped(code, groups):
    """The path bits and sub-indices of a code without a head."""
    u, x, at = [], [], 0
    for group in groups:
        size = sum(group) // 8
        integer = int.from_bytes(code[at : at + size], "little")
        at += size
        for _ in group:
            u.append(integer & 1)
            integer >>= 1
        for b in group:
            x.append(integer & (2 ** (b - 1) - 1))
            integer >>= b - 1
        assert integer == 0
    return u, x


def headed(code, groups):
    """The path bits and sub-indices of a code with a head."""
    steps, integer, x = [b for group in groups for b in group], int.from_bytes(code, "little"), []
    for b in steps:
        upper = min(b - 1, 2)
        x.append(integer % 2**upper)
        integer >>= upper
    for i, b in enumerate(steps):
        lower = max(b - 3, 0)
        x[i] = x[i] * 2**lower + integer % 2**lower
        integer >>= lower
    u = [integer >> i & 1 for i in range(len(steps))]
    assert integer >> len(steps) == 0
    return u, x


def trellis_row(states, u, x, bits, widths, levels):
    y, start = [], 0
    for i, width in enumerate(widths):
        z1, z0 = (sum(u[i - b] for b in back if b <= i) % 2 for back in PATH_BITS[states])
        for _ in range(width):
            y.append(levels[start + 4 * x[i] + 2 * z1 + z0])
            start += 2 ** (bits[i] + 1)
    return y


def undo(name, z, d, model):
    if name == "normalize":
        return z
    if name == "center":
        return z + model("mean")
    if name == "pca":
        return z @ model("axes") + model("mean")
    if name == "whiten":
        return (z * model("scales")) @ model("axes") + model("mean")
    if name == "truncate":
        return np.concatenate([z, np.zeros((len(z), d - z.shape[1]), np.float32)], axis=1)
    assert name == "rotate"
    matrix, signs = model("matrix"), model("signs")
    if matrix is None:
        assert set(signs.tolist()) <= {1, -1}
        matrix = (signs[:, None] * hadamard(d) / np.sqrt(d)).astype(np.float32)
    return z @ matrix.T


def hadamard(d):
    odd = d
    while odd % 2 == 0:
        odd //= 2
    matrix = np.ones((1, 1))
    if odd > 1:
        p = {3: 11, 5: 19}[odd]
        assert d % 4 == 0
        squares = {a * a % p for a in range(1, p)}
        matrix = np.ones((p + 1, p + 1))
        matrix[1:, 0] = -1
        for i in range(1, p + 1):
            for j in range(1, p + 1):
                a = (j - i) % p
                matrix[i, j] = (0 if a == 0 else 1 if a in squares else -1) + (i == j)
    while len(matrix) < d:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


class KeyIndex:
    """Section 7."""

    def __init__(self, container):
        self.container = container
        about = container.description["keys"]
        self.type, self.b, self.r = about["type"], about["bucket_bits"], about["row_bits"]
        self.rows = container.description["rows"]
        assert self.type in ("str", "bytes", "int64")
        checks.whole(self.b, most=32), checks.whole(self.r, 1, 32)
        assert self.rows <= 2**self.r
        parts, e = container.description["parts"], min(2**self.b, 4096)
        pages = parts["keys.int64" if self.type == "int64" else "keys.text"]
        kind = ("<i8", None) if self.type == "int64" else ("|u1", "key-pages")
        assert (pages["dtype"], pages.get("encoding"), pages["tile_rows"]) == (*kind, 1)
        assert (pages["shape"], pages["block_rows"]) == ([self.rows], 16384)
        assert pages["blocks"] == -(-self.rows // 16384)
        table = parts["keys.table"]
        assert (table["dtype"], table.get("encoding"), table["blocks"]) == ("<u4", "key-table", 2**self.b // e)
        for block in range(table["blocks"]):
            value = container.block("keys.table", block)
            assert len(value) % 4 == 0 and len(value) >= 4 * (e + 1)
            starts, slots = np.split(np.frombuffer(value, "<u4").astype(np.int64), [e + 1])
            assert starts[0] == 0 and (np.diff(starts) >= 0).all() and starts[-1] <= len(slots)
            assert (slots[: starts[-1]] % 2**self.r < self.rows).all()
            assert all((np.diff(slots[at:end]) >= 0).all() for at, end in pairwise(starts.tolist()) if end - at > 1)
        for page in range(pages["blocks"] if self.type != "int64" else 0):
            self._check_page(container.block("keys.text", page), min(16384, self.rows - 16384 * page))

    @staticmethod
    def _check_page(value, rows):
        count, longs = struct.unpack_from("<II", value)
        lengths_at = 8 + 4 * -(-count // 32)
        longs_at = lengths_at + 4 * -(-count // 4)
        text_at = longs_at + 8 * longs
        assert count == rows and longs <= count and text_at <= len(value)
        lengths = list(value[lengths_at : lengths_at + count])
        pairs = list(struct.iter_unpack("<II", value[longs_at:text_at]))
        assert [row for row, _ in pairs] == [row for row in range(count) if lengths[row] == 255]
        for row, length in pairs:
            assert 255 <= length <= 65535
            lengths[row] = length
        ends = np.cumsum(lengths)
        starts = struct.unpack_from(f"<{-(-count // 32)}I", value, 8)
        assert list(starts) == [0, *ends[31::32].tolist()][: len(starts)] and text_at + ends[-1] <= len(value)

    def raw(self, key):
        return key.encode() if self.type == "str" else key if self.type == "bytes" else struct.pack("<q", key)

    def find(self, key):
        h, b, r = xxhash.xxh64_intdigest(self.raw(key)), self.b, self.r
        e = min(2**b, 4096)
        block, i = divmod(h >> (64 - b) if b else 0, e)
        words = np.frombuffer(self.container.block("keys.table", block), "<u4")
        check = h >> (64 - b - (32 - r)) & (2 ** (32 - r) - 1)
        for slot in words[e + 1 + int(words[i]) : e + 1 + int(words[i + 1])].tolist():
            row = slot & (2**r - 1)
            if slot >> r == check and self.key(row) == key:
                return row
        return None

    def key(self, row):
        page, k = divmod(row, 16384)
        if self.type == "int64":
            return struct.unpack_from("<q", self.container.block("keys.int64", page), 8 * k)[0]
        value = self.container.block("keys.text", page)
        count, longs = struct.unpack_from("<II", value)
        lengths_at = 8 + 4 * -(-count // 32)
        longs_at = lengths_at + 4 * -(-count // 4)
        text_at = longs_at + 8 * longs
        long_keys = dict(struct.iter_unpack("<II", value[longs_at:text_at]))
        first = k // 32 * 32
        (start,) = struct.unpack_from("<I", value, 8 + 4 * (k // 32))
        lengths = [long_keys.get(i, value[lengths_at + i]) for i in range(first, k + 1)]
        at = text_at + start + sum(lengths[:-1])
        raw = value[at : at + lengths[-1]]
        return raw.decode() if self.type == "str" else raw


class KeyMap:
    """Section 8."""

    def __init__(self, path):
        self.container = Container(path)
        about = self.container.description
        assert about["kind"] == "key-map"
        self.v, self.g = checks.whole(about["value_bits"]), checks.whole(about["segment_bits"], most=32)
        self.segments = self.container.array("segments")
        cells = about["parts"]["cells"]
        assert cells["dtype"] == "|u1"
        assert self.v in (1, 2, 4, 8, 16) and self.segments.dtype == "<i8" and self.segments.shape == (2**self.g, 2)
        assert cells["encoding"] == "xor-cells" and cells["blocks"] == 2**self.g and about["features"] == []
        for block, third in enumerate(self.segments[:, 0].tolist()):
            assert 1 <= third <= 2**32 // 3
            assert len(self.container.block("cells", block)) >= -(-3 * third * self.v // 8) + 2

    def shard(self, h):
        segment = h >> (64 - self.g) if self.g else 0
        third, seed = self.segments[segment].tolist()
        x = (h + seed * 0x9E3779B97F4A7C15) & M64
        x = ((x ^ x >> 33) * 0xFF51AFD7ED558CCD) & M64
        x = ((x ^ x >> 33) * 0xC4CEB9FE1A85EC53) & M64
        x ^= x >> 33
        a = (x & 0xFFFFFFFF) * third >> 32
        b = third + ((x >> 21 & 0xFFFFFFFF) * third >> 32)
        c = 2 * third + ((x >> 32) * third >> 32)
        cells = self.container.block("cells", segment)
        value = 0
        for place in (a, b, c):
            bit = place * self.v
            value ^= int.from_bytes(cells[bit // 8 : bit // 8 + 2], "little") >> bit % 8 & (2**self.v - 1)
        return value


class Store:
    """A file or a directory."""

    def __init__(self, path, manifest="manifest.json"):
        path = Path(path)
        self.maps, self.collisions = [], {}
        if path.is_file():
            self.shards, self.unmapped, self.dead = [Shard(path)], [0], [[]]
        else:
            self._open_directory(path, manifest)
        self.firsts = np.cumsum([0, *(shard.about["rows"] for shard in self.shards)]).tolist()

    def _open_directory(self, path, name):
        body = (path / name).read_bytes()
        end = re.fullmatch(rb',\n "xxh3": "([0-9a-f]{16})"\n}\n', body[-32:])
        assert end is not None
        zeroed = body[:-20] + b"0" * 16 + body[-4:]
        assert f"{xxhash.xxh3_64_intdigest(zeroed):016x}".encode() == end[1]
        manifest = self.manifest = checks.document(body)
        assert manifest["format"] == "vecstore" and manifest["version"][0] == 1
        assert set(manifest["features"]) <= {"tombstones", "models"}
        assert all(isinstance(manifest.get(member, {}), dict) for member in ("certificate", "calibration"))
        graves = [entry["tombstones"] for entry in manifest["shards"] if "tombstones" in entry]
        assert not graves or "tombstones" in manifest["features"]
        models = manifest.get("models", [])
        assert bool(models) == ("models" in manifest["features"])
        assert all(entry["file"] == f"model-{entry['fingerprint']}.vecs" for entry in models)
        entries = manifest["shards"] + manifest["key_maps"] + graves + models
        assert 1 <= len(manifest["shards"]) <= 65536 and len({entry["file"] for entry in entries}) == len(entries)
        assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*\.vecs", entry["file"]) for entry in entries)
        end = 0
        for entry in manifest["key_maps"]:
            first, last = entry["shards"]
            assert end <= checks.whole(first) < checks.whole(last) <= len(manifest["shards"])
            end = last
        for digits, numbers in manifest["collisions"].items():
            assert re.fullmatch("[0-9a-f]{16}", digits)
            assert all(checks.whole(number) < len(manifest["shards"]) for number in numbers)
        self.shards = [Shard(path / entry["file"]) for entry in manifest["shards"]]
        self.maps = [(*entry["shards"], KeyMap(path / entry["file"])) for entry in manifest["key_maps"]]
        known = {entry["fingerprint"] for entry in models}
        assert all(shard.about["model"] in known for shard in self.shards if "model" in shard.about)
        files = [shard.container for shard in self.shards] + [key_map.container for _, _, key_map in self.maps]
        for entry, container in zip(manifest["shards"] + manifest["key_maps"], files, strict=True):
            assert entry["fingerprint"] == container.fingerprint
            assert entry.get("rows", 0) == container.description.get("rows", 0)
        self.dead = [self._dead(path, entry) for entry in manifest["shards"]]
        for first, last, key_map in self.maps:
            assert key_map.container.description["shards"] == last - first
        kinds = [shard.keys and shard.keys.type for shard in self.shards]
        alike = {(shard.about["dimensions"], shard.about["metric"]) for shard in self.shards}
        assert len(alike) == len(set(kinds)) == 1
        mapped = {shard for first, end, _ in self.maps for shard in range(first, end)}
        self.unmapped = [shard for shard in range(len(self.shards)) if shard not in mapped]
        self.collisions = manifest["collisions"]

    @staticmethod
    def _dead(path, entry):
        """Return the deleted rows of a shard."""
        if "tombstones" not in entry:
            return []
        about, container = entry["tombstones"], Container(path / entry["tombstones"]["file"])
        assert container.description["kind"] == "tombstones" and container.description["features"] == []
        assert about["fingerprint"] == container.fingerprint
        rows = container.array("rows").tolist()
        assert 1 <= len(rows) == about["rows"] and rows == sorted(set(rows)) and rows[-1] < entry["rows"]
        return rows

    def living(self):
        """Return the rows that were not deleted."""
        gone = {first + row for first, dead in zip(self.firsts, self.dead, strict=False) for row in dead}
        return [row for row in range(sum(shard.about["rows"] for shard in self.shards)) if row not in gone]

    def vectors(self):
        return np.concatenate([shard.vectors() for shard in self.shards])

    def columns(self):
        """Return the columns of all rows; a row whose shard lacks a column is null there."""
        each = [(shard.about["rows"], shard.columns()) for shard in self.shards]
        names = dict.fromkeys(name for _, columns in each for name in columns)
        return {name: [v for rows, own in each for v in own.get(name, [None] * rows)] for name in names}

    def tokens(self):
        """Return the fields of several vectors a row, where all shards have them."""
        each = [shard.tokens() for shard in self.shards]
        return {name: [item for own in each for item in own[name]] for name in each[0] if all(name in o for o in each)}

    def dense(self):
        """Return the vectors of dense fields, where all shards have them; None for rows without one."""
        each = [{name: own.items() for name, own in shard.dense().items()} for shard in self.shards]
        return {name: [item for own in each for item in own[name]] for name in each[0] if all(name in o for o in each)}

    def sparse(self):
        """Return the sparse fields, where all shards have them."""
        each = [shard.sparse() for shard in self.shards]
        return {name: [item for own in each for item in own[name]] for name in each[0] if all(name in o for o in each)}

    def fields(self):
        """Return all fields that all shards have: a list of what each row has, by name."""
        return {**self.tokens(), **self.dense(), **self.sparse()}

    def keys(self):
        return [shard.keys.key(row) for shard in self.shards for row in range(shard.about["rows"])]

    def unknown(self, key):
        """Return the vector of a key that the store does not hold, or None."""
        made = (shard.unknown(key) for shard in reversed(self.shards))
        return next((vector for vector in made if vector is not None), None)

    def find(self, key):
        """Return the row of a key, or None."""
        h = xxhash.xxh64_intdigest(self.shards[0].keys.raw(key))
        asked = [(first + key_map.shard(h), end) for first, end, key_map in self.maps]
        numbers = [shard for shard, end in asked if shard < end]
        for number in numbers + self.unmapped + self.collisions.get(f"{h:016x}", []):
            row = self.shards[number].keys.find(key)
            if row is not None and row not in self.dead[number]:
                return self.firsts[number] + row
        return None
