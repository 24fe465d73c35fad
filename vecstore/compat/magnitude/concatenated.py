"""Several `Magnitude` objects as one."""

from __future__ import annotations

from typing import Any

import numpy as np

from vecstore.errors import OptionError

__all__ = ["ConcatenatedMagnitude"]


class ConcatenatedMagnitude:
    """Several Magnitude objects as one, whose vectors stand one behind the other.

    A tuple in the place of a key has one key for each of them.
    """

    def __init__(self, *magnitudes: Any) -> None:
        if len(magnitudes) < 2:
            raise OptionError(f"two Magnitude objects or more are concatenated, found {len(magnitudes)}")
        if len({each.use_numpy for each in magnitudes}) > 1:
            raise OptionError("Magnitude objects that are concatenated have the same use_numpy")
        self.magnitudes, self.use_numpy = magnitudes, magnitudes[0].use_numpy
        self.dim = sum(each.dim for each in magnitudes)

    def query(
        self,
        q: Any,
        pad_to_length: int | None = None,
        pad_left: bool | None = None,
        truncate_left: bool | None = None,
        normalized: bool | None = None,
    ) -> Any:
        """Return vectors as `Magnitude.query`; how lists are filled up goes by the first object's settings."""
        first = self.magnitudes[0]
        how = (
            pad_to_length or first.pad_to_length,
            pad_left or first.pad_left,
            truncate_left or first.truncate_left,
            normalized,
        )
        parts = [np.asarray(each.query(_key_for(q, at), *how)) for at, each in enumerate(self.magnitudes)]
        found = np.concatenate(parts, axis=-1)
        return found if self.use_numpy else found.tolist()


def _key_for(q: Any, at: int) -> Any:
    """Return keys with the one for an object in the place of each tuple."""
    if isinstance(q, list):
        return [_key_for(each, at) for each in q]
    return q[at] if isinstance(q, tuple) else q
