"""Everything that a report shows, computed from the raw results of a bench."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.budget import family_of
from vecstore.bench.geometry import skewness
from vecstore.bench.metrics import Reference, fidelity, oversampled, per_query, systems
from vecstore.bench.resampling import Bootstrap, Interval
from vecstore.bench.run import RECORDS, Record
from vecstore.bench.split import Split
from vecstore.bench.thresholds import drifts

from vecstore.errors import FormatError
from vecstore.measure.choice import Measured, choose, keeps_as_much
from vecstore.measure.spectrum import distortion_bound

__all__ = ["Line", "Summary", "disputes", "summarise"]

MAIN = "recall@10"
BESIDE = "‡ measured beside other cells: for times, run one after the other"
BYTES_AGREE = 0.01  # what a codec says of its bytes, and what is on the disk
RECALL_AGREES = 1e-6
TILE_ROWS = 64  # codes are laid out in tiles of up to so many rows; the last one is padded


@dataclass(frozen=True, eq=False)
class Line:
    """One codec, or one peer at some settings, over all its seeds.

    Attributes
    ----------
    label, family, kind, name : str
    settings : dict
    code_bytes : float
        Of a row.
    bytes : dict
        ``code``, ``model`` (a row's share of it), ``amortised`` and so on; see docs/bench.md.
    metrics : dict of Interval
    queries : dict
        Metric -> one value a query.
    facts : dict
        The rest, as JSON.
    """

    label: str
    family: str
    kind: str
    name: str
    settings: dict[str, Any]
    code_bytes: float
    bytes: dict[str, float | None]
    metrics: dict[str, Interval]
    queries: dict[str, NDArray[np.float64]]
    facts: dict[str, Any]

    @property
    def recall(self) -> Interval:
        """Recall@10, by which codecs are chosen."""
        return self.metrics[MAIN]

    @property
    def file_bytes(self) -> float:
        """What a row takes on disk, with its key; where a library saves nothing, of its code and model."""
        amortised = self.bytes["amortised"]
        return self.code_bytes + (self.bytes["model"] or 0.0) if amortised is None else amortised

    @property
    def measured(self) -> Measured:
        """What the choice among lines looks at."""
        timed = self.metrics.get("queries/s, batch 1")
        return Measured(self.queries[MAIN], self.file_bytes, 0.0 if timed is None else timed.value)


@dataclass(frozen=True, eq=False)
class Summary:
    """A bench: its lines by rising bytes, what failed, what was not there."""

    about: dict[str, Any]
    lines: tuple[Line, ...]
    failed: tuple[dict[str, str], ...]
    ties: NDArray[np.bool_]  # ties[i, j]: the recall of lines i and j differs by no more than noise
    original: dict[str, Any]

    def best(self, budget: float, *, kinds: Sequence[str] = ("codec", "peer")) -> int | None:
        """Return the line to take at no more than `budget` bytes a code, or None: see `vecstore.measure.choice`."""
        fits = [i for i, line in enumerate(self.lines) if line.code_bytes <= budget and line.kind in kinds]
        return fits[choose([self.lines[i].measured for i in fits])] if fits else None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON, without the values of single queries."""
        return {
            "about": self.about,
            "original": self.original,
            "failed": list(self.failed),
            "equal": [
                "".join("1" if keeps_as_much(one.queries[MAIN], best.queries[MAIN]) else "0" for best in self.lines)
                for one in self.lines
            ],
            "ties": ["".join("1" if tie else "0" for tie in row) for row in self.ties],
            "lines": [
                {
                    "label": line.label,
                    "family": line.family,
                    "kind": line.kind,
                    "name": line.name,
                    "settings": line.settings,
                    "bytes": line.bytes,
                    "file_bytes": line.file_bytes,
                    "metrics": {name: _plain(asdict(one)) for name, one in line.metrics.items()},
                    "histogram": _histogram(line.queries[MAIN]),
                    **line.facts,
                }
                for line in self.lines
            ],
        }


def summarise(out: Path) -> Summary:
    """Compute all metrics of a bench from its folder.

    Raises
    ------
    FormatError
        `out` holds no bench, or none of its runs was finished.
    """
    if not (out / "bench.json").exists():
        raise FormatError("holds no bench; vecstore bench makes one", path=out)
    about = json.loads((out / "bench.json").read_text())
    split = Split.load(out / "data")
    reference = Reference(split, out / "data")
    records = [found for key in about["cells"] if (found := Record.read(out / RECORDS, key)) is not None]
    done = [record for record in records if record.done]
    if not done:
        raise FormatError(f"no run is finished; {len(records)} failed of {len(about['cells'])}", path=out)
    bootstrap = Bootstrap(len(split.queries))
    weighted = None
    if split.query_weights is not None:
        weighted = Bootstrap(len(split.queries), weights=np.asarray(split.query_weights, np.float64))
    lines = [_line(own, reference, bootstrap, weighted) for own in _by_settings(done)]
    lines.sort(key=lambda line: (line.code_bytes, -line.recall.value))
    ties = np.eye(len(lines), dtype=bool)
    for i in range(len(lines)):
        for j in range(i):
            ties[i, j] = ties[j, i] = bootstrap.tied(lines[i].queries[MAIN], lines[j].queries[MAIN])
    failed = tuple({"label": r.run.label, "error": r.facts["error"]} for r in records if not r.done)
    unfinished = len(about["cells"]) - len(records)
    totals = {f"total_{kind}": sum(record.facts.get(kind, 0) for record in records) for kind in ("wall_s", "cpu_s")}
    about |= {"unfinished": unfinished, **totals, "versions": done[0].facts["versions"]}
    about["notes"] = [BESIDE] if any(line.facts["beside"] for line in lines) else []
    return Summary(about, tuple(lines), failed, ties, _original(reference))


def disputes(record: Record) -> list[str]:
    """Return what a codec says of itself and the files contradict: bytes by more than 1%, recall by more than 1e-6.

    Its neighbours were found by a search of the store; the same rows, looked up, decoded and ranked by brute force,
    must give the same recall. Two layers are held to their decoded rows only as far as rescoring reached.
    """
    audit = record.facts.get("audit")
    if not audit:
        return []
    found = []
    pairs = [
        ("bytes a code", audit["claimed_code_bytes"], audit["encoded_bytes"]),
        ("bytes of the file", audit["stored_by_store"], audit["stored_on_disk"]),
    ]
    for what, said, counted in pairs:
        if abs(counted - said) > BYTES_AGREE * max(counted, 1):
            found.append(f"{what}: says {said:,.6g}, counted {counted:,.6g}")
    padded = audit["claimed_code_bytes"] * (1 + TILE_ROWS / audit["rows"])
    if audit["code_bytes_on_disk"] > padded * (1 + BYTES_AGREE):
        found.append(f"bytes a code on disk: says {padded:,.6g}, counted {audit['code_bytes_on_disk']:,.6g}")
    if "recall" not in audit or "/" in record.run.name:
        return found
    # A row that float32 sums in another order put on either side of rank ten is no lie.
    excused = (audit["misplaced"] == 0) and (audit["wrong_scores"] == 0)
    if abs(audit["recall"] - audit["recall_of_decoded"]) > RECALL_AGREES and not excused:
        found.append(
            f"recall@10: {audit['recall']:.6f} by search, {audit['recall_of_decoded']:.6f} of the decoded rows; "
            f"{audit['misplaced']} of {audit['checked']} found rows do not belong there"
        )
    elif audit["wrong_scores"]:
        found.append(f"scores: {audit['wrong_scores']} of {audit['checked']} differ from those of the decoded rows")
    return found


def _by_settings(records: Sequence[Record]) -> list[list[Record]]:
    """Return the records of one codec or peer together, whatever their seeds."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        own = {name: value for name, value in record.facts["cell"].items() if name != "seed"}
        groups.setdefault(json.dumps(own, sort_keys=True), []).append(record)
    return list(groups.values())


def _line(records: Sequence[Record], reference: Reference, bootstrap: Bootstrap, weighted: Bootstrap | None) -> Line:
    """Return what several seeds of one codec come to: means over the seeds, query by query."""
    first = records[0]
    tables = [record.table("queries") for record in records]
    each = [per_query(own, reference) for own in tables]
    queries = {name: np.mean([own[name] for own in each], axis=0) for name in each[0]}
    metrics = {name: bootstrap.interval(values) for name, values in queries.items()}
    if weighted is not None:
        metrics[f"weighted {MAIN}"] = weighted.interval(queries[MAIN])
    for values in (_mean(fidelity(r, reference) for r in records), _mean(systems(r) for r in records)):
        metrics |= {name: Interval(value, value, value) for name, value in values.items()}
    sizes = first.facts["bytes"]
    rows = len(reference.split.base)
    code = float(sizes["code"])
    counts = {**sizes, "model": sizes["model"] / rows, "code + model": code + sizes["model"] / rows}
    by_seed = [float(own[MAIN].mean()) for own in each]
    facts = {
        "seeds": [record.run.seed for record in records],
        "seed_spread": float(np.std(by_seed)),
        "oversampling": list(oversampled(tables[0], reference).items()),
        "thresholds": [asdict(one) | {"drift": one.drift} for one in drifts(tables[0], reference.split, bootstrap)],
        "disputes": [dispute for record in records for dispute in disputes(record)],
        "trains_on_base": bool(first.facts.get("trains_on_base")),
        "beside": any(record.beside for record in records),
        "version": first.facts.get("version"),
        "stored_total": sizes["stored"],
        "wall_s": sum(record.facts.get("wall_s", 0) for record in records),
    }
    run = first.run
    family = family_of(run.name) if run.kind == "codec" else run.name
    counts.pop("parts", None)
    return Line(run.label, family, run.kind, run.name, dict(run.settings), code, counts, metrics, queries, facts)


def _mean(found: Iterable[dict[str, float]]) -> dict[str, float]:
    every = list(found)
    return {name: float(np.mean([own[name] for own in every])) for name in every[0]}


def _original(reference: Reference) -> dict[str, Any]:
    shape = reference.geometry["geometry"]
    return {
        "hubness": skewness(np.array(reference.geometry["occurrences"])),
        "isotropy": shape["isotropy"],
        "effective rank": shape["effective_rank"],
        "mean cosine": shape["mean_cosine"],
        "bound": _bound_curve(np.array(shape["variances"])),
    }


def _bound_curve(variances: NDArray[np.float64]) -> list[list[float]]:
    """Return bytes and the least share of variance that a Gaussian of this spectrum loses at so many."""
    total = max(float(variances.sum()), 1e-300)
    sizes = np.unique(np.geomspace(1, 4 * len(variances), 60).round())
    return [[float(size), distortion_bound(variances, size) / total] for size in sizes]


def _histogram(values: NDArray[np.float64]) -> list[int]:
    """Return how many queries have a recall of 0, 0.1 ... 1."""
    return np.bincount(np.rint(10 * values).astype(int), minlength=11).tolist()


def _plain(interval: dict[str, float]) -> list[float | None]:
    return [float(f"{x:.5g}") if math.isfinite(x) else None for x in interval.values()]
