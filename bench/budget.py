"""Byte budgets, and which codecs are tried at each: a declared table, cut down to the codecs that are registered."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from vecstore.codecs.codec import CodecSpec, code_bytes_of, codec
from vecstore.codecs.registry import codec_names
from vecstore.conversion.tasks.options import DEFAULT_CODEC
from vecstore.errors import BudgetError, CodecError
from vecstore.shard.order import ORDER_BYTES

__all__ = ["ALWAYS", "FAMILIES", "Family", "always_bytes", "family_of", "parse_budgets", "specs_for"]

Rule: TypeAlias = Callable[[int, int], str | None]  # (budget in bytes, dimensions) -> specification
BUDGET = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(x|%|b?)", re.IGNORECASE)


@dataclass(frozen=True)
class Family:
    """A way to spend a budget.

    Attributes
    ----------
    name : str
        As the report calls it.
    rule : callable
        Budget and dimensions -> a specification of at most that many bytes, or None.
    default : bool
        Whether ``--codecs default`` tries it; ``all`` tries every one.
    quick : bool
        Whether ``default`` still tries it in a quick bench.
    """

    name: str
    rule: Rule
    default: bool = False
    quick: bool = False


def _scalar(budget: int, d: int) -> str | None:
    bits = 8 * budget // d
    if bits >= 16:
        return "f32" if bits >= 32 else "f16"
    known = [have for have in (8, 6, 4) if have <= bits]
    return f"sq:{known[0]}" if known else None


def _pca_scalar(bits: int) -> Rule:
    return lambda budget, d: f"pca:{8 * budget // bits},sq:{bits}" if 1 <= 8 * budget // bits < d else None


def _groups(name: str, *, most: int = 10**9, suffix: str = "", to_byte: int = 1) -> Rule:
    """Product quantizers: a byte a group (or two groups a byte), no more groups than dimensions."""
    return lambda budget, d: f"{name}:{budget * to_byte}{suffix}" if budget <= most and budget * to_byte <= d else None


def _bytes(name: str, *, finest: int = 8, beside: int = 0) -> Rule:
    """Codecs that are told their bytes, `beside` others of a row; they can use `finest` bits a dimension at most."""

    def rule(budget: int, d: int) -> str | None:
        own = budget - beside
        return f"{name}:{own}" if own >= 1 and 8 * own <= finest * d else None

    return rule


def _bits(name: str, *, finest: int, extra: int) -> Rule:
    """Codecs of whole bits a dimension, with `extra` bytes a row beside them."""

    def rule(budget: int, d: int) -> str | None:
        bits = min(8 * max(budget - extra, 0) // d, finest)
        return f"{name}:{bits}" if bits >= 1 else None

    return rule


def _binary(budget: int, d: int) -> str | None:
    return "center,rotate,bin" if 8 * budget >= d else f"pca:{8 * budget},rotate,bin"


def _two_layers(fine: str) -> Rule:
    """A bit a dimension to scan, the rest of the budget to rescore with."""

    def rule(budget: int, d: int) -> str | None:
        rest = budget - -(-d // 8)
        if rest < 8 or (fine == "sq:8" and rest < d) or (fine == "tcq" and rest >= d):
            return None
        return f"bin/{fine}" if ":" in fine else f"bin/{fine}:{rest}"

    return rule


def _lvq(budget: int, d: int) -> str | None:
    left = budget - 4  # scale and offset of a row
    return "lvq:4x8" if 8 * left >= 12 * d else "lvq:8" if left >= d else "lvq:4" if 2 * left >= d else None


# Slow trainers stop where their quality has stopped growing: beyond, they cost minutes and bring nothing.
FAMILIES = (
    Family("cells + tcq", _bytes("cells,tcq", beside=ORDER_BYTES), default=True, quick=True),
    Family("tcq", _bytes("tcq"), default=True, quick=True),
    Family("scalar", _scalar, default=True, quick=True),
    Family("pca + scalar", _pca_scalar(4), default=True, quick=True),
    Family("pca + scalar", _pca_scalar(8)),
    Family("opq", _groups("opq", most=64), default=True),
    Family("opq", _groups("opq", most=192)),
    Family("opq, 4 bits", _groups("opq", most=96, suffix="x4", to_byte=2), default=True),
    Family("pq", _groups("pq", most=128), default=True, quick=True),
    Family("vaq", _groups("vaq", most=128), default=True),
    Family("vaq, 4 bits", _groups("vaq", most=96, suffix="x4", to_byte=2)),
    Family("rq", _groups("rq", most=32)),
    Family("lsq", _groups("lsq", most=16)),
    Family("rabitq", _bits("rabitq", finest=8, extra=8), default=True, quick=True),
    Family("rotate + lloyd", _bits("rotate,lloyd", finest=8, extra=0)),
    Family("lvq", _lvq),
    Family("bin", _binary, default=True, quick=True),
    Family("bin / tcq", _two_layers("tcq")),
    Family("bin / scalar", _two_layers("sq:8"), default=True, quick=True),
    Family("cells + vaq", _groups("cells,vaq", most=128)),
)


# What a conversion takes unless it is told otherwise, and half of float32: measured whatever the budgets are.
ALWAYS = (DEFAULT_CODEC, "f16")


def always_bytes(dimensions: int) -> list[int]:
    """Return the bytes a vector that the codecs of `ALWAYS` take."""
    few = np.zeros((2, dimensions), np.float32)
    return [code_bytes_of(codec(spec), few, seed=0) for spec in ALWAYS]


def parse_budgets(text: str | Sequence[int], dimensions: int) -> list[int]:
    """Return budgets in bytes a vector, rising, each once.

    Parameters
    ----------
    text : str or sequence of int
        Separated by commas: bytes (``48``), ratios to float32 (``32x``), percent of float32 (``5%``).
    dimensions : int

    Raises
    ------
    BudgetError
        No budget, or one under a byte.

    Examples
    --------
    >>> parse_budgets("16, 4x, 25%, 32x", 384)
    [16, 48, 384]
    """
    found = []
    for piece in [piece.strip() for piece in text.split(",")] if isinstance(text, str) else map(str, text):
        match = BUDGET.fullmatch(piece)
        if match is None:
            raise BudgetError(f"{piece!r} is no budget: write bytes a vector (48), a ratio (32x) or percent (5%)")
        number, unit = float(match[1]), match[2].lower()
        if unit == "x" and number == 0:
            raise BudgetError(f"{piece!r} is no budget: a ratio is above 0")
        whole = 4 * dimensions
        size = whole / number if unit == "x" else whole * number / 100 if unit == "%" else number
        if size < 1:
            raise BudgetError(f"a budget of {piece!r} is {size:.2f} bytes a vector; a byte is the least")
        found.append(int(size))
    return sorted(set(found))


def specs_for(budgets: Sequence[int], dimensions: int, codecs: str = "default", *, quick: bool = False) -> list[str]:
    """Return the specifications to try, each once.

    Parameters
    ----------
    budgets : sequence of int
        Bytes a vector.
    dimensions : int
    codecs : str
        ``default``, ``all``, or specifications separated by commas where one begins a new codec (see
        `split_specs`); ``default`` may stand among them. ``default`` and ``all`` bring those of `ALWAYS`.
    quick : bool
        Leave out of ``default`` what takes long, or what others of the same kind stand for.

    Raises
    ------
    CodecError
        A specification that was named does not exist.
    """
    found: dict[str, None] = {}
    for part in split_specs(codecs):
        if part not in ("default", "all"):
            found[str(codec(part))] = None
            continue
        for budget in budgets:
            for family in FAMILIES:
                wanted = part == "all" or (family.quick if quick else family.default)
                spec = family.rule(budget, dimensions) if wanted else None
                if spec is not None and (parsed := _known(spec)) is not None:
                    found[str(parsed)] = None
        found |= dict.fromkeys(ALWAYS)
    return list(found)


def split_specs(text: str) -> list[str]:
    """Return the specifications in a list; a comma after a transform belongs to the specification.

    Blanks separate as well, and leave nothing to guess.

    Examples
    --------
    >>> split_specs("sq:8,pca:64,sq:4,bin/sq:8")
    ['sq:8', 'pca:64,sq:4', 'bin/sq:8']
    >>> split_specs("default f32,zstd")
    ['default', 'f32,zstd']
    """
    if re.search(r"\s", text.strip()) and not re.search(r",\s", text):
        return text.split()
    found: list[str] = []
    held = ""
    for piece in [piece.strip() for piece in text.split(",") if piece.strip()]:
        held = f"{held},{piece}" if held else piece
        if held in ("default", "all") or _complete(held):
            found.append(held)
            held = ""
    return [*found, held] if held else found


def family_of(spec: str) -> str:
    """Return what the report calls the family of a specification.

    Examples
    --------
    >>> family_of("pca:96,sq:4"), family_of("opq:96x4"), family_of("bin/sq:8"), family_of("f16")
    ('pca + scalar', 'opq, 4 bits', 'bin / scalar', 'scalar')
    """
    return " / ".join(_layer_family(layer) for layer in spec.split("/"))


def _layer_family(layer: str) -> str:
    steps = [step.partition(":") for step in layer.split(",")]
    names = {"sq": "scalar", "f16": "scalar", "f32": "scalar", "bf16": "scalar"}
    found = [names.get(name, name) for name, _, _ in steps if name not in ("normalize", "center", "rotate")]
    if any(name == "lloyd" for name, _, _ in steps) and "rotate" in layer:
        found = ["rotate", *found]
    if "bin" in found:
        found = ["bin"]
    quarter = any(arguments.endswith("x4") and name in ("pq", "opq", "vaq") for name, _, arguments in steps)
    return " + ".join(found) + (", 4 bits" if quarter else "")


def _known(spec: str) -> CodecSpec | None:
    """Return the parsed specification, or None where this installation lacks one of its steps."""
    names = {step.partition(":")[0] for layer in spec.split("/") for step in layer.split(",")}
    if not names <= {*codec_names(), "cells"}:
        return None
    try:
        return codec(spec)
    except CodecError:
        return None


def _complete(spec: str) -> bool:
    try:
        codec(spec)
    except CodecError:
        return False
    return True
