"""NumPy files: an array (n, d), with keys beside it."""

from __future__ import annotations

from contextlib import ExitStack

from numpy.lib import format as npy_format
from vecstore.formats.array_dump import ArrayDump
from vecstore.formats.array_keys import open_keys
from vecstore.formats.dump import Dump
from vecstore.formats.format import SURE, Format, Output
from vecstore.formats.head import Head
from vecstore.formats.keys_beside import keys_beside
from vecstore.formats.npy_array import NpyArray, read_npy, write_npy
from vecstore.formats.reading import ReadingOptions

__all__ = ["FORMATS", "read_npy", "write_npy"]


def _sniff(head: Head) -> float:
    return SURE if head.data.startswith(npy_format.MAGIC_PREFIX) else 0.0


def _open(head: Head, options: ReadingOptions) -> Dump:
    return ArrayDump(NpyArray.open(head.path), open_keys(options), format="npy")


def _write(output: Output) -> None:
    with ExitStack() as stack:
        # Left in reverse: the keys are in place before the array is.
        file = stack.enter_context(output.file())
        vectors = stack.enter_context(keys_beside(output))
        write_npy(file, vectors, shape=(output.rows, output.dimensions), dtype="<f4")


FORMATS = (
    Format(
        "npy",
        (".npy",),
        "NumPy array (n, d); keys in a file of their own, one a line",
        open=_open,
        sniff=_sniff,
        write=_write,
        options=("keys",),
        streamed=True,
    ),
)
