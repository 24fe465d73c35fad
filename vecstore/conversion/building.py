"""From a dump to a published store: survey, train, measure, encode."""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from vecstore.conversion.fitting.fitting import Fitted, FittingWork, fit, fit_elsewhere
from vecstore.conversion.fitting.ground_truth import asking_of
from vecstore.conversion.fitting.sampling import sample_of
from vecstore.conversion.provenance import provenance
from vecstore.conversion.report import Report
from vecstore.conversion.shards.encoding import Source
from vecstore.conversion.shards.shards import write_shards
from vecstore.conversion.shards.workplace import Workplace
from vecstore.conversion.shards.writer import checked_user
from vecstore.conversion.sources.ordering import OrderedDump
from vecstore.conversion.survey.survey import Survey, survey_dump
from vecstore.conversion.tasks.options import ConversionOptions
from vecstore.conversion.tasks.rows import Parted, Rows, parted
from vecstore.conversion.tasks.site import Site
from vecstore.distributed.crew import Crew
from vecstore.errors import ExistsError, FormatError, OptionError
from vecstore.fields.field import trained_fields
from vecstore.formats import Dump
from vecstore.formats.static_model import StaticModelDump
from vecstore.progress import Listener
from vecstore.shard.static_tokens import kept
from vecstore.store.store import Store

__all__ = ["build"]


def build(dump: Parted, path: Path, options: ConversionOptions, crew: Crew, report: Listener) -> Report:
    """Convert a dump to a store at a path; see `vecstore.convert`."""
    for given in (dump.whole.path, *dump.whole.files) if path.exists() else ():
        if os.path.exists(given) and path.samefile(given):
            raise ExistsError(f"{path}: is the dump itself, or a file of it; choose another name for the store")
    options.request.refuse_unfit(dump.whole.dimensions)
    tokens = isinstance(dump.whole, StaticModelDump)
    if tokens and (options.on_bad == "skip" or options.importance is not None):
        raise OptionError("tokens are numbers of rows, so none is left out or moved: no importance=, no on_bad=skip")
    if crew.executor is not None and options.shard_bytes is None:
        raise OptionError("executor= needs shard_bytes=, such as 1GiB: each shard is a task")
    if crew.executor is not None and options.importance is not None:
        raise OptionError("importance= moves rows, which one process does: leave executor= away")
    workplace = Workplace(path, sharded=options.sharded, force=options.force, resume=options.resume)
    try:
        return _built(workplace, dump, options, crew, report)
    except BaseException:
        workplace.give_up()
        raise


def _built(workplace: Workplace, dump: Parted, options: ConversionOptions, crew: Crew, report: Listener) -> Report:
    """Survey, train, measure, encode; then the store is there."""
    site, given = Site(workplace.tasks, crew, remembers=options.resume), dump.whole
    stamps = _stamps(given)
    if options.importance is not None:
        dump = parted(OrderedDump(given, options.importance, directory=workplace.tasks))
    survey = survey_dump(
        dump.whole,
        on_bad=options.on_bad,
        on_duplicate=options.on_duplicate,
        seed=options.seed,
        site=site,
        report=report,
        parts=dump.parts,
        sized=options.shard_bytes is not None,
    )
    sample = sample_of(survey)
    rows, key_type = Rows(dump.parts, survey.part_rows), given.key_type
    if key_type is None:  # rows are found by number
        options = replace(options, keep_order=True)
    # Engines copy what they send several times; a file that all see is written once.
    sent = sample if crew.executor is None else site.keep("sample", sample)
    work = FittingWork(options, survey, sent, rows)
    ((_, fitted),) = site.each(
        fit if crew.executor is None else fit_elsewhere, [work], report, form=Fitted, named=FittingWork.digest
    )
    for note in fitted.notes:
        warnings.warn(note, stacklevel=2)
    description = {"user": checked_user(options.user), **fitted.members}
    description["provenance"] = provenance(given, survey, options)
    arrays: dict[str, NDArray[Any]] = {}
    if isinstance(given, StaticModelDump):
        member, arrays = kept(given.model.tokens)
        description |= member
    trained = {name: source.trained for name, source in given.fields.items()}
    fields = trained_fields(trained, keep_order=options.keep_order)
    source = Source(
        rows,
        options.on_bad,
        options.metric,
        key_type,
        options.keep_norms,
        options.keep_order,
        survey.schema,
        description,
        arrays,
        fields,
        survey.content,
    )
    asking = asking_of(options, sample)
    unchanged = partial(_require_unchanged, given, stamps)
    truth = write_shards(workplace, source, fitted.codec, survey, options, site, report, asking, unchanged=unchanged)
    codes_of = given.format if options.request.from_dump else ""
    return replace(_report(workplace.destination, given, survey, fitted), codes_of=codes_of, ground_truth=truth)


def _stamps(dump: Dump) -> dict[Path, tuple[int, int]]:
    """Return size and last change of the files of a dump; nothing of those that lie elsewhere."""
    found = {}
    for file in dump.files:
        with suppress(OSError):
            about = os.stat(file)
            found[file] = about.st_size, about.st_mtime_ns
    return found


def _require_unchanged(dump: Dump, before: dict[Path, tuple[int, int]]) -> None:
    """Raise `FormatError` where other rows may have been encoded than were surveyed."""
    for file, stamp in _stamps(dump).items():
        if before.get(file, stamp) != stamp:
            raise FormatError("the dump changed while it was read; convert it again", path=file)


def _report(path: Path, dump: Dump, survey: Survey, fitted: Fitted) -> Report:
    with Store(path) as store:
        about = store.info()
    return Report(
        path=str(path),
        rows=survey.kept,
        rows_read=survey.rows,
        bad=survey.bad,
        zeroed=survey.zeroed,
        duplicates=survey.duplicates,
        examples=survey.examples,
        codec=str(fitted.codec.spec),
        dump_bytes=dump.size_bytes,
        store_bytes=about["bytes"]["stored"],
        bytes=about["bytes"],
        row_order=about["row_order"],
        search=about["search"],
        certificate=about["certificate"] or {},
        table=getattr(fitted.codec, "table", None),
        advice=fitted.advice,
        findings=list(survey.findings),
    )
