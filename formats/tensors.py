"""A table of vectors among the tensors of a safetensors file or a PyTorch state dict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from vecstore.formats.array_dump import ArrayDump
from vecstore.formats.array_keys import ArrayKeys, open_keys
from vecstore.formats.binary_array import MappedArray
from vecstore.formats.dump import Dump
from vecstore.formats.format import SURE, Format
from vecstore.formats.head import Head
from vecstore.formats.npz import zip_names
from vecstore.formats.reading import ReadingOptions
from vecstore.formats.safetensors import read_safetensors, write_safetensors
from vecstore.formats.table_choice import Shaped, key_array, left_out, vector_array
from vecstore.formats.torch_zip import read_torch_zip

__all__ = ["FORMATS"]


def _opener(name: str, read: Callable[[Path], dict[str, NDArray[Any]]]) -> Callable[[Head, ReadingOptions], Dump]:
    def open(head: Head, options: ReadingOptions) -> Dump:
        arrays = read(head.path)
        shaped = {own: Shaped(array.shape, array.dtype) for own, array in arrays.items()}
        chosen = vector_array(shaped, head.path, options.get("array"))
        keys, beside = open_keys(options), None
        if keys is None and (beside := key_array(shaped)) is not None:
            keys = ArrayKeys(MappedArray(head.path, arrays[beside]), options.get("key_type"))
        dump = ArrayDump(MappedArray(head.path, arrays[chosen], f"tensor {chosen!r}"), keys, format=name)
        dump.left_out = left_out(shaped, chosen, beside)
        return dump

    return open


def _sniff_safetensors(head: Head) -> float:
    return SURE if head.data[8:10] == b'{"' and int.from_bytes(head.data[:8], "little") < 1 << 32 else 0.0


def _sniff_torch(head: Head) -> float:
    return SURE if any(name.endswith("/data.pkl") for name in zip_names(head)) else 0.0


FORMATS = (
    Format(
        "safetensors",
        (".safetensors",),
        "safetensors: a tensor (n, d), and keys if they are integers",
        open=_opener("safetensors", read_safetensors),
        sniff=_sniff_safetensors,
        write=write_safetensors,
        options=("keys", "array"),
    ),
    Format(
        "torch",
        (".pt", ".pth", ".ckpt"),
        "PyTorch state dict (zip of torch.save): a tensor (n, d); nothing in it is run",
        open=_opener("torch", read_torch_zip),
        sniff=_sniff_torch,
        options=("keys", "array"),
    ),
)
