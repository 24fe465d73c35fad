"""Sizes in bytes as people write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vecstore.errors import OptionError

__all__ = ["format_bytes", "parse_size", "row_bytes"]

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
PARTS = {"keys": "key", "model": "model", "order": "row number", "norms": "length"}  # of a row, by the part's name
BINARY_UNITS = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?i?)b?\s*", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Return the bytes that a size such as ``512MB`` (10**6) or ``1GiB`` (2**30) stands for.

    Raises
    ------
    OptionError
        It is no positive size.

    Examples
    --------
    >>> parse_size("512MB"), parse_size("1.5 GiB"), parse_size("65536")
    (512000000, 1610612736, 65536)
    """
    found = SIZE.fullmatch(text)
    factor = (UNITS | BINARY_UNITS).get(found[2].lower()) if found else None
    size = int(float(found[1]) * factor) if found and factor else 0
    if size < 1:
        raise OptionError(f"{text!r} is not a size; write it as 512MB, 1GiB or a number of bytes")
    return size


def format_bytes(size: float) -> str:
    """Return a size with its decimal unit.

    Examples
    --------
    >>> format_bytes(999), format_bytes(15_224_832), format_bytes(2_000_000_000)
    ('999 B', '15.2 MB', '2.0 GB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.95 or (unit == "B" and size < 1000):
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def row_bytes(size: Mapping[str, Any], rows: int, dimensions: int) -> str:
    """Return what a row takes on disk, and what that is made of; `size` is what `Store.info` has under ``bytes``.

    Examples
    --------
    >>> size = {"code": [64], "per_vector": 84.5, "parts": {"codes.0": 64000, "keys": 18000, "model": 2000}}
    >>> row_bytes(size, 1000, 384)
    '84.5 bytes on disk: code 64, key 18.0, model 2.0, other 0.5; 1,536 as float32'
    """
    shares = {name: size["parts"][part] / rows for part, name in PARTS.items() if part in size["parts"]}
    other = size["per_vector"] - sum(size["code"]) - sum(shares.values())
    made = [f"code {' + '.join(map(str, size['code']))}"]
    made += [f"{name} {share:.1f}" for name, share in (*shares.items(), ("other", other)) if share >= 0.05]
    return f"{size['per_vector']:.1f} bytes on disk: {', '.join(made)}; {4 * dimensions:,} as float32"
