from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from vecstore import formats
from vecstore.errors import DuplicateKeyError, OptionError
from vecstore.keys.index_writer import MAX_KEY_BYTES
from vecstore.keys.indexes import find_many
from vecstore.keys.kind import KINDS, KeyType, key_type_of
from vecstore.keys.packed import KERNEL_KEYS, PackedKeys
from vecstore.keys.pages import PAGE_KEYS


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        (["a", ""], "str"),
        (np.array(["a", "bc"]), "str"),
        ([b"a"], "bytes"),
        (np.array([b"a", b"bc"]), "bytes"),
        ([1, -5], "int64"),
        (range(3), "int64"),
        (np.arange(3, dtype=np.uint8), "int64"),
        ([np.int32(3), 4], "int64"),
    ],
)
def test_type_of_keys(keys, kind):
    assert key_type_of(keys) == kind
    assert len(PackedKeys(keys, kind)) == len(keys)


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ([], "found none"),
        (["a", 1], "found int, str"),
        (["a", b"a"], "found bytes, str"),
        ([True], "found bool"),
        ([1.0], "found float"),
        (np.array([1.0]), "found float64"),
        ([None], "found NoneType"),
        ([("a",)], "found tuple"),
    ],
)
def test_keys_of_no_type(keys, found):
    with pytest.raises(OptionError, match=found):
        key_type_of(keys)


@pytest.mark.parametrize("keys", [np.array([2**63], np.uint64), [2**63], [-(2**63) - 1]])
def test_integers_beyond_64_bits(key_index, keys):
    with pytest.raises(OptionError, match="store larger ones as strings"):
        key_index(keys)


@pytest.mark.parametrize("keys", [["fine", "bad \ud800"], ["\udfff"]])
def test_surrogates_are_refused(key_index, keys):
    with pytest.raises(OptionError, match="pass bytes"):
        key_index(keys)


def test_longest_key(key_index):
    longest = "é" * (MAX_KEY_BYTES // 2) + "e"
    assert key_index(["a", longest, "b"]).key(1) == longest
    with pytest.raises(OptionError, match=f"65536 bytes: keys have at most {MAX_KEY_BYTES}"):
        key_index([longest + "e"])


@pytest.mark.parametrize("rows", [1, 31, 32, 33, PAGE_KEYS, PAGE_KEYS + 1, 2 * PAGE_KEYS + 5])
@pytest.mark.parametrize("kind", ["str", "int64"])
def test_pages_and_groups_of_keys(key_index, rows, kind):
    keys = [f"key {i}" for i in range(rows)] if kind == "str" else list(range(-rows, 0))
    index = key_index(keys, batch=1000)
    assert len(index) == rows and list(index) == keys and [key for page in index.pages() for key in page] == keys
    places = np.unique(np.clip([0, 30, 31, 32, PAGE_KEYS - 1, PAGE_KEYS, rows - 1], 0, rows - 1))
    assert index.keys(places) == [keys[i] for i in places] == [index.key(int(i)) for i in places]
    np.testing.assert_array_equal(find_many(index, keys), np.arange(rows))


def test_batches_make_no_difference(key_index):
    keys = [f"{i}" * (i % 300) + str(i) for i in range(500)]
    files = []
    for batch in (1, 7, 500):
        key_index(keys, batch=batch)
        files.append(key_index(keys, batch=batch)._container.data.tobytes())
    assert files[0] == files[1] == files[2]


@pytest.mark.parametrize(
    ("keys", "shown"),
    [(["a", "b", "a"], "'a' in rows 0 and 2"), ([b"\xff", b"\xff"], "in rows 0 and 1"), ([7, 8, 9, 7], "rows 0 and 3")],
)
def test_duplicate_keys(key_index, keys, shown):
    with pytest.raises(DuplicateKeyError, match=f"duplicate key .*{shown}.*on_duplicate="):
        key_index(keys)


def test_duplicate_keys_are_shown_as_they_were_given(key_index):
    with pytest.raises(DuplicateKeyError, match="duplicate key 12345 in"):
        key_index([12345, 12345])


@pytest.mark.parametrize("repeat", [1, KERNEL_KEYS])
@pytest.mark.parametrize("kind", ["str", "bytes", "int64"])
def test_keys_of_another_type_are_not_there(key_index, kind, repeat):
    """Whether one key is looked up or many: nothing is converted to the type of the keys."""
    keys = {"str": ["1", "2", "-1"], "bytes": [b"1", b"2", b"-1"], "int64": [1, 2, -1]}[kind]
    index = key_index(keys)
    others = ["1", b"1", 1, 1.0, 1.5, True, None, (1,), 2**64 - 1, -(2**63) - 1, "\ud800"]
    for other in others:
        expected = 0 if type(other) is type(keys[0]) and other == keys[0] else -1
        assert index.find(other) == expected, other
        assert set(find_many(index, [other] * repeat).tolist()) == {expected}, other
    for array in (np.array([1.5, 2.0]), np.array([2**64 - 1, 2**64 - 2], np.uint64), np.array([True, False])):
        assert set(find_many(index, np.tile(array, repeat)).tolist()) == {-1}, array


def test_arrays_of_keys(key_index):
    for keys in (np.array(["a", "ü", "ccc"]), np.array([b"a", b"bb"]), np.array([5, 6], np.int32)):
        np.testing.assert_array_equal(
            find_many(key_index(keys), np.tile(keys, 200)), np.tile(np.arange(len(keys)), 200)
        )


def test_size_of_the_index(key_index):
    """At most six bytes a key beside the text, whatever the number of keys."""
    for rows in (20_000, 32_769, 60_000):
        keys = [f"{i:012d}" for i in range(rows)]
        index = key_index(keys)
        total = sum(int(index._container.part(name).sizes.sum()) for name in ("keys.text", "keys.table"))
        assert total - sum(map(len, keys)) <= 6 * rows


def test_packed_keys_of_chosen_places():
    for keys, kind in ((["a", "", "ccc", "d\0"], "str"), (["x", "yy", "z"], "str"), ([5, -6, 7], "int64")):
        packed = PackedKeys(keys, kind)
        chosen = np.array([2, 0, 2])
        np.testing.assert_array_equal(packed.take(chosen).hashes(), packed.hashes()[chosen])
        np.testing.assert_array_equal(packed.hashes(), PackedKeys(list(keys), kind).hashes())


def test_dumps_and_stores_have_keys_of_the_same_types():
    """The two rooms lie side by side, so each has its own name for the types."""
    assert get_args(formats.KeyType) == get_args(KeyType) == tuple(KINDS)


@pytest.mark.parametrize("kind", ["str", "bytes", "int64"])
def test_keys_typed_on_a_command_line(kind):
    typed = KINDS[kind].typed("12")
    assert key_type_of([typed]) == kind and KINDS[kind].decoded(KINDS[kind].raw(typed)) == typed
