"""Convert: a dump, or arrays in memory, becomes a store.

Two passes over the dump: the survey counts, checks and samples; then the codec is trained on the sample and all rows
are encoded as they stream by. Memory does not depend on the number of rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import xxhash
from numpy.typing import ArrayLike, NDArray

from vecstore.advisor import advise, refuse_dominated
from vecstore.codecs.base import Floats
from vecstore.codecs.codec import Codec, as_vectors, code_bytes_of
from vecstore.codecs.mixed import MixedBudget, MixedCodec, MixedSpec, plan
from vecstore.codecs.normalize import unit
from vecstore.codecs.population import Block, Population
from vecstore.codecs.spec import CodecSpec
from vecstore.errors import ExistsError, ShapeError
from vecstore.fidelity import measure_fidelity, measure_oversampling
from vecstore.formats import Batch, Dump, open_dump
from vecstore.keys import PackedKeys, key_type_of
from vecstore.ordering import OrderedDump
from vecstore.shard import METRICS, Metric
from vecstore.survey import OnBad, OnDuplicate, Survey, clean_batches, survey_dump
from vecstore.version import __version__
from vecstore.workplace import Workplace
from vecstore.writer import Writer

__all__ = ["ArrayDump", "Progress", "Report", "Stage", "convert", "write"]

Stage: TypeAlias = Literal["reading", "training", "measuring", "encoding"]
Coding: TypeAlias = str | CodecSpec | MixedSpec | MixedBudget | Codec | MixedCodec
Progress: TypeAlias = Callable[[Stage, int, float], None]

HELD_OUT_ROWS = 1024
DEFAULT_SEED = 0
DEEP = 0.1  # share of the rows from which on rescoring costs what a scan does
DEEP_ROWS = 20_000  # stores below this are searched in no time anyway


class RescoringWarning(UserWarning):
    """The coarse layer of a two-layer codec hides so many neighbours that rescoring costs more than it saves."""


@dataclass(frozen=True)
class Report:
    """What a conversion did.

    Attributes
    ----------
    path : str
    rows : int
        In the store.
    rows_read, bad, zeroed, duplicates : int
        In the dump; left out as bad; stored as zeros; left out as duplicates.
    examples : list of str
        The first few bad rows.
    codec : str
    dump_bytes, store_bytes : int
        Size of the source (as float32 where it was an array) and of the store.
    fidelity : dict
        See `measure_fidelity`.
    advice : list of str
        What a product quantizer would keep in the bytes of a codec whose rows share tables.
    """

    path: str
    rows: int
    rows_read: int
    bad: int
    zeroed: int
    duplicates: int
    examples: list[str]
    codec: str
    dump_bytes: int
    store_bytes: int
    fidelity: dict[str, Any]
    advice: list[str] = field(default_factory=list)


def convert(
    source: str | Path | Dump,
    path: str | Path,
    codec: Coding = "sq:8",
    *,
    metric: Metric = "cosine",
    keep_norms: bool = False,
    keep_order: bool = False,
    shard_bytes: int | None = None,
    seed: int = DEFAULT_SEED,
    on_bad: OnBad = "error",
    on_duplicate: OnDuplicate = "error",
    importance: ArrayLike | None = None,
    user: Mapping[str, Any] | None = None,
    force: bool = False,
    accept_dominated: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Convert a dump to a store.

    Parameters
    ----------
    source : path or Dump
        A file in any of the formats of `vecstore.formats`; open it with `vecstore.formats.open_dump` to name its
        format, its keys or its columns.
    path : path
        The store to write: a file, or with `shard_bytes` a directory.
    codec : str, CodecSpec or Codec
        A specification such as ``"opq:48"``, trained here on a sample; ``"mixed:12"`` or what else
        `vecstore.codecs.mixed.plan` reads, which makes a directory; or a trained codec.
    metric : {"cosine", "dot", "l2"}
    keep_norms : bool
        Store unit vectors and each row's length beside them (4 bytes), so that lookups have the original lengths.
    keep_order : bool
        With cells first in the codec rows are stored cell by cell, and a row's number is its place in the store. Keep
        the numbers of the dump (4 bytes a row) instead; without keys they are kept anyway.
    shard_bytes : int, optional
        Cut into shards of at most this size.
    seed : int
        Of the sample and the training.
    on_bad : {"error", "skip", "zero"}
        What to do with rows that are not `dimensions` finite numbers, or have an empty key.
    on_duplicate : {"error", "first", "last"}
        Which of several rows with one key stays.
    importance : (n,) array of numbers, optional
        How often each row of the dump is asked for. The store then holds the rows in falling order of it, and codecs
        that care for frequency go by it; without, they take rows to be in the order of frequency, by Zipf's law.
    user : mapping, optional
        Free-form metadata to keep in the store.
    force : bool
        Replace an existing store; and accept what `accept_dominated` does.
    accept_dominated : bool
        Fit a codec whose rows share tables although a product quantizer keeps more in the same bytes.
    progress : callable, optional
        Called with stage, rows done, and the share of the stage that is done.

    Raises
    ------
    FormatError
        The dump cannot be read, or has rows that the policies do not allow.
    ExistsError
        The store exists, or another process is writing it.
    CodecError
        The specification does not fit the vectors, or another one is better in every way (see `accept_dominated`).
    """
    dump = source if isinstance(source, Dump) else open_dump(source)
    _require(metric in METRICS, f"unknown metric {metric!r}; choose one of {', '.join(METRICS)}")
    _require(on_bad in ("error", "skip", "zero"), f"on_bad is error, skip or zero, found {on_bad!r}")
    _require(
        on_duplicate in ("error", "first", "last"), f"on_duplicate is error, first or last, found {on_duplicate!r}"
    )
    _require(0 <= seed < 2**31, f"a seed is a number from 0 to 2**31 - 1, found {seed!r}")
    if Path(dump.path).exists() and Path(path).exists() and Path(dump.path).samefile(path):
        raise ExistsError(f"{path}: is the dump itself; choose another name for the store")
    spec = codec if isinstance(codec, (Codec, MixedCodec)) else plan(codec)
    report = progress or (lambda stage, rows, share: None)
    sharded = shard_bytes is not None or not isinstance(spec, (Codec, CodecSpec))
    workplace = Workplace(path, sharded=sharded, force=force)
    try:
        given = dump
        if importance is not None:
            dump = OrderedDump(dump, importance, directory=workplace.path)
        survey = survey_dump(
            dump,
            on_bad=on_bad,
            on_duplicate=on_duplicate,
            seed=seed,
            directory=workplace.path,
            progress=lambda rows, share: report("reading", rows, share),
        )
        drawn = _drawn(dump, survey, on_bad, keep_norms)
        advice = [] if isinstance(spec, (Codec, MixedCodec)) else advise(spec, drawn.sample, survey.kept, seed=seed)
        if not (accept_dominated or force):
            refuse_dominated(advice)
        trained, fidelity = _train(spec, drawn, metric, keep_norms, seed, shard_bytes, report)
        with Writer(
            path,
            trained,
            metric=metric,
            shard_bytes=shard_bytes,
            keep_norms=keep_norms,
            keep_order=keep_order,
            user=user,
            workplace=workplace,
        ) as writer:
            options: dict[str, Any] = {"seed": seed, "on_bad": on_bad, "on_duplicate": on_duplicate}
            if importance is not None:
                options["order"] = "importance"
            writer.description |= {"fidelity": fidelity, "provenance": _provenance(given, survey, options)}
            for batch in clean_batches(dump, survey, on_bad):
                writer.add(batch.vectors, batch.keys)
                report("encoding", writer.rows, writer.rows / survey.kept)
    except BaseException:
        workplace.discard()
        raise
    return Report(
        path=str(path),
        rows=survey.kept,
        rows_read=survey.rows,
        bad=survey.bad,
        zeroed=survey.zeroed,
        duplicates=survey.duplicates,
        examples=survey.examples,
        codec=str(trained.spec),
        dump_bytes=given.size_bytes,
        store_bytes=_size_bytes(Path(path)),
        fidelity=fidelity,
        advice=[str(each) for each in advice],
    )


