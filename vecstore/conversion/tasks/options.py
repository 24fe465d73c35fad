"""What a conversion is asked for, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, get_args

from numpy.typing import ArrayLike

from vecstore.codecs.checks import as_queries, check_seed
from vecstore.codecs.codec import Codec, CodecSpec
from vecstore.codecs.mixed.budget import MixedBudget
from vecstore.codecs.mixed.mixed import MixedCodec, MixedSpec
from vecstore.codecs.mixed.plan import plan
from vecstore.codecs.spec import parse
from vecstore.errors import OptionError, ShapeError
from vecstore.formats.dump import Dump
from vecstore.measure.drift import Reference, reference_in
from vecstore.metric import Metric, check_metric

if TYPE_CHECKING:
    from vecstore.store.store import Store

__all__ = [
    "DEFAULT_SEED",
    "CodecRequest",
    "Coding",
    "ConversionOptions",
    "OnBad",
    "OnDuplicate",
    "TrainedCodec",
]

TrainedCodec: TypeAlias = Codec | MixedCodec
Coding: TypeAlias = str | CodecSpec | MixedSpec | MixedBudget | TrainedCodec
OnBad: TypeAlias = Literal["error", "skip", "zero"]
OnDuplicate: TypeAlias = Literal["error", "first", "last"]

DEFAULT_CODEC = "sq:8"
DEFAULT_SEED = 0


@dataclass(frozen=True)
class CodecRequest:
    """Which codec a store is to have: one by name, a trained one, or whichever serves best.

    Attributes
    ----------
    codec : of one codec or of several, a specification or trained; or None
        None: tune for `budget` or `target`.
    budget, target
        As for `vecstore.tune`.
    queries : (q, d) array or None
        The user's own, to choose by and to measure recall with.
    reference : Reference or None
        What the rows were like that a trained codec was made for.
    accept_dominated : bool
        Fit a codec although another one keeps more in the same bytes.
    from_dump : bool or None
        The codec is the one that the dump has; None: it may be, since nobody chose another.
    """

    codec: CodecSpec | MixedSpec | MixedBudget | TrainedCodec | None
    budget: int | float | str | None = None
    target: float | str | None = None
    queries: ArrayLike | None = None
    reference: Reference | None = None
    accept_dominated: bool = False
    from_dump: bool | None = False

    @classmethod
    def of(
        cls,
        codec: Coding | None = None,
        *,
        budget: int | float | str | None = None,
        target: float | str | None = None,
        like: str | Path | Store | None = None,
        queries: ArrayLike | None = None,
        accept_dominated: bool = False,
    ) -> Self:
        """Return the request that these make; `OptionError` where two of them choose the codec."""
        choices = {"codec": codec, "budget": budget, "target": target, "like": like}
        given = [name for name, value in choices.items() if value is not None]
        if len(given) > 1:
            raise OptionError(f"{' and '.join(f'{name}=' for name in given)} both choose the codec; give one of them")
        if like is not None:
            from vecstore.store.store import Store

            store = like if isinstance(like, Store) else Store(like)
            reference = reference_in(store.description, store.dimensions)
            return cls(store.codec, queries=queries, reference=reference, accept_dominated=accept_dominated)
        if budget is not None or target is not None:
            return cls(None, budget, target, queries, accept_dominated=accept_dominated)
        chosen = DEFAULT_CODEC if codec is None else codec
        planned = chosen if isinstance(chosen, (Codec, MixedCodec)) else plan(chosen)
        free = None if codec is None else False
        return cls(planned, queries=queries, accept_dominated=accept_dominated, from_dump=free)

    def of_dump(self, dump: Dump) -> Self:
        """Return the same with the codec that the dump has, where it has one and nobody chose another."""
        if self.from_dump is False or dump.coded is None:
            return self
        codec = Codec.restore(CodecSpec(*parse(dump.coded.spec)), dump.dimensions, dump.coded.arrays)
        return replace(self, codec=codec, from_dump=True)

    def refuse_unfit(self, dimensions: int) -> None:
        """Raise for what cannot go with vectors of so many dimensions, or here at all: before anything is read."""
        if self.queries is not None:
            as_queries(self.queries, dimensions)
        if isinstance(self.codec, (Codec, MixedCodec)) and self.codec.dimensions != dimensions:
            where = "codec=" if self.reference is None else "like="
            raise ShapeError(
                f"{where}: a codec trained on {self.codec.dimensions} dimensions; the vectors have {dimensions}"
            )
        if isinstance(self.codec, CodecSpec):
            for layer in self.codec.layers:
                for step in layer.byte_steps:
                    step.require()

    @property
    def mixed(self) -> bool:
        """Whether blocks of rows have codecs of their own, which makes a directory of shards."""
        return isinstance(self.codec, (MixedSpec, MixedBudget, MixedCodec))


@dataclass(frozen=True)
class ConversionOptions:
    """All that a conversion is told beside its source and its destination; see `vecstore.convert`.

    Attributes
    ----------
    request : CodecRequest
    metric : {"cosine", "dot", "l2"}
    keep_norms, keep_order : bool
    shard_bytes : int or None
    seed : int
    on_bad : {"error", "skip", "zero"}
    on_duplicate : {"error", "first", "last"}
    importance : (n,) array of numbers or None
    user : mapping
    force, resume : bool
    ground_truth : int
        How many rows, and real queries, ask all rows.

    Raises
    ------
    OptionError
        A metric or a policy that is not known, or a seed out of range; a ground truth without shards.
    """

    request: CodecRequest
    metric: Metric = "cosine"
    keep_norms: bool = False
    keep_order: bool = True
    shard_bytes: int | None = None
    seed: int = DEFAULT_SEED
    on_bad: OnBad = "error"
    on_duplicate: OnDuplicate = "error"
    importance: ArrayLike | None = None
    user: Mapping[str, Any] = field(default_factory=dict)
    force: bool = False
    resume: bool = False
    ground_truth: int = 0

    def __post_init__(self) -> None:
        check_metric(self.metric)
        if self.on_bad not in get_args(OnBad):
            raise OptionError(f"on_bad is error, skip or zero, found {self.on_bad!r}")
        if self.on_duplicate not in get_args(OnDuplicate):
            raise OptionError(f"on_duplicate is error, first or last, found {self.on_duplicate!r}")
        check_seed(self.seed)
        if isinstance(self.ground_truth, bool) or not isinstance(self.ground_truth, int) or self.ground_truth < 0:
            raise OptionError(f"ground_truth is how many rows ask all others, found {self.ground_truth!r}")
        if self.ground_truth and not self.sharded:
            raise OptionError("ground_truth= is measured while shards are written, and kept beside: give shard_bytes=")

    @property
    def sharded(self) -> bool:
        """Whether the store becomes a directory of shards."""
        return self.shard_bytes is not None or self.request.mixed
