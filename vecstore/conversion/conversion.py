"""Convert: a dump, or arrays in memory, becomes a store.

Two passes over the dump: the survey counts, checks and samples; then the codec is trained on the sample and all rows
are encoded as they stream by. Memory does not depend on the number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import xxhash
from numpy.typing import ArrayLike, NDArray

from vecstore.codecs.checks import check_seed
from vecstore.codecs.codec import Codec, CodecSpec
from vecstore.codecs.mixed.budget import MixedBudget
from vecstore.codecs.mixed.mixed import MixedCodec, MixedSpec
from vecstore.codecs.mixed.plan import plan
from vecstore.conversion.ordering import OrderedDump
from vecstore.conversion.survey import OnBad, OnDuplicate, Survey, clean_batches, survey_dump
from vecstore.conversion.training import Progress, Stage, Wish, dataset_of, prepare, sample_of
from vecstore.conversion.workplace import Workplace
from vecstore.conversion.writer import Writer
from vecstore.errors import ExistsError, ShapeError
from vecstore.formats import Batch, Dump, open_dump
from vecstore.keys.kind import KINDS, key_type_of
from vecstore.measure.advisor import Advice, advise, refuse_dominated
from vecstore.measure.drift import reference_in
from vecstore.metric import METRICS, Metric
from vecstore.version import __version__

__all__ = ["ArrayDump", "Progress", "Report", "Stage", "convert", "write"]

if TYPE_CHECKING:
    from vecstore.store.store import Store
    from vecstore.tuning.result import Table

Coding: TypeAlias = str | CodecSpec | MixedSpec | MixedBudget | Codec | MixedCodec

DEFAULT_CODEC = "sq:8"
DEFAULT_SEED = 0


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
    certificate : dict
        What is left of the vectors, as the store holds it; see `vecstore.measure.certificate.measure_certificate`.
    table : Table or None
        What was tried, if the codec was chosen by a budget or a target.
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
    certificate: dict[str, Any]
    table: Table | None = None
    advice: list[str] = field(default_factory=list)


def convert(  # noqa: PLR0913 - options are parameters, as users know them
    source: str | Path | Dump,
    path: str | Path,
    codec: Coding | None = None,
    *,
    budget: int | float | str | None = None,
    target: float | str | None = None,
    like: str | Path | Store | None = None,
    queries: ArrayLike | None = None,
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
        `vecstore.codecs.mixed.plan.plan` reads, which makes a directory; or a trained codec. ``"sq:8"`` if nothing
        else is said.
    budget, target : instead of `codec`
        Choose the codec by measuring, as `vecstore.tune` does: bytes a row (``64``, ``"32x"``, ``"24/200"``), or
        ``"recall@10=0.95"``.
    like : path or Store, instead of `codec`
        Take the trained codec of another store, and warn (`vecstore.measure.drift.DriftWarning`) where it does not
        suit.
    queries : (q, d) array, optional
        Real queries: the certificate gives their recall too, and tuning listens to them.
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
    check_seed(seed)
    if Path(dump.path).exists() and Path(path).exists() and Path(dump.path).samefile(path):
        raise ExistsError(f"{path}: is the dump itself; choose another name for the store")
    given = [
        name
        for name, value in (("codec", codec), ("budget", budget), ("target", target), ("like", like))
        if value is not None
    ]
    _require(len(given) <= 1, f"{' and '.join(given)} both choose the codec; give one of them")
    wish = _wish(codec, like, Wish(None, budget, target, queries))
    report = progress or (lambda stage, rows, share: None)
    sharded = shard_bytes is not None or isinstance(wish.codec, (MixedSpec, MixedBudget, MixedCodec))
    workplace = Workplace(path, sharded=sharded, force=force)
    try:
        original = dump
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
        sample = sample_of(survey)
        advice: list[Advice] = []
        if isinstance(wish.codec, (CodecSpec, MixedSpec, MixedBudget)):
            advice = advise(wish.codec, sample.train, survey.kept, seed=seed)
        if not (accept_dominated or force):
            refuse_dominated(advice)
        trained, members = prepare(
            wish,
            sample,
            dataset_of(dump, survey, sample, on_bad=on_bad, keep_norms=keep_norms),
            metric=metric,
            keep_norms=keep_norms,
            keep_order=keep_order or dump.key_type is None,
            shard_bytes=shard_bytes,
            seed=seed,
            report=report,
        )
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
            writer.description |= members | {"provenance": _provenance(original, survey, options)}
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
        dump_bytes=original.size_bytes,
        store_bytes=_size_bytes(Path(path)),
        certificate=members["certificate"],
        table=getattr(trained, "table", None),
        advice=[str(each) for each in advice],
    )


def write(
    path: str | Path,
    vectors: ArrayLike,
    keys: Sequence[Any] | NDArray[Any] | None = None,
    codec: Coding | None = None,
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
        self._keys: Any = None if keys is None or key_type is None else KINDS[key_type].column(keys)

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


def _wish(given: Coding | None, like: str | Path | Store | None, wish: Wish) -> Wish:
    """Return the wish with the codec that was named, trained, or taken from another store."""
    if like is not None:
        from vecstore.store.store import Store

        store = like if isinstance(like, Store) else Store(like)
        return replace(wish, codec=store.codec, reference=reference_in(store.description, store.dimensions))
    if wish.budget is not None or wish.target is not None:
        return wish
    return replace(
        wish, codec=given if isinstance(given, (Codec, MixedCodec)) else plan(DEFAULT_CODEC if given is None else given)
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
