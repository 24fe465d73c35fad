"""Import: tables that were trained elsewhere become a store whose lookups give exactly what they gave there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Quantizer, TrainedQuantizer
from vecstore.codecs.checks import LARGEST
from vecstore.codecs.codec import Codec, CodecSpec
from vecstore.codecs.layer import Layer
from vecstore.codecs.spec import LayerSpec
from vecstore.codecs.tables.hash_embed import HashEmbed, TrainedHashEmbed
from vecstore.codecs.tables.qr import QR, Digits, TrainedQR
from vecstore.codecs.tables.subword import END_OF_SENTENCE, FastText, Floret, TrainedSubwords
from vecstore.conversion.shards.writer import Writer
from vecstore.errors import FormatError, OptionError, ShapeError
from vecstore.files import open_regular
from vecstore.formats.fasttext import SubwordModel, is_subword_model, read_fasttext, read_floret_text
from vecstore.formats.npy import read_npy
from vecstore.formats.safetensors import read_safetensors
from vecstore.formats.torch_zip import read_torch_zip
from vecstore.metric import Metric

__all__ = [
    "import_hash_embed",
    "import_quotient_remainder",
    "import_subwords",
    "read_arrays",
    "write_table",
]

ROWS_AT_ONCE = 8192


def import_subwords(
    source: str | Path,
    path: str | Path,
    *,
    keys: Sequence[str] | None = None,
    metric: Metric = "cosine",
    force: bool = False,
) -> int:
    """Import a fastText or floret model; return how many words the store holds.

    Lookups of known words, and by `Store.lookup` of all others, are bit for bit what the library gives. The mark for
    the end of a sentence, ``</s>``, is no word of a floret store: its vector is not in floret's table.

    Parameters
    ----------
    source : path
        A ``.bin`` of fastText (with subwords; also the old ones without magic number) or floret, or ``.floret`` text.
    path : path
        The store to write.
    keys : sequence of str, optional
        The words that the store is to hold; by default those in the file. A ``.floret`` file has none.
    metric, force
        As for `vecstore.convert`.

    Raises
    ------
    FormatError
        Not such a file, or a damaged one; or a quantized or pruned model.
    OptionError
        No words: give keys.
    """
    file = Path(source)
    is_text = is_subword_model(file) and not _begins_with_magic(file)
    model = read_floret_text(file) if is_text else read_fasttext(file)
    for array in (model.buckets, model.rows):
        if array is not None:
            _require_sound(array, file.name)
    spec, words = _spec_of(model), _words_of(model, keys)
    quantizer = TrainedSubwords(spec, _table_of(model, spec.entries), by_key=True, own=model.rows)
    provenance = {"source": file.name, "format": model.kind, "import": True}
    return write_table(quantizer, spec, path, words, metric=metric, force=force, provenance=provenance)


def import_hash_embed(
    table: str | Path | NDArray[Any],
    path: str | Path,
    *,
    seed: int,
    keys: Sequence[Any],
    tensor: str | None = None,
    metric: Metric = "cosine",
    force: bool = False,
) -> int:
    """Import the table of a HashEmbed layer of thinc or spaCy; return how many keys the store holds.

    Parameters
    ----------
    table : path or (entries, d) array
        The layer's parameter ``E``; or a safetensors file, a zip of torch.save or an ``.npy`` that holds it.
    path : path
        The store to write.
    seed : int
        The layer's attribute ``seed``.
    keys : sequence of str or int
        What the store is to hold: strings as spaCy's string store numbers them, or the numbers themselves. All other
        ones have vectors by `Store.lookup`.
    tensor : str, optional
        Its name in a file with several.
    """
    array, source = (table, "array") if isinstance(table, np.ndarray) else _tensor(Path(table), tensor)
    given = _as_table(array, source)
    spec = HashEmbed(len(given), seed)
    provenance = {"source": source, "format": "hashembed", "import": True}
    quantizer = TrainedHashEmbed(spec, given, by_key=True)
    return write_table(quantizer, spec, path, keys, metric=metric, force=force, provenance=provenance)


def import_quotient_remainder(
    source: str | Path,
    path: str | Path,
    *,
    table: str = "emb_l.0",
    operation: Literal["add", "mult", "concat"] = "mult",
    compat: Literal["", "dlrm"] = "dlrm",
    rows: int | None = None,
    metric: Metric = "dot",
    force: bool = False,
) -> int:
    """Import a quotient-remainder table of DLRM; return how many rows the store holds.

    Parameters
    ----------
    source : path
        A safetensors file or a zip of torch.save with ``TABLE.weight_q`` and ``TABLE.weight_r``, at any depth.
    path : path
        The store to write; its rows are found by number.
    table : str
    operation : {"mult", "add", "concat"}
        How the two entries are put together (``--qr-operation``).
    compat : {"dlrm", ""}
        "dlrm" divides row numbers in float32, as DLRM does, which is wrong above 2**24; "" divides whole numbers.
    rows : int, optional
        How many; by default as many as the two tables tell apart.
    """
    arrays = read_arrays(Path(source))
    quotients, remainders = (_ending(arrays, f"{table}.weight_{part}", source) for part in "qr")
    told_apart = len(quotients) * len(remainders)
    if rows is not None and not 1 <= rows <= told_apart:
        raise OptionError(f"{rows:,} rows, but the tables tell {told_apart:,} apart")
    if operation != "concat" and quotients.shape[1] != remainders.shape[1]:
        raise OptionError(
            f"tables {quotients.shape[1]} and {remainders.shape[1]} wide are concatenated, not {operation}"
        )
    spec = QR(str(len(remainders)), operation, compat=compat)
    digits = Digits((len(quotients), len(remainders)), float32=bool(compat))
    quantizer = TrainedQR(spec, digits, [quotients, remainders], None)
    provenance = {"source": Path(source).name, "format": "quotient-remainder", "import": True}
    total = rows or told_apart
    return write_table(quantizer, spec, path, None, rows=total, metric=metric, force=force, provenance=provenance)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a safetensors file or of a zip of torch.save, by name."""
    with open_regular(path) as file:
        is_zip = file.read(4) == b"PK\x03\x04"
    return read_torch_zip(path) if is_zip else read_safetensors(path)


