"""The survey of one part of a dump, as a task."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import xxhash
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.checks import LARGEST, sound_rows
from vecstore.conversion.survey.duplicates import RunWriter
from vecstore.conversion.survey.findings import Findings
from vecstore.conversion.survey.sampler import Drawn, Sampler, searched_rows
from vecstore.conversion.tasks.options import OnBad
from vecstore.conversion.tasks.rows import FilePart
from vecstore.conversion.tasks.site import appearing, digest
from vecstore.errors import FormatError, require
from vecstore.formats.dump import Batch, Dump, Problem
from vecstore.keys.packed import PackedKeys
from vecstore.progress import Listener, Step
from vecstore.shard.attribute_types import conformed, kept_schema, raw_table, row_bytes, unified
from vecstore.shard.sizes import KEY_BYTES

__all__ = ["PartFound", "PartWork", "runs_path", "sizes_path", "survey_part"]

EXAMPLES = 5  # bad rows that the report quotes
SIZE = np.dtype("<u4")


def runs_path(directory: Path, part: int) -> Path:
    """Return the file of the hashes of a part's keys."""
    return directory / f"keys-{part:05d}"


def sizes_path(directory: Path, part: int) -> Path:
    """Return the file of what each row of a part takes beside its code: numbers of four bytes."""
    return directory / f"sizes-{part:05d}"


@dataclass(frozen=True)
class PartWork:
    """A task: survey a part of a dump.

    Attributes
    ----------
    number : int
        Of the part.
    part : FilePart or Dump
    several : bool
        The dump has other parts: places in this one are told with its name.
    on_bad : {"error", "skip", "zero"}
    seed : int
    limit : int
        Of the priority of rows that are sampled.
    sized : bool
        Leave the bytes of rows in a file, too.
    directory : Path
    apart : bool
        Leave the sampled vectors in a file, too, not in the result: engines copy what they bring back several times.
    identified : bool
        Tell all that is read from what would be read in another way: for who may go on with what was made of it.
    """

    number: int
    part: FilePart | Dump
    several: bool
    on_bad: OnBad
    seed: int
    limit: int
    sized: bool
    directory: Path
    apart: bool = False
    identified: bool = False

    @property
    def sample_path(self) -> Path:
        """The file of the sampled vectors, where they are not in the result."""
        return self.directory / f"sample-{self.number:05d}-{self.limit:016x}"

    def unlimited(self) -> Self:
        """Return the same work with as many rows sampled as the whole sample has."""
        return replace(self, limit=(1 << 64) - 1)

    def digest(self) -> str:
        """Return what the work is, for who begins it again; "" where that is not known before it is done."""
        if not isinstance(self.part, FilePart) or isinstance(self.part.path, str):
            return ""
        about: list[Any] = [dict(self.part.reading)]
        keys = self.part.reading.get("keys")
        for path in [self.part.path] + ([] if keys is None else [keys]):
            if not os.path.isfile(path):  # a URL
                return ""
            status = os.stat(path)
            about += [str(path), status.st_size, status.st_mtime_ns]
        drawn = self.seed, self.limit, self.apart, self.identified
        return digest("survey", self.number, about, self.several, self.on_bad, self.sized, *drawn)


