"""The conformance set: the package and the independent reader read what is to be read, and refuse the rest."""

from __future__ import annotations

import json
import struct
import tarfile
from pathlib import Path
from typing import Any

import independent_reader as independent
import numpy as np
import pytest
import zstandard
from vecstore.bench.scripts.conformance import READ, values_of
from vecstore.bench.scripts.conformance_refused import REFUSED

import vecstore
from vecstore.errors import KeyNotFoundError, VecstoreError

SET = Path(__file__).parents[2] / "docs/conformance"
CASES = json.loads((SET / "cases.json").read_text(encoding="utf-8"))
# Of the independent reader: a failed assertion, or what Python says of a number that fits nothing.
REFUSALS = (AssertionError, ValueError, LookupError, OSError, RuntimeError, struct.error, zstandard.ZstdError)
TOLERANCE = 1e-5  # of the largest number in a store, where sums of products are part of the codec


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conformance")
    with tarfile.open(SET / "stores.tar.xz") as archive:
        archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # from 3.11.4 on
    return folder


def numbers(path: Path, rows: int) -> np.ndarray:
    return np.fromfile(path, "<f4").reshape(rows, -1)


def keys(case: dict[str, Any], found: list[Any]) -> list[Any]:
    return [bytes.fromhex(key) for key in found] if case["keys"] == "bytes" else found


def agree(case: dict[str, Any], found: np.ndarray, expected: np.ndarray) -> None:
    if case["exact"]:
        np.testing.assert_array_equal(np.asarray(found, "<f4").view("<u4"), expected.view("<u4"))
    else:
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * float(np.abs(expected).max()))


def alike(found: list[Any], expected: list[Any]) -> None:
    """Compare what rows have of a field: none, a vector, several, or weights of terms."""
    for item, other in zip(found, expected, strict=True):
        if isinstance(other, dict):
            assert item == {int(term): weight for term, weight in other.items()}
        elif other is None:
            assert item is None
        else:
            np.testing.assert_allclose(item, np.reshape(other, np.shape(item)), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("case", CASES["read"], ids=lambda case: case["name"])
def test_stores_are_read(stores: Path, case: dict[str, Any]) -> None:
    expected, path = numbers(stores / case["vectors"], case["rows"]), stores / case["store"]
    other = independent.Store(path)
    with vecstore.open(path) as store:
        living = other.living()
        assert sorted(set(range(other.firsts[-1])) - set(living)) == case.get("deleted", [])
        for vectors in (store.vectors[living], other.vectors()[living]):
            agree(case, vectors, expected)
        if "fields_file" in case:
            fields = json.loads((stores / case["fields_file"]).read_text(encoding="utf-8"))
            assert fields.keys() == other.fields().keys()
            for name, items in fields.items():
                for found in (store.field(name).of_rows(living), other.fields()[name]):
                    alike(found, items)
        if "columns_file" in case:
            columns = json.loads((stores / case["columns_file"]).read_text(encoding="utf-8"))
            assert values_of(store) == other.columns() == columns
        if case["keys"] is None:
            return
        every = keys(case, json.loads((stores / case["keys_file"]).read_text()))
        others = other.keys()
        assert list(store.keys) == [others[row] for row in living] == every
        some = every[:: max(len(every) // 100, 1)]
        assert (
            store.rows_of(some).tolist()
            == [other.find(key) for key in some]
            == [living[every.index(key)] for key in some]
        )
        absent = keys(case, case["absent"])
        assert store.rows_of(absent).tolist() == [-1] * len(absent)
        assert [other.find(key) for key in absent] == [None] * len(absent)
        if "absent_vectors" not in case:
            with pytest.raises(KeyNotFoundError):
                store.lookup(absent)
            return
        made = numbers(stores / case["absent_vectors"], len(absent))
        agree(case, store.lookup(absent).vectors, made)
        agree(case, np.array([other.unknown(key) for key in absent]), made)


@pytest.mark.parametrize("case", CASES["refuse"], ids=lambda case: f"{case['section']}: {case['what']}")
def test_stores_are_refused(stores: Path, case: dict[str, Any]) -> None:
    path = stores / case["store"]
    with pytest.raises(VecstoreError), vecstore.open(path) as store:
        store.verify()
        _ = store.vectors[:], list(store.keys)
    with pytest.raises(REFUSALS):
        read(independent.Store(path))


def read(store: independent.Store) -> None:
    """Read all of a store."""
    store.vectors()
    store.columns()
    store.fields()
    if store.shards[0].keys is not None:
        every = store.keys()
        assert [store.find(key) for key in every] == list(range(store.firsts[-1]))


def test_the_set_breaks_rules_of_every_section_that_has_some() -> None:
    assert {case["section"] for case in CASES["refuse"]} == {2, 3, 4, 5, 6, 7, 8}


def test_the_set_is_what_the_script_writes() -> None:
    """After a change of the script: python -m vecstore.bench.scripts.conformance --out docs/conformance."""
    assert [(case["name"], case["codec"]) for case in CASES["read"]] == [
        (name, each.spec) for name, each in READ.items()
    ]
    refused = [(section, what) for section, cases in REFUSED.items() for what in cases]
    assert [(case["section"], case["what"]) for case in CASES["refuse"]] == refused