def _tensor(path: Path, name: str | None) -> tuple[NDArray[Any], str]:
    if path.suffix == ".npy":
        return read_npy(path), path.name
    arrays = read_arrays(path)
    if name is None and len(arrays) == 1:
        return next(iter(arrays.values())), path.name
    if name not in arrays:
        raise FormatError(f"name one of its tensors: {', '.join(sorted(arrays)[:20])}", path=path, found=repr(name))
    return arrays[name], path.name


def _ending(arrays: dict[str, NDArray[Any]], name: str, source: str | Path) -> NDArray[np.float32]:
    found = [own for own in arrays if own == name or own.endswith("." + name)]
    if len(found) != 1:
        known = ", ".join(sorted(arrays)[:20])
        raise FormatError(f"holds {len(found)} tensors {name!r}; it has: {known}", path=source)
    return _as_table(arrays[found[0]], name)


def _as_table(array: NDArray[Any], name: str) -> NDArray[np.float32]:
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind != "f":
        raise ShapeError(f"{name}: a table is two-dimensional, of floats; found {array.shape} of {array.dtype}")
    with np.errstate(over="ignore"):
        table = np.array(array, "<f4")
    _require_sound(table, name)
    return table


def _require_sound(array: NDArray[Any], name: str) -> None:
    if not (array.min(initial=0) >= -LARGEST and array.max(initial=0) <= LARGEST):  # NaN is neither
        raise ShapeError(f"{name}: holds NaN, infinity or a value beyond {LARGEST:g}")


def write_table(
    quantizer: TrainedQuantizer,
    spec: Quantizer,
    path: str | Path,
    keys: Sequence[Any] | None,
    *,
    rows: int | None = None,
    metric: Metric = "cosine",
    force: bool = False,
    provenance: dict[str, Any] | None = None,
) -> int:
    """Write a store of a trained table codec, for its keys or for as many row numbers; return how many."""
    layer = Layer(LayerSpec((spec,)), (), quantizer, quantizer.dimensions)
    total = len(keys) if keys is not None else rows or 0
    if not total:
        raise OptionError("a store holds at least one row: give the keys that it is to hold")
    blank = np.zeros((min(total, ROWS_AT_ONCE), quantizer.dimensions), np.float32)
    with Writer(path, Codec(CodecSpec((layer.spec,)), [layer]), metric=metric, force=force) as writer:
        writer.description |= {"provenance": {**(provenance or {}), "rows": total}}
        for start in range(0, total, ROWS_AT_ONCE):
            numbers = np.arange(start, min(start + ROWS_AT_ONCE, total))
            own = None if keys is None else keys[start : start + len(numbers)]
            # The vectors handed over are not looked at: the tables are all there is.
            writer.add(blank[: len(numbers)], own)
    return total


def _spec_of(model: SubwordModel) -> Floret | FastText:
    entries = max(len(model.buckets), 1)
    if model.kind == "floret":
        return Floret(entries, model.least, model.most, model.hashes, model.seed)
    return FastText(entries, model.least, model.most)


def _table_of(model: SubwordModel, entries: int) -> Any:
    if len(model.buckets):
        return model.buckets
    return np.zeros((entries, model.buckets.shape[1]), np.float32)  # no n-grams: nothing picks from it


def _words_of(model: SubwordModel, keys: Sequence[str] | None) -> list[Any]:
    if keys is not None:
        if model.rows is not None:
            raise OptionError("a fastText model knows its words; keys are for floret tables")
        return list(keys)
    if model.words is None:
        raise OptionError("a .floret file has no words: give the keys that the store is to hold")
    words = [word for word in model.words if model.kind == "fasttext" or word != END_OF_SENTENCE]
    try:
        return [word.decode() for word in words]
    except UnicodeDecodeError:
        return list(words)


def _begins_with_magic(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(4) == b"\xba\x16\x4f\x2f"