def write(
    path: str | Path,
    vectors: ArrayLike,
    keys: Sequence[Any] | NDArray[Any] | None = None,
    codec: Coding = "sq:8",
    **options: Any,
) -> Report:
    """Write vectors in memory (or an `np.memmap`) to a store; `options` as for `convert`.

    Parameters
    ----------
    vectors : (n, d) array of numbers
    keys : n str, bytes or int, optional

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(100, 8))
    >>> vecstore.write("items.vecs", x, range(100), codec="f16").rows
    100
    """
    return convert(ArrayDump(vectors, keys), path, codec, **options)


class ArrayDump(Dump):
    """Vectors and keys in memory, read as if they were a dump."""

    def __init__(self, vectors: ArrayLike, keys: Sequence[Any] | NDArray[Any] | None = None) -> None:
        given = np.asarray(vectors)
        if given.ndim != 2 or given.dtype.kind not in "fiub":
            raise ShapeError(f"vectors are an (n, d) array of numbers, found shape {given.shape} of {given.dtype}")
        if keys is not None and len(keys) != len(given):
            raise ShapeError(f"{len(keys)} keys for {len(given)} vectors")
        key_type = key_type_of(keys) if keys is not None and len(keys) else None
        super().__init__(Path("array"), format="array", rows=len(given), dimensions=given.shape[1], key_type=key_type)
        self._given = given
        self._keys: Any = np.asarray(keys, np.int64) if key_type == "int64" else None if keys is None else list(keys)

    @property
    def size_bytes(self) -> int:
        return 4 * self._given.size

    def content_hash(self) -> str:
        """Return the XXH3 (128 bits) of the vectors as given, row after row, in hexadecimal."""
        digest = xxhash.xxh3_128()
        for start in range(0, len(self._given), 8192):
            digest.update(np.ascontiguousarray(self._given[start : start + 8192]))
        return digest.hexdigest()

    def _batches(self, rows: int) -> Iterator[Batch]:
        for start in range(0, len(self._given), rows):
            with np.errstate(over="ignore"):
                piece = np.array(self._given[start : start + rows], np.float32, order="C")
            stop = start + len(piece)
            yield Batch(piece, None if self._keys is None else self._keys[start:stop], {}, stop / len(self._given))


