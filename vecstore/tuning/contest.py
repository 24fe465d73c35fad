"""Successive halving: many candidates on few rows, the better ones on more, until one is left or no row is."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.codec import Codec, codec
from vecstore.codecs.evaluation import relative_error
from vecstore.codecs.partition import COUNT_BYTES
from vecstore.codecs.trellis.quantizer import TrainedTCQ
from vecstore.errors import CodecError
from vecstore.measure.recall import GroundTruth, interval, paired
from vecstore.measure.spectrum import distortion_bound, spectrum
from vecstore.metric import Metric
from vecstore.shard.order import ORDER_BYTES
from vecstore.shard.sizes import bytes_beside
from vecstore.tuning.candidates import CENTROID_BYTES, Family, cell_counts, known
from vecstore.tuning.result import Entry

__all__ = ["Contest", "Rung", "Trial", "scan_class"]

K = 10
TIE = 0.003  # recall that may be given up for a faster codec, where the queries cannot tell the two apart
HOPELESS = 2.0  # times the error of the best: what cannot get below even as an ideal code is not tried
FEW_ENTRIES = 16  # of a table that fits a register


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
class Trial:
    """A trained candidate and its marks: recall@10 of each query, and its share of the squared error."""

    family: Family
    cells: int
    codec: Codec
    marks: NDArray[np.float64]
    error: float


def scan_class(trained: Codec, metric: Metric) -> int:
    """Return how fast a scan of so many bytes is, as `Entry.speed` says."""
    quantizer = trained.layers[0].quantizer
    if isinstance(quantizer, TrainedTCQ) or quantizer.numbers is not None:
        return 1
    d = quantizer.dimensions
    tables = quantizer.tables(np.zeros((1, d), np.float32), None if metric == "dot" else np.ones(d, np.float32))
    if tables is None:
        return 3
    return 0 if tables.shape[-1] == FEW_ENTRIES else 2


class Contest:
    """Rows to train on, rows to search and queries to ask, none of them in two roles.

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
        Told what is being tried.
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
        report: Callable[[str, float], None],
    ) -> None:
        self.x, self.held_out, self.given = x, held_out, queries
        self.metric, self.rows, self.seed, self.report = metric, rows, seed, report
        self.keep_order = keep_order
        self.entries: list[Entry] = []
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
        asked = self.x[: min(rung.queries, self.held_out)]
        if self.given is not None:
            asked = np.concatenate([asked, self.given[: rung.queries]])
        return GroundTruth(asked, self.x[first : first + rung.base], self.metric, (K,))

    def best(self, families: Sequence[Family], limit: float, *, role: str, cells: bool) -> Trial | None:
        """Return the best trained candidate of at most `limit` bytes a row, or None if none is so small."""
        contenders = [(family, 0) for family in families]
        kept: list[Trial] = []
        for number, rung in enumerate(self.rungs):
            kept = self._round(number, contenders, limit)
            if not kept:
                return None
            last = number == len(self.rungs) - 1
            survivors = self._survivors(kept, rung)
            chosen = self._fastest_tie(kept) if last else None
            gone = [trial for trial in kept if last or trial not in survivors]
            self.entries += [self.entry(trial, rung, role, chosen=trial is chosen) for trial in gone]
            if chosen is not None:
                return chosen
            contenders = [(trial.family, trial.cells) for trial in survivors]
            if number == 0 and cells and known("cells:8,sq:8"):
                counts = cell_counts(limit, self.rows, self.x.shape[1])
                contenders += [(family, count) for family, _ in contenders if family.cells for count in counts]
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

    def entry(self, trial: Trial, rung: Rung, role: str, *, chosen: bool) -> Entry:
        """Return a trial as a line of the table."""
        size = self.row_bytes(trial.codec)
        total = float(self.variances.sum())
        bound = distortion_bound(self.variances, trial.codec.layers[-1].code_bytes) / total if total > 0 else 0.0
        return Entry(
            codec=str(trial.codec.spec),
            role=role,
            row_bytes=size,
            code_bytes=trial.codec.code_bytes,
            model_bytes=trial.codec.model_bytes,
            recall=interval(trial.marks, seed=self.seed),
            error=trial.error,
            decibels=float(10 * np.log10(trial.error / bound)) if bound > 0 and trial.error > 0 else 0.0,
            speed=scan_class(trial.codec, self.metric),
            train_rows=rung.train,
            chosen=chosen,
        )

    def smallest(self, families: Sequence[Family]) -> tuple[float, str]:
        """Return the least bytes a row that any family reaches, and its specification."""
        d, found = self.x.shape[1], []
        for family in families:
            options = [spec for _, spec in family.sizes(4 * d, d) if known(spec)]
            trained = self._trained(options[-1], self.training(self.rungs[0])) if options else None
            if trained is not None:
                found.append((self.row_bytes(trained), str(trained.spec)))
        return min(found)

    def _round(self, number: int, contenders: Sequence[tuple[Family, int]], limit: float) -> list[Trial]:
        rung = self.rungs[number]
        truth, train = self.ground_truth(rung), self.training(rung)
        trials: list[Trial] = []
        for done, (family, cells) in enumerate(contenders):
            self.report(family.name, (number + done / len(contenders)) / len(self.rungs))
            least = min((trial.error for trial in trials), default=np.inf)
            if self._hopeless(family, limit, least):
                continue
            trained = self.fitted(family, cells, train, limit)
            if trained is None:
                continue
            decoded = trained.decode(trained.encode(truth.base))
            error = relative_error(truth.base, decoded)
            trials.append(Trial(family, cells, trained, truth.recalls(decoded)[truth.ks[-1]], error))
        return trials

    def _hopeless(self, family: Family, limit: float, least: float) -> bool:
        """Return whether the largest code that the limit leaves room for cannot be good enough, were it ideal."""
        d = self.x.shape[1]
        sizes = [size for size, spec in family.sizes(int(limit), d) if known(spec)]
        affordable = (size for size in sizes if size + family.model(size, d) / self.rows <= limit)
        size = next(affordable, min(sizes, default=0))
        floor = family.floor or distortion_bound
        return bool(sizes) and floor(self.variances, size) > HOPELESS * least * float(self.variances.sum())

    def _survivors(self, trials: list[Trial], rung: Rung) -> list[Trial]:
        ranked = sorted(trials, key=lambda trial: -trial.marks.mean())
        near = [trial for trial in ranked if paired(ranked[0].marks, trial.marks, seed=self.seed).low <= rung.margin]
        return near[: rung.keep]

    def _fastest_tie(self, trials: list[Trial]) -> Trial:
        """Return the fastest of those that the queries cannot tell from the best."""
        best = max(trials, key=lambda trial: trial.marks.mean())

        def tied(trial: Trial) -> bool:
            behind = paired(best.marks, trial.marks, seed=self.seed)
            return behind.low <= 0 and behind.mean <= TIE

        return min(filter(tied, trials), key=lambda trial: (scan_class(trial.codec, self.metric), -trial.marks.mean()))

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
