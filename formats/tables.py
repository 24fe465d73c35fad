"""Files of trained tables, which `vecstore.convert` imports as they are; reading them is in `vecstore.conversion`."""

from __future__ import annotations

import struct

from vecstore.formats.fasttext import MAGIC, is_floret_header
from vecstore.formats.format import SURE, Format
from vecstore.formats.head import Head

__all__ = ["FORMATS"]


def _sniff_fasttext(head: Head) -> float:
    is_text = is_floret_header(head.lines[0]) if head.lines else False
    return SURE if is_text or head.data.startswith(struct.pack("<i", MAGIC)) else 0.0


FORMATS = (
    Format(
        "fasttext",
        (".bin", ".floret"),
        "fastText and floret models with subwords: imported exactly, unknown words included",
        sniff=_sniff_fasttext,
        options=("keys",),
        table=True,
    ),
    Format(
        "hashembed",
        (),
        "HashEmbed layer of thinc and spaCy (safetensors, torch, npy): imported exactly",
        options=("keys", "array"),
        table=True,
    ),
    Format(
        "dlrm",
        (),
        "quotient-remainder tables of DLRM (safetensors, torch): imported exactly",
        options=("array",),
        table=True,
    ),
)
