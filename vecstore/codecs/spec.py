"""The specification language: ``pca:128,sq:8``, ``bin/sq:8``, ``f32,zstd``.

Steps are separated by commas, a step's parameters by colons, layers by a slash, the coarse one first. A layer is
transforms, then exactly one quantizer, then byte steps. Before the first layer may stand ``cells:K``, which is no part
of it: all layers then code what is left of a vector when its cell's centroid is taken away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vecstore.codecs.base import ByteStep, Quantizer, Step, Transform
from vecstore.codecs.partition import Cells
from vecstore.codecs.registry import step_class, step_class_in_file
from vecstore.codecs.tables.residual import Residual
from vecstore.codecs.tables.table import is_base
from vecstore.errors import CodecError

__all__ = ["LayerSpec", "cells_from_dict", "parse"]


@dataclass(frozen=True)
class LayerSpec:
    """The steps of one layer, in the order of encoding."""

    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        kinds = [step.kind for step in self.steps]
        if kinds.count("quantizer") != 1:
            found = "none" if "quantizer" not in kinds else "several"
            raise CodecError(
                f"{str(self)!r}: a layer has exactly one quantizer (f32, f16, sq:8, pq:M, ...), found {found}"
            )
        at = kinds.index("quantizer")
        if any(kind != "transform" for kind in kinds[:at]) or any(kind != "bytes" for kind in kinds[at + 1 :]):
            raise CodecError(f"{str(self)!r}: the order is transforms, one quantizer, then byte steps such as zstd")
        for step in self.byte_steps[1:]:
            if step.of_codes:
                raise CodecError(f"{str(self)!r}: {step.name} packs the codes themselves: it is the first byte step")

    @property
    def transforms(self) -> tuple[Transform, ...]:
        """The steps before the quantizer."""
        return tuple(step for step in self.steps if isinstance(step, Transform))

    @property
    def quantizer(self) -> Quantizer:
        """The one step that turns arrays into bytes."""
        return next(step for step in self.steps if isinstance(step, Quantizer))

    @property
    def byte_steps(self) -> tuple[ByteStep, ...]:
        """The steps after the quantizer."""
        return tuple(step for step in self.steps if isinstance(step, ByteStep))

    def __str__(self) -> str:
        return ",".join(map(str, self.steps))

    def to_list(self) -> list[dict[str, Any]]:
        """Return the JSON form: each step ``{"name": ..., "configuration": {...}}``."""
        return [step.to_dict() for step in self.steps]

    @classmethod
    def from_list(cls, steps: list[Any]) -> LayerSpec:
        """Undo `to_list`; raises `CodecError` for anything that it does not give."""
        return cls(tuple(map(_step_from_dict, steps)))


def parse(text: str) -> tuple[tuple[LayerSpec, ...], Cells | None]:
    """Read a specification: the layers, and the cells if there are any."""
    first, comma, rest = text.partition(",")
    cells = None
    if _pieces(first, text)[0] == Cells.name:
        cells = Cells.from_arguments(*_pieces(first, text)[1:])
        if not comma:
            raise CodecError(
                f"{text!r}: after the cells comes what codes the rows in them, such as {text.strip()},tcq:48"
            )
    layers = (text if cells is None else rest).split("/")
    specs = [LayerSpec(tuple(_parsed(step, text) for step in layer.split(","))) for layer in layers]
    return tuple(_composed(specs)), cells


def _composed(layers: list[LayerSpec]) -> list[LayerSpec]:
    """Return the layers, a base and the quantizer of what it leaves made one: hash:25000/pq:10 is no coarse layer."""
    if len(layers) < 2 or not is_base(layers[0].quantizer) or layers[0].byte_steps or layers[1].transforms:
        return layers
    whole = Residual.of(layers[0].quantizer, layers[1].quantizer)
    return [LayerSpec((*layers[0].transforms, whole, *layers[1].byte_steps)), *layers[2:]]


def _pieces(text: str, spec: str) -> list[str]:
    pieces = [piece.strip() for piece in text.split(":")]
    if "" in pieces:
        raise CodecError(f"{spec!r}: an empty step or parameter; write steps as name:parameter, separated by commas")
    return pieces


def _parsed(text: str, spec: str) -> Step:
    name, *arguments = _pieces(text, spec)
    if name == Cells.name:
        raise CodecError(f"{spec!r}: cells stand before everything else, once: all layers share them")
    return step_class(name).from_arguments(*arguments)


def _step_from_dict(entry: dict[str, Any]) -> Step:
    name = entry.get("name") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not isinstance(entry.get("configuration"), dict):
        raise CodecError(f"a step is a name and a configuration, found {entry!r}")
    return step_class_in_file(name).from_configuration(entry["configuration"])


def cells_from_dict(entry: dict[str, Any]) -> Cells:
    """Undo `Cells.to_dict`; raises `CodecError` for anything that it does not give."""
    if not isinstance(entry, dict) or entry.get("name") != Cells.name:
        raise CodecError(f"cells are a name and a configuration, found {entry!r}")
    return Cells.from_configuration(entry.get("configuration", {}))
