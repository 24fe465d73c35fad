"""Analogies: which word is to c as b is to a?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.transforms.normalize import unit
from vecstore.errors import OptionError
from vecstore.judging.files import read_analogies
from vecstore.words.mixtures import Query
from vecstore.words.words import Words

__all__ = ["Analogies", "Method", "Section", "analogies"]

Method: TypeAlias = Literal["add", "mul", "average"]
AT_ONCE = 1024  # questions that share a search


@dataclass(frozen=True)
class Section:
    """Questions of one kind: how many were asked and answered rightly, and how many left out for unknown words."""

    name: str
    correct: int
    asked: int
    skipped: int

    @property
    def accuracy(self) -> float:
        """Share of the questions asked that were answered rightly; NaN for none."""
        return self.correct / self.asked if self.asked else float("nan")


@dataclass(frozen=True)
class Analogies:
    """What became of all questions.

    Attributes
    ----------
    sections : list of Section
    """

    sections: list[Section]

    @property
    def total(self) -> Section:
        """All sections as one."""
        sums = [sum(getattr(each, name) for each in self.sections) for name in ("correct", "asked", "skipped")]
        return Section("all", *sums)

    @property
    def accuracy(self) -> float:
        """Share of the questions asked that were answered rightly."""
        return self.total.accuracy

    @property
    def coverage(self) -> float:
        """Share of the questions that were asked."""
        return self.total.asked / (self.total.asked + self.total.skipped)


def analogies(words: Words, path: str | Path, method: Method = "add", *, first: int | None = 300_000) -> Analogies:
    """Ask for the fourth word of each analogy in a file.

    Parameters
    ----------
    words : Words
        With `fold_case`, questions may be written in another case than the store's words.
    path : path
        Lines of four words, in sections that lines ``: name`` begin, as in word2vec's questions-words.txt.
    method : {"add", "mul", "average"}
        "add" is nearest to b - a + c; "mul" is 3CosMul (Levy & Goldberg, 2014). "average" is 3CosAvg (Drozd, Gladkova &
        Matsuoka, 2016): the mean of b - a over all other pairs of the section, so each pair is asked for once.
    first : int, optional
        Only the first rows are asked about and found; None for all. All where rows lie by cells.

    Raises
    ------
    FormatError
        The file holds no analogies.
    """
    if method not in ("add", "mul", "average"):
        raise OptionError(f"method is add, mul or average, found {method!r}")
    found: list[Section] = []
    by_cells = words.store.info()["row_order"] == "cells"
    total = words.store.vectors.shape[0]  # with the rows that were deleted
    limit = None if by_cells or first is None else min(first, total)
    for name, questions in read_analogies(path).items():
        asked = [word for question in questions for word in question]
        rows = np.asarray(words.rows_of(asked)).reshape(-1, 4) if asked else np.empty((0, 4), np.int64)
        known: NDArray[np.bool_] = np.all((rows >= 0) & (rows < (limit or total)), axis=1)
        some = [question for question, there in zip(questions, known.tolist(), strict=True) if there]
        count, skipped = len(some), len(questions) - len(some)
        if method == "average":
            pairs = np.unique(rows[known][:, 2:], axis=0)
            count, correct = len(pairs) if len(pairs) > 1 else 0, _by_average(words, pairs, limit)
        else:
            correct = _one_by_one(words, some, rows[known], method, limit)
        found.append(Section(name, correct, count, skipped))
    return Analogies(found)


def _one_by_one(
    words: Words,
    questions: Sequence[tuple[str, str, str, str]],
    rows: NDArray[np.int64],
    method: Literal["add", "mul"],
    first: int | None,
) -> int:
    correct = 0
    for start in range(0, len(questions), AT_ONCE):
        queries: list[Query] = []
        for a, b, c, _ in questions[start : start + AT_ONCE]:
            weights: Counter[str] = Counter()  # a word may come twice
            weights.update({b: 1})
            weights.update({c: 1})
            weights.subtract({a: 1})
            queries.append({word: float(weight) for word, weight in weights.items()})
        best = np.asarray(words.nearest(queries, 1, first=first, combine=method).rows)
        correct += int((best[:, :1] == rows[start : start + len(queries), 3:]).sum())
    return correct


def _by_average(words: Words, pairs: NDArray[np.int64], first: int | None) -> int:
    """Return for how many of distinct pairs (n, 2) the second is found from the first, by the offsets of all others."""
    if len(pairs) < 2:
        return 0
    left, right = unit(words.store.vectors[pairs[:, 0]]), unit(words.store.vectors[pairs[:, 1]])
    offsets = right - left
    others = (offsets.sum(axis=0) - offsets) / (len(pairs) - 1)
    best = np.asarray(words.nearest(list(left + others), 2, first=first).rows)
    itself = best[:, 0] == pairs[:, 0]
    return int((np.where(itself, best[:, -1], best[:, 0]) == pairs[:, 1]).sum())
