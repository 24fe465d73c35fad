"""From the survey of a dump to the sample and the dataset that codecs are trained and measured on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vecstore.codecs.dataset import Block, Dataset
from vecstore.codecs.transforms.normalize import unit
from vecstore.conversion.options import OnBad
from vecstore.conversion.ordering import OrderedDump
from vecstore.conversion.survey import Survey, clean_batches
from vecstore.formats import Dump
from vecstore.keys.packed import PackedKeys
from vecstore.measure.sample import Sample

__all__ = ["dataset_of", "sample_of"]

HELD_OUT_ROWS = 1024
UNSEEN = 3  # one sampled row in so many is searched and not trained on, where the store has rows beyond the sample


def sample_of(survey: Survey) -> Sample:
    """Divide the sampled rows.

    A store of no more rows than were sampled is what is searched, trained on or not. Of a larger one most rows have
    not been seen in training, so those that are searched have not been either.
    """
    kept = ~np.isin(survey.sample_rows, survey.dropped)
    sample, numbers = survey.sample[kept], survey.sample_rows[kept]
    rows = numbers - np.searchsorted(survey.dropped, numbers)  # as they count in the store
    if not len(sample):  # nothing but zero vectors is left
        sample, rows = np.zeros((1, survey.sample.shape[1]), np.float32), np.zeros(1, np.int64)
    held_out = min(HELD_OUT_ROWS, len(sample) // 10)
    unseen = (len(sample) - held_out) // UNSEEN if survey.kept > len(sample) else 0
    first = len(sample) - unseen if unseen else held_out
    measured = slice(held_out or len(sample))
    return Sample(
        Block(rows[measured], sample[measured]),
        sample[held_out : len(sample) - unseen],
        Block(rows[first:], sample[first:]),
        held_out > 0,
        unseen > 0,
    )


def dataset_of(dump: Dump, survey: Survey, sample: Sample, *, on_bad: OnBad, keep_norms: bool) -> Dataset:
    """Return all rows as codecs see them that are fitted to every one."""

    def blocks() -> Iterator[Block]:
        first = 0
        for batch in clean_batches(dump, survey, on_bad):
            packed = None if batch.keys is None or dump.key_type is None else PackedKeys(batch.keys, dump.key_type)
            vectors = unit(batch.vectors) if keep_norms else batch.vectors
            yield Block(np.arange(first, first + len(batch)), vectors, packed)
            first += len(batch)

    spared = np.sort(sample.measured.rows) if sample.held_out else np.empty(0, np.int64)
    importance = np.delete(dump.importance, survey.dropped) if isinstance(dump, OrderedDump) else None
    return Dataset(survey.kept, blocks, spared=spared, importance=importance)
