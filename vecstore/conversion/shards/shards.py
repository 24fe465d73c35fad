"""From a trained codec to a published store: cut rows into shards, have each encoded, map their keys, commit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.codec import Codec
from vecstore.conversion.fitting.ground_truth import Gathered
from vecstore.conversion.shards.cutting import Cutter
from vecstore.conversion.shards.encoding import Encoded, ShardWork, Source, encode_shard
from vecstore.conversion.shards.key_ranges import write_keys
from vecstore.conversion.shards.workplace import Workplace
from vecstore.conversion.survey.part_survey import SIZE, sizes_path
from vecstore.conversion.survey.survey import Survey
from vecstore.conversion.tasks.codec_file import SavedCodec
from vecstore.conversion.tasks.options import ConversionOptions, TrainedCodec
from vecstore.conversion.tasks.site import KEPT, Site, digest
from vecstore.editing.commit import entry_of
from vecstore.measure.neighbours import Asking
from vecstore.progress import Listener, Step
from vecstore.shard.certificate import certificate_in
from vecstore.shard.models import model_file, write_model
from vecstore.shard.sizes import field_bytes
from vecstore.store.manifest import Manifest, require_few

__all__ = ["write_shards"]

CUT_ROWS = 1 << 20  # whose sizes are in memory at once
KEY_MAP = "keys-00000.vecs"


def write_shards(  # noqa: PLR0913 - what all steps have found comes together here
    workplace: Workplace,
    source: Source,
    codec: TrainedCodec,
    survey: Survey,
    options: ConversionOptions,
    site: Site,
    report: Listener,
    asking: Asking | None = None,
    *,
    unchanged: Callable[[], None],
) -> dict[str, NDArray[Any]] | None:
    """Encode all shards, each as a task; then the store is there, unless `unchanged` raises.

    Returns what `Report.ground_truth` is, where some ask.
    """
    works = list(_works(source, codec, survey, options, site, asking))
    gathered = None if asking is None else Gathered(asking)
    encoded: dict[int, Encoded] = {}
    shards = site.each(
        encode_shard, works, report, form=Encoded, named=lambda work: work.name, usable=lambda work, _: _is_there(work)
    )
    done = 0
    for number, result in shards:
        if gathered is not None and result.nearest is not None:
            gathered.add(result.nearest)
        encoded[number] = replace(result, nearest=None)
        done += result.rows
        if site.crew.executor is not None:
            report(Step("encoding", done, survey.kept))
    unchanged()
    for left in workplace.path.iterdir():
        left.unlink()
    entries: list[dict[str, Any]] = []
    for number, work in enumerate(works):
        name, result = f"shard-{number:05d}.vecs", encoded[number]
        _place(work.path, workplace.path / name)
        entries.append({"file": name, "bytes": result.bytes, "fingerprint": result.fingerprint, "rows": result.rows})
    if not workplace.sharded:
        workplace.publish_file(entries[0]["file"])
        return None
    models = [model_file(model) for model in dict.fromkeys(work.model for work in works) if model is not None]
    for name in models:
        _place(site.directory / name, workplace.path / name)
    maps, collisions = _key_map(workplace.path, works, site, report) if source.key_type else ((), {})
    told = tuple(entry_of(workplace.path / name, name) for name in models)
    measured: dict[str, Any] = {}
    if gathered is not None:
        sampled = certificate_in(source.description)
        measured["certificate"] = gathered.certificate(sampled, survey.kept, seed=options.seed).to_dict()
    workplace.publish_directory(Manifest(0, tuple(entries), maps, collisions, told, measured))
    return None if gathered is None else gathered.ground_truth()


def _key_map(
    directory: Path, works: list[ShardWork], site: Site, report: Listener
) -> tuple[tuple[dict[str, Any], ...], dict[str, list[int]]]:
    """Write the map of keys to shards; return its entry and the hashes that several shards hold."""
    if len(works) < 2:
        return (), {}
    path, keys = directory / KEY_MAP, sum(work.hashes_path.stat().st_size for work in works) // 8
    report(Step("mapping", 0, keys, "keys"))
    collisions = write_keys(path, [work.hashes_path for work in works], [work.name for work in works], site, report)
    report(Step("mapping", keys, keys, "keys"))
    return (entry_of(path, KEY_MAP, shards=[0, len(works)]),), collisions


def _works(
    source: Source,
    codec: TrainedCodec,
    survey: Survey,
    options: ConversionOptions,
    site: Site,
    asking: Asking | None,
) -> Iterator[ShardWork]:
    """Yield a task for each shard."""
    cutter = Cutter(
        codec,
        options.shard_bytes,
        keep_norms=options.keep_norms,
        keep_order=options.keep_order,
        columns=len(source.schema or ()),
        fixed=field_bytes(source.fields.values()),
    )
    opened: list[tuple[int, Codec, int]] = []  # row of the store, codec, the row as this counts it
    done = 0
    for sizes in _sizes(survey, options, site):
        for piece in cutter.pieces(sizes):
            if piece.opens:
                opened.append((done + piece.start, piece.codec, piece.number))
        done += len(sizes)
    require_few(len(opened))
    starts = np.array([row for row, _, _ in opened])
    # A row of the store lies behind all dropped rows whose number, less those dropped before, is not above its own.
    raw = starts + np.searchsorted(survey.dropped - np.arange(len(survey.dropped)), starts, side="right")
    raw[0] = 0
    edges, common = [*raw.tolist(), survey.rows], source.digest()
    asked = None if asking is None else digest("asking", *asking.saved()[0].values(), *asking.saved()[1].values())
    asking_file = None if asking is None else site.keep(f"asking-{asked}", asking)
    models, shared = dict[str, str | None](), options.shard_bytes is not None
    for (row, own, number), first, stop in zip(opened, edges[:-1], edges[1:], strict=True):
        low, high = np.searchsorted(survey.dropped, [first, stop])
        document, arrays = SavedCodec(own).saved()
        model = digest(document, *(thing for pair in sorted(arrays.items()) for thing in pair))
        if shared and model not in models:
            models[model] = write_model(site.directory, own, source.description)
        kept = models.get(model)
        name = digest(common, model, kept, asked, first, stop, number, survey.dropped[low:high])
        file: Codec | Path = own
        if site.crew.executor is not None:
            file = site.directory / f"codec-{model}.{KEPT}"
            if not file.exists():
                site.keep(file.stem, SavedCodec(own))
        about = survey.dropped[low:high], number, row, survey.kept, kept, asking_file
        yield ShardWork(name, source, site.directory, file, first, stop, *about)


def _sizes(survey: Survey, options: ConversionOptions, site: Site) -> Iterator[NDArray[np.int64]]:
    """Yield the bytes that the kept rows take beside their codes; zeros where nobody counts them."""
    for part, (first, rows) in enumerate(zip(survey.edges()[:-1].tolist(), survey.part_rows, strict=True)):
        path = sizes_path(site.directory, part)
        found = np.memmap(path, SIZE, "r") if options.shard_bytes is not None and rows else None
        for start in range(0, rows, CUT_ROWS):
            stop = min(start + CUT_ROWS, rows)
            low, high = np.searchsorted(survey.dropped, [first + start, first + stop])
            sizes = np.zeros(stop - start, np.int64) if found is None else found[start:stop].astype(np.int64)
            yield np.delete(sizes, survey.dropped[low:high] - first - start)


def _place(file: Path, place: Path) -> None:
    """Put a file where it belongs; it stays where it was, too, for who has to begin again, if the disk can do that."""
    try:
        os.link(file, place)
    except OSError:
        os.replace(file, place)


def _is_there(work: ShardWork) -> bool:
    return work.path.is_file() and work.hashes_path.is_file()
