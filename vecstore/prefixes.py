"""How far the first bytes of `tcq` codes are to be trusted in a search: measured at conversion, kept in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.codec import Codec
from vecstore.codecs.trellis_lookups import Lookups
from vecstore.errors import ShapeError
from vecstore.members import certificate_in
from vecstore.ranking import Raw, raw_scores
from vecstore.trellis_sweeping import Coefficients

__all__ = ["Plan", "measure_prefixes", "plan_of"]

Plan: TypeAlias = tuple[tuple[int, float], ...]  # bytes of each stage but the last, and the limit of its scores
RECALLS = (0.9, 0.95, 0.98, 0.99, 0.998, 0.999)  # shares of the neighbours that a scan of all bytes finds
DEFAULT_RECALL = 0.998
SAFETY = 0.3  # standard deviations: real queries lie farther from the rows than held-out rows do
PREFIXES = 8  # at most, that are measured
QUERIES, SAMPLE_ROWS = 200, 20_000
FETCHING = 25  # what fetching a byte of a single row costs, in look-ups of a row that is swept


def measure_prefixes(codec: Codec, held_out: Floats, sample: Floats, *, raw: Raw) -> dict[str, Any] | None:
    """Return what a search by the first bytes of codes needs to know, or None where codes cannot be searched so.

    Parameters
    ----------
    held_out, sample : (n, d) float32
        Queries and rows, ready for the codec.
    raw : {"product", "unit", "squared"}
        How rows are scored.

    Returns
    -------
    dict
        ``limits``: for each number of bytes, in standard deviations above the mean score of all rows, what a row's
        score by them has to be so that of the ten nearest rows (by the original vectors) that all bytes find, no more
        are lost than RECALLS say; ``stages``: at which bytes a search by DEFAULT_RECALL stops to look, none if
        sweeping all bytes of all rows is expected to be faster.
    """
    coefficients = Coefficients.of(codec.layers[0]) if len(codec.layers) == 1 else None
    if coefficients is None or len(held_out) == 0 or len(sample) < 2:
        return None
    queries, rows = held_out[:QUERIES], sample[:SAMPLE_ROWS]
    y = coefficients.quantizer.coefficients(codec.layers[0].encode(rows))
    weights, biases = coefficients.weights(queries)

    def scores(size_bytes: int) -> Floats:
        count = coefficients.count(size_bytes)
        products = weights[:, :count] @ y[:, :count].T + biases[:, None].astype(np.float32)
        return raw_scores(raw, products, coefficients.norms(y[:, :count]))

    k = min(10, len(rows))
    true = _best(raw_scores(raw, queries @ rows.T, np.einsum("ij,ij->i", rows, rows)), k)
    found = true & _best(scores(codec.code_bytes), k)
    limits, passing = {}, {}
    for size in _candidates(coefficients.quantizer.layout.edges.tolist()):
        by_prefix = scores(size)
        heights = (by_prefix - by_prefix.mean(axis=1, keepdims=True)) / (by_prefix.std(axis=1, keepdims=True) + 1e-30)
        # A row may be lost in either of two stages.
        lowest = {recall: float(np.quantile(heights[found], (1 - recall) / 2)) - SAFETY for recall in RECALLS}
        limits[size] = {str(recall): round(height, 3) for recall, height in lowest.items()}
        passing[size] = float((heights >= lowest[DEFAULT_RECALL]).mean())
    return {"limits": {str(size): found for size, found in limits.items()}, "stages": _stages(coefficients, passing)}


def plan_of(
    descriptions: Sequence[Mapping[str, Any]], size_bytes: int, recall: float | None, prefix: int | str
) -> Plan:
    """Return the stages of a search, apart from the last one.

    Parameters
    ----------
    descriptions : of the shards
    size_bytes : int
        Of a code.
    recall : float or None
        None for DEFAULT_RECALL.
    prefix : int or "auto"
        Bytes that are swept; all of them means that there is one stage.

    Raises
    ------
    ShapeError
        Not what was measured.
    """
    if recall is not None and not 0 < recall <= RECALLS[-1]:
        raise ShapeError(f"recall is a share up to {RECALLS[-1]}, found {recall!r}; exact=True misses nothing")
    wanted = str(min(known for known in RECALLS if known >= (recall or DEFAULT_RECALL)))
    measured = [_measured(description) for description in descriptions]
    usable = [set(limits) for limits, _ in measured]
    reachable = sorted(size for size in set.intersection(*usable) if size < size_bytes)
    if prefix == "auto":
        stages = measured[0][1]
    elif prefix == size_bytes:
        stages = []
    elif prefix in reachable:
        stages = [int(prefix), *(size for size in reachable if size >= 2 * int(prefix))][:2]
    else:
        choices = ", ".join(map(str, [*reachable, size_bytes]))
        raise ShapeError(f"prefix is a number of bytes that was measured, or all: {choices}; found {prefix!r}")
    stages = [size for size in stages if size in reachable]
    return tuple((size, min(limits[size].get(wanted, -np.inf) for limits, _ in measured)) for size in stages)


def _measured(description: Mapping[str, Any]) -> tuple[dict[int, dict[str, float]], list[int]]:
    """Return the limits and the stages that a description tells, as far as they are sound."""
    about = certificate_in(description).get("prefixes")
    limits: dict[int, dict[str, float]] = {}
    if not isinstance(about, Mapping) or not isinstance(about.get("limits"), Mapping):
        return limits, []
    for size, heights in about["limits"].items():
        if str(size).isdecimal() and isinstance(heights, Mapping):
            limits[int(size)] = {r: float(h) for r, h in heights.items() if isinstance(h, (int, float))}
    stages = about.get("stages")
    known = [size for size in stages if isinstance(size, int) and size in limits] if isinstance(stages, list) else []
    return limits, known if all(a < b for a, b in pairwise(known)) else []


def _best(scores: Floats, k: int) -> NDArray[np.bool_]:
    """Return which rows (q, n) are among the best k of a query."""
    return np.asarray(scores >= np.partition(scores, -k, axis=1)[:, -k, None])


def _candidates(edges: list[int]) -> list[int]:
    """Return the ends of groups, from a sixth to two thirds of a code, that are tried."""
    inner = [edge for edge in edges if edges[-1] / 6 <= edge <= edges[-1] * 2 / 3]
    return inner if len(inner) <= PREFIXES else [inner[i * (len(inner) - 1) // (PREFIXES - 1)] for i in range(PREFIXES)]


def _stages(coefficients: Coefficients, passing: dict[int, float]) -> list[int]:
    """Return the one or two first stages that are expected to cost least, or none.

    passing[size] is the share of rows that go on after so many bytes.
    """
    quantizer = coefficients.quantizer
    size_bytes = quantizer.code_bytes
    count = {
        size: len(Lookups.of(quantizer.layout, quantizer.states, quantizer.levels, size).planes)
        for size in (*passing, size_bytes)
    }
    costs: list[tuple[float, list[int]]] = [(count[size_bytes], [])]
    for first in passing:
        for last in (size for size in passing if size >= first):
            cost = count[first] + passing[last] * (count[size_bytes] + FETCHING * size_bytes)
            if last > first:
                cost += passing[first] * (count[last] + FETCHING * last)
            costs.append((cost, sorted({first, last})))
    return min(costs)[1]
