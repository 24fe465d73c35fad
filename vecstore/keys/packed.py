"""Many keys packed into one run of bytes, as compiled code takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.kernels import entries
from vecstore.keys.kind import KINDS, KeyType

__all__ = ["KERNEL_KEYS", "PackedKeys"]

KERNEL_KEYS = 256  # from this many keys on, a compiled lookup pays for itself


class PackedKeys:
    """Keys as one run of bytes: key i is text[starts[i] : starts[i + 1] - gap].

    Integers are packed as 8 bytes each, little-endian.

    Raises
    ------
    OptionError
        A key cannot be stored: an integer beyond 64 bits, a str that has no UTF-8.
    """

    def __init__(self, keys: Sequence[Any] | NDArray[Any], key_type: KeyType) -> None:
        self.key_type: KeyType = key_type
        self.text, self.starts, self.gap = KINDS[key_type].packed(keys)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def integers(self) -> NDArray[np.int64] | None:
        """The keys as numbers, (n,) int64; None unless they are integers."""
        return self.text.view("<i8") if self.key_type == "int64" else None

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Bytes of each key: (n,) int64."""
        return np.diff(self.starts) - self.gap

    @classmethod
    def of_rows(cls, rows: NDArray[Any] | Sequence[int] | range) -> PackedKeys:
        """Return row numbers as keys, for stores that have no others."""
        return cls(rows, "int64")

    @classmethod
    def of_text(cls, text: NDArray[np.uint8], lengths: NDArray[Any], key_type: KeyType) -> PackedKeys:
        """Return the keys that lie one after the other in `text`, of these lengths."""
        packed = cls.__new__(cls)
        packed.key_type, packed.text, packed.gap = key_type, text, 0
        packed.starts = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=packed.starts[1:])
        return packed

    @classmethod
    def joined(cls, several: Sequence[PackedKeys]) -> PackedKeys:
        """Return all keys of one or more, in order; none of them may have gaps (see `without_gaps`)."""
        lengths = np.concatenate([keys.lengths for keys in several])
        return cls.of_text(np.concatenate([keys.text for keys in several]), lengths, several[0].key_type)

    def without_gaps(self) -> PackedKeys:
        """Return the same keys, one behind the other."""
        if not self.gap:
            return self
        return PackedKeys.of_text(self.text[self.text != 0], self.lengths, self.key_type)  # no key holds a zero

    def part(self, start: int, stop: int) -> PackedKeys:
        """Return the keys from one position to another, where none has gaps: a view of their text."""
        lengths, edges = np.diff(self.starts[start : stop + 1]), self.starts[[start, stop]].tolist()
        return PackedKeys.of_text(self.text[slice(*edges)], lengths, self.key_type)

    def take(self, chosen: NDArray[np.int64]) -> PackedKeys:
        """Return the keys of these positions."""
        lengths = self.lengths[chosen]
        starts = np.cumsum(lengths) - lengths
        positions = np.repeat(self.starts[chosen] - starts, lengths) + np.arange(int(lengths.sum()))
        return PackedKeys.of_text(self.text[positions], lengths, self.key_type)

    def hashes(self, seed: int = 0) -> NDArray[np.uint64]:
        """Return the XXH64 of each key: (n,) uint64."""
        out = np.empty(len(self), np.uint64)
        entries.xxh64_packed(self.text, self.starts, self.gap, seed, out)
        return out
