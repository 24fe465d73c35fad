"""What is in a dump, from its first rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.checks import sound_rows
from vecstore.conversion.survey.findings import Finding, Findings
from vecstore.errors import OptionError
from vecstore.formats import Dump
from vecstore.keys.packed import PackedKeys

__all__ = ["Peek", "peek"]

ROWS = 10_000
SHOWN_ROWS = 5
COMPARED_ROWS, NEIGHBOURS = 1000, 10
UNIT = 1e-3  # a length so near to 1 is 1
SAYS_MORE = 0.1  # recall that the first dimensions keep beyond what any as many do


@dataclass(frozen=True)
class Peek:
    """What the first rows of a dump show.

    Attributes
    ----------
    rows_read : int
    shown : list of (key, vector)
        The first few sound rows.
    norms : (3,) float64
        Shortest, median and longest vector.
    is_normalised : bool
        All lengths are 1.
    repeated_keys, repeated_vectors : int
        Rows whose key, or vector, stood before.
    rank : int
        Dimensions, in directions of falling variance, that hold 99% of it.
    first_recall, any_recall : float
        Of the nearest ten among a thousand rows, how many the first quarter of the dimensions finds, and how many
        a random quarter finds.
    findings : list of Finding
        Bad rows, odd keys and what else is remarkable.
    """

    rows_read: int
    shown: list[tuple[Any, NDArray[np.float32]]]
    norms: NDArray[np.float64]
    is_normalised: bool
    repeated_keys: int
    repeated_vectors: int
    rank: int
    first_recall: float
    any_recall: float
    findings: list[Finding] = field(default_factory=list)

    @property
    def can_be_cut(self) -> bool:
        """Whether the first dimensions say more than others: trained to be cut (Matryoshka), or in PCA's order."""
        return self.first_recall > self.any_recall + SAYS_MORE


def peek(dump: Dump, rows: int = ROWS) -> Peek:
    """Look at the first rows of a dump, at most `rows`.

    Raises
    ------
    FormatError
        The dump is damaged where it was read.
    OptionError
        `rows` is below 1.
    """
    if rows < 1:
        raise OptionError(f"rows is 1 or more, found {rows}")
    findings, read = Findings(), 0
    keys: list[Any] = []
    kept: list[NDArray[np.float32]] = []
    for batch in dump.batches(min(rows, 8192)):
        few = min(len(batch), rows - read)
        sound = sound_rows(batch.vectors[:few])
        for row in np.flatnonzero(~sound).tolist():
            problem = batch.problems.get(row)
            findings.add(getattr(problem, "kind", "NaN, infinity or a huge value"), 1, [problem or f"row {read + row}"])
        packed = None if batch.keys is None or dump.key_type is None else PackedKeys(batch.keys, dump.key_type)
        findings.look_at(batch, read, packed)
        kept.append(batch.vectors[:few][sound])
        keys += [] if batch.keys is None else [key for key, good in zip(batch.keys, sound, strict=False) if good]
        read += few
        if read >= rows:
            break
    findings.look_at_source(dump, dump.notes)
    x = np.concatenate(kept) if kept else np.empty((0, dump.dimensions), np.float32)
    lengths = np.linalg.norm(x.astype(np.float64), axis=1)
    first, any_ = _recalls(x)
    return Peek(
        rows_read=read,
        shown=[(keys[row] if keys else row, x[row]) for row in range(min(SHOWN_ROWS, len(x)))],
        norms=np.quantile(lengths, [0, 0.5, 1]) if len(x) else np.zeros(3),
        is_normalised=bool(len(x)) and bool((np.abs(lengths - 1) < UNIT).all()),
        repeated_keys=len(keys) - len(set(keys)),
        repeated_vectors=len(x) - len({row.tobytes() for row in x}),
        rank=_rank(x),
        first_recall=first,
        any_recall=any_,
        findings=list(findings),
    )


def _rank(x: NDArray[np.float32]) -> int:
    if len(x) < 2:
        return x.shape[1]
    some = x[: 4 * COMPARED_ROWS].astype(np.float64)
    spectrum = np.linalg.svd(some - some.mean(axis=0), compute_uv=False) ** 2
    return int(np.searchsorted(np.cumsum(spectrum), 0.99 * spectrum.sum()) + 1) if spectrum.sum() > 0 else 0


def _recalls(x: NDArray[np.float32]) -> tuple[float, float]:
    """Return what the first quarter of the dimensions keeps of the nearest ten, and what a random quarter keeps."""
    x, width = x[:COMPARED_ROWS], x.shape[1] // 4
    if len(x) < 5 * NEIGHBOURS or width < 1:
        return 0.0, 0.0
    exact = _nearest(x)
    random = np.random.default_rng(0).permutation(x.shape[1])[:width]
    found = [_nearest(part) for part in (x[:, :width], x[:, random])]
    first, any_ = (float(np.mean([len({*a} & {*b}) for a, b in zip(exact, one, strict=True)])) for one in found)
    return first / NEIGHBOURS, any_ / NEIGHBOURS


def _nearest(x: NDArray[np.float32]) -> list[list[int]]:
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30)
    scores = unit @ unit.T
    np.fill_diagonal(scores, -np.inf)
    nearest: list[list[int]] = np.argpartition(-scores, NEIGHBOURS, axis=1)[:, :NEIGHBOURS].tolist()
    return nearest
