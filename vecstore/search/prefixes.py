"""How far the first bytes of `tcq` codes are to be trusted in a search: measured at conversion, kept in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.codec import Codec
from vecstore.codecs.trellis.lookups import COARSE_BITS, Lookups
from vecstore.errors import ShapeError
from vecstore.search.ranking import Raw, raw_scores
from vecstore.search.trellis_sweeping import Coefficients, Plan
from vecstore.shard.certificate import certificate_in

__all__ = ["measure_prefixes", "plan_of"]

RECALLS = (
    0.3,
    0.6,
    0.8,
    0.9,
    0.95,
    0.98,
    0.99,
    0.998,
    0.999,
)  # shares of the neighbours that a scan of all bytes finds
DEFAULT_RECALL = 0.998
LEAST_ROWS = 1 << 17  # for a few bytes to be swept unless asked for: among fewer rows a sweep of all is as fast
SAFETY = 0.3  # standard deviations of limits: real queries lie farther from the rows than held-out rows do
STEP = 8  # bytes: what of a row lies together
QUERIES, SAMPLE_ROWS, NEIGHBORS = 200, 20_000, 10
# What things cost, in nanoseconds: a look-up of a row that is swept and each of its sources, eight bytes of a row, and
# all of a row by itself.
LOOKUP, SOURCE, SWEEPING, FETCHING = 0.01, 0.004, 0.3, 100.0
THINNING = 0.1  # of the rows that pass the limit in a sample, those that pass the margin as well in a large store


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
        ``bits``: COARSE_BITS, with which was measured; ``rows``: among how many; ``limits`` and ``margins``: for each
        number of bytes, what the height and the margin of a `Plan` have to be so that of the ten nearest rows (by the
        original vectors) that all bytes find, no more are lost than RECALLS say; ``swept``: for each of RECALLS, how
        many bytes it is expected to be the fastest to sweep, possibly all.
    """
    coefficients = Coefficients.of(codec.layers[0]) if len(codec.layers) == 1 and codec.partition is None else None
    if coefficients is None or len(held_out) == 0 or len(sample) < 2:
        return None
    queries, rows = held_out[:QUERIES], sample[:SAMPLE_ROWS]
    codes = codec.layers[0].encode(rows)
    coarse = coefficients.coarse.coefficients(codes)
    weights, biases = coefficients.weights(queries)

    def scores(y: Floats) -> Floats:
        products = weights[:, : y.shape[1]] @ y.T + biases[:, None].astype(np.float32)
        return raw_scores(raw, products, coefficients.norms(y))

    k = min(NEIGHBORS, len(rows))
    by_all = scores(coefficients.quantizer.coefficients(codes))
    last = np.partition(by_all, -k, axis=1)[:, -k, None]
    found = _best(raw_scores(raw, queries @ rows.T, np.einsum("ij,ij->i", rows, rows)), k) & (by_all >= last)
    limits: dict[str, dict[str, float]] = {}
    margins: dict[str, dict[str, float]] = {}
    passing: dict[float, dict[int, float]] = {recall: {} for recall in RECALLS}
    for size in _sizes(coefficients):
        by_prefix = scores(coarse[:, : coefficients.count(size)])
        gaps = by_all - by_prefix
        heights = (by_prefix - by_prefix.mean(axis=1, keepdims=True)) / (by_prefix.std(axis=1, keepdims=True) + 1e-30)
        # A neighbour's own score bounds the last one's from above: so margins hold in stores of any size.
        below = (gaps - gaps.mean(axis=1, keepdims=True)) / (gaps.std(axis=1, keepdims=True) + 1e-30)
        lost = {recall: (1 - recall) / 2 for recall in RECALLS}  # by the limit, and as many by the margin
        lowest = {recall: float(np.quantile(heights[found], share)) - SAFETY for recall, share in lost.items()}
        widest = {recall: float(np.quantile(below[found], 1 - share)) for recall, share in lost.items()}
        limits[str(size)] = {str(recall): round(height, 3) for recall, height in lowest.items()}
        margins[str(size)] = {str(recall): round(margin, 3) for recall, margin in widest.items()}
        for recall, height in lowest.items():
            passing[recall][size] = float((heights >= height).mean())
    sizes = (*passing[DEFAULT_RECALL], codec.code_bytes)
    sweeping = {size: _sweeping(coefficients.lookups(size), size) for size in sizes}
    swept = {str(recall): _fastest(sweeping, shares) for recall, shares in passing.items()}
    return {"bits": COARSE_BITS, "rows": len(rows), "limits": limits, "margins": margins, "swept": swept}


