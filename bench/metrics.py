"""Metrics from raw results: one value a query where there is one, else one a run. Nothing is measured here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.geometry import skewness
from vecstore.bench.run import Record, read_table
from vecstore.bench.split import Split

from vecstore.measure.spectrum import distortion_bound

__all__ = ["OVERSAMPLING", "Reference", "fidelity", "kendall", "oversampled", "per_query", "systems"]

Values = NDArray[np.float64]
K = 10
OVERSAMPLING = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, eq=False)
class Reference:
    """What cells are held against: the split, and how the base was before compression."""

    split: Split
    folder: Path

    @cached_property
    def neighbours(self) -> NDArray[np.int32]:
        """The nearest other rows of sampled base rows, before compression: (sample, K)."""
        found: NDArray[np.int32] = read_table(self.folder / "neighbours.parquet")["neighbours"]
        return found

    @cached_property
    def geometry(self) -> dict[str, Any]:
        """The shape of the base: see `observation.geometry`."""
        import json

        found: dict[str, Any] = json.loads((self.folder / "geometry.json").read_text())
        return found

    @cached_property
    def deviations(self) -> Values:
        """Squared distance of each base row from the (weighted) mean: (n,)."""
        base = np.asarray(self.split.base)
        weights = self.split.weights
        mean = base.mean(axis=0, dtype=np.float64) if weights is None else np.asarray(weights) @ base
        return np.asarray(((base - mean.astype(np.float32)) ** 2).sum(axis=1), np.float64)

    @cached_property
    def grades(self) -> list[dict[int, int]]:
        """For each query: relevant row -> grade."""
        found: list[dict[int, int]] = [{} for _ in range(len(self.split.queries))]
        if self.split.judgements is not None:
            for query, row, grade in np.asarray(self.split.judgements).tolist():
                found[query][row] = max(grade, found[query].get(row, 0))
        return found


def per_query(tables: Mapping[str, NDArray[Any]], reference: Reference) -> dict[str, Values]:
    """Return the metrics that have a value a query, (q,) each; NaN where a query has none.

    ``recall@1``, ``recall@10``, ``recall@100``: share of the true neighbours that were found. ``evalrank``: 1 / rank of
    the positives among all rows (Wang, Kuo & Li 2022), positives being the relevant rows, or the nearest one without
    judgements. ``ndcg@10``, ``mrr@10``: with judgements. ``tau@100``: Kendall's tau of the true neighbours' order.
    ``dot bias``: mean difference of compressed and exact scores, ``dot error`` their root mean square.
    """
    split = reference.split
    found, truth = tables["found"], np.asarray(split.truth)
    values: dict[str, Values] = {}
    for k in (1, K, 100):
        if truth.shape[1] >= k and found.shape[1] >= k:
            values[f"recall@{k}"] = _recall(found[:, :k], truth[:, :k])
    if split.judgements is not None:
        values |= _judged(found, reference)
    if "truth_scores" not in tables:
        return values
    ranks = tables.get("relevant_ranks")
    if ranks is not None:
        values["evalrank"] = np.array([np.mean(1 / (1 + own)) if len(own) else np.nan for own in ranks])
    else:
        values["evalrank"] = 1 / (1 + tables["truth_ranks"][:, 0].astype(np.float64))
    if truth.shape[1] > 1:
        values["tau@100"] = kendall(np.asarray(split.truth_scores), tables["truth_scores"])
    exact = np.concatenate([np.asarray(split.truth_scores), tables["random_exact"]], axis=1)
    off = np.concatenate([tables["truth_scores"], tables["random_scores"]], axis=1).astype(np.float64) - exact
    values["dot bias"], values["dot error"] = off.mean(axis=1), np.sqrt((off**2).mean(axis=1))
    return values


def oversampled(tables: Mapping[str, NDArray[Any]], reference: Reference) -> dict[int, float]:
    """Return recall@10 after perfect rescoring of the best 10 f rows, for each oversampling f that is known."""
    if "truth_ranks" in tables:
        ranks = tables["truth_ranks"]
        return {f: float((ranks < ranks.shape[1] * f).mean()) for f in OVERSAMPLING}
    found, truth = tables["found"], np.asarray(reference.split.truth)[:, :K]
    known = [f for f in OVERSAMPLING if K * f <= found.shape[1]]
    return {
        f: float(np.mean([np.isin(t, own[: K * f]).mean() for t, own in zip(truth, found, strict=True)])) for f in known
    }


def fidelity(record: Record, reference: Reference) -> dict[str, float]:
    """Return what decoding gives back, and the shape of it; empty where the engine does not decode.

    ``r2``, ``cosine mean``, ``cosine p1``, ``cosine min``; some with ``weighted`` in front; ``knn overlap``;
    ``bound`` on 1 - R² at as many bytes for a Gaussian of the same spectrum, and ``db above bound``;
    ``hubness``, ``isotropy`` and ``effective rank``.
    """
    rows, asked = record.table("rows"), record.table("asked")
    if not rows:
        return {}
    error, cosine = rows["squared_error"].astype(np.float64), rows["cosine"].astype(np.float64)
    values = {
        "r2": _r2(error, reference.deviations, None),
        "cosine mean": float(cosine.mean()),
        "cosine p1": float(np.quantile(cosine, 0.01)),
        "cosine min": float(cosine.min()),
        "knn overlap": float(_recall(asked["neighbours"], reference.neighbours).mean()),
        "hubness": skewness(record.facts["occurrences"]),
        "isotropy": record.facts["geometry"]["isotropy"],
        "effective rank": record.facts["geometry"]["effective_rank"],
    }
    variances = np.array(reference.geometry["geometry"]["variances"])
    bound = distortion_bound(variances, record.facts["bytes"]["code"]) / max(float(variances.sum()), 1e-300)
    values["bound"] = bound
    if bound > 0 and values["r2"] < 1:
        values["db above bound"] = float(10 * np.log10((1 - values["r2"]) / bound))
    if reference.split.weights is not None:
        weights = np.asarray(reference.split.weights)
        values["weighted r2"] = _r2(error, reference.deviations, weights)
        values["weighted cosine mean"] = float(weights @ cosine)
    return values


def systems(record: Record) -> dict[str, float]:
    """Return times, speeds and memory, in the units that their names say, of what was measured."""
    facts = record.facts
    values: dict[str, float] = {"fit s": facts["fit_s"], "encode rows/s": facts["encode_rows_s"]}
    for batch in (1, 64):
        if taken := facts.get(f"search_{batch}_s"):
            values[f"queries/s, batch {batch}"] = batch / float(np.median(taken))
    if taken := facts.get("lookup_s"):
        values["lookup p50 us"] = 1e6 * float(np.median(taken))
        values["lookup p99 us"] = 1e6 * float(np.quantile(taken, 0.99))
    if opened := facts.get("open"):
        values["cold open ms"], values["warm open ms"] = 1e3 * opened["cold_s"], 1e3 * opened["warm_s"]
    for name, size in facts.get("memory", {}).items():
        kind, _, processes = name.partition("_")
        values[f"{kind.upper()} MB, {processes} process{'es' if processes != '1' else ''}"] = size / 1e6
    return values


def kendall(exact: NDArray[Any], given: NDArray[Any]) -> Values:
    """Return Kendall's tau-a of two scores of the same items, line by line: (q,); a tie counts as neither.

    Examples
    --------
    >>> kendall(np.array([[3.0, 2, 1]]), np.array([[30.0, 10, 20]]))
    array([0.33333333])
    """
    first, second = np.triu_indices(exact.shape[1], 1)
    signs = np.sign(exact[:, first] - exact[:, second]) * np.sign(given[:, first] - given[:, second])
    return np.asarray(signs.mean(axis=1), np.float64)


def _recall(found: NDArray[Any], truth: NDArray[Any]) -> Values:
    return np.array([np.isin(t, own).mean() for t, own in zip(truth, found, strict=True)], np.float64)


def _judged(found: NDArray[Any], reference: Reference) -> dict[str, Values]:
    discounts = 1 / np.log2(np.arange(2, K + 2))
    ndcg, mrr = np.full(len(found), np.nan), np.full(len(found), np.nan)
    for query, grades in enumerate(reference.grades):
        if not grades:
            continue
        gains = np.array([2.0 ** grades.get(row, 0) - 1 for row in found[query, :K].tolist()])
        ideal = np.sort(2.0 ** np.array(list(grades.values())) - 1)[::-1][:K]
        ndcg[query] = (gains * discounts[: len(gains)]).sum() / (ideal * discounts[: len(ideal)]).sum()
        hits = np.flatnonzero(gains > 0)
        mrr[query] = 1 / (1 + hits[0]) if len(hits) else 0.0
    return {"ndcg@10": ndcg, "mrr@10": mrr}


def _r2(error: Values, deviation: Values, weights: Values | None) -> float:
    own = np.ones(len(error)) if weights is None else weights
    spread = float(own @ deviation)
    return 1 - float(own @ error) / spread if spread > 0 else 1.0
