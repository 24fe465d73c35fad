"""Static models of sentences, as model2vec and sentence-transformers write them: a table, a tokenizer, weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.dump import Batch, Dump, to_float32
from vecstore.formats.format import SURE, Format
from vecstore.formats.head import Head
from vecstore.formats.reading import ReadingOptions
from vecstore.formats.safetensors import read_safetensors

from vecstore.errors import FormatError

__all__ = ["FORMATS", "StaticModel", "StaticModelDump", "Tokens", "read_static_model"]

# Where the table, the tokenizer and the configuration of each kind of folder lie.
MODEL2VEC = ("model.safetensors", "tokenizer.json", "config.json")
STATIC_EMBEDDING = ("model.safetensors", "tokenizer.json", "config_sentence_transformers.json")
NESTED = tuple(f"0_StaticEmbedding/{name}" for name in STATIC_EMBEDDING[:2]) + STATIC_EMBEDDING[2:]
LAYOUTS = (MODEL2VEC, STATIC_EMBEDDING, NESTED)
TABLES = ("embeddings", "embedding.weight")  # what model2vec and sentence-transformers call it

MODEL2VEC_TOKENS = 512  # of a text, where its configuration does not say
MOST_BYTES = 1 << 26  # of a tokenizer or a configuration


@dataclass(frozen=True)
class Tokens:
    """How a text becomes rows of a table, and their mean.

    Attributes
    ----------
    tokenizer : bytes
        ``tokenizer.json`` of the library tokenizers.
    count : int
        How many tokens it knows, as the largest number of one tells.
    weights : (count,) float32 or None
        What each token's vector is multiplied by.
    rows : (count,) uint32 or None
        The row of each token; its number where there is none.
    normalize : bool
        Whether vectors of texts have length one.
    skip : tuple of int
        Tokens that are left out of the mean.
    max_tokens, max_characters : int or None
        Texts are cut there; the characters first.
    """

    tokenizer: bytes
    count: int
    weights: NDArray[np.float32] | None = None
    rows: NDArray[np.uint32] | None = None
    normalize: bool = False
    skip: tuple[int, ...] = ()
    max_tokens: int | None = None
    max_characters: int | None = None


@dataclass(frozen=True)
class StaticModel:
    """A model whose vector of a text is the mean of its tokens' vectors.

    Attributes
    ----------
    path : Path
        The file of the table.
    table : (rows, d) array of floats or whole numbers, mapped
    tokens : Tokens
    """

    path: Path
    table: NDArray[Any]
    tokens: Tokens


class StaticModelDump(Dump):
    """The table of a static model; row is token, unless the model says otherwise."""

    def __init__(self, model: StaticModel) -> None:
        rows, dimensions = model.table.shape
        super().__init__(model.path, format="static-model", rows=rows, dimensions=dimensions, key_type=None)
        self.model = model

    def _batches(self, rows: int) -> Iterator[Batch]:
        table = self.model.table
        for start in range(0, len(table), rows):
            piece = to_float32(table[start : start + rows])
            yield Batch(piece, None, {}, (start + len(piece)) / len(table))


def read_static_model(source: Path, tokenizer: Path | None = None) -> StaticModel:
    """Return the model in a folder; or in a safetensors file with one table, with its tokenizer beside it.

    A folder of model2vec, or of sentence-transformers with a StaticEmbedding. Tokens that the tokenizer does not know
    count in the mean, but not in model2vec's.

    Raises
    ------
    FormatError
        No such model, or a damaged one; a tokenizer with tokens for which the table has no row.
    """
    if tokenizer is not None:
        return _model(source, tokenizer, {})
    for table, beside, settings in LAYOUTS:
        if all((source / name).is_file() for name in (table, beside, settings)):
            config = _json(source / settings)
            options = _of_model2vec(config) if settings == "config.json" else {"normalize": _normalizes(source)}
            return _model(source / table, source / beside, options)
    raise FormatError(
        "no static model; a safetensors file alone is given with its tokenizer=",
        path=source,
        expected=" or ".join(" + ".join(layout) for layout in LAYOUTS),
    )


def _model(table: Path, tokenizer: Path, settings: dict[str, Any]) -> StaticModel:
    arrays = read_safetensors(table)
    text, known = _bytes(tokenizer), _vocabulary(tokenizer)
    count = max(known.values(), default=-1) + 1
    vectors = _table(arrays, table)
    rows, weights = (
        None if name not in arrays else _of_tokens(arrays[name], name, kinds, count, table)
        for name, kinds in (("mapping", "iu"), ("weights", "f"))
    )
    least, last = (0, count - 1) if rows is None else (int(rows.min(initial=0)), int(rows.max(initial=0)))
    if not count or least < 0 or last >= len(vectors):
        raise FormatError(
            "the table has no row for some tokens; is it that tokenizer's?",
            path=table,
            expected=f"{last + 1:,} rows",
            found=f"{len(vectors):,}",
        )
    if settings.pop("model2vec", False):
        unknown = _unknown(tokenizer, known)
        settings["skip"] = () if unknown is None else (unknown,)
        if settings["max_tokens"] is not None:  # it spares the tokenizer the rest of a long text
            settings["max_characters"] = settings["max_tokens"] * int(median(map(len, known)))
    return StaticModel(
        table,
        vectors,
        Tokens(
            text,
            count,
            None if weights is None else to_float32(weights),
            None if rows is None else rows.astype(np.uint32),
            **settings,
        ),
    )


def _of_model2vec(config: dict[str, Any]) -> dict[str, Any]:
    most = config.get("max_length", MODEL2VEC_TOKENS)
    return {
        "model2vec": True,
        "normalize": bool(config.get("normalize", False)),
        "max_tokens": most if type(most) is int and 0 < most < 1 << 31 else None,
    }


def _normalizes(folder: Path) -> bool:
    path = folder / "modules.json"
    modules = _parsed(path, list) if path.is_file() else []
    return any(isinstance(each, dict) and str(each.get("type", "")).endswith(".Normalize") for each in modules)


def _table(arrays: dict[str, NDArray[Any]], path: Path) -> NDArray[Any]:
    named = [arrays[name] for name in TABLES if name in arrays]
    found = named or [array for array in arrays.values() if array.ndim == 2]
    # Whole numbers of a byte are what model2vec makes of a table for less memory: they are taken as they are.
    sound = len(found) == 1 and found[0].ndim == 2 and 0 not in found[0].shape
    if not sound or not (found[0].dtype.kind == "f" or found[0].dtype == np.int8):
        shown = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in sorted(arrays.items())[:10])
        raise FormatError(
            "holds no table of numbers", path=path, expected=" or ".join(TABLES), found=shown or "nothing"
        )
    return found[0]


def _of_tokens(array: NDArray[Any], name: str, kinds: str, tokens: int, path: Path) -> NDArray[Any]:
    if array.shape != (tokens,) or array.dtype.kind not in kinds:
        found = f"{array.dtype}{list(array.shape)}"
        raise FormatError(
            f"has malformed {name}", path=path, expected=f"one for each of {tokens:,} tokens", found=found
        )
    return array


def _vocabulary(path: Path) -> dict[str, int]:
    """Return the number of each token of a ``tokenizer.json``, of whatever kind its model is."""
    whole = _json(path)
    model = whole.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    try:
        if isinstance(vocabulary, list):  # Unigram: pieces with their scores
            found = {piece[0]: number for number, piece in enumerate(vocabulary)}
        else:
            found = dict(vocabulary.items())  # type: ignore[union-attr]
        found |= {token["content"]: token["id"] for token in whole.get("added_tokens") or []}
    except (AttributeError, TypeError, KeyError, IndexError, ValueError):
        found = {"": -1}
    if not all(type(number) is int and 0 <= number < 1 << 31 for number in found.values()):
        raise FormatError("is no tokenizer of the library tokenizers, or a damaged one", path=path)
    return found


def _unknown(path: Path, known: dict[str, int]) -> int | None:
    model = _json(path)["model"]
    found = model.get("unk_id") if isinstance(model.get("vocab"), list) else known.get(str(model.get("unk_token")))
    return found if type(found) is int else None


def _json(path: Path) -> dict[str, Any]:
    return _parsed(path, dict)


def _parsed(path: Path, kind: type) -> Any:
    try:
        found = json.loads(_bytes(path))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"is no JSON: {error}", path=path) from None
    if not isinstance(found, kind):
        raise FormatError("is another kind of JSON", path=path, expected=kind.__name__, found=type(found).__name__)
    return found


def _bytes(path: Path) -> bytes:
    if not path.is_file() or path.stat().st_size > MOST_BYTES:
        raise FormatError(f"is no file of at most {MOST_BYTES:,} bytes", path=path)
    return path.read_bytes()


def _open(head: Head, options: ReadingOptions) -> Dump:
    return StaticModelDump(read_static_model(head.path))


def _sniff(head: Head) -> float:
    return SURE if any(all((head.path / name).is_file() for name in layout) for layout in LAYOUTS) else 0.0


FORMATS = (
    Format(
        "static-model",
        (),
        "Folder of model2vec, or of sentence-transformers with a StaticEmbedding",
        open=_open,
        sniff=_sniff,
    ),
)
