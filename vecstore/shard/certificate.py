"""The certificate in a shard's description: what compression costs, as measured at conversion.

docs/format.md, section 5 (Shards), lists its members. A file may have been written by anybody, so what is read here is
what is sound: a member that is missing or malformed is None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

__all__ = [
    "CODES",
    "ORIGINALS",
    "REAL_QUERIES",
    "ROWS_AS_QUERIES",
    "SEARCH_FACTS",
    "Again",
    "Bound",
    "Certificate",
    "Interval",
    "Recall",
    "RowBytes",
    "certificate_in",
    "search_facts",
]

ROWS_AS_QUERIES, REAL_QUERIES = "rows as queries", "real queries"
ORIGINALS, CODES = "originals", "codes"  # what a later measurement compared with
SEARCH_FACTS = ("oversampling", "oversample", "prefixes")  # members that searches read
HARDER = 1 / 3  # of the neighbours that rows as queries miss, real ones often miss so many more: docs/tuning.md


@dataclass(frozen=True)
class Interval:
    """A mean over queries, and between what it lies with 95%: by bootstrap, as neighbours of a query fall together.

    In a certificate that is the mean of as many other queries of the same kind, elsewhere that of all queries.
    """

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"

    def to_list(self) -> list[float]:
        """Return mean, low and high, rounded, as a file holds them."""
        return [round(value, 4) for value in (self.mean, self.low, self.high)]

    @classmethod
    def from_list(cls, given: Any) -> Self | None:
        """Undo `to_list`, or return None."""
        numbers = [_number(value) for value in given] if isinstance(given, list) and len(given) == 3 else []
        found = [number for number in numbers if number is not None]
        return cls(*found) if len(found) == 3 else None


@dataclass(frozen=True)
class Recall:
    """Recall of some queries.

    Attributes
    ----------
    queries, base : int
        How many asked, among how many rows.
    at : dict
        Recall@k by k.
    by : {"rows as queries", "real queries"} or None
        None in older files.
    extrapolated : int or None
        For a store of how many rows this is, by the slope between fewer rows and `base`; None where the store has no
        more rows than were searched and asked.
    """

    queries: int
    base: int
    at: Mapping[int, Interval]
    by: str | None = None
    extrapolated: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        at = {str(k): interval.to_list() for k, interval in self.at.items()}
        optional = {"by": self.by, "extrapolated": self.extrapolated}
        told = {name: value for name, value in optional.items() if value is not None}
        return {"queries": self.queries, "base": self.base, **told, "at": at}

    @property
    def of_real_queries(self) -> float | None:
        """How low recall@10 often is for real queries, where rows were the queries: they miss up to a third more."""
        found = self.at.get(10)
        return None if found is None else max(found.low - HARDER * (1 - found.low), 0.0)

    @classmethod
    def from_dict(cls, given: Any) -> Self | None:
        """Undo `to_dict`, or return None."""
        document = _mapping(given)
        queries, base = _whole(document.get("queries")), _whole(document.get("base"))
        intervals = {k: Interval.from_list(value) for k, value in _mapping(document.get("at")).items()}
        at = {int(k): found for k, found in intervals.items() if found is not None and _is_decimal(k)}
        if queries is None or base is None:
            return None
        by, beyond = document.get("by"), _whole(document.get("extrapolated"))
        return cls(queries, base, at, by if by in (ROWS_AS_QUERIES, REAL_QUERIES) else None, beyond)


@dataclass(frozen=True)
class RowBytes:
    """Bytes: of a code (on average, where blocks differ), of the model, and of a row with its share of the model."""

    code: float
    model: int
    row: float

    @classmethod
    def from_dict(cls, given: Any) -> Self | None:
        """Return what `vars` gave, or None."""
        document = _mapping(given)
        code, row, model = _number(document.get("code")), _number(document.get("row")), _whole(document.get("model"))
        return None if code is None or row is None or model is None else cls(code, model, row)


@dataclass(frozen=True)
class Bound:
    """The least relative error that a code of as many bytes allows a Gaussian, and by how much the codec misses it."""

    relative_error: float
    decibels: float

    @classmethod
    def from_dict(cls, given: Any) -> Self | None:
        """Return what `vars` gave, or None."""
        document = _mapping(given)
        error, decibels = _number(document.get("relative_error")), _number(document.get("decibels"))
        return None if error is None or decibels is None else cls(error, decibels)


@dataclass(frozen=True)
class Again:
    """When a store was measured again, after its conversion.

    Attributes
    ----------
    generation, rows : int
        Which one, and how many rows lived in it.
    added, deleted : int
        Rows that had come and gone since the conversion: what later generations count is beyond these.
    against : {"originals", "codes"}
        What was compared with: the vectors of a dump, which tells all; or exact scores of the codes, which tells what
        searches find of these, and nothing of what the codes lost.
    """

    generation: int
    rows: int
    added: int
    deleted: int
    against: str

    @classmethod
    def from_dict(cls, given: Any) -> Self | None:
        """Return what `vars` gave, or None."""
        document = _mapping(given)
        generation, rows, added, deleted = (
            _whole(document.get(name)) for name in ("generation", "rows", "added", "deleted")
        )
        against = document.get("against")
        if generation is None or rows is None or added is None or deleted is None or against not in (ORIGINALS, CODES):
            return None
        return cls(generation, rows, added, deleted, against)


@dataclass(frozen=True)
class Certificate:
    """What a store says of its quality.

    Attributes
    ----------
    rows, seed : int
        How many rows were decoded, and the seed of the intervals.
    cosine_mean, cosine_p1, cosine_min : float
        Between original and decoded vectors.
    relative_error : float
        Squared error over squared deviation from the mean.
    weighted_r2, blocks : float or None, list of dict or None
        Of a mixed codec: the variance kept, rows weighted by importance; and each block's codec, bytes and error.
    tables : dict or None
        Facts of tables that rows share.
    recall, query_recall : Recall or None
        Of rows as queries, and of the user's own.
    found : Recall or None
        Of what exact scores of the codes put first, what a search finds as it is by default.
    again : Again or None
        Where the store was measured again after its conversion.
    bytes : RowBytes or None
    bound : Bound or None
    held_out, unseen : bool or None
        Whether training did not see the rows that were decoded, and (in older files) those that were searched.
    training_rows : int or None
    oversampling : dict or None
        Of two layers: rows to rescore for each one wanted, by the recall that is to be reached.
    oversample : int or None
        The largest of these.
    prefixes : dict or None
        Of codes whose first bytes can be scanned: what `vecstore.search` measured of them.
    more : dict
        Members unknown here.
    """

    rows: int | None = None
    seed: int | None = None
    cosine_mean: float | None = None
    cosine_p1: float | None = None
    cosine_min: float | None = None
    relative_error: float | None = None
    weighted_r2: float | None = None
    blocks: list[dict[str, Any]] | None = None
    tables: dict[str, Any] | None = None
    recall: Recall | None = None
    query_recall: Recall | None = None
    found: Recall | None = None
    again: Again | None = None
    bytes: RowBytes | None = None
    bound: Bound | None = None
    held_out: bool | None = None
    training_rows: int | None = None
    unseen: bool | None = None
    oversampling: dict[str, int] | None = None
    oversample: int | None = None
    prefixes: dict[str, Any] | None = None
    more: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: what there is to say, and no more."""
        document = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "more"}
        for name in ("recall", "query_recall", "found"):
            document[name] = document[name] and document[name].to_dict()
        for name in ("again", "bytes", "bound"):
            document[name] = document[name] and dict(vars(document[name]))
        kept = {name: value for name, value in document.items() if value is not None}
        if self.blocks is not None:
            kept["weighted_r2"] = self.weighted_r2  # null where it cannot be told
        return kept | self.more

    def facts(self) -> dict[str, str | float]:
        """Return the few facts that a notebook shows."""
        asked = {ROWS_AS_QUERIES: self.recall, REAL_QUERIES: self.query_recall}
        shown: dict[str, str | float | None] = {
            f"recall@{k}, {whose}": str(interval)
            for whose, found in asked.items()
            if found is not None
            for k, interval in found.at.items()
        }
        shown |= {"cosine to the originals": self.cosine_mean, "relative error": self.relative_error}
        return {name: value for name, value in shown.items() if value is not None}

    @classmethod
    def from_dict(cls, given: Any) -> Self:
        """Undo `to_dict`; what is malformed is left out, so nothing is raised whatever is given."""
        document = _mapping(given)
        read = {name: _READERS[name](value) for name, value in document.items() if name in _READERS}
        more = {name: value for name, value in document.items() if name not in _READERS}
        return cls(**read, more=more)


