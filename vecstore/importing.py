"""Import: tables that were trained elsewhere become a store whose lookups give exactly what they gave there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vecstore.codecs.base import Quantizer, TrainedQuantizer
from vecstore.codecs.codec import Codec, Layer
from vecstore.codecs.spec import CodecSpec, LayerSpec
from vecstore.codecs.subword import END_OF_SENTENCE, FastText, Floret, TrainedSubwords
from vecstore.errors import ShapeError
from vecstore.formats.fasttext import SubwordModel, is_subword_model, read_fasttext, read_floret_text
from vecstore.shard import Metric
from vecstore.writer import Writer

__all__ = ["import_subwords", "write_table"]

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
    ShapeError
        No words: give keys.
    """
    file = Path(source)
    is_text = is_subword_model(file) and not _begins_with_magic(file)
    model = read_floret_text(file) if is_text else read_fasttext(file)
    spec, words = _spec_of(model), _words_of(model, keys)
    quantizer = TrainedSubwords(spec, _table_of(model, spec.entries), by_key=True, own=model.rows)
    provenance = {"source": file.name, "format": model.kind, "import": True}
    return write_table(quantizer, spec, path, words, metric=metric, force=force, provenance=provenance)


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
        raise ShapeError("a store holds at least one row: give the keys that it is to hold")
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
            raise ShapeError("a fastText model knows its words; keys are for floret tables")
        return list(keys)
    if model.words is None:
        raise ShapeError("a .floret file has no words: give the keys that the store is to hold")
    words = [word for word in model.words if model.kind == "fasttext" or word != END_OF_SENTENCE]
    try:
        return [word.decode() for word in words]
    except UnicodeDecodeError:
        return list(words)


def _begins_with_magic(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(4) == b"\xba\x16\x4f\x2f"
