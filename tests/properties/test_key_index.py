from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import reference
from hypothesis import example, given, settings

from vecstore.errors import DuplicateKeyError, OptionError
from vecstore.keys.indexes import find_many
from vecstore.keys.packed import KERNEL_KEYS

LONG = st.builds(lambda piece, times: piece * times, st.text(max_size=3), st.integers(60, 300))
TEXTS = st.one_of(st.text(max_size=20), LONG).filter(lambda key: not any("\ud800" <= c <= "\udfff" for c in key))
KINDS = {
    "str": TEXTS,
    "bytes": st.one_of(st.binary(max_size=20), TEXTS.map(str.encode)),
    "int64": st.integers(-(2**63), 2**63 - 1),
}


@st.composite
def keys_and_others(draw):
    """Return keys of one type, and things that may or may not be among them."""
    kind = KINDS[draw(st.sampled_from(sorted(KINDS)))]
    keys = draw(st.lists(kind, min_size=1, max_size=80, unique=True))
    return keys, draw(st.lists(st.one_of(kind, *KINDS.values()), max_size=20))


@given(keys_and_others(), st.integers(1, 40))
@example(([""], ["", "a"]), 1)
@example((["\0", "\0\0", "a\0b"], ["a", "b"]), 2)
@example(([b"\xff\xfe", b""], ["ÿþ"]), 1)
@settings(max_examples=150)
def test_every_key_is_found_and_no_other(key_index, case, batch):
    keys, others = case
    index = key_index(keys, batch=batch)
    wanted = keys + others
    expected = reference.find(keys, wanted)
    assert [index.find(key) for key in wanted] == expected
    assert find_many(index, wanted).tolist() == expected
    assert find_many(index, wanted * KERNEL_KEYS).tolist() == expected * KERNEL_KEYS
    assert list(index) == keys == index.keys(np.arange(len(keys))) == [index.key(row) for row in range(len(keys))]


@given(st.lists(st.text(st.characters(categories=["Cs", "L"]), min_size=1), min_size=1, max_size=5, unique=True))
@settings(max_examples=50)
def test_text_is_stored_or_refused(key_index, keys):
    broken = any("\ud800" <= c <= "\udfff" for key in keys for c in key)
    if not broken:
        assert list(key_index(keys)) == keys
        return
    with pytest.raises(OptionError, match="UTF-8"):
        key_index(keys)


@given(st.lists(st.text(max_size=2), min_size=2, max_size=30).filter(lambda keys: len(set(keys)) < len(keys)))
@settings(max_examples=50)
def test_duplicates_are_always_noticed(key_index, keys):
    with pytest.raises(DuplicateKeyError, match="duplicate key"):
        key_index(keys)
