"""Training and measuring, as one task: from the sample of a survey to a codec and what stores say of it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.codec import Codec
from vecstore.codecs.mixed.mixed import MixedCodec
from vecstore.conversion.certification import certify
from vecstore.conversion.fitting.sampling import dataset_of
from vecstore.conversion.fitting.training import advice_on, train
from vecstore.conversion.survey.survey import Survey
from vecstore.conversion.tasks.codec_file import SavedCodec
from vecstore.conversion.tasks.options import ConversionOptions, TrainedCodec
from vecstore.conversion.tasks.rows import Rows
from vecstore.conversion.tasks.site import digest, read
from vecstore.measure.sample import Sample
from vecstore.progress import Listener

__all__ = ["Fitted", "FittingWork", "fit", "fit_elsewhere"]


@dataclass(frozen=True)
class FittingWork:
    """A task: train what was asked for, and measure it.

    Attributes
    ----------
    options : ConversionOptions
    survey : Survey
        Without its sample.
    sample : Sample or Path
        Or the file that holds it.
    rows : Rows
        All of the dump, for codecs that are fitted to every row.
    """

    options: ConversionOptions
    survey: Survey
    sample: Sample | Path
    rows: Rows

    def digest(self) -> str:
        """Return what the codec follows from."""
        options, request = self.options, self.options.request
        settings = (options.metric, options.keep_norms, options.keep_order, options.shard_bytes, options.seed)
        asked: list[Any] = [str(request.codec), request.budget, request.target, request.accept_dominated]
        if isinstance(request.codec, (Codec, MixedCodec)):
            document, arrays = SavedCodec(request.codec).saved()
            asked += [document, *arrays.values()]
        if request.queries is not None:
            asked.append(np.asarray(request.queries))
        if request.reference is not None:
            asked.append(request.reference.to_dict())
        survey = (self.survey.content, options.on_bad, options.on_duplicate, self.survey.kept)
        return digest("fit", settings, survey, *asked)


@dataclass(frozen=True)
class Fitted:
    """A trained codec and what was found of it.

    Attributes
    ----------
    codec : Codec or MixedCodec
    members : dict
        Of the store's description: certificate, calibration, reference.
    advice, notes : list of str
        What a product quantizer would keep in its bytes; what was warned of.
    """

    codec: TrainedCodec
    members: dict[str, Any]
    advice: list[str] = field(default_factory=list)
    notes: list[UserWarning] = field(default_factory=list)

    def saved(self) -> tuple[dict[str, Any], Mapping[str, NDArray[Any]]]:
        """Return it as JSON and arrays."""
        document, arrays = SavedCodec(self.codec).saved()
        return {"codec": document, "members": self.members, "advice": self.advice}, arrays

    @classmethod
    def restored(cls, document: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Undo `saved`."""
        return cls(SavedCodec.restored(document["codec"], arrays).codec, document["members"], document["advice"])


def fit(work: FittingWork, report: Listener) -> Fitted:
    """Train a codec on the sample (and, where rows share tables, on all rows), and measure it."""
    options = work.options
    sample = work.sample if isinstance(work.sample, Sample) else read(work.sample, Sample)
    advice = advice_on(options, sample, work.survey.kept)
    dataset = dataset_of(work.rows, work.survey, sample, on_bad=options.on_bad, keep_norms=options.keep_norms)
    trained = train(options, sample, dataset, report)
    measured = certify(options, trained, sample, dataset, report)
    return Fitted(trained, measured.members(), [str(each) for each in advice])


def fit_elsewhere(work: FittingWork, report: Listener) -> Fitted:
    """As `fit`, with what is warned of in the result: a worker has nobody to tell."""
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        fitted = fit(work, report)
    return replace(fitted, notes=[note.message for note in noted if isinstance(note.message, UserWarning)])
