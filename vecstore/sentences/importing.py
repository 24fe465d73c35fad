"""Import of static models: their tables become stores that hold the tokenizer too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vecstore.conversion.conversion import convert
from vecstore.conversion.report import Report
from vecstore.conversion.tasks.options import Coding
from vecstore.formats.static_model import StaticModelDump, read_static_model

__all__ = ["import_static"]


def import_static(
    source: str | Path,
    path: str | Path,
    codec: Coding | None = None,
    *,
    tokenizer: str | Path | None = None,
    **options: Any,
) -> Report:
    """Convert a static model of sentences; the store keeps its tokenizer, its weights and how it pools.

    `Encoder` makes vectors of texts from it. Rows are numbered by token. The table is coded, unlike
    what the other functions here import: ``codec="f32"`` keeps it as it is. `vecstore.convert` does the same with a
    folder.

    Parameters
    ----------
    source : path
        A folder of model2vec, or of sentence-transformers with a StaticEmbedding; or a safetensors file with one table.
    path : path
        The store to write.
    codec : as for `vecstore.convert`
        ``"sq:8"`` by default.
    tokenizer : path, optional
        ``tokenizer.json``, where `source` is a file.
    options
        Those of `vecstore.convert`.

    Raises
    ------
    FormatError
        No such model, or a damaged one.
    """
    model = read_static_model(Path(source), None if tokenizer is None else Path(tokenizer))
    return convert(StaticModelDump(model), path, codec, **options)
