"""From the survey of a dump to the sample and the dataset that codecs are trained and measured on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vecstore.codecs.dataset import Block, Dataset
from vecstore.codecs.transforms.normalize import unit
from vecstore.conversion.sources.ordering import OrderedDump
from vecstore.conversion.survey.sampler import Drawn, training_rows
from vecstore.conversion.survey.survey import Survey, kept_batches
from vecstore.conversion.tasks.options import OnBad
from vecstore.conversion.tasks.rows import Rows
from vecstore.keys.kind import key_type_of
from vecstore.keys.packed import PackedKeys
from vecstore.measure.sample import Sample

__all__ = ["dataset_of", "sample_of"]

HELD_OUT_ROWS = 1024
UNSEEN = 3  # one row in so many is spared from training, where the store has more rows than train


def sample_of(survey: Survey) -> Sample:
    """Divide the sampled rows: some ask, some train, and all but those that ask are searched.

    A store of no more rows than were sampled is searched whole, trained on or not. Of a larger one those that trained
    are searched in the proportion that they have in the store, since what training has seen is found more often.
    The rows are the survey's no longer.
    """
    drawn, places = survey.sample, np.flatnonzero(~np.isin(survey.sample_rows, survey.dropped))
    if not len(places):  # nothing but zero vectors is left
        drawn, places = Drawn(np.zeros((1, drawn.dimensions), np.float32)), np.zeros(1, np.int64)
        rows = places
    else:
        numbers = survey.sample_rows[places]
        rows = numbers - np.searchsorted(survey.dropped, numbers)  # as they count in the store
    near = min(len(places), training_rows(drawn.dimensions))
    held_out = min(HELD_OUT_ROWS, near // 10)
    last = near - (near - held_out) // UNSEEN if survey.kept > near else near
    if not len(places) > last or survey.kept <= len(places):
        sample = drawn.moved(places)
        return Sample(Block(rows, sample), held_out, sample[held_out:last], survey.kept)
    train = drawn[places[held_out:last]]
    trained = min(round((len(places) - last) * len(train) / (survey.kept - len(train))), len(train))
    others = np.concatenate([np.arange(held_out, held_out + trained), np.arange(last, len(places))])
    chosen = np.concatenate([np.arange(held_out), np.random.default_rng(0).permutation(others)])
    return Sample(Block(rows[chosen], drawn.moved(places[chosen])), held_out, train, survey.kept)


def dataset_of(rows: Rows, survey: Survey, sample: Sample, *, on_bad: OnBad, keep_norms: bool) -> Dataset:
    """Return all rows as codecs see them that are fitted to every one."""

    def blocks() -> Iterator[Block]:
        first = 0
        for batch in kept_batches(rows, survey, on_bad):
            packed = None if batch.keys is None or not len(batch) else PackedKeys(batch.keys, key_type_of(batch.keys))
            vectors = unit(batch.vectors) if keep_norms else batch.vectors
            yield Block(np.arange(first, first + len(batch)), vectors, packed)
            first += len(batch)

    spared = np.sort(sample.measured.rows) if sample.held_out else np.empty(0, np.int64)
    whole = rows.parts[0]
    importance = np.delete(whole.importance, survey.dropped) if isinstance(whole, OrderedDump) else None
    return Dataset(survey.kept, blocks, spared=spared, importance=importance)
