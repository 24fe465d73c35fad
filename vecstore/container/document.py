"""Take fields out of a JSON document that anybody may have written: there, of the right type, in range."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import isinf
from typing import Any, TypeVar

from vecstore.errors import CorruptError, UnsupportedVersionError

__all__ = ["field", "parse", "refuse_features", "whole"]

T = TypeVar("T")
MOST = 2**63 - 1
MOST_VALUES = 1 << 18
DEEPEST = 64
STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)  # also one without an end: no byte is read twice
MANY_DIGITS = re.compile(rb"[0-9]{309}")
NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def parse(body: bytes, path: object, *, most_values: int = MOST_VALUES) -> dict[str, Any]:
    """Return the JSON object that `body` is, or raise `CorruptError`.

    Refused are members that come twice, NaN, infinity, numbers that no float64 holds, text that is no Unicode (lone
    surrogates), more than `most_values` values, which take up to a hundred times the room of their text, and values
    nested too deep.
    """
    marks = b"" if _is_small(body, most_values) else STRING.sub(b"", body)
    if sum(map(marks.count, (b",", b"[", b"{"))) > most_values or _depth(marks) > DEEPEST:
        raise CorruptError("JSON of too many or too deep values: restore the file from a copy", path=path)
    try:
        if MANY_DIGITS.search(marks):
            raise ValueError("a whole number that is no float64")
        document = DECODER.decode(body.decode())
        if b"\\u" in body:
            json.dumps(document, ensure_ascii=False).encode()  # which fails for a half of a surrogate pair
    except (ValueError, RecursionError):
        raise CorruptError("not JSON: restore the file from a copy", path=path) from None
    if not isinstance(document, dict):
        raise CorruptError("not a JSON object: restore the file from a copy", path=path)
    return document


def _is_small(body: bytes, most_values: int) -> bool:
    """Return whether a document keeps all limits even if what its strings hold were values, as those of stores do."""
    values, opened = body.count(b","), body.count(b"[") + body.count(b"{")
    return values + opened <= most_values and opened <= DEEPEST and not MANY_DIGITS.search(body)


def _depth(marks: bytes) -> int:
    deepest = depth = 0
    for bracket in marks.translate(None, NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _distinct(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        raise ValueError("a member comes twice")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise ValueError("a number that is no float64")
    return number


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


DECODER = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_refused, parse_float=_finite)


def field(document: Mapping[str, Any], name: str, kind: type[T], path: object) -> T:
    """Return the field called `name`, which must be a `kind`; raises `CorruptError`."""
    value = document.get(name)
    if not isinstance(value, kind):
        found = "nothing" if name not in document else type(value).__name__
        raise CorruptError(f"member {name!r} is malformed", path=path, expected=kind.__name__, found=found)
    return value


def whole(document: Mapping[str, Any], name: str, path: object, *, least: int = 0, most: int = MOST) -> int:
    """Return the field called `name`, which must be a whole number from `least` to `most`; raises `CorruptError`."""
    value = document.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        expected = f"a whole number from {least}" + (f" to {most}" if most != MOST else "")
        raise CorruptError(f"member {name!r} is malformed", path=path, expected=expected, found=repr(value)[:40])
    return value


def refuse_features(document: Mapping[str, Any], known: frozenset[str], path: object) -> None:
    """Raise `UnsupportedVersionError` when the document asks of its reader what is not `known` here."""
    unknown = sorted({str(name) for name in field(document, "features", list, path)} - known)
    if unknown:
        raise UnsupportedVersionError(f"needs {', '.join(unknown)}, unknown to this vecstore: upgrade it", path=path)
