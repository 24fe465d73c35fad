"""JSON lines: an object a line with a key and a vector; what embedding services write in batches, too."""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from vecstore.formats.block_dump import Block, BlockDump
from vecstore.formats.column_choice import known_columns
from vecstore.formats.dump import Dump, KeyType, Problem
from vecstore.formats.format import Format, Output
from vecstore.formats.head import BOM, Head
from vecstore.formats.reading import ReadingOptions
from vecstore.formats.stream import Stream
from vecstore.formats.text_writer import write_rows

from vecstore.errors import FormatError

__all__ = ["FORMATS"]

_KEYS = ("key", "id", "custom_id", "_id", "word", "token", "name")
_VECTORS = ("vector", "embedding", "embeddings", "values", "emb")
_BLOCK_BYTES, _LONGEST_LINE_BYTES = 4 << 20, 64 << 20
_MOST_DIMENSIONS = 1 << 20


def _lines(head: Head) -> Iterator[bytes]:
    with Stream(head.path) as stream:
        rest, first = b"", True
        while data := stream.read(_BLOCK_BYTES):
            lines = (rest + (data.removeprefix(BOM) if first else data)).split(b"\n")
            rest, first = lines.pop(), False
            if len(rest) > _LONGEST_LINE_BYTES:
                raise FormatError("a line is longer than 64 MiB; this is no file of JSON lines", path=head.path)
            yield from lines
        if rest:
            yield rest


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _vector(found: Any) -> list[Any] | np.ndarray | None:
    """Return the numbers of a vector: a list, base64 of float32, or what lies in OpenAI's and Cohere's answers."""
    if isinstance(found, list):
        return _vector(found[0]) if len(found) == 1 and isinstance(found[0], list | str | dict) else found
    if isinstance(found, str):
        try:
            data = base64.b64decode(found, validate=True)
        except (binascii.Error, ValueError):
            return None
        return np.frombuffer(data, "<f4") if data and len(data) % 4 == 0 else None
    if isinstance(found, dict):  # Cohere: by type; OpenAI: {"embedding": ...}
        names = ("embedding", "float", "float_", "int8", "uint8", "base64")
        inner = next((found[name] for name in names if found.get(name) is not None), None)
        return None if inner is None else _vector(inner)
    return None


def _pair(row: Any, names: tuple[str | None, str | None]) -> tuple[Any, Any]:
    """Return the key and the vector that a line holds, None for what it lacks."""
    if not isinstance(row, dict):
        return None, None
    key_name = names[0] or next((name for name in _KEYS if name in row), None)
    key = row.get(key_name) if key_name else None
    if names[1] is None and isinstance(row.get("response"), dict):  # a line of OpenAI's batch output
        body = row["response"].get("body")
        data = body.get("data") if isinstance(body, dict) else None
        return row.get("custom_id", key), _vector(data) if data else None
    vector_name = names[1] or next((name for name in _VECTORS if name in row), None)
    return key, _vector(row.get(vector_name)) if vector_name else None


def _names(options: ReadingOptions) -> tuple[str | None, str | None]:
    return options.get("key_column"), options.get("vector_column")


