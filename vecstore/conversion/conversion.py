"""Convert: a dump, or arrays in memory, becomes a store.

Two passes over the dump: the survey counts, checks and samples; then the codec is trained on the sample and all rows
are encoded, shard by shard. Memory does not depend on the number of rows. Each part of the dump, each range of its keys
and each shard is a task: one after the other here, or side by side at the workers of an executor.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from numpy.typing import ArrayLike, NDArray

from vecstore.conversion.building import build
from vecstore.conversion.fronts import compare_fronts
from vecstore.conversion.report import Report
from vecstore.conversion.sources.arrays import ArrayDump
from vecstore.conversion.sources.dask_dump import dask_dump, is_dask
from vecstore.conversion.sources.field_columns import FieldDump, columns_of_fields
from vecstore.conversion.sources.frames import columns_of, in_memory, vectors_and_keys
from vecstore.conversion.tasks.options import (
    DEFAULT_SEED,
    CodecRequest,
    Coding,
    ConversionOptions,
    OnBad,
    OnDuplicate,
)
from vecstore.conversion.tasks.rows import parted
from vecstore.conversion.trained_tables import TrainedTables
from vecstore.distributed.crew import Crew
from vecstore.editing.bucket import destination
from vecstore.errors import OptionError
from vecstore.formats import Dump, ReadingOptions, open_dump
from vecstore.formats.opener import recognised
from vecstore.formats.reading import checked_options
from vecstore.formats.remote import fetched
from vecstore.formats.remote_files import RemoteFiles
from vecstore.formats.several import matching
from vecstore.metric import Metric
from vecstore.progress import Progress, reported
from vecstore.store.store import Store

__all__ = ["Report", "convert", "write"]


def convert(  # noqa: PLR0913 - options are parameters, as users know them
    source: Any,
    path: str | Path,
    codec: Coding | None = None,
    *,
    budget: int | float | str | None = None,
    target: float | str | None = None,
    like: str | Path | Store | None = None,
    queries: ArrayLike | None = None,
    metric: Metric = "cosine",
    keep_norms: bool = False,
    keep_order: bool = True,
    shard_bytes: int | None = None,
    seed: int = DEFAULT_SEED,
    on_bad: OnBad = "error",
    on_duplicate: OnDuplicate = "error",
    importance: ArrayLike | None = None,
    user: Mapping[str, Any] | None = None,
    force: bool = False,
    accept_dominated: bool = False,
    ground_truth: int = 0,
    executor: Executor | None = None,
    resume: bool = False,
    progress: Progress = False,
    fields: Mapping[str, Any] | None = None,
    **reading: Unpack[ReadingOptions],
) -> Report:
    """Convert a dump to a store.

    Parameters
    ----------
    source : path, Dump, or what `write` takes as vectors
        A file in any of the formats of `vecstore.formats`, or the folder of a static model (model2vec); also an array
        or data frame of Dask (see `vecstore.conversion.dask_dump.dask_dump`).
    path : path or URL
        The store to write: a file, or with `shard_bytes` a directory. One in a bucket (``s3://bucket/docs.vecs``) is
        always a directory; it is built on the local disk, where temporary files are, and uploaded.
    codec : str, CodecSpec or Codec
        A specification such as ``"opq:48"``, trained here on a sample; ``"mixed:12"`` or what else
        `vecstore.codecs.mixed.plan.plan` reads, which makes a directory; or a trained codec. If nothing else is said,
        the codec of the file, where it has one of ours (`vecstore.formats.dump.Coded`): codes are taken over as they
        are; else ``"sq:8"``.
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
        With cells first in the codec rows are stored cell by cell, and the numbers that they have in the dump are kept
        beside them, 4 bytes a row. False gives these up where rows have keys: a row's number is then its place in the
        store, and `search` takes no numbers or masks but those that the store gave.
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
    ground_truth : int
        So many of the rows that training did not see (at most 1,024), and of `queries`, ask all rows while these are
        encoded. The certificate then has the recall among all, where it is otherwise measured among at most 131,072
        and extrapolated, and the report their neighbours. With `shard_bytes`; 256 of 128 dimensions take 4 µs a row.
    executor : concurrent.futures.Executor, optional
        Whose workers survey the files of the source and encode the shards, each file and each shard as a task; with
        `shard_bytes`. The store is the same, bit for bit, as without. `vecstore.distributed.Processes`, or
        ``client.get_executor()`` of Dask; all workers see the same file system.
    resume : bool
        Go on where an earlier conversion to this path was interrupted, and leave what is done if this one is.
    progress : bool or callable
        True shows how far it is, as bars or as lines; a function is called with each `vecstore.progress.Step`.
    fields : mapping of names to fields, optional
        What to keep beside the vectors and to search, made of columns of a file: ``{"tokens":
        vecstore.Multi("token_vectors"), "terms": vecstore.Sparse("weights")}``. The columns are read once more, before.
    **reading
        How a file is read: ``format=``, ``keys=`` (a file of keys, one a line, or ``.npy``), ``key_type=``,
        ``key_column=``, ``vector_column=``, ``array=`` and more; see `vecstore.formats.ReadingOptions`.
        ``columns=`` names columns to keep beside the vectors, for filters and results: bool, integers, floats,
        strings, timestamps and lists of strings. `write` takes them from memory.

    Raises
    ------
    FormatError
        The dump cannot be read, or has bad rows that the policy does not allow.
    DuplicateKeyError
        Two rows have the same key, and the policy does not allow it.
    OptionError
        An argument is not known or out of range, or two of them choose the codec.
    ExistsError
        The store exists.
    BusyError
        Another process is writing it.
    RemoteError
        The bucket cannot be written; `ConflictError` where another writer was first.
    CodecError
        The specification does not fit the vectors, or another one is better in every way (see `accept_dominated`).
    """
    options = ConversionOptions(
        CodecRequest.of(
            codec, budget=budget, target=target, like=like, queries=queries, accept_dominated=accept_dominated
        ),
        metric=metric,
        keep_norms=keep_norms,
        keep_order=keep_order,
        shard_bytes=shard_bytes,
        seed=seed,
        on_bad=on_bad,
        on_duplicate=on_duplicate,
        importance=importance,
        user=user or {},
        force=force,
        resume=resume,
        ground_truth=ground_truth,
    )
    kept = tuple(reading.get("columns") or ())
    if fields:
        if executor is not None or resume:
            raise OptionError("fields= are read by one process from the start: leave executor= and resume= away")
        if isinstance(source, Dump):
            kept = tuple(name for name in source.columns if name not in columns_of_fields(fields))
        else:
            reading["columns"] = list(dict.fromkeys((*kept, *columns_of_fields(fields))))
    crew = Crew(executor)
    with reported(progress) as report, ExitStack() as stack:
        dump = given = _dump(source, dict(reading))
        local = stack.enter_context(destination(path, force=force, resume=resume))
        if fields:
            dump = given = _with_fields(dump, fields, kept, room=Path(local).parent, seed=seed)
        if isinstance(dump, TrainedTables):
            if codec is budget is target is like is None:
                return replace(_imported(dump, local, options), path=str(path))
            dump = stack.enter_context(dump.as_dump())
        if not keep_norms:  # which would code unit vectors, and so other codes
            options = replace(options, request=options.request.of_dump(dump))
        sent = (executor is not None or resume) and isinstance(source, (str, os.PathLike)) and isinstance(given, Dump)
        own: Any = reading if sent else None
        done = build(parted(dump, own), local, options, crew, report)
        return replace(done, path=str(path), fronts=compare_fronts(done, options, report))


def write(  # noqa: PLR0913 - options are parameters, as users know them
    path: str | Path,
    vectors: Any,
    keys: Sequence[Any] | NDArray[Any] | str | None = None,
    codec: Coding | None = None,
    *,
    budget: int | float | str | None = None,
    target: float | str | None = None,
    like: str | Path | Store | None = None,
    queries: ArrayLike | None = None,
    metric: Metric = "cosine",
    keep_norms: bool = False,
    keep_order: bool = True,
    shard_bytes: int | None = None,
    seed: int = DEFAULT_SEED,
    on_bad: OnBad = "error",
    on_duplicate: OnDuplicate = "error",
    importance: ArrayLike | None = None,
    user: Mapping[str, Any] | None = None,
    force: bool = False,
    accept_dominated: bool = False,
    ground_truth: int = 0,
    progress: Progress = False,
    columns: Any = None,
    fields: Mapping[str, Any] | None = None,
) -> Report:
    """Write vectors in memory (or an `np.memmap`) to a store; the options are those of `convert`.

    Parameters
    ----------
    vectors : (n, d) array of numbers, n arrays (d,), mapping of keys to vectors, or data frame
        Frames of pandas, polars or pyarrow: `vecstore.conversion.sources.frames.vectors_and_keys` says what is taken.
    keys : n str, bytes or int, optional
        Of a frame also the name of their column.
    columns : mapping of names to n values, table or frame of n rows, optional
        What to keep beside the vectors; of a frame also names of columns.
    fields : mapping of names to `vecstore.Multi` of n rows, optional
        What to keep beside the vectors and to search, such as ``{"tokens": vecstore.Multi(token_vectors)}``.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(100, 8))
    >>> vecstore.write("items.vecs", x, range(100), codec="f16").rows
    100
    """
    return convert(
        ArrayDump(*vectors_and_keys(vectors, keys, columns), columns_of(vectors, columns), fields, seed=seed),
        path,
        codec,
        budget=budget,
        target=target,
        like=like,
        queries=queries,
        metric=metric,
        keep_norms=keep_norms,
        keep_order=keep_order,
        shard_bytes=shard_bytes,
        seed=seed,
        on_bad=on_bad,
        on_duplicate=on_duplicate,
        importance=importance,
        user=user,
        force=force,
        accept_dominated=accept_dominated,
        ground_truth=ground_truth,
        progress=progress,
    )


def _with_fields(
    dump: Dump | TrainedTables, fields: Mapping[str, Any], kept: tuple[str, ...], *, room: Path, seed: int
) -> Dump:
    if isinstance(dump, TrainedTables) or set(columns_of_fields(fields)) - set(dump.columns):
        raise OptionError("fields= of convert() are columns of a table, such as Parquet")
    return FieldDump(dump, fields, kept, room=room, seed=seed)


def _dump(source: Any, reading: dict[str, Any]) -> Dump | TrainedTables:
    if is_dask(source):
        source = dask_dump(source, reading.pop("columns", None))
    if not isinstance(source, Dump) and not in_memory(source):
        options, source = checked_options(reading), fetched(source)
        if isinstance(source, RemoteFiles) or matching(Path(source)):
            return open_dump(source, **options)
        entry, _, _ = recognised(source, **options)
        return TrainedTables(Path(source), entry.name, options) if entry.table else open_dump(source, **options)
    columns = None if isinstance(source, Dump) else reading.pop("columns", None)
    given = [f"{name}=" for name, value in reading.items() if value is not None]
    if given:
        raise OptionError(
            f"{' and '.join(given)}: for files that are read here; vectors in memory and their keys go to "
            "vecstore.write, and a Dump was opened with them"
        )
    if not isinstance(source, Dump):
        return ArrayDump(*vectors_and_keys(source, beside=columns), columns_of(source, columns))
    return source


def _imported(tables: TrainedTables, path: Path, options: ConversionOptions) -> Report:
    """Write the tables as they are; nothing is trained, and nothing is lost that a certificate could tell."""
    rows = tables.write(path, metric=options.metric, seed=options.seed, force=options.force)
    with Store(path) as store:
        about = store.info()
    return Report(
        path=str(path),
        rows=rows,
        rows_read=rows,
        bad=0,
        zeroed=0,
        duplicates=0,
        examples=[],
        codec=about["codec"],
        dump_bytes=tables.path.stat().st_size,
        store_bytes=about["bytes"]["stored"],
        bytes=about["bytes"],
        row_order=about["row_order"],
        search=about["search"],
        certificate={},
        imported=tables.format,
    )