def plan_of(
    descriptions: Sequence[Mapping[str, Any]], size_bytes: int, recall: float | None, prefix: int | str, *, rows: int
) -> Plan:
    """Return how a search looks at codes.

    Parameters
    ----------
    descriptions : of the shards
    size_bytes : int
        Of a code.
    recall : float or None
        Share of what all bytes find that is to be found; None for DEFAULT_RECALL where fewer bytes are swept.
    prefix : int or "auto"
        Bytes that are swept; "auto" for all, unless a recall is given for so many rows that fewer are faster.
    rows : int

    Raises
    ------
    ShapeError
        Not what was measured.
    """
    if recall is not None and not 0 < recall <= RECALLS[-1]:
        raise ShapeError(f"recall is a share up to {RECALLS[-1]}, found {recall!r}; exact=True misses nothing")
    if prefix == "auto" and (recall is None or rows < LEAST_ROWS):
        return Plan()
    wanted = str(min(known for known in RECALLS if known >= (recall or DEFAULT_RECALL)))
    measured = [_measured(description, wanted) for description in descriptions]
    reachable = sorted(
        size for size in set.intersection(*(set(plans) for plans, _, _ in measured)) if size < size_bytes
    )
    size = measured[0][1] if prefix == "auto" else prefix
    if prefix not in ("auto", size_bytes, *reachable):
        choices = ", ".join(map(str, [*reachable, size_bytes]))
        raise ShapeError(f"prefix is a number of bytes that was measured, or all: {choices}; found {prefix!r}")
    if size not in reachable:
        return Plan()
    sizes = (int(size), *(other for other in reachable if other >= 2 * int(size)))[:2]
    margins = tuple(max(plans[each][1] for plans, _, _ in measured) for each in sizes)
    share = min(share for _, _, share in measured)
    return Plan(sizes, min(plans[sizes[0]][0] for plans, _, _ in measured), margins, share)


def _measured(description: Mapping[str, Any], recall: str) -> tuple[dict[int, tuple[float, float]], Any, float]:
    """Return what a description tells: height and margin by number of bytes, which to prefer, and a `Plan`'s share."""
    about = certificate_in(description).prefixes
    plans: dict[int, tuple[float, float]] = {}
    if not isinstance(about, Mapping) or about.get("bits") != COARSE_BITS:
        return plans, None, 0.0  # measured for other look-ups, or not at all
    limits, margins = about.get("limits"), about.get("margins")
    if not isinstance(limits, Mapping) or not isinstance(margins, Mapping):
        return plans, None, 0.0
    for size, heights in limits.items():
        both = [found.get(recall) if isinstance(found, Mapping) else None for found in (heights, margins.get(size))]
        height, margin = (float(n) if isinstance(n, (int, float)) else np.nan for n in both)
        if str(size).isdecimal() and np.isfinite(height) and np.isfinite(margin):
            plans[int(size)] = height, margin
    swept, rows = about.get("swept"), about.get("rows", SAMPLE_ROWS)
    share = NEIGHBORS / rows if isinstance(rows, int) and rows > 0 else 0.0
    return plans, swept.get(recall) if isinstance(swept, Mapping) else None, share


def _sizes(coefficients: Coefficients) -> list[int]:
    """Return how many first bytes may be swept: as long as more of them tell of more coefficients."""
    sizes, known = [], 0
    for size in range(STEP, coefficients.quantizer.code_bytes, STEP):
        count = coefficients.count(size)
        if count > known:
            sizes.append(size)
        known = count
    return sizes


def _best(scores: Floats, k: int) -> NDArray[np.bool_]:
    """Return which rows (q, n) are among the best k of a query."""
    return np.asarray(scores >= np.partition(scores, -k, axis=1)[:, -k, None])


def _sweeping(lookups: Lookups, size: int) -> float:
    """Return what it costs to sweep so many bytes of a row."""
    _, counts, sources = lookups.passes.T
    return LOOKUP * len(lookups.planes) + SOURCE * int(counts @ sources) + SWEEPING * -(-size // STEP)


def _fastest(sweeping: Mapping[int, float], passing: Mapping[int, float]) -> int:
    """Return how many bytes it is expected to be the fastest to sweep.

    sweeping[size] is what that costs, for all bytes too; passing[size] the share of a sample's rows that reach the
    limit after so many.
    """
    return min(sweeping, key=lambda size: sweeping[size] + passing.get(size, 0) * THINNING * FETCHING)
