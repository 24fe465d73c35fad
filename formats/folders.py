"""Folders: Hugging Face datasets, vector-io (VDF), spaCy's vectors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.block_dump import Block, BlockDump
from vecstore.formats.columnar import ArrowDump, ParquetDump, write_parquet
from vecstore.formats.dump import Dump
from vecstore.formats.format import SURE, Format, Output
from vecstore.formats.head import Head
from vecstore.formats.npy_array import read_npy
from vecstore.formats.reading import ReadingOptions
from vecstore.formats.replacement import FolderReplacement
from vecstore.formats.several import SeveralDumps, parts_of

from vecstore.errors import FormatError
from vecstore.kernels import entries

__all__ = ["FORMATS"]


def _columns(options: ReadingOptions) -> dict[str, Any]:
    return {
        "key_type": options.get("key_type"),
        "key_column": options.get("key_column"),
        "vector_column": options.get("vector_column"),
        "columns": options.get("columns") or (),
    }


def _open_dataset(head: Head, options: ReadingOptions) -> Dump:
    files = parts_of(head.path)
    dumps: list[Dump] = [ArrowDump(file, format="arrow", **_columns(options)) for file in files]
    return SeveralDumps(head.path, dumps, format="hf-dataset")


def _open_vdf(head: Head, options: ReadingOptions) -> Dump:
    files = parts_of(head.path)
    if not files:
        raise FormatError("holds no parquet files", path=head.path)
    given = _columns(options)
    dumps: list[Dump] = [ParquetDump(file, format="parquet", **given) for file in files]
    return SeveralDumps(head.path, dumps, format="vdf")


def _write_vdf(output: Output) -> None:
    with FolderReplacement(output.path) as folder:
        (folder / "vectors").mkdir()
        inner = Output(
            folder / "vectors" / "1.parquet",
            output.pairs,
            output.dimensions,
            output.rows,
            output.key_type,
        )
        write_parquet(inner, key="id")
        about = {
            "namespace": "",
            "total_vector_count": output.rows,
            "exported_vector_count": output.rows,
            "dimensions": output.dimensions,
            "model_name": "",
            "vector_columns": ["vector"],
            "data_path": "vectors",
            "metric": "Cosine",
        }
        meta = {"version": "library: vecstore", "file_structure": ["vectors/1.parquet"], "author": "",
                "exported_from": "vecstore", "indexes": {"vectors": [about]}}  # fmt: skip
        (folder / "VDF_META.json").write_text(json.dumps(meta, indent=2) + "\n")


# spaCy: an array, a map of 64-bit hashes to rows (msgpack), and the strings that have these hashes.


def _open_spacy(head: Head, options: ReadingOptions) -> Dump:
    folder = _vocabulary(head)
    if folder is None:
        raise FormatError("holds no vectors of spaCy", path=head.path, expected="vocab/vectors and vocab/key2row")
    table = read_npy(folder / "vectors", mapped=True)
    if table.ndim != 2 or table.dtype.kind != "f":
        raise FormatError("holds no table of floats", path=folder / "vectors", found=f"{table.shape} of {table.dtype}")
    hashes, rows = _key_rows(folder / "key2row")
    if len(rows) and not (rows.min() >= 0 and rows.max() < len(table)):
        raise FormatError("points beyond the vectors", path=folder / "key2row")
    strings = _strings(folder / "strings.json")
    by_hash = dict(zip(_hashes(strings).tolist(), strings, strict=True))
    words = [by_hash.get(number) for number in hashes.tolist()]
    known = np.flatnonzero([word is not None for word in words])

    def blocks(most: int) -> Iterator[Block]:
        for first in range(0, len(known), most):
            some = known[first : first + most]
            yield [words[at] or b"" for at in some.tolist()], table[rows[some]], {}

    dump = BlockDump(
        head.path,
        blocks,
        format="spacy",
        rows=len(known),
        dimensions=table.shape[1],
        own_key_type="str",
        key_type=options.get("key_type"),
        dtype=table.dtype.name,
    )
    dump.left_out = tuple(["keys without a string"] * (len(known) < len(words)))
    return dump


def _vocabulary(head: Head) -> Path | None:
    if {"vectors", "key2row"} <= head.names:
        return head.path
    inner = head.path / "vocab"
    return inner if "vocab" in head.names and (inner / "key2row").is_file() and (inner / "vectors").is_file() else None


def _strings(path: Path) -> list[bytes]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"cannot be read: {str(error)[:80]}", path=path) from None
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise FormatError("is no list of strings", path=path)
    return [text.encode("utf-8", "surrogatepass") for text in found]


def _key_rows(path: Path) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return hashes and rows of a msgpack map of whole numbers."""
    data, at = path.read_bytes(), 0
    sizes = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xDE: 2, 0xDF: 4}

    def number() -> int:
        nonlocal at
        if at >= len(data):
            raise FormatError("ends early", path=path, where=f"byte {at}")
        first, at = data[at], at + 1
        if first < 0x80:
            return first
        if first & 0xF0 == 0x80:  # a short map; read as its length
            return first & 0x0F
        size = sizes.get(first)
        if size is None or at + size > len(data):
            raise FormatError("is no map of whole numbers", path=path, where=f"byte {at - 1}")
        at += size
        return int.from_bytes(data[at - size : at], "big")

    count = number()
    if 2 * count > len(data):
        raise FormatError("ends early", path=path, expected=f"{count} pairs")
    pairs = [(number(), number()) for _ in range(count)]
    if pairs and max(row for _, row in pairs) >= 2**31:
        raise FormatError("points beyond the vectors", path=path)
    return np.array([key for key, _ in pairs], np.uint64), np.array([row for _, row in pairs], np.int64)


def _hashes(texts: list[bytes]) -> NDArray[np.uint64]:
    """Return the numbers by which spaCy knows strings."""
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum([len(text) for text in texts], dtype=np.int64)])
    found = np.empty(len(texts), np.uint64)
    entries.string_numbers(np.frombuffer(b"".join(texts), np.uint8), starts, 0, found)
    return found


def _sniff_spacy(head: Head) -> float:
    return SURE if _vocabulary(head) is not None else 0.0


def _sniff_dataset(head: Head) -> float:
    return SURE if {"state.json", "dataset_info.json"} <= head.names else 0.0


def _sniff_vdf(head: Head) -> float:
    return SURE if "VDF_META.json" in head.names else 0.0


_TABLE = ("key_column", "vector_column", "columns")
FORMATS = (
    Format(
        "hf-dataset",
        (),
        "folder of a Hugging Face dataset (save_to_disk): columns as in Parquet",
        open=_open_dataset,
        sniff=_sniff_dataset,
        options=_TABLE,
        library="pyarrow",
    ),
    Format(
        "vdf",
        (".vdf",),
        "folder of vector-io (VDF): parquet files with ids and vectors",
        open=_open_vdf,
        sniff=_sniff_vdf,
        write=_write_vdf,
        options=_TABLE,
        library="pyarrow",
    ),
    Format("spacy", (), "spaCy pipeline or vocabulary: its vectors, by word", open=_open_spacy, sniff=_sniff_spacy),
)
