"""Features of a key: what of its text is hashed, and the hashes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xxhash
from numpy.typing import NDArray

from vecstore.codecs.tables.incidence import Incidence, check_ngrams
from vecstore.errors import CodecError
from vecstore.keys.packed import KERNEL_KEYS, PackedKeys

__all__ = ["Features", "key_texts", "ngrams", "shape_of"]

USAGE = "word, prefixN, suffixN, shape or ngramsN-M, joined by & such as word&prefix3&ngrams3-5"
MOST_FEATURES = 16
_PATTERN = re.compile(r"(word|shape)|(prefix|suffix)([1-9]\d?)|(ngrams)([1-9]\d?)-([1-9]\d?)")


@dataclass(frozen=True)
class Features:
    """What is hashed of a key.

    Parameters
    ----------
    text : str
        ``word`` (the whole key), ``prefixN`` and ``suffixN`` (N characters), ``shape`` (see `shape_of`), ``ngramsN-M``
        (all runs of N to M characters of ``<key>``), joined by ``&``. Each has hashes of its own, so that the same
        text as a prefix and as a suffix names other entries.
    """

    text: str

    def __post_init__(self) -> None:
        names = self.text.split("&")
        if len(names) > MOST_FEATURES:
            raise CodecError(f"{len(names)} features of a key; choose at most {MOST_FEATURES}")
        for name in names:
            found = _PATTERN.fullmatch(name)
            if found is None or (found[4] and int(found[5]) > int(found[6])):
                raise CodecError(f"{name!r} is no feature of a key: {USAGE}")

    @property
    def ngram_lengths(self) -> int:
        """Of how many lengths the n-grams of keys are."""
        found = [_PATTERN.fullmatch(name) for name in self.text.split("&")]
        return sum(int(ngrams[6]) - int(ngrams[5]) + 1 for ngrams in found if ngrams is not None and ngrams[4])

    def incidence(self, keys: PackedKeys, hashes: int, entries: int) -> Incidence:
        """Return the entries of a table that keys take: `hashes` for each of their features."""
        if self.text == "word":
            return Incidence.equal(_entries(keys, range(hashes), entries))
        if keys.key_type != "str":
            raise CodecError(f"{self.text!r} is made of characters, but keys here are {keys.key_type}; use word")
        check_ngrams(keys, self.ngram_lengths)
        words = [text.decode() for text in key_texts(keys)]
        lists = [_parts(name, words) for name in self.text.split("&")]
        counts = np.array([[len(parts) for parts in lists_of] for lists_of in zip(*lists, strict=True)], np.int64)
        counts = counts.reshape(-1, len(lists))
        indptr = np.concatenate([[0], np.cumsum(counts.sum(axis=1) * hashes)])
        indices = np.empty(int(indptr[-1]), np.int64)
        first = indptr[:-1].copy()
        for number, parts in enumerate(lists):
            count = counts[:, number] * hashes
            flat = PackedKeys([part for own in parts for part in own], "str")
            found = _entries(flat, range(16 * number, 16 * number + hashes), entries).reshape(-1)
            within = np.arange(len(found)) - np.repeat(np.cumsum(count) - count, count)
            indices[np.repeat(first, count) + within] = found
            first += count
        return Incidence(indptr, indices)


def _entries(keys: PackedKeys, seeds: Sequence[int], entries: int) -> NDArray[np.int64]:
    """Return XXH64(key, seed) modulo the entries: (n, seeds)."""
    if len(keys) >= KERNEL_KEYS:
        columns = [keys.hashes(seed=seed) for seed in seeds]
    else:
        texts = key_texts(keys)
        columns = [np.array([xxhash.xxh64_intdigest(text, seed) for text in texts], np.uint64) for seed in seeds]
    return (np.stack(columns, axis=1) % np.uint64(entries)).astype(np.int64)


def key_texts(keys: PackedKeys) -> list[bytes]:
    """Return the bytes of each key; of an integer its eight, little-endian."""
    text, starts, lengths = keys.text.tobytes(), keys.starts[:-1].tolist(), keys.lengths.tolist()
    return [text[at : at + length] for at, length in zip(starts, lengths, strict=True)]


def _parts(name: str, words: Sequence[str]) -> list[list[str]]:
    found = _PATTERN.fullmatch(name)
    assert found is not None, "checked when the features were made"
    if found[1] == "word":
        return [[word] for word in words]
    if found[1] == "shape":
        return [[shape_of(word)] for word in words]
    if found[2] == "prefix":
        return [[word[: int(found[3])]] for word in words]
    if found[2] == "suffix":
        return [[word[-int(found[3]) :]] for word in words]
    return [ngrams(f"<{word}>", int(found[5]), int(found[6])) for word in words]


def ngrams(text: str, least: int, most: int) -> list[str]:
    """Return all runs of `least` to `most` characters of a text."""
    return [text[at : at + n] for n in range(least, most + 1) for at in range(len(text) - n + 1)]


def shape_of(word: str) -> str:
    """Return a word with X for capitals, x for other letters, d for digits; runs are cut at four.

    Examples
    --------
    >>> shape_of("McDonalds-2024!")
    'XxXxxxx-dddd!'
    """
    shape = "".join(
        "X" if c.isalpha() and c.isupper() else "x" if c.isalpha() else "d" if c.isdigit() else c for c in word
    )
    return re.sub(r"(.)\1{4,}", lambda run: run[0][:4], shape, flags=re.DOTALL)
