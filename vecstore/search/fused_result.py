"""What a search by several fields found."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.search.result import SearchResult

__all__ = ["FusedResult", "filled"]


class FusedResult(SearchResult):
    """A `SearchResult` with the scores of each field.

    Attributes
    ----------
    by_field : dict of str to (k,) or (q, k) float32
        What each row scores in each field; NaN where the field does not score it: none of the query's terms, no tokens.
    certain : bool or (q,) bool
        Whether no row that was not looked at can be better.
    candidates : int or (q,) int64
        How many rows were scored in all fields.
    """

    def __init__(self, *found: Any, by_field: dict[str, Floats], certain: Any, candidates: Any, **more: Any) -> None:
        super().__init__(*found, **more)
        self.by_field, self.certain, self.candidates = by_field, certain, candidates

    def __getitem__(self, at: Any) -> Any:
        one = super().__getitem__(at)
        if isinstance(at, slice) or self.single:
            return one
        own = {name: scores[at, : len(one.rows)] for name, scores in self.by_field.items()}
        found = one.keys, one.rows, one.scores, one.rescored, one._beside, one._plan
        return FusedResult(*found, by_field=own, certain=bool(self.certain[at]), candidates=int(self.candidates[at]))

    def __reduce__(self) -> Any:
        _, found = super().__reduce__()
        return _restored, (found, self.by_field, self.certain, self.candidates)


def _restored(found: tuple[Any, ...], by_field: dict[str, Any], certain: Any, candidates: Any) -> FusedResult:
    return FusedResult(*found, by_field=by_field, certain=certain, candidates=candidates)


def filled(parts: list[NDArray[Any]], width: int, filler: Any) -> NDArray[Any]:
    """Return arrays of up to `width` numbers as the rows of one, (n, width)."""
    out = np.full((len(parts), width), filler, parts[0].dtype if parts else np.float32)
    for row, part in zip(out, parts, strict=True):
        row[: len(part)] = part
    return out