def _open(head: Head, options: ReadingOptions) -> Dump:
    names = _names(options)
    some = [_pair(_parsed(line), names) for line in head.lines if line.strip()]
    widths = Counter(len(vector) for _, vector in some if vector is not None and len(vector))
    keys = Counter(type(key) for key, _ in some if key is not None)
    if not widths:
        raise FormatError(
            "no line holds a vector; name its field with vector_column=",
            path=head.path,
            expected='objects such as {"key": "a", "vector": [0.5, 1]}',
            found=head.shown(),
        )
    width = widths.most_common(1)[0][0]
    fields = [row for line in head.lines if isinstance(row := _parsed(line), dict)]
    columns = known_columns(options.get("columns") or (), [name for row in fields for name in row], head.path)
    kind: KeyType | None = "int64" if keys and set(keys) == {int} else "str" if keys else None

    def blocks(most: int) -> Iterator[Block]:
        own_keys: list[Any] = []
        beside: dict[str, list[Any]] = {name: [] for name in columns}
        vectors = np.full((most, width), np.nan, np.float64)
        problems: dict[int, Problem] = {}
        for number, line in enumerate(_lines(head), start=1):
            if not line.strip():
                continue
            row = _parsed(line)
            key, vector = _pair(row, names)
            at = len(own_keys)
            for name, values in beside.items():
                values.append(row.get(name) if isinstance(row, dict) else None)
            problem = _fill(vectors[at], vector, width)
            if problem is not None:
                problems[at] = Problem(problem.kind, f"line {number}: {problem}")
            own_keys.append(key)
            if len(own_keys) == most:
                yield _raw_keys(own_keys, kind, problems), vectors, problems, beside
                own_keys, problems, beside = [], {}, {name: [] for name in columns}
                vectors = np.full((most, width), np.nan, np.float64)
        yield _raw_keys(own_keys, kind, problems), vectors[: len(own_keys)], problems, beside

    dump = BlockDump(
        head.path,
        blocks,
        format="jsonl",
        rows=None,
        dimensions=width,
        own_key_type=kind,
        key_type=options.get("key_type"),
        dtype="decimals",
    )
    dump.columns = columns
    used = {*columns, *names, *_KEYS, *_VECTORS, "response"}
    dump.left_out = tuple(dict.fromkeys(name for row in fields for name in row if name not in used))
    return dump


def _fill(row: np.ndarray, vector: Any, width: int) -> Problem | None:
    if vector is None:
        return Problem("no vector", "no object with a vector: an error row, or not JSON")
    if len(vector) != width:
        return Problem("wrong number of numbers", f"{len(vector)} numbers, expected {width}")
    if isinstance(vector, list) and not all(type(number) in (int, float) for number in vector):
        return Problem("not a number", "a value that is no number")
    try:
        row[:] = vector
    except (OverflowError, ValueError):
        return Problem("not a number", "a number that no float holds")
    return None


def _raw_keys(keys: list[Any], kind: str | None, problems: dict[int, Problem]) -> Any:
    if kind is None:
        return None
    for at, key in enumerate(keys):
        if not isinstance(key, str | int) or isinstance(key, bool):
            problems.setdefault(at, Problem("no key", f"row without a key, the {at + 1}. of its batch"))
            keys[at] = 0 if kind == "int64" else ""
    if kind == "int64" and all(type(key) is int and -(2**63) <= key < 2**63 for key in keys):
        return np.array(keys, np.int64)
    return [str(key).encode("utf-8", "surrogatepass") for key in keys]


def _sniff(head: Head) -> float:
    line = next((line for line in head.lines if line.strip()), b"")
    if not line.lstrip().startswith(b"{"):
        return 0.0
    return 0.9 if any(_pair(_parsed(line), (None, None))[1] is not None for line in head.lines[:20]) else 0.0


def _write(output: Output) -> None:
    with output.file() as file:
        for keys, vectors in output.pairs:
            if keys is None:
                heads = [b'{"vector":['] * len(vectors)
            elif any(isinstance(key, bytes) for key in keys):
                raise FormatError("jsonl has no keys of bytes; export to parquet", path=output.path)
            else:
                own = keys.tolist() if isinstance(keys, np.ndarray) else keys
                heads = [b'{"key":' + json.dumps(key).encode() + b',"vector":[' for key in own]
            write_rows(file, heads, vectors, separator=b",", tail=b"]}\n")


FORMATS = (
    Format(
        "jsonl",
        (".jsonl", ".ndjson"),
        "JSON lines with key and vector; batch outputs of OpenAI (base64 too) and answers of Cohere",
        open=_open,
        sniff=_sniff,
        write=_write,
        options=("key_column", "vector_column", "columns"),
        streamed=True,
    ),
)
