"""A store held against the dump that it was made from: is its certificate true?"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.checks import as_queries
from vecstore.codecs.evaluation import cosines
from vecstore.conversion.fitting.sampling import dataset_of, sample_of
from vecstore.conversion.survey.survey import Survey, clean_batches, survey_dump
from vecstore.conversion.tasks.rows import Rows
from vecstore.conversion.tasks.site import Site
from vecstore.errors import FormatError, OptionError
from vecstore.formats import Dump, open_dump
from vecstore.measure.certificate import measure_certificate
from vecstore.progress import Listener, Progress, Step, reported
from vecstore.shard.certificate import Certificate, certificate_in
from vecstore.store.store import Store

__all__ = ["Finding", "recertify"]

TOLERANCE = 0.002  # of a mean, that another machine's rounding may move


@dataclass(frozen=True)
class Finding:
    """One number of the certificate, measured again.

    Attributes
    ----------
    name : str
    stated, found : float
    holds : bool
    """

    name: str
    stated: float
    found: float
    holds: bool


def recertify(
    store: Store, source: str | Path | Dump, *, queries: ArrayLike | None = None, progress: Progress = False
) -> list[Finding]:
    """Measure again what the certificate of a store states, with the same sample of the original dump.

    The stored rows of the sample are read from the store and compared with the dump's; recall and errors are measured
    with the store's codec as at conversion, and with `queries`, those of the conversion, what it says of these.

    Parameters
    ----------
    progress : bool or callable
        As for `vecstore.convert`.

    Raises
    ------
    OptionError
        The store has no certificate, or was not written by a conversion; or there are queries and it was given none.
    FormatError
        The dump is another one: other dimensions, rows or keys.
    """
    certificate, provenance = certificate_in(store.description), store.description.get("provenance")
    if certificate == Certificate() or not isinstance(provenance, dict):
        raise OptionError(f"{store.path} has no certificate; stores that convert or write makes have one")
    if store.info()["certified"] and store.info()["certified"]["at"] is not None:
        raise OptionError(
            f"{store.path}: the certificate was measured again after edits, not by the conversion; vecstore certify "
            "measures it with another dump"
        )
    if queries is not None and certificate.query_recall is None:
        raise OptionError(
            f"{store.path}: the certificate tells nothing of queries; convert with them for one that does"
        )
    dump = source if isinstance(source, Dump) else open_dump(source, key_type=store.key_type)
    if dump.dimensions != store.dimensions:
        raise FormatError(
            "not the dump that the store was made from", path=dump.path, expected=f"{store.dimensions} dimensions"
        )
    if store.key_type is not None and dump.key_type is None:
        raise FormatError("the store has keys and this dump has none: name their file with keys=", path=dump.path)
    with reported(progress) as report:
        return _findings(store, dump, certificate, provenance, queries, report)


def _findings(
    store: Store,
    dump: Dump,
    certificate: Certificate,
    provenance: dict[str, Any],
    queries: ArrayLike | None,
    report: Listener,
) -> list[Finding]:
    policies = {name: provenance.get(name, "error") for name in ("on_bad", "on_duplicate")}
    with tempfile.TemporaryDirectory() as directory:
        survey = survey_dump(
            dump,
            seed=int(provenance.get("seed", 0)),
            site=Site(Path(directory)),
            report=report,
            **policies,
        )
    if survey.kept != len(store):
        raise FormatError(
            "not the dump that the store was made from",
            path=dump.path,
            expected=f"{len(store):,} rows",
            found=f"{survey.kept:,}",
        )
    sample = sample_of(survey)
    if store.codec.by_key:
        policy: Any = policies["on_bad"]
        sample = sample.keyed(
            dataset_of(Rows(dump.parts, survey.part_rows), survey, sample, on_bad=policy, keep_norms=False)
        )
    asked = len(sample.measured.rows)
    report(Step("measuring", 0, asked))
    again, _ = measure_certificate(
        store.codec,
        sample,
        metric=store.metric,
        keep_norms=bool(store.info()["norms"]),
        rows=len(store),
        seed=int(provenance.get("seed", 0)),
        queries=None if queries is None else as_queries(queries, store.dimensions),
    )
    report(Step("measuring", asked, asked))
    return [*_compared(certificate, again), _stored(store, dump, survey, policies["on_bad"], again)]


def _compared(stated: Certificate, again: Certificate) -> Iterator[Finding]:
    for name in ("cosine_mean", "cosine_p1", "relative_error"):
        yield _finding(name, getattr(stated, name), getattr(again, name))
    for before, now, whose in (
        (stated.recall, again.recall, ""),
        (stated.query_recall, again.query_recall, " of the queries"),
    ):
        at = {} if before is None else before.at
        for k, interval in ({} if now is None else now.at).items():
            yield _finding(f"recall@{k}{whose}", at[k].mean if k in at else None, interval.to_list()[0])


def _finding(name: str, stated: float | None, found: float) -> Finding:
    value = float("nan") if stated is None else float(stated)
    return Finding(name, value, found, abs(value - found) <= TOLERANCE)


def _stored(store: Store, dump: Dump, survey: Survey, on_bad: Any, again: Certificate) -> Finding:
    """Compare rows as they lie in the store with the dump's: is it these vectors that are stored?"""
    wanted = np.sort(survey.sample_rows[: again.rows])
    originals: list[Floats] = []
    rows: list[NDArray[np.int64]] = []
    first = 0
    kept = np.setdiff1d(np.arange(survey.rows), survey.dropped, assume_unique=True)
    for batch in clean_batches(dump, survey, on_bad):
        here = np.flatnonzero(np.isin(kept[first : first + len(batch)], wanted))
        originals.append(batch.vectors[here])
        keys = None if batch.keys is None else [batch.keys[at] for at in here.tolist()]
        rows.append(here + first if keys is None else store.rows_of(keys) if keys else np.empty(0, np.int64))
        first += len(batch)
    found = np.concatenate(rows)
    if (found < 0).any():
        raise FormatError("not the dump that the store was made from: keys are missing in the store", path=dump.path)
    x, decoded = np.concatenate(originals), store.vectors[found]
    same = cosines(x, decoded)
    expected = again.cosine_mean or 0.0
    mean = float(same.mean()) if len(same) else expected
    return _finding("cosine of stored rows", expected, mean)
