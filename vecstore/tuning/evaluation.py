"""Successive halving: many candidates on few rows, the better ones on more, until one is left or no row is."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from copy import copy
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import CodeKind, Floats
from vecstore.codecs.codec import Codec, codec
from vecstore.codecs.evaluation import relative_error
from vecstore.codecs.partition import COUNT_BYTES
from vecstore.errors import CodecError
from vecstore.measure.choice import Measured, choose
from vecstore.measure.recall import GroundTruth, interval, paired
from vecstore.measure.spectrum import distortion_bound, spectrum
from vecstore.metric import Metric
from vecstore.progress import Listener, Step
from vecstore.shard.order import ORDER_BYTES
from vecstore.shard.sizes import bytes_beside
from vecstore.tuning.candidates import CENTROID_BYTES, Family, cell_counts, known
from vecstore.tuning.result import Entry

__all__ = ["Evaluation", "Rung", "SuccessiveHalving", "scan_class"]

K = 10
HOPELESS = 2.0  # times the error of the best: what cannot get below even as an ideal code is not tried
# How fast codes are scanned: tables of 16 entries fit a register, those of 256 do not.
SCAN_CLASSES: dict[CodeKind, int] = {"tables16": 0, "numbers": 1, "trellis": 1, "tables256": 2, "decoded": 3}


@dataclass(frozen=True)
class Rung:
    """How many rows train, are searched and ask; who is kept.

    Attributes
    ----------
    train, base, queries : int
    keep : int
        Candidates that go on at most.
    margin : float
        Those go on that may be within this recall of the best.
    """

    train: int
    base: int
    queries: int
    keep: int
    margin: float


RUNGS = (
    Rung(train=3000, base=5000, queries=300, keep=4, margin=0.02),
    Rung(train=8000, base=12000, queries=500, keep=3, margin=0.01),
    Rung(train=20000, base=40000, queries=1000, keep=1, margin=0.0),
)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A trained candidate: its recall@10 of each query, and its share of the squared error."""

    family: Family
    cells: int
    codec: Codec
    recalls: NDArray[np.float64]
    error: float


def scan_class(trained: Codec, metric: Metric) -> int:
    """Return how fast a scan of so many bytes is, as `Entry.speed` says."""
    quantizer = trained.layers[0].quantizer
    kind = quantizer.code_kind
    if kind.startswith("tables") and metric != "dot":
        # Lengths of rows are summed from tables as well; where the code has none for them, rows are decoded.
        d = quantizer.dimensions
        if quantizer.tables(np.zeros((1, d), np.float32), np.ones(d, np.float32)) is None:
            kind = "decoded"
    return SCAN_CLASSES[kind]


