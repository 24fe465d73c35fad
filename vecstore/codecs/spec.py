"""The specification language: ``pca:128,sq:8``, ``bin/sq:8``, ``f32,zstd``.

Steps are separated by commas, a step's parameters by colons, layers by a slash, the coarse one first. A layer is
transforms, then exactly one quantizer, then byte steps. Before the first layer may stand ``cells:K``, which is no part
of it: all layers then code what is left of a vector when its cell's centroid is taken away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vecstore.codecs.base import ByteStep, Floats, Quantizer, Step, Transform
from vecstore.codecs.partition import Cells
from vecstore.codecs.registry import step_class
from vecstore.errors import CodecError

if TYPE_CHECKING:
    from vecstore.codecs.codec import Codec
    from vecstore.codecs.dataset import Dataset

__all__ = ["CodecSpec", "LayerSpec", "codec"]


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


@dataclass(frozen=True)
class CodecSpec:
    """What to train: one layer, or a coarse layer that is scanned and a fine one that rescoring and lookup read.

    With `cells` rows are stored cell by cell, and the layers code their residuals.
    """

    layers: tuple[LayerSpec, ...]
    cells: Cells | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.layers) <= 2:
            raise CodecError(f"{str(self)!r}: one layer, or two as coarse/fine")
        if len(self.layers) == 2 and self.layers[0].byte_steps:
            raise CodecError(f"{str(self)!r}: the coarse layer is scanned, so it cannot be compressed by byte steps")

    def fit(self, x: Floats, *, seed: int = 0, rows: int | None = None, dataset: Dataset | None = None) -> Codec:
        """Train on a sample and return the trained codec.

        Parameters
        ----------
        x : (n, d) float32
            Sample of the vectors to come.
        seed : int
            Of everything random in training; the same sample and seed give the same codec.
        rows : int, optional
            Of the store to come (of each of its shards), by default those of `x`: the number of cells follows from
            them unless it is named.
        dataset : Dataset, optional
            All rows to come, for codecs whose rows share tables; by default they are taken to be `x`.

        Raises
        ------
        CodecError
            The specification does not fit `x`, such as more components than dimensions.
        ShapeError
            `x` is empty, not two-dimensional or holds NaN or infinity.
        """
        from vecstore.codecs.codec import fit

        return fit(self, x, seed=seed, rows=rows, dataset=dataset)

    def to_dict(self) -> list[list[dict[str, Any]]] | dict[str, Any]:
        """Return the JSON form: layers of steps, each ``{"name": ..., "configuration": {...}}``.

        With cells: ``{"cells": step, "layers": layers}``.
        """
        layers = [[step.to_dict() for step in layer.steps] for layer in self.layers]
        return layers if self.cells is None else {"cells": self.cells.to_dict(), "layers": layers}

    @classmethod
    def from_dict(cls, given: Sequence[Sequence[dict[str, Any]]] | dict[str, Any]) -> CodecSpec:
        """Undo `to_dict`; raises `CodecError` for anything that it does not give."""
        cells, layers = (given.get("cells"), given.get("layers")) if isinstance(given, dict) else (None, given)
        if not isinstance(layers, list) or not all(isinstance(steps, list) for steps in layers):
            raise CodecError(f"a codec is a list of layers, each a list of steps, found {layers!r}")
        return cls(
            tuple(LayerSpec(tuple(_step_from_dict(step) for step in steps)) for steps in layers),
            None if cells is None else _cells_from_dict(cells),
        )

    def __str__(self) -> str:
        layers = "/".join(map(str, self.layers))
        return layers if self.cells is None else f"{self.cells},{layers}"

    def __repr__(self) -> str:
        return f"codec({str(self)!r})"


def codec(spec: str | CodecSpec) -> CodecSpec:
    """Parse a codec specification.

    Parameters
    ----------
    spec : str
        Such as ``"opq:48"``, ``"pca:128,sq:8"``, ``"bin/sq:8"`` or ``"cells:256,tcq:48"``; ``vecstore codecs`` lists
        the steps.

    Raises
    ------
    UnknownCodecError
        A step of that name does not exist; the message names the nearest.
    CodecError
        The parameters or the order of the steps are wrong.

    Examples
    --------
    >>> codec("mrl:256, sq:8")
    codec('truncate:256,sq:8')
    >>> codec("bin/sq:8").layers[1].quantizer
    SQ(bits=8)
    >>> codec("cells:256, tcq:48").cells
    Cells(count=256)
    """
    if isinstance(spec, CodecSpec):
        return spec
    if not isinstance(spec, str):
        raise CodecError(f"a codec specification is a string such as 'pca:128,sq:8', found {type(spec).__name__}")
    first, comma, rest = spec.partition(",")
    cells = None
    if _pieces(first, spec)[0] == Cells.name:
        cells = Cells.from_arguments(*_pieces(first, spec)[1:])
        if not comma:
            raise CodecError(
                f"{spec!r}: after the cells comes what codes the rows in them, such as {spec.strip()},tcq:48"
            )
    texts = (spec if cells is None else rest).split("/")
    layers = [LayerSpec(tuple(_parsed(step, spec) for step in layer.split(","))) for layer in texts]
    return CodecSpec(tuple(_composed(layers)), cells)


def _composed(layers: list[LayerSpec]) -> list[LayerSpec]:
    """Return the layers, a base and the quantizer of what it leaves made one: hash:25000/pq:10 is no coarse layer."""
    if len(layers) < 2 or not layers[0].quantizer.is_base or layers[0].byte_steps or layers[1].transforms:
        return layers
    from vecstore.codecs.tables.residual import Residual

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
    return step_class(name).from_configuration(entry["configuration"])


def _cells_from_dict(entry: dict[str, Any]) -> Cells:
    if not isinstance(entry, dict) or entry.get("name") != Cells.name:
        raise CodecError(f"cells are a name and a configuration, found {entry!r}")
    return Cells.from_configuration(entry.get("configuration", {}))