def certificate_in(description: Mapping[str, Any]) -> Certificate:
    """Return the certificate of a store, empty where it has none; files of before 1.2 call it ``fidelity``."""
    return Certificate.from_dict(description.get("certificate") or description.get("fidelity"))


def search_facts(certificate: Certificate) -> dict[str, Any]:
    """Return the members that searches read, where there are some."""
    found = {name: getattr(certificate, name) for name in SEARCH_FACTS}
    return {name: value for name, value in found.items() if value is not None}


def _number(given: Any) -> float | None:
    """Return a finite number as it is, whole or not; None for anything else."""
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        return None
    try:
        return given if math.isfinite(given) else None
    except OverflowError:  # whole numbers of JSON have no limit
        return None


def _whole(given: Any) -> int | None:
    return given if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < 1 << 63 else None


def _flag(given: Any) -> bool | None:
    return given if isinstance(given, bool) else None


def _mapping(given: Any) -> Mapping[str, Any]:
    return given if isinstance(given, Mapping) else {}


def _object(given: Any) -> dict[str, Any] | None:
    return dict(given) if isinstance(given, Mapping) else None


def _objects(given: Any) -> list[dict[str, Any]] | None:
    return given if isinstance(given, list) and all(isinstance(each, dict) for each in given) else None


def _factors(given: Any) -> dict[str, int] | None:
    factors = {recall: _whole(factor) for recall, factor in _mapping(given).items()}
    return {recall: factor for recall, factor in factors.items() if factor} or None


def _is_decimal(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20


# How each member is read. Those of the rows and bytes of a mixed codec's blocks, and of `prefixes`, are for others.
_READERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("rows", "seed", "training_rows", "oversample"), _whole),
    **dict.fromkeys(("cosine_mean", "cosine_p1", "cosine_min", "relative_error", "weighted_r2"), _number),
    **dict.fromkeys(("held_out", "unseen"), _flag),
    **dict.fromkeys(("tables", "prefixes"), _object),
    **dict.fromkeys(("recall", "query_recall", "found"), Recall.from_dict),
    "again": Again.from_dict,
    "blocks": _objects,
    "oversampling": _factors,
    "bytes": RowBytes.from_dict,
    "bound": Bound.from_dict,
}