class SuccessiveHalving:
    """Candidates are evaluated on few rows, the better ones on more.

    Rows to train on, rows to search and queries to ask, none of them in two roles.

    Parameters
    ----------
    x : (n, d) float32
        In random order.
    held_out : int
        Rows at its beginning that ask.
    queries : (q, d) float32 or None
        Queries to ask beside them.
    metric : {"cosine", "dot", "l2"}
    rows : int
        That share the model.
    keep_order : bool
        In cells each row keeps its number.
    report : callable
        Told of each codec that is tried.

    Attributes
    ----------
    executor : concurrent.futures.Executor or None
        Whose workers train and measure the candidates of a rung side by side. What is found is the same.
    """

    def __init__(
        self,
        x: Floats,
        held_out: int,
        queries: Floats | None,
        *,
        metric: Metric,
        rows: int,
        keep_order: bool,
        seed: int,
        report: Listener,
    ) -> None:
        self.executor: Executor | None = None
        self.x, self.held_out, self.given = x, held_out, queries
        self.metric, self.rows, self.seed, self.report = metric, rows, seed, report
        self.keep_order = keep_order
        self.entries: list[Entry] = []
        self._tried = 0
        self.rungs = self._fitting(RUNGS)

    @cached_property
    def variances(self) -> NDArray[np.float64]:
        """Along the principal axes of what trains in the last rung."""
        return spectrum(self.training(self.rungs[-1]))

    def row_bytes(self, trained: Codec) -> float:
        """Return what a row takes: its codes, its share of the trained arrays, and what else is stored of it."""
        beside = bytes_beside(trained, keep_norms=False, keep_order=self.keep_order)
        return trained.code_bytes + trained.model_bytes / self.rows + beside

    def training(self, rung: Rung) -> Floats:
        """Return the rows that a rung trains on."""
        return self.x[self.held_out : self.held_out + rung.train]

    def ground_truth(self, rung: Rung) -> GroundTruth:
        """Return what a rung asks."""
        first = self.held_out + rung.train
        queries = self.x[: min(rung.queries, self.held_out)]
        if self.given is not None:
            queries = np.concatenate([queries, self.given[: rung.queries]])
        return GroundTruth(queries, self.x[first : first + rung.base], self.metric, (K,))

    def start(self, trying: str) -> None:
        """Report a codec that is about to be trained; how many follow is known too late to say how long it takes."""
        self.report(Step("tuning", self._tried, None, "codecs", trying))
        self._tried += 1

    def finish(self) -> None:
        """Report that all is tried."""
        self.report(Step("tuning", self._tried, self._tried, "codecs"))

    def best(self, families: Sequence[Family], limit: float, *, role: str, cells: bool) -> Evaluation | None:
        """Return the best trained candidate of at most `limit` bytes a row, or None if none is so small."""
        candidates = [(family, 0) for family in families]
        kept: list[Evaluation] = []
        for number, rung in enumerate(self.rungs):
            kept = self._round(number, candidates, limit)
            if not kept:
                return None
            last = number == len(self.rungs) - 1
            survivors = self._survivors(kept, rung)
            chosen = self._preferred(kept) if last else None
            gone = [evaluation for evaluation in kept if last or evaluation not in survivors]
            self.entries += [self.entry(evaluation, rung, role, chosen=evaluation is chosen) for evaluation in gone]
            if chosen is not None:
                return chosen
            candidates = [(evaluation.family, evaluation.cells) for evaluation in survivors]
            if number == 0 and cells and known("cells:8,sq:8"):
                counts = cell_counts(limit, self.rows, self.x.shape[1])
                candidates += [(family, count) for family, _ in candidates if family.cells for count in counts]
        raise AssertionError("the last rung chooses")

    def fitted(
        self, family: Family, cells: int, train: Floats, limit: float, *, start: str | None = None
    ) -> Codec | None:
        """Return the family's largest codec of at most `limit` bytes a row, trained; None if even the smallest is more.

        Codes of `start` are the largest that are tried.
        """
        d = train.shape[1]
        cell_bytes = cells * (CENTROID_BYTES * d + COUNT_BYTES) / self.rows
        if cells and self.keep_order:
            cell_bytes += ORDER_BYTES
        options = [(size, spec) for size, spec in family.sizes(int(limit), d) if known(spec)]
        if start is not None:
            sizes = {spec: size for size, spec in options}
            options = [(size, spec) for size, spec in options if size <= sizes[start]]
        if not options:
            return None
        guesses = [family.model(size, d) / self.rows + cell_bytes for size, _ in options]
        within = [size + guess <= limit for (size, _), guess in zip(options, guesses, strict=True)]
        at = within.index(True) if True in within else len(options) - 1
        found: Codec | None = None
        too_large, fits = -1, len(options)  # options up to the former are too large, those from the latter on fit
        while True:
            size, spec = options[at]
            trained = self._trained(f"cells:{cells},{spec}" if cells else spec, train)
            if trained is None:
                return found
            taken = self.row_bytes(trained)
            if taken > limit:
                too_large = at
            else:
                found, fits = trained, at
            if too_large + 1 == fits:
                return found
            # Models of other sizes are to their guesses as this one is to its own; without a guess, to the codes.
            guessed = guesses if guesses[at] > 0 else [size for size, _ in options]
            wrong = (taken - size) / guessed[at]
            between = range(too_large + 1, fits)
            likely = [i for i in between if options[i][0] + wrong * guessed[i] <= limit]
            if likely:
                at = likely[0]
            elif found is None or self.row_bytes(found) + options[fits - 1][0] - options[fits][0] <= limit:
                at = fits - 1  # the smallest, or what fits if its model is no larger than that of the one found
            else:
                return found

    def entry(self, evaluation: Evaluation, rung: Rung, role: str, *, chosen: bool) -> Entry:
        """Return a evaluation as a line of the table."""
        size = self.row_bytes(evaluation.codec)
        total = float(self.variances.sum())
        bound = distortion_bound(self.variances, evaluation.codec.layers[-1].code_bytes) / total if total > 0 else 0.0
        return Entry(
            codec=str(evaluation.codec.spec),
            role=role,
            row_bytes=size,
            code_bytes=evaluation.codec.code_bytes,
            model_bytes=evaluation.codec.model_bytes,
            recall=interval(evaluation.recalls, seed=self.seed),
            error=evaluation.error,
            decibels=float(10 * np.log10(evaluation.error / bound)) if bound > 0 and evaluation.error > 0 else 0.0,
            speed=scan_class(evaluation.codec, self.metric),
            train_rows=rung.train,
            asked=self._asked(rung),
            chosen=chosen,
        )

    def _asked(self, rung: Rung) -> str:
        given = 0 if self.given is None else len(self.given[: rung.queries])
        also = f" and {given:,} real ones" if given else ""
        return f"{min(rung.queries, self.held_out):,} rows as queries{also} among {rung.base:,} rows"

    def smallest(self, families: Sequence[Family]) -> tuple[float, str]:
        """Return the least bytes a row that any family reaches, and its specification."""
        d, found = self.x.shape[1], []
        for family in families:
            options = [spec for _, spec in family.sizes(4 * d, d) if known(spec)]
            trained = self._trained(options[-1], self.training(self.rungs[0])) if options else None
            if trained is not None:
                found.append((self.row_bytes(trained), str(trained.spec)))
        return min(found)

    def _round(self, number: int, candidates: Sequence[tuple[Family, int]], limit: float) -> list[Evaluation]:
        rung = self.rungs[number]
        evaluations: list[Evaluation] = []
        for (family, cells), evaluated in zip(candidates, self._evaluating(rung, candidates, limit), strict=True):
            name = f"cells:{cells}, {family.name}" if cells else family.name
            self.start(f"{name}, on {rung.train:,} rows")
            least = min((evaluation.error for evaluation in evaluations), default=np.inf)
            if self._hopeless(family, limit, least):
                continue
            found = evaluated()
            if found is not None:
                evaluations.append(found)
        return evaluations

    def _evaluating(
        self, rung: Rung, candidates: Sequence[tuple[Family, int]], limit: float
    ) -> list[Callable[[], Evaluation | None]]:
        """Return what evaluates each candidate here, or waits for who does it elsewhere."""
        if self.executor is None:
            truth = self.ground_truth(rung)
            return [partial(self._evaluated, rung, truth, family, cells, limit) for family, cells in candidates]
        sent = copy(self)
        sent.x, sent.entries, sent.executor = self.x[: self.held_out + rung.train + rung.base], [], None
        sent.report = _silent
        submit = self.executor.submit
        return [submit(_evaluate, sent, rung, limit, family, cells).result for family, cells in candidates]

    def _evaluated(self, rung: Rung, truth: GroundTruth, family: Family, cells: int, limit: float) -> Evaluation | None:
        """Return the largest codec of a family that the limit allows, and how good it is."""
        trained = self.fitted(family, cells, self.training(rung), limit)
        if trained is None:
            return None
        decoded = trained.decode(trained.encode(truth.base))
        error = relative_error(truth.base, decoded)
        return Evaluation(family, cells, trained, truth.recalls(decoded)[truth.ks[-1]], error)

    def _hopeless(self, family: Family, limit: float, least: float) -> bool:
        """Return whether the largest code that the limit leaves room for cannot be good enough, were it ideal."""
        d = self.x.shape[1]
        sizes = [size for size, spec in family.sizes(int(limit), d) if known(spec)]
        affordable = (size for size in sizes if size + family.model(size, d) / self.rows <= limit)
        size = next(affordable, min(sizes, default=0))
        floor = family.floor or distortion_bound
        return bool(sizes) and floor(self.variances, size) > HOPELESS * least * float(self.variances.sum())

    def _survivors(self, evaluations: list[Evaluation], rung: Rung) -> list[Evaluation]:
        ranked = sorted(evaluations, key=lambda evaluation: -evaluation.recalls.mean())
        near = [
            evaluation
            for evaluation in ranked
            if paired(ranked[0].recalls, evaluation.recalls, seed=self.seed).low <= rung.margin
        ]
        return near[: rung.keep]

    def _preferred(self, evaluations: list[Evaluation]) -> Evaluation:
        """Return the one to take: see `vecstore.measure.choice.choose`."""
        found = [
            Measured(each.recalls, self.row_bytes(each.codec), -scan_class(each.codec, self.metric))
            for each in evaluations
        ]
        return evaluations[choose(found)]

    def _trained(self, spec: str, train: Floats) -> Codec | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is to be said of the chosen codec is said when it is used
            try:
                return codec(spec).fit(train, seed=self.seed, rows=self.rows)
            except CodecError:
                return None  # does not suit these vectors, such as more bytes than dimensions

    def _fitting(self, rungs: Sequence[Rung]) -> list[Rung]:
        """Return rungs that the rows suffice for; there are two at least, since the first brings in cells.

        Few rows are searched rather than few trained on: with a third of them left to search, codecs can be told apart,
        while one with cells shows what it is worth only when trained on about as many as in the end.
        """
        there = len(self.x) - self.held_out
        found: list[Rung] = []
        for rung in rungs:
            base = max(min(rung.base, max(there - rung.train, there // 3)), 1)
            train = max(min(rung.train, there - base), 1)
            found.append(Rung(train, base, rung.queries, rung.keep, rung.margin))
        middle = [rung for rung in found[1:-1] if rung.train < found[-1].train]
        return [found[0], *middle, found[-1]]


def _evaluate(halving: SuccessiveHalving, rung: Rung, limit: float, family: Family, cells: int) -> Evaluation | None:
    """Do what a worker is sent."""
    return halving._evaluated(rung, halving.ground_truth(rung), family, cells, limit)


def _silent(step: Step) -> None:
    """Tell nobody."""
