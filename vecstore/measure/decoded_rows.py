"""What sampled rows become in a store, a block at a time: all of them at once would double what a sample takes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.codec import Codec
from vecstore.codecs.dataset import Block
from vecstore.codecs.mixed.mixed import MixedCodec
from vecstore.measure.fidelity import as_stored

__all__ = ["DecodedRows"]

DECODED_AT_ONCE = 8192


@dataclass(frozen=True)
class DecodedRows:
    """Rows of a block as a store holds them, encoded and decoded whenever they are asked for: (n, d) float32.

    They are indexed by a slice or by numbers of rows, as an array is.
    """

    trained: Codec | MixedCodec
    block: Block
    keep_norms: bool

    def __len__(self) -> int:
        return len(self.block.rows)

    def __getitem__(self, chosen: slice | NDArray[np.int64]) -> Floats:
        own = self.block.part(chosen)
        return as_stored(self.trained, own.vectors, own.rows, own.keys, keep_norms=self.keep_norms)

    def whole(self) -> Floats:
        """Return all of them, for those who need them more than once."""
        found = np.empty_like(self.block.vectors)
        for start in range(0, len(found), DECODED_AT_ONCE):
            part = slice(start, start + DECODED_AT_ONCE)
            found[part] = self[part]
        return found

    def after(self, first: int) -> DecodedRows:
        """Return the rows from one on."""
        return replace(self, block=self.block.part(slice(first, None)))
