"""Vectors for words that a store does not hold, from those that are spelt like them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.transforms.normalize import unit
from vecstore.kernels import entries
from vecstore.keys.packed import PackedKeys
from vecstore.parallel import over_items
from vecstore.store.handle import snapshot_of
from vecstore.store.store import Store
from vecstore.words.spellings import edits, same_letters, squeezed, stems

__all__ = ["NgramVectors", "grams", "hash_vector"]

MARKS = "\x02\x03"  # at the start and the end of a word
LEAST, MOST = 3, 6  # characters of an n-gram
NEIGHBOURS = 3
SHARE = np.float32(0.7)  # of the neighbours; the rest is drawn from the word's own n-grams
TYPO_LETTERS = 4  # of a word that may have a letter amiss; shorter ones are a letter from anything
CANDIDATES = 64  # whose n-grams are compared one by one


class NgramVectors:
    """Makes vectors of unknown words; the same for the same word and store on every machine.

    In this order, as soon as the store holds any:

    1. the mean of the word's spellings that differ by case, or by runs of a letter;
    2. the mean of its stems;
    3. the word one letter away, the first row of several: 0.7 of it, 0.3 of `hash_vector`;
    4. the mean of the three keys that share most n-grams: 0.7 of it, 0.3 of `hash_vector`;
    5. `hash_vector` alone.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pages: list[PackedKeys] | None = None

    def vector(self, word: str) -> Floats:
        """Return a vector of length one: (d,) float32."""
        rows, same = self.neighbours(word)
        if same:
            return self.mean(rows)
        drawn = hash_vector(word, self._store.dimensions)
        return unit(SHARE * self.mean(rows) + (1 - SHARE) * drawn) if len(rows) else drawn

    def neighbours(self, word: str) -> tuple[NDArray[np.int64], bool]:
        """Return the rows of keys that are spelt like a word, and whether they are the word itself, spelt otherwise."""
        for spelt in (same_letters(word), stems(word)):
            rows = self._known(spelt)
            if len(rows):
                return rows, True
        return self._near(word), False

    def mean(self, rows: NDArray[np.int64]) -> Floats:
        """Return the mean of rows at length one, scaled to length one, or zeros of none: (d,) float32."""
        return unit(unit(self._store.vectors[rows]).sum(axis=0))

    def _near(self, word: str) -> NDArray[np.int64]:
        """Return the row of the word that a letter amiss made of this one, or the rows that share most n-grams."""
        typos = edits(word) if len(word) >= TYPO_LETTERS else []
        rows = self._known(typos)
        if len(rows):
            same = rows[[self._key(row)[:1] == word[:1] for row in rows.tolist()]]
            return (same if len(same) else rows)[:1]
        return self._sharing(squeezed(word))

    def _sharing(self, word: str) -> NDArray[np.int64]:
        own = grams(word.casefold())

        def order(row: int) -> tuple[int, bool, bool, int, int]:
            key = self._key(row)
            shared = len(own & grams(key.casefold()))
            return -shared, key[:1] != word[:1], key[-1:] != word[-1:], len(key), row

        ranked = sorted(map(order, self._candidates(word)))
        return np.array([row for shared, _, _, _, row in ranked[:NEIGHBOURS] if shared], np.int64)

    def _candidates(self, word: str) -> list[int]:
        """Return the rows that share most pieces of three bytes, those in a row counted more: a scan of all keys."""
        tables = known_pieces((MARKS[0] + word + MARKS[1]).encode())
        if self._pages is None:
            shards = snapshot_of(self._store).shards
            self._pages = [page for shard in shards if shard.keys for page in shard.keys.packed_pages()]
        starts = np.cumsum([0, *map(len, self._pages)]).tolist()
        scores = np.empty(starts[-1], np.uint8)
        histograms = np.zeros((len(self._pages), 256), np.int64)

        def count(page: int) -> None:
            assert self._pages is not None
            keys, out = self._pages[page], scores[starts[page] : starts[page + 1]]
            marks = ord(MARKS[0]), ord(MARKS[1])
            entries.count_grams(keys.text, keys.starts, *tables, *marks, out, histograms[page])

        over_items(count, range(len(self._pages)))
        if len(self._store) < len(scores):  # rows were deleted
            gone = np.ones(len(scores), bool)
            gone[self._store.living_rows] = False
            scores[gone] = 0
            histograms = np.bincount(scores, minlength=256)[None]
        reached = np.cumsum(histograms.sum(axis=0)[:0:-1])  # how many rows score 255, 254 or more, ...
        least = max(255 - int(np.searchsorted(reached, CANDIDATES)), 1)
        found = np.flatnonzero(scores >= least)
        if len(found) > 2 * CANDIDATES:  # many share the little there is: those that share more, and the first rows
            found = found[np.argsort(-scores[found].astype(np.int64), kind="stable")[: 2 * CANDIDATES]]
        return found.tolist()

    def _known(self, words: Sequence[str]) -> NDArray[np.int64]:
        """Return the rows of the words that the store holds, rising."""
        rows = np.asarray(self._store.rows_of(words)) if words else np.empty(0, np.int64)
        return np.unique(rows[rows >= 0])

    def _key(self, row: int) -> str:
        return str(self._store.key_of(row))


def grams(word: str) -> set[str]:
    """Return the n-grams of 3 to 6 characters of a word between its marks."""
    marked = MARKS[0] + word + MARKS[1]
    return {marked[at : at + n] for n in range(LEAST, MOST + 1) for at in range(len(marked) - n + 1)}


def hash_vector(word: str, dimensions: int) -> Floats:
    """Return a vector of length one, (d,) float32, that only the word's letters decide.

    Each n-gram, and the word as a whole, adds numbers between -1 and 1: SplitMix64 (Steele, Lea & Flood, 2014) from its
    XXH64. So words that share n-grams have vectors that are a little alike.
    """
    pieces = sorted(grams(word) | {MARKS[0] + word + MARKS[1]})
    seeds = np.array([xxhash.xxh64_intdigest(piece.encode()) for piece in pieces], np.uint64)[:, None]
    z = seeds + np.arange(1, dimensions + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    drawn = (z >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1
    return unit(drawn.sum(axis=0).astype(np.float32))


def known_pieces(marked: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the pieces of three bytes of a word between its marks, as `kernels.grams.count_grams` takes them.

    Their pairs of bytes by what is beside them, (65536,), and one bit for each piece, (2**18,).
    """
    pairs, grams = np.zeros((256, 256), np.uint8), np.zeros(1 << 18, np.uint8)  # pairs[second, first]
    for at in range(len(marked) - 2):
        one, two, three = piece = marked[at : at + 3]
        caseless = [letter & 0x1F | (letter & 0xC0) >> 1 for letter in piece]
        code = caseless[0] << 14 | caseless[1] << 7 | caseless[2]
        grams[code >> 3] |= 1 << (code & 7)
        for first, second, what in ((one, two, 1), (two, three, 1), (two, three, 2), (one, two, 4)):
            if what == 1 or (what == 2 and _alike(one, MARKS[0])) or (what == 4 and _alike(three, MARKS[1])):
                pairs[np.ix_([second & 0xDF, second | 0x20], [first & 0xDF, first | 0x20])] |= what
    return pairs.reshape(-1), grams


def _alike(letter: int, mark: str) -> bool:
    return letter & 0xDF == ord(mark)
