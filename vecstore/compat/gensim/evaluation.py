"""gensim's evaluations of word vectors: analogies, and similarities that people gave."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from vecstore.codecs.transforms.normalize import unit
from vecstore.compat.gensim.rows import KeyedRows
from vecstore.errors import OptionError, require
from vecstore.judging.files import read_analogies

__all__ = ["Evaluation"]

AT_ONCE = 1024  # questions that share a search
DEPTH = 5  # neighbours among which an answer is looked for, beside the words of the question

Question: TypeAlias = tuple[str, str, str, str]


class Evaluation(KeyedRows):
    """The part of `KeyedVectors` that judges it."""

    def evaluate_word_analogies(
        self,
        analogies: str | Path,
        restrict_vocab: int = 300_000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
        similarity_function: str = "most_similar",
    ) -> tuple[float, list[dict[str, Any]]]:
        """Return the share of analogies that are answered rightly, and the questions of each section and of all.

        Parameters
        ----------
        analogies : path
            Lines of four words, in sections that lines ``: name`` begin.
        restrict_vocab : int
            Only so many first keys are asked about and found.
        case_insensitive : bool
            Words agree with the first key that has the same letters; sections hold them in capitals.
        dummy4unknown : bool
            Questions with words that are not here count as wrong, instead of being left out.
        similarity_function : str
            "most_similar", as in gensim.
        """
        if similarity_function != "most_similar":
            raise OptionError(f'similarity_function is "most_similar", found {similarity_function!r}')
        vocabulary = self._first_keys(restrict_vocab, case_insensitive)
        sections: list[dict[str, Any]] = []
        for name, questions in read_analogies(analogies).items():
            if case_insensitive:
                questions = [(a.upper(), b.upper(), c.upper(), d.upper()) for a, b, c, d in questions]
            known = [question for question in questions if all(word in vocabulary for word in question)]
            right = self._right(known, vocabulary, restrict_vocab)
            section: dict[str, Any] = {"section": name, "correct": [], "incorrect": []}
            for question in questions if dummy4unknown else known:
                section["correct" if question in right else "incorrect"].append(question)
            sections.append(section)
        total: dict[str, Any] = {"section": "Total accuracy"}
        for outcome in ("correct", "incorrect"):
            total[outcome] = [question for section in sections for question in section[outcome]]
        sections.append(total)
        count = len(total["correct"]) + len(total["incorrect"])
        return len(total["correct"]) / count if count else 0.0, sections

    def evaluate_word_pairs(
        self,
        pairs: str | Path,
        delimiter: str = "\t",
        encoding: str = "utf8",
        restrict_vocab: int = 300_000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
    ) -> tuple[Any, Any, float]:
        """Return how cosines go with what people said: Pearson's and Spearman's correlation, and percent unknown.

        Each correlation comes with its p-value, as scipy gives it. Lines that are no pair are left out.

        Parameters
        ----------
        pairs : path
            Lines of two words and a number, with `delimiter` between them; lines with # are left out.
        encoding : str
        restrict_vocab : int
            Only so many first keys are asked about.
        case_insensitive : bool
        dummy4unknown : bool
            Pairs with words that are not here have a similarity of 0, instead of being left out.
        """
        vocabulary = self._first_keys(restrict_vocab, case_insensitive)
        said, own, unknown = [], [], 0
        for line in Path(pairs).read_text(encoding=encoding).splitlines():
            fields = (line.upper() if case_insensitive else line).split(delimiter)
            number = _number(fields[-1])
            if line.startswith("#") or len(fields) != 3 or number is None:
                continue
            a, b = vocabulary.get(fields[0]), vocabulary.get(fields[1])
            if a is not None and b is not None:
                x, y = unit(self._rows.vectors(np.array([a, b])))
                own.append(float(x @ y))
            else:
                unknown += 1
                if not dummy4unknown:
                    continue
                own.append(0.0)
            said.append(number)
        if not said:
            raise OptionError(f"{pairs}: no pair of words that are here; see delimiter= and case_insensitive=")
        stats = require("scipy.stats", purpose="correlations with p-values")
        share = unknown / (len(said) if dummy4unknown else len(said) + unknown)
        return stats.pearsonr(said, own), stats.spearmanr(said, own), share * 100

    def _first_keys(self, count: int | None, fold: bool) -> dict[str, int]:
        """Return the position of each of the first keys, of those that agree but for case the first one."""
        found: dict[str, int] = {}
        for position, key in enumerate(self.index_to_key[:count]):
            found.setdefault(key.upper() if fold else key, position)
        return found

    def _right(self, questions: Sequence[Question], vocabulary: dict[str, int], first: int | None) -> set[Question]:
        """Return the questions of which the word nearest to b - a + c is the fourth.

        The question's own words are passed over, and so are keys that agree with one of them but for case.
        """
        names = {position: word for word, position in vocabulary.items()}
        right = set()
        for start in range(0, len(questions), AT_ONCE):
            some = questions[start : start + AT_ONCE]
            own = np.array([[vocabulary[word] for word in question[:3]] for question in some])
            a, b, c = unit(self._rows.vectors(own.ravel())).reshape(*own.shape, -1).swapaxes(0, 1)
            best, _ = self._rows.best(b + c - a, DEPTH + 3, 0, min(first or len(self), len(self)))
            for question, positions, asked in zip(some, best.tolist(), own.tolist(), strict=True):
                found = [position for position in positions if position >= 0 and position not in asked][:DEPTH]
                # Of keys that agree but for case, one has no name here; its capitals are another's.
                words = [names.get(position) or str(self._rows.key(position)).upper() for position in found]
                if next((word for word in words if word not in question[:3]), None) == question[3]:
                    right.add(question)
        return right


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
