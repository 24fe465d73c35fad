"""A small static model of sentences, for stores that are damaged, forged, or given to other readers."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from vecstore.formats.static_model import StaticModel, StaticModelDump, Tokens

from vecstore.codecs.base import Floats

__all__ = ["token_table"]


def token_table(x: Floats) -> StaticModelDump:
    """Return a model whose tokens are the words ``w0``, ``w1`` ...; every third one shares the row of the one before.

    Parameters
    ----------
    x : (n, d) float32
        The table, whose first row is that of unknown words.
    """
    words = {"[UNK]": 0} | {f"w{i}": i + 1 for i in range(len(x) - 1)}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"},
    }
    rows = np.arange(len(x), dtype=np.uint32)
    tokens = Tokens(
        json.dumps(tokenizer).encode(),
        len(x),
        weights=(1 / (1 + rows.astype(np.float32))).astype(np.float32),
        rows=np.where(rows % 3 == 2, rows - 1, rows).astype(np.uint32),
        normalize=True,
        skip=(0,),
        max_tokens=512,
        max_characters=4096,
    )
    return StaticModelDump(StaticModel(Path(os.devnull), x, tokens))
