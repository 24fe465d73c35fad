"""The first pass over a dump: count its rows, find the bad and the duplicate ones, draw the training sample.

Each part of a dump is a task, and so is each range of hashes of its keys. Memory stays bounded: hashes go to files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.conversion.survey.duplicates import Run, ranges_of, same_keys
from vecstore.conversion.survey.findings import Findings
from vecstore.conversion.survey.part_survey import EXAMPLES, PartFound, PartWork, runs_path, survey_part
from vecstore.conversion.survey.sampler import Drawn, Sampler, searched_rows
from vecstore.conversion.tasks.options import OnBad, OnDuplicate
from vecstore.conversion.tasks.rows import FilePart, Rows, cleaned
from vecstore.conversion.tasks.site import Site, digest
from vecstore.errors import DuplicateKeyError, ShapeError
from vecstore.formats.dump import Batch, Dump
from vecstore.formats.several import joined_digest
from vecstore.progress import Listener, Step
from vecstore.shard.attribute_types import kept_schema, unified

__all__ = ["Survey", "clean_batches", "kept_batches", "survey_dump"]

PART_BITS = 40  # a sampled row is numbered part << 40 | row in the part, until all parts are counted
SPREAD = 8  # standard deviations that the drawn rows of parts may be more than expected
MORE = 1 / 8  # of the sample, that is drawn of a single part beyond it: in place of rows that are bad


@dataclass
class Survey:
    """What the first pass found.

    Attributes
    ----------
    rows : int
        Rows that the dump holds.
    part_rows : list of int
        Those of each of its parts.
    digest : str
        Of what the dump holds; see `vecstore.formats.Dump.digest`.
    content : str
        Of what was read of it, where results are remembered.
    kept : int
        Rows that go into the store.
    dropped : (n,) int64
        Numbers of the rows that do not, rising.
    bad, zeroed, duplicates : int
        Rows dropped as bad, kept as zero vectors, dropped as duplicates.
    examples : list of str
        The first few bad rows, with their places.
    findings : Findings
        What else is remarkable, counted by kind.
    sample, sample_rows : (n, d) float32, (n,) int64
        Random rows to train on and to measure with, in random order, and their numbers.
    schema : pyarrow.Schema or None
        Names of the columns that rows have, and types that hold the values of all.
    """

    rows: int = 0
    part_rows: list[int] = field(default_factory=list)
    digest: str = ""
    content: str = ""
    kept: int = 0
    dropped: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    bad: int = 0
    zeroed: int = 0
    duplicates: int = 0
    examples: list[str] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)
    sample: Drawn = field(default_factory=lambda: Drawn(np.empty((0, 0), np.float32)))
    sample_rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    schema: Any = None

    def edges(self) -> NDArray[np.int64]:
        """Return the number of the first row of each part, and how many rows there are."""
        return np.concatenate([[0], np.cumsum(self.part_rows, dtype=np.int64)])


def survey_dump(
    dump: Dump,
    *,
    on_bad: OnBad,
    on_duplicate: OnDuplicate,
    seed: int,
    site: Site,
    report: Listener,
    parts: list[FilePart | Dump] | None = None,
    sized: bool = False,
) -> Survey:
    """Read all of a dump once.

    Parameters
    ----------
    site : Site
        Hashes of keys stay in its directory.
    parts : list, optional
        Those of the dump, as workers can be sent them.
    sized : bool
        Leave the bytes that each row takes beside its code in files of the directory, too.

    Raises
    ------
    FormatError
        The dump is malformed; or it has a bad row and the policy is "error".
    DuplicateKeyError
        Two rows have the same key and the policy is "error".
    ShapeError
        No row is left.
    """
    common: Any = {"several": len(dump.parts) > 1, "on_bad": on_bad, "seed": seed, "sized": sized}
    common |= {"limit": _limit(dump), "directory": site.directory, "apart": site.crew.executor is not None}
    common["identified"] = site.remembers
    works = [PartWork(number, part, **common) for number, part in enumerate(parts or dump.parts)]
    merged = _Merged(dump, seed, report)
    merged.survey_all(works, site)
    if merged.lacks_sample:  # so many rows were bad that the limit was too low
        merged = _Merged(dump, seed, report)
        merged.survey_all([work.unlimited() for work in works], site)
    found = merged.survey()
    if dump.key_type is not None and found.rows:
        _drop_duplicates(found, dump, site, on_duplicate, report)
    found.kept = found.rows - len(found.dropped)
    found.findings.look_at_source(dump, merged.notes)
    if not found.kept:
        raise ShapeError(f"{dump.path}: no rows to store ({found.rows} in the dump, {found.bad} of them bad)")
    if found.schema is not None:
        found.schema = kept_schema(found.schema)
    return found


def clean_batches(dump: Dump, survey: Survey, on_bad: OnBad) -> Iterator[Batch]:
    """Read a dump again and yield what the survey keeps of it: finite vectors, unique keys."""
    return kept_batches(Rows(dump.parts, survey.part_rows), survey, on_bad)


def kept_batches(rows: Rows, survey: Survey, on_bad: OnBad) -> Iterator[Batch]:
    """As `clean_batches`, from the rows of all parts."""
    for first, batch in rows.batches(0, survey.rows):
        yield cleaned(batch, first, survey.dropped, on_bad)


def _limit(dump: Dump) -> int:
    """Return the priority below which as many rows as a sample has are found in all parts, but for great misfortune."""
    capacity, rows = searched_rows(dump.dimensions), dump.rows or 0
    spread = SPREAD * int(capacity**0.5) if len(dump.parts) > 1 else int(MORE * capacity)
    return min(((1 << 64) - 1) * (capacity + spread) // max(rows, 1), (1 << 64) - 1)


def _has_its_sample(work: PartWork, _: PartFound) -> bool:
    return not work.apart or work.sample_path.is_file()


class _Merged:
    """What the parts of a dump have in all, as their results come in."""

    def __init__(self, dump: Dump, seed: int, report: Listener) -> None:
        self._dump, self._report = dump, report
        self._sampler = Sampler(dump.dimensions, seed, searched_rows(dump.dimensions))
        self._only: tuple[Drawn, NDArray[np.int64]] | None = None  # the sample of a single part
        self._found: dict[int, PartFound] = {}
        self._sizes = [max(part.size_bytes, 1) for part in dump.parts]
        self._rows, self._bytes, self._reading = 0, 0, 0
        self.notes: dict[str, str] = {}

    def survey_all(self, works: list[PartWork], site: Site) -> None:
        results = site.each(
            survey_part, works, self._listen, form=PartFound, named=PartWork.digest, usable=_has_its_sample
        )
        for number, result in results:
            found = result.gathered(works[number])
            if len(works) == 1:
                self._only = found.sample, found.sample_rows
            else:
                self._sampler.take(found.sample, found.sample_rows + (number << PART_BITS), found.priorities)
            self._found[number] = found.without_sample()
            self._rows, self._bytes = self._rows + found.rows, self._bytes + self._sizes[number]
            self._reading = len(self._found)
            if site.crew.executor is not None:
                self._report(Step.of_share("reading", self._rows, self._bytes / sum(self._sizes)))

    @property
    def lacks_sample(self) -> bool:
        sound = sum(found.sound for found in self._found.values())
        sampled = len(self._sampler) if self._only is None else len(self._only[1])
        return sampled < min(self._sampler.capacity, sound)

    def survey(self) -> Survey:
        ordered = [self._found[number] for number in range(len(self._found))]
        survey = Survey(part_rows=[found.rows for found in ordered], digest=joined_digest([f.digest for f in ordered]))
        survey.content = digest(*(found.content for found in ordered))
        edges = survey.edges()
        survey.rows = int(edges[-1])
        for found in ordered:
            survey.bad, survey.zeroed = survey.bad + found.bad, survey.zeroed + found.zeroed
            survey.examples = [*survey.examples, *found.examples][:EXAMPLES]
            survey.findings.merge(found.findings)
            self.notes |= {kind: place for kind, place in found.notes.items() if kind not in self.notes}
            if found.schema is not None:
                survey.schema = unified(survey.schema, found.schema)
        dropped = [found.dropped + first for found, first in zip(ordered, edges[:-1], strict=True)]
        survey.dropped = np.concatenate([np.empty(0, np.int64), *dropped])
        survey.sample, rows = self._sampler.found()[:2] if self._only is None else self._only
        survey.sample_rows = edges[rows >> PART_BITS] + (rows & (1 << PART_BITS) - 1)
        return survey

    def _listen(self, step: Step) -> None:
        """Pass on how far the part that is read here is, as a step of all."""
        share = step.done / step.total if step.total else 0.0
        done = self._bytes + share * self._sizes[self._reading]
        self._report(Step.of_share("reading", self._rows + step.done, done / sum(self._sizes)))


def _drop_duplicates(found: Survey, dump: Dump, site: Site, on_duplicate: OnDuplicate, report: Listener) -> None:
    runs = [Run(runs_path(site.directory, number), first) for number, first in enumerate(found.edges()[:-1].tolist())]
    ranges = ranges_of(runs, found.rows)
    pairs = dict(site.crew.each(same_keys, ranges, report))
    for number in range(len(ranges)):
        earlier, later = pairs[number]
        if len(earlier) and on_duplicate == "error":
            at, again = int(earlier[0]), int(later[0])
            raise DuplicateKeyError(
                f"{dump.path}: rows {at} and {again} have the same key {_key_at(dump, at)!r}; "
                'keep one of them with on_duplicate="first" or on_duplicate="last"'
            )
        found.findings.add("duplicate key", len(later), [f"row {row}" for row in np.sort(later)[:3].tolist()])
    losers = [pairs[number][on_duplicate == "first"] for number in range(len(ranges))]
    duplicates = np.concatenate(losers)
    found.duplicates = len(duplicates)
    found.dropped = np.sort(np.concatenate([found.dropped, duplicates]))


def _key_at(dump: Dump, row: int) -> Any:
    for batch in dump.batches():
        if row < len(batch):
            return batch.keys[row] if batch.keys is not None else row
        row -= len(batch)
    raise AssertionError("the row was there a moment ago")
