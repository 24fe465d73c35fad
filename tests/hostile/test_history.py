"""Readers see one generation after the other, whole, while a store is edited, compacted and cleaned.

`vecstore.bench.scripts.history` runs for longer.
"""

from __future__ import annotations

import pytest
from vecstore.bench.scripts.history import CODECS, History, watched


@pytest.mark.slow  # seven processes for some seconds
@pytest.mark.parametrize("codec", CODECS)
def test_each_read_equals_one_generation(codec: str) -> None:
    told = watched(6, codec=codec)
    assert not [wrong for each in told for wrong in each.wrong]
    assert told[0].done["edits"] and all(each.done["reads"] for each in told[3:])


def test_histories_are_alike() -> None:
    one, other = History(), History()
    for _ in range(30):
        new, gone = one.next()
        assert not set(gone) & one.rows.keys() and new.items() <= one.rows.items()
    other.advance(30)
    assert one.rows == other.rows
