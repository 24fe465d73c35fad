"""What gensim's `save` wrote: KeyedVectors, or a model that holds some. The pickle is never run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.block_dump import Block, BlockDump
from vecstore.formats.dump import Dump
from vecstore.formats.format import Format
from vecstore.formats.head import Head
from vecstore.formats.npy_array import read_npy
from vecstore.formats.plain_pickle import Made, Name, read_pickle
from vecstore.formats.reading import ReadingOptions

from vecstore.errors import FormatError

__all__ = ["FORMATS"]

_WORDS = ("index_to_key", "index2word", "index2entity")
_VECTORS = ("vectors", "syn0")
_DTYPES = {"f4": "<f4", "f8": "<f8", "f2": "<f2"}


def _open(head: Head, options: ReadingOptions) -> Dump:
    path = head.path
    state = _keyed_vectors(read_pickle(path, path.read_bytes()))
    if state is None:
        raise FormatError("the pickle holds no KeyedVectors of gensim", path=path)
    words = next((state[name] for name in _WORDS if isinstance(state.get(name), list)), None)
    table = _vectors(path, state)
    if words is None or len(words) != len(table) or not all(isinstance(word, (str, int)) for word in words):
        count = "no words" if words is None else f"{len(words)} words"
        raise FormatError("has other words than vectors", path=path, expected=f"{len(table)} words", found=count)

    def blocks(most: int) -> Iterator[Block]:
        for first in range(0, len(table), most):
            some = words[first : first + most]
            yield [str(word).encode("utf-8", "surrogatepass") for word in some], table[first : first + most], {}

    return BlockDump(
        path,
        blocks,
        format="gensim",
        rows=len(table),
        dimensions=table.shape[1],
        own_key_type="str",
        key_type=options.get("key_type"),
        dtype=table.dtype.name,
    )


def _keyed_vectors(found: Any) -> dict[str, Any] | None:
    """Return the state of the KeyedVectors: of the object itself, or of its attribute ``wv``."""
    for _ in range(3):
        state = found.state if isinstance(found, Made) else None
        if not isinstance(state, dict):
            return None
        if any(name in state for name in _WORDS):
            return state
        found = state.get("wv")
    return None


def _vectors(path: Path, state: dict[str, Any]) -> NDArray[Any]:
    for name in _VECTORS:
        value = state.get(name)
        if isinstance(value, Made):
            return _array(path, value)
        for beside in (f"{path}.{name}.npy", f"{path}.wv.{name}.npy"):
            if Path(beside).is_file():
                table = read_npy(beside, mapped=True)
                if table.ndim == 2 and table.dtype.kind == "f":
                    return table
                raise FormatError("holds no table of floats", path=beside, found=f"{table.shape} of {table.dtype}")
    raise FormatError(
        "the vectors are missing: gensim writes large ones into files beside this one, which have to lie there",
        path=path,
        expected=f"{path.name}.vectors.npy",
    )


def _array(path: Path, made: Made) -> NDArray[Any]:
    """Return an array from how NumPy pickles it: ``(version, shape, dtype, in columns, bytes)``."""
    state = made.state
    is_array = isinstance(made.kind, Name) and made.kind.text.endswith("multiarray._reconstruct")
    if not is_array or not isinstance(state, tuple) or len(state) != 5:
        raise FormatError("the vectors are no array", path=path)
    _, shape, dtype, in_columns, data = state
    kind = dtype.arguments[0] if isinstance(dtype, Made) and isinstance(dtype.arguments, tuple) else None
    if not (isinstance(shape, tuple) and len(shape) == 2 and all(type(length) is int for length in shape)):
        raise FormatError("the vectors are no table", path=path)
    if kind not in _DTYPES or not isinstance(data, bytes) or in_columns:
        raise FormatError("the vectors are no plain array of floats", path=path, found=repr(kind)[:40])
    rows, width = shape
    if rows < 0 or width < 1 or rows * width * np.dtype(_DTYPES[kind]).itemsize != len(data):
        raise FormatError("the vectors have another size than their shape", path=path, found=f"{rows} x {width}")
    return np.frombuffer(data, _DTYPES[kind]).reshape(rows, width)


def _sniff(head: Head) -> float:
    return 0.9 if head.data[:1] == b"\x80" and b"gensim.models" in head.data[:200] else 0.0


FORMATS = (
    Format(
        "gensim",
        (".kv", ".model", ".gensim", ".wordvectors"),
        "gensim KeyedVectors as saved, with the arrays beside it; nothing in the pickle is run",
        open=_open,
        sniff=_sniff,
    ),
)
