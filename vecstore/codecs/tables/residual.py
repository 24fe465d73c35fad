"""A quantizer on what a base leaves: tables that rows share, corrected row by row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Arrays, Codes, Floats, Quantizer, TrainedQuantizer
from vecstore.codecs.dataset import Block, Dataset
from vecstore.codecs.registry import step_class_in_file
from vecstore.codecs.tables.table import TableQuantizer, TrainedTable, decode_rows, encode_rows, fit_quantizer, is_base
from vecstore.errors import CodecError
from vecstore.keys.packed import PackedKeys

__all__ = ["Residual", "TrainedResidual"]

SAMPLE_ROWS = 1 << 15


@dataclass(frozen=True)
class Residual(TableQuantizer):
    """Represent a row by what a base gives for it, and a code of the difference.

    Written ``BASE/QUANTIZER``, where the base is one whose rows share tables, or `anchor`. Keys that the store does not
    hold are given what the base gives for them.
    """

    base: str
    fine: str

    name = "residual"
    is_base = False
    summary = "a quantizer on what a base (hash, qr, floret, hashembed, anchor) leaves"
    usage = "residual is written BASE/QUANTIZER, such as hash:25000:2/pq:10"

    @classmethod
    def from_arguments(cls, *arguments: str) -> Self:
        raise CodecError(f"residual: {cls.usage}")

    @staticmethod
    def of(base: Quantizer, fine: Quantizer) -> Residual:
        """Return the composition of two."""
        return Residual(str(base), str(fine))

    def __str__(self) -> str:
        return f"{self.base}/{self.fine}"

    def parts(self) -> tuple[Quantizer, Quantizer]:
        """Return the base and the quantizer of what it leaves."""
        base, fine = (_parsed(text) for text in (self.base, self.fine))
        if not is_base(base) or (isinstance(fine, TableQuantizer) and fine.by_row):
            raise CodecError(f"{self}: the quantizer after a base gives every row a code; {self.usage}")
        return base, fine

    def check_width(self, dimensions: int) -> None:
        for part in self.parts():
            part.check_width(dimensions)

    def fit_dataset(self, z: Floats, dataset: Dataset, *, seed: int) -> TrainedResidual:
        base, fine = self.parts()
        fitted = fit_quantizer(base, z, dataset, seed=seed)

        def blocks() -> Iterator[Block]:
            return (replace(block, vectors=_left(fitted, block)) for block in dataset.blocks())

        left = replace(dataset, blocks=blocks)
        numbers = np.random.default_rng(seed).permutation(dataset.total)[: SAMPLE_ROWS + len(dataset.spared)]
        numbers = numbers[~np.isin(numbers, dataset.spared)] if len(numbers) > len(dataset.spared) else numbers
        drawn = left.take(np.sort(numbers))
        sample = drawn.vectors[np.random.default_rng(seed).permutation(len(drawn.rows))]
        return TrainedResidual(fitted, fit_quantizer(fine, sample, left, seed=seed))

    def restore(self, dimensions: int, arrays: Arrays) -> TrainedResidual:
        base, fine = self.parts()
        return TrainedResidual(
            base.restore(dimensions, _under("base.", arrays)), fine.restore(dimensions, _under("fine.", arrays))
        )


class TrainedResidual(TrainedTable):
    """A trained base and a trained quantizer of what it leaves."""

    def __init__(self, base: TrainedQuantizer, fine: TrainedQuantizer) -> None:
        self._base, self._fine = base, fine
        self._table = base if isinstance(base, TrainedTable) else None
        self.shared = self._table is not None and self._table.shared
        if self._table is not None:
            self.by_key, self.most_rows = self._table.by_key, self._table.most_rows
        self.dimensions, self._cut = base.dimensions, base.code_bytes
        self.code_bytes = base.code_bytes + fine.code_bytes

    def encode(self, z: Floats) -> Codes:
        return self.encode_rows(z, None)

    def encode_rows(self, z: Floats, rows: NDArray[np.int64] | None, keys: PackedKeys | None = None) -> Codes:
        first = encode_rows(self._base, z, rows, keys)
        rest = encode_rows(self._fine, z - decode_rows(self._base, first, rows, keys), rows, keys)
        return np.concatenate([first, rest], axis=1)

    def decode_rows(self, codes: Codes, rows: NDArray[np.int64], keys: PackedKeys | None = None) -> Floats:
        first, rest = self._split(codes)
        return decode_rows(self._base, first, rows, keys) + decode_rows(self._fine, rest, rows, keys)

    def unknown(self, keys: PackedKeys) -> Floats:
        return super().unknown(keys) if self._table is None else self._table.unknown(keys)

    def _split(self, codes: Codes) -> tuple[Codes, Codes]:
        return np.ascontiguousarray(codes[:, : self._cut]), np.ascontiguousarray(codes[:, self._cut :])

    @property
    def facts(self) -> dict[str, Any]:
        return {**self._base.facts, **self._fine.facts}

    @property
    def arrays(self) -> Arrays:
        parts = {"base": self._base, "fine": self._fine}
        return {f"{part}.{name}": array for part, step in parts.items() for name, array in step.arrays.items()}


def _left(base: TrainedQuantizer, block: Block) -> Floats:
    """Return the difference between rows and what the base gives for them."""
    codes = encode_rows(base, block.vectors, block.rows, block.keys)
    return block.vectors - decode_rows(base, codes, block.rows, block.keys)


def _parsed(text: str) -> Quantizer:
    name, *arguments = text.split(":")
    step = step_class_in_file(name).from_arguments(*arguments)
    if not isinstance(step, Quantizer):
        raise CodecError(f"{text!r} is no quantizer: {Residual.usage}")
    return step


def _under(prefix: str, arrays: Arrays) -> Arrays:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
