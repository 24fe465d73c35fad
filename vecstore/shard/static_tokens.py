"""What makes the table of a static model an encoder of texts: its tokenizer and weights, kept in the file.

docs/format.md, section 5 (Shards), specifies them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from vecstore.container.container import Container
from vecstore.container.document import field, whole
from vecstore.errors import CorruptError
from vecstore.formats.static_model import MOST_BYTES, Tokens

__all__ = ["kept", "read_tokens"]

MEMBER = "static"
TOKENIZER, WEIGHTS, ROWS = (f"{MEMBER}.{name}" for name in ("tokenizer", "weights", "rows"))
LEVEL = 19  # of Zstandard: a tokenizer is read once by each process, and written once
MOST_TOKENS = 1 << 31
MOST_TIMES = 1000  # that a tokenizer is longer than its frame: JSON with blanks is ten times as long
LIMITS = ("max_tokens", "max_characters")


def kept(tokens: Tokens) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the member of a description, and the parts, that hold this."""
    packed = zstandard.ZstdCompressor(level=LEVEL).compress(tokens.tokenizer)
    member = {
        "tokens": tokens.count,
        "tokenizer_bytes": len(tokens.tokenizer),
        "weights": tokens.weights is not None,
        "rows": tokens.rows is not None,
        "normalize": tokens.normalize,
        "skip": list(tokens.skip),
    }
    member |= {name: getattr(tokens, name) for name in LIMITS if getattr(tokens, name) is not None}
    parts: dict[str, NDArray[Any]] = {TOKENIZER: np.frombuffer(packed, np.uint8)}
    if tokens.weights is not None:
        parts[WEIGHTS] = tokens.weights.astype("<f4")
    if tokens.rows is not None:
        parts[ROWS] = tokens.rows.astype("<u4")
    return {MEMBER: member}, parts


def read_tokens(container: Container) -> Tokens | None:
    """Return what a file holds of this, checked; None where it holds none.

    Whether the table has a row for every token is not: there may be more rows in other files.
    """
    if MEMBER not in container.description:
        return None
    path = container.path
    about = field(container.description, MEMBER, dict, path)
    count = whole(about, "tokens", path, least=1, most=MOST_TOKENS)
    weights = container.expect(WEIGHTS, "<f4", (count,)).array() if field(about, "weights", bool, path) else None
    row_of = container.expect(ROWS, "<u4", (count,)).array() if field(about, "rows", bool, path) else None
    skip = tuple(whole({"skip": each}, "skip", path, most=count - 1) for each in field(about, "skip", list, path))
    if weights is not None and not np.isfinite(weights).all():
        raise CorruptError("weights of tokens are not finite", path=path)
    return Tokens(
        _unpacked(container, whole(about, "tokenizer_bytes", path, most=MOST_BYTES)),
        count,
        weights,
        row_of,
        field(about, "normalize", bool, path),
        skip,
        **{name: whole(about, name, path, least=1) for name in LIMITS if name in about},
    )


def _unpacked(container: Container, size: int) -> bytes:
    packed = container.expect(TOKENIZER, "|u1").array().tobytes()
    try:
        if zstandard.frame_content_size(packed) == size <= MOST_TIMES * len(packed):
            found = zstandard.ZstdDecompressor().decompress(packed, max_output_size=size)
            if len(found) == size:
                return found
    except zstandard.ZstdError:
        pass
    raise CorruptError("the tokenizer is no frame of as many bytes as described", path=container.path)
