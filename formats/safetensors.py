"""Arrays in safetensors files: 8 bytes of length, a JSON header, then the bytes of all arrays."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import ExitStack
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.format import Output
from vecstore.formats.keys_beside import keys_beside

from vecstore.errors import FormatError

__all__ = ["read_safetensors", "write_safetensors"]

DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
}
MOST_HEADER_BYTES = 1 << 24  # tens of thousands of tensors; parsed, it takes about twenty times as much

MOST_LENGTHS = 8  # of a shape


def read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file by name, mapped; those of types that hold no table are left out.

    Raises
    ------
    FormatError
        The header is malformed, or an array lies outside of the file.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(MOST_HEADER_BYTES, size - 8):
            raise FormatError("is no safetensors file, or is truncated", path=path, where="byte 0")
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError) as error:
            raise FormatError(f"has a malformed header: {error}", path=path, where="byte 8") from None
    if not isinstance(header, dict):
        raise FormatError("has a malformed header", path=path, where="byte 8", expected="a JSON object")
    data = np.memmap(path, np.uint8, "r")[8 + length :]
    entries = {name: about for name, about in header.items() if name != "__metadata__"}
    _refuse_overlaps(entries.values(), path)
    return {name: _array(about, name, data, path) for name, about in entries.items() if _dtype(about) in DTYPES}


def _refuse_overlaps(entries: Iterable[Any], path: Path) -> None:
    spans: list[Any] = [about.get("data_offsets") for about in entries if isinstance(about, dict)]
    end = 0
    for first, last in sorted(span for span in spans if _whole(span) and len(span) == 2):
        if first < end:
            raise FormatError("has tensors that overlap", path=path, where=f"byte {first} of the data")
        end = max(last, end)


def _dtype(about: Any) -> str:
    return str(about.get("dtype")) if isinstance(about, dict) else "F32"  # what is malformed is found out later


def _array(about: Any, name: str, data: NDArray[np.uint8], path: Path) -> NDArray[Any]:
    shape: Any = about.get("shape") if isinstance(about, dict) else None
    span: Any = about.get("data_offsets") if isinstance(about, dict) else None
    if not (
        _whole(shape)
        and len(shape) <= MOST_LENGTHS
        and _whole(span)
        and len(span) == 2
        and span[0] <= span[1] <= len(data)
    ):
        raise FormatError("has a malformed header", path=path, where=f"tensor {name!r}")
    dtype = DTYPES[about["dtype"]]
    if prod(shape) * np.dtype(dtype).itemsize != span[1] - span[0]:
        raise FormatError("has a tensor of another size than its shape", path=path, where=f"tensor {name!r}")
    found = data[span[0] : span[1]].view(dtype).reshape(shape)
    return (found.astype("<u4") << 16).view("<f4") if about["dtype"] == "BF16" else found


def _whole(numbers: Any) -> bool:
    return isinstance(numbers, list) and all(type(n) is int and 0 <= n < 1 << 62 for n in numbers)


def write_safetensors(output: Output) -> None:
    """Write a tensor ``vectors``; keys go into a file beside it."""
    size = 4 * output.rows * output.dimensions
    entry = {"dtype": "F32", "shape": [output.rows, output.dimensions], "data_offsets": [0, size]}
    header = json.dumps({"vectors": entry}).encode()
    header += b" " * (-len(header) % 8)
    with ExitStack() as stack:
        file = stack.enter_context(output.file())
        file.write(len(header).to_bytes(8, "little") + header)
        for vectors in stack.enter_context(keys_beside(output)):
            file.write(np.ascontiguousarray(vectors, "<f4").data)
