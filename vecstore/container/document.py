"""Take fields out of a JSON document that anybody may have written: there, of the right type, in range."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from vecstore.errors import CorruptError, UnsupportedVersionError

__all__ = ["field", "parse", "refuse_features", "whole"]

T = TypeVar("T")
MOST = 2**63 - 1


def parse(body: bytes, path: str | Path) -> dict[str, Any]:
    """Return the JSON object that `body` is, or raise `CorruptError`."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise CorruptError("not JSON: restore the file from a copy", path=path) from None
    if not isinstance(document, dict):
        raise CorruptError("not a JSON object: restore the file from a copy", path=path)
    return document


def field(document: Mapping[str, Any], name: str, kind: type[T], path: str | Path) -> T:
    """Return the field called `name`, which must be a `kind`; raises `CorruptError`."""
    value = document.get(name)
    if not isinstance(value, kind):
        found = "nothing" if name not in document else type(value).__name__
        raise CorruptError(f"member {name!r} is malformed", path=path, expected=kind.__name__, found=found)
    return value


def whole(document: Mapping[str, Any], name: str, path: str | Path, *, least: int = 0, most: int = MOST) -> int:
    """Return the field called `name`, which must be a whole number from `least` to `most`; raises `CorruptError`."""
    value = document.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        expected = f"a whole number from {least}" + (f" to {most}" if most != MOST else "")
        raise CorruptError(f"member {name!r} is malformed", path=path, expected=expected, found=repr(value)[:40])
    return value


def refuse_features(document: Mapping[str, Any], known: frozenset[str], path: str | Path) -> None:
    """Raise `UnsupportedVersionError` when the document asks of its reader what is not `known` here."""
    unknown = sorted({str(name) for name in field(document, "features", list, path)} - known)
    if unknown:
        raise UnsupportedVersionError(f"needs {', '.join(unknown)}, unknown to this vecstore: upgrade it", path=path)