@dataclass(frozen=True)
class Drawn:
    """What training gets: a sample (n, d) float32 and its row numbers, the first rows to measure with; and all rows."""

    sample: Floats
    rows: NDArray[np.int64]
    held_out: int
    population: Population


def _drawn(dump: Dump, survey: Survey, on_bad: OnBad, keep_norms: bool) -> Drawn:
    kept = ~np.isin(survey.sample_rows, survey.dropped)
    sample, numbers = survey.sample[kept], survey.sample_rows[kept]
    rows = numbers - np.searchsorted(survey.dropped, numbers)  # as they count in the store
    if not len(sample):  # nothing but zero vectors is left
        sample, rows = np.zeros((1, survey.sample.shape[1]), np.float32), np.zeros(1, np.int64)
    held_out = min(HELD_OUT_ROWS, len(sample) // 10)

    def blocks() -> Iterator[Block]:
        first = 0
        for batch in clean_batches(dump, survey, on_bad):
            packed = None if batch.keys is None or dump.key_type is None else PackedKeys(batch.keys, dump.key_type)
            vectors = unit(batch.vectors) if keep_norms else batch.vectors
            yield Block(np.arange(first, first + len(batch)), vectors, packed)
            first += len(batch)

    importance = np.delete(dump.importance, survey.dropped) if isinstance(dump, OrderedDump) else None
    spared = np.sort(rows[:held_out])
    return Drawn(sample, rows, held_out, Population(survey.kept, blocks, spared=spared, importance=importance))


def _train(
    spec: CodecSpec | MixedSpec | MixedBudget | Codec | MixedCodec,
    drawn: Drawn,
    metric: Metric,
    keep_norms: bool,
    seed: int,
    shard_bytes: int | None,
    report: Progress,
) -> tuple[Codec | MixedCodec, dict[str, Any]]:
    """Return the trained codec and its fidelity on the part of the sample that training does not see."""
    sample, held_out, population = drawn.sample, drawn.held_out, drawn.population
    train = sample[held_out:]
    report("training", len(train), 0.0)
    coded = unit(train) if keep_norms else train
    if isinstance(spec, (Codec, MixedCodec)):
        trained: Codec | MixedCodec = spec
    elif isinstance(spec, CodecSpec) and spec.cells is not None:
        rows = population.total
        if shard_bytes is not None:
            rows = min(rows, shard_bytes // max(code_bytes_of(spec, coded, seed=seed), 1))
        trained = spec.fit(coded, seed=seed, rows=rows)
    else:
        trained = spec.fit(coded, seed=seed, population=population)
    report("training", len(train), 1.0)
    measured = slice(held_out or len(sample))
    tested = Block(drawn.rows[measured], as_vectors(sample[measured], trained.dimensions))
    report("measuring", len(tested.rows), 0.0)
    if any(layer.quantizer.by_key for layer in trained.layers):
        tested = population.pick(np.sort(tested.rows))
    fidelity = measure_fidelity(
        trained, tested.vectors, keep_norms=keep_norms, seed=seed, rows=tested.rows, keys=tested.keys
    )
    if isinstance(trained, MixedCodec):
        fidelity |= trained.measured
    elif found := {name: fact for layer in trained.layers for name, fact in layer.quantizer.facts.items()}:
        fidelity["tables"] = found
    if len(trained.layers) > 1:
        base, queries = (unit(train), unit(tested.vectors)) if keep_norms else (train, tested.vectors)
        factors = measure_oversampling(trained, queries, base, rows=population.total, metric=metric)
        fidelity |= {"oversampling": factors, "oversample": max(factors.values())}
        _warn_of_deep_rescoring(trained, 10 * fidelity["oversample"], population.total)
    report("measuring", len(tested.rows), 1.0)
    return trained, fidelity | {"held_out": held_out > 0 and not trained.shared, "training_rows": len(train)}


def _warn_of_deep_rescoring(trained: Codec | MixedCodec, rescored: int, rows: int) -> None:
    if rows >= DEEP_ROWS and rescored > DEEP * rows:
        coarse, fine = (layer.spec for layer in trained.layers)
        warnings.warn(
            f"{coarse} orders these vectors so poorly that a search for ten rescores {min(rescored, rows):,} of "
            f"{rows:,} rows to lose one neighbour in a thousand; {fine} alone may be faster, or search with a smaller "
            "rescore",
            RescoringWarning,
            stacklevel=2,
        )


def _provenance(dump: Dump, survey: Survey, options: dict[str, Any]) -> dict[str, Any]:
    """Return where the store comes from; nothing in it depends on when or where the conversion ran."""
    return {
        "source": dump.path.name,
        "format": dump.format,
        "xxh3_128": dump.content_hash() if isinstance(dump, ArrayDump) else _file_hash(dump.path),
        "bytes": dump.size_bytes,
        "rows": survey.rows,
        "bad": survey.bad,
        "zeroed": survey.zeroed,
        "duplicates": survey.duplicates,
        "examples": survey.examples,
        "vecstore": __version__,
        **options,
    }


def _file_hash(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _size_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir()) if path.is_dir() else path.stat().st_size


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ShapeError(message)
