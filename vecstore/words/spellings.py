"""Other spellings of a word: by case, without repeated letters, without endings, with one letter amiss."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["edits", "same_letters", "squeezed", "stems"]

RUN = re.compile(r"(.)\1{2,}")
LETTERS = "abcdefghijklmnopqrstuvwxyz'-"
# Endings, what stands in their place, and how many letters are left at least.
ENDINGS = [
    *(("'s", ""), ("ies", "y"), ("es", ""), ("s", ""), ("ied", "y"), ("ed", ""), ("ed", "e")),
    *(("ing", ""), ("ing", "e"), ("er", ""), ("er", "e"), ("est", ""), ("ly", ""), ("ness", "")),
]
STEM_LETTERS = 3


def squeezed(word: str) -> str:
    """Return a word whose runs of three and more equal letters are cut to two.

    Examples
    --------
    >>> squeezed("hmmmm, sooo")
    'hmm, soo'
    """
    return RUN.sub(r"\1\1", word)


def same_letters(word: str) -> list[str]:
    """Return the spellings of a word that differ by case, or by letters that were written three times and more."""
    bases = [squeezed(word), RUN.sub(r"\1", word)]
    forms = [form for base in bases for form in (base, base.lower(), base.capitalize(), base.title(), base.upper())]
    return _others(word, forms)


def stems(word: str) -> list[str]:
    """Return a word without its ending, in the ways in which English inflects.

    Examples
    --------
    >>> stems("stopping")
    ['stopp', 'stoppe', 'stop']
    """
    base = squeezed(word).lower()
    cut = [
        base[: len(base) - len(ending)] + instead
        for ending, instead in ENDINGS
        if base.endswith(ending) and len(base) - len(ending) >= STEM_LETTERS
    ]
    single = [form[:-1] for form in cut if len(form) > STEM_LETTERS and form[-1] == form[-2]]
    return _others(word, [*cut, *single])


def edits(word: str) -> list[str]:
    """Return all spellings with one letter left out, put in, replaced, or changed with the next (P. Norvig, 2007)."""
    return _others(word, [edited for base in dict.fromkeys([word, word.lower()]) for edited in _edited(base)])


def _edited(word: str) -> Iterator[str]:
    letters = dict.fromkeys(LETTERS + word)
    for at in range(len(word) + 1):
        before, after = word[:at], word[at:]
        if after:
            yield before + after[1:]
        if len(after) > 1:
            yield before + after[1] + after[0] + after[2:]
        for letter in letters:
            yield before + letter + after
            if after:
                yield before + letter + after[1:]


def _others(word: str, forms: list[str]) -> list[str]:
    return [form for form in dict.fromkeys(forms) if form and form != word]