@dataclass
class PartFound:
    """What the survey of a part found: as `vecstore.conversion.survey.survey.Survey`, with rows as they count in it.

    Attributes
    ----------
    sound : int
        Rows that could be sampled.
    priorities : (n,) uint64
        Of the sampled rows.
    digest : str
        Of the files that the part is.
    content : str
        The digest of what was read of them, where the work asked for it.
    notes : dict
        What is remarkable about the file.
    """

    rows: int = 0
    sound: int = 0
    bad: int = 0
    zeroed: int = 0
    examples: list[str] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)
    notes: dict[str, str] = field(default_factory=dict)
    digest: str = ""
    content: str = ""
    schema: Any = None
    dropped: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    sample: Drawn = field(default_factory=lambda: Drawn(np.empty((0, 0), np.float32)))
    sample_rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    priorities: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))

    def gathered(self, work: PartWork) -> PartFound:
        """Return the same with the sampled vectors, where the work left them in a file."""
        if not work.apart or not len(self.priorities):
            return self
        table = np.memmap(work.sample_path, np.float32, "c")
        return replace(self, sample=Drawn(table.reshape(len(self.priorities), -1)))

    def without_sample(self) -> PartFound:
        """Return the same but for the sampled vectors."""
        return replace(self, sample=Drawn(np.empty((0, 0), np.float32)))

    def saved(self) -> tuple[dict[str, Any], Mapping[str, NDArray[Any]]]:
        """Return it as JSON and arrays."""
        counts = {
            name: getattr(self, name) for name in ("rows", "sound", "bad", "zeroed", "digest", "content", "notes")
        }
        schema = None if self.schema is None else base64.b64encode(self.schema.serialize().to_pybytes()).decode()
        document = counts | {"examples": list(map(str, self.examples)), "schema": schema}
        document["findings"] = [asdict(finding) for finding in self.findings]
        arrays = {name: getattr(self, name) for name in ("dropped", "sample_rows", "priorities")}
        return document, arrays | {"sample": self.sample[:]}

    @classmethod
    def restored(cls, document: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Undo `saved`."""
        found: Any = {**document, **arrays, "sample": Drawn(arrays["sample"])}
        schema, findings = found.pop("schema"), Findings()
        for finding in found.pop("findings"):
            findings.add(**finding)
        if schema is not None:
            pa = require("pyarrow", purpose="keeping columns")
            schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(schema)))
        return cls(**found, findings=findings, schema=schema)


def survey_part(work: PartWork, report: Listener) -> PartFound:
    """Read a part once; leave the hashes of its keys in a file."""
    dump = work.part.open() if isinstance(work.part, FilePart) else work.part
    found = PartFound(digest=dump.digest())
    sampler = Sampler(dump.dimensions, work.seed, searched_rows(dump.dimensions), part=work.number, rows=dump.rows)
    sampler.limit = work.limit
    looking, content = _Looking(work, dump, found), _Content()
    dropped: list[NDArray[np.int64]] = []
    with ExitStack() as stack:
        runs = sizes = None
        if dump.key_type is not None:
            runs = RunWriter(stack.enter_context(appearing(runs_path(work.directory, work.number))))
        if work.sized:
            sizes = stack.enter_context(appearing(sizes_path(work.directory, work.number)))
        for batch in dump.batches():
            bad, drop = _bad_rows(batch, work.on_bad)
            if len(bad):
                looking.report_bad(batch, bad, drop)
            packed = None if batch.keys is None or dump.key_type is None else PackedKeys(batch.keys, dump.key_type)
            looking.look_at(batch, packed)
            if work.identified:
                content.add(batch, packed)
            rows = np.arange(found.rows, found.rows + len(batch))
            good = np.delete(np.arange(len(batch)), bad)
            sampler.offer(batch.vectors if len(good) == len(batch) else batch.vectors[good], rows[good])
            found.sound += len(good)
            dropped.append(rows[drop])
            if batch.columns:
                found.schema = unified(found.schema, raw_table(batch.columns).schema)
            if packed is not None and runs is not None:
                some = np.delete(np.arange(len(batch)), drop)
                runs.add(packed if len(some) == len(batch) else packed.take(some), rows[some])
            if sizes is not None:
                sizes.write(_sizes(batch, packed).astype(SIZE).tobytes())
            found.rows += len(batch)
            report(Step.of_share("reading", found.rows, batch.fraction_read))
        if runs is not None:
            runs.close()
    found.content = content.digest() if work.identified else ""
    found.dropped = np.concatenate([found.dropped, *dropped])
    found.sample, found.sample_rows, found.priorities = sampler.found()
    found.notes = dict(dump.notes)
    if work.apart:
        with appearing(work.sample_path) as file:
            file.write(found.sample[:].tobytes())
        return found.without_sample()
    return found


def _sizes(batch: Batch, packed: PackedKeys | None) -> NDArray[np.int64]:
    """Return the bytes that each row takes beside its code."""
    sizes = np.zeros(len(batch), np.int64)
    if packed is not None:
        sizes += packed.lengths + KEY_BYTES
    if batch.columns:
        table = raw_table(batch.columns)
        sizes += row_bytes(conformed(table, kept_schema(table.schema)))
    for rows in batch.fields.values():
        sizes += rows.row_bytes
    return sizes


class _Content:
    """The digest of rows as they are read: whatever options, or a file of keys beside, made of them."""

    def __init__(self) -> None:
        self._vectors, self._keys, self._columns = xxhash.xxh3_128(), xxhash.xxh3_128(), xxhash.xxh3_128()

    def add(self, batch: Batch, packed: PackedKeys | None) -> None:
        self._vectors.update(np.ascontiguousarray(batch.vectors))
        if packed is not None:
            self._keys.update(packed.text)
            self._keys.update(packed.lengths)
        if batch.columns:
            pa, table = require("pyarrow", purpose="reading columns"), raw_table(batch.columns)
            with pa.ipc.new_stream(sink := pa.BufferOutputStream(), table.schema) as writer:
                writer.write_table(table)
            self._columns.update(sink.getvalue())

    def digest(self) -> str:
        return digest(*(own.hexdigest() for own in (self._vectors, self._keys, self._columns)))


class _Looking:
    """What is remarkable about the rows of a part, in words."""

    def __init__(self, work: PartWork, dump: Dump, found: PartFound) -> None:
        self._work, self._dump, self._found = work, dump, found
        self._where = f"{dump.path.name}, " if work.several else ""

    def look_at(self, batch: Batch, packed: PackedKeys | None) -> None:
        self._found.findings.look_at(batch, self._found.rows, packed, where=self._where)

    def report_bad(self, batch: Batch, bad: NDArray[np.int64], drop: NDArray[np.int64]) -> None:
        found = self._found
        for row in bad.tolist():
            reason = batch.problems.get(row)
            if reason is None:
                fault = _fault(batch.vectors[row])
                reason = Problem(fault, f"row {found.rows + row}: {fault}")
            found.findings.add(reason.kind, 1, [f"{self._where}{reason}"])
            if len(found.examples) == EXAMPLES:
                continue
            if self._work.on_bad == "error":
                raise FormatError(
                    f'{reason}; leave such rows out with on_bad="skip", or store zeros with on_bad="zero"',
                    path=self._dump.path,
                )
            found.examples.append(f"{self._where}{reason}")
        found.bad += len(drop)
        found.zeroed += len(bad) - len(drop)


def _bad_rows(batch: Batch, on_bad: OnBad) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the bad rows of a batch, and those of them that are dropped rather than kept as zeros."""
    unreadable = ~sound_rows(batch.vectors)
    keyless = np.zeros(len(batch), bool)
    if isinstance(batch.keys, np.ndarray):  # where a number could not be read, the reader puts 0
        unread = list(batch.problems)
        keyless[unread] = batch.keys[unread] == 0
    elif batch.keys is not None and not all(batch.keys):
        keyless = np.fromiter((not key for key in batch.keys), bool, len(batch))
    bad = np.flatnonzero(unreadable | keyless)
    # A vector can be replaced by zeros; an empty key cannot be replaced by anything.
    return bad, np.flatnonzero(keyless) if on_bad == "zero" else bad


def _fault(vector: Floats) -> str:
    if not np.isfinite(vector).all():
        return "NaN or infinity"
    return f"a value beyond {LARGEST:g}" if not sound_rows(vector[None]).all() else "empty key"
