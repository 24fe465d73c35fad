"""A certificate that is measured again after edits: with the dump, and without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vecstore
from vecstore.errors import ConflictError, FormatError, OptionError, ShapeError
from vecstore.store.manifest import Manifest

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(30, 16))[RNG.integers(30, size=1500)] + RNG.normal(size=(1500, 16))).astype(np.float32)
KEYS = [f"key {i}" for i in range(1500)]


def edited(path: Path, spec: str, **options: Any) -> Path:
    """Return a store of rows 5 to 1199 of X, of which 400 came after its conversion."""
    vecstore.write(path, X[:800], KEYS[:800], spec, shard_bytes=1 << 20, **options)
    with vecstore.edit(path, on_drift="ignore") as e:
        e.append(X[800:1200], KEYS[800:1200])
        e.delete(KEYS[:5])
    return path


def about(path: Path) -> dict[str, Any]:
    with vecstore.open(path) as store:
        return store.info()


@pytest.mark.parametrize("spec", ["sq:4", "tcq:8", "bin/sq:8", "cells:8,pq:8"])
def test_a_dump_tells_all(tmp_path: Path, spec: str) -> None:
    path = edited(tmp_path / "a.vecs", spec)
    assert about(path)["certified"]["stale"]
    found = vecstore.certify(path, dict(zip(KEYS, X, strict=True)))
    told = about(path)
    assert told["certificate"] == found and not told["certified"]["stale"]
    assert told["certified"] | {"drift": None} == {
        "generation": 2,
        "measured": 1195,
        "added": 0,
        "deleted": 0,
        "drift": None,
        "at": 1,
        "against": "originals",
        "stale": False,
    }
    with vecstore.open(path) as store:
        assert store.generation == 2
        rows = store.rows_of(KEYS[5:1200])
        decoded = store.vectors[rows]
        cosines = (decoded * X[5:1200]).sum(1) / np.linalg.norm(decoded, axis=1) / np.linalg.norm(X[5:1200], axis=1)
        assert found["cosine_mean"] == pytest.approx(cosines.mean(), abs=0.02)
        assert store.search(X[7], 3, calibrated=True).keys[0] == KEYS[7]
    assert (found["recall"]["queries"], found["recall"]["base"]) == (119, 1195 - 119)
    assert found["found"]["at"]["10"][0] > 0.7 and found["again"]["against"] == "originals"
    assert ("oversampling" in found) == ("/" in spec) and ("prefixes" in found) == (spec == "tcq:8")


@pytest.mark.parametrize("spec", ["sq:8", "tcq:8", "bin/sq:8"])
def test_without_a_dump_codes_tell_of_searches(tmp_path: Path, spec: str) -> None:
    path = edited(tmp_path / "a.vecs", spec)
    before = about(path)["certificate"]
    found = vecstore.certify(path)
    told = about(path)["certified"]
    assert (told["against"], told["measured"], told["stale"]) == ("codes", 1195, False)
    assert all(found[name] == before[name] for name in ("recall", "cosine_mean", "relative_error", "rows"))
    assert found["found"]["base"] == 1194 and found["found"]["at"]["10"][0] > 0.9


def test_exact_searches_find_all(tmp_path: Path) -> None:
    path = edited(tmp_path / "a.vecs", "f32")
    found = vecstore.certify(path, dict(zip(KEYS, X, strict=True)), queries=X[1200:1300])
    assert found["found"]["by"] == "real queries" and found["found"]["queries"] == 100
    assert {k: at[0] for k, at in found["found"]["at"].items()} == {"1": 1.0, "10": 1.0, "100": 1.0}
    assert found["query_recall"]["at"]["10"][0] == 1.0 and found["cosine_min"] == 1.0


def test_later_rows_are_counted_from_there(tmp_path: Path) -> None:
    path = edited(tmp_path / "a.vecs", "sq:8")
    vecstore.certify(path)
    with vecstore.edit(path, on_drift="ignore") as e:
        e.append(X[1200:1400], KEYS[1200:1400])
        e.delete(KEYS[800:1000])
    told = about(path)["certified"]
    assert (told["measured"], told["added"], told["deleted"], told["stale"]) == (1195, 200, 200, True)
    vecstore.compact(path)
    assert about(path)["certified"] == told | {"generation": 4}
    assert vecstore.restore(path, 2) == 5
    assert about(path)["certified"] | {"drift": None} == told | {
        "generation": 5,
        "added": 0,
        "deleted": 0,
        "drift": None,
        "stale": False,
    }
    assert vecstore.restore(path, 0) == 6
    assert about(path)["certified"]["at"] is None


def test_several_codecs(tmp_path: Path) -> None:
    path = edited(tmp_path / "a.vecs", "bin/sq:8")
    with vecstore.edit(path, on_drift="refit") as e:
        e.append(5 * X[1200:] + 3, KEYS[1200:])
    later = dict(zip(KEYS, np.concatenate([X[:1200], 5 * X[1200:] + 3]), strict=True))
    found = vecstore.certify(path, later)
    assert found["cosine_mean"] > 0.99 and "oversampling" not in found
    assert "oversampling" not in vecstore.certify(path)


def test_rows_without_keys(tmp_path: Path) -> None:
    path = tmp_path / "a.vecs"
    vecstore.write(path, X[:500], codec="f32", shard_bytes=1 << 20)
    with vecstore.edit(path) as e:
        e.append(X[500:600])
    with vecstore.edit(path) as e:
        e.delete_rows([3, 500])
    for source in (X[:600], np.delete(X[:600], [3, 500], axis=0)):
        assert vecstore.certify(path, source)["cosine_min"] == 1.0
    with pytest.raises(ShapeError, match=r"590 rows; the store has 598 that live, 600 with those"):
        vecstore.certify(path, X[:590])
    vecstore.compact(path)
    assert vecstore.certify(path, np.delete(X[:600], [3, 500], axis=0))["cosine_min"] == 1.0


def test_lengths_are_measured_too(tmp_path: Path) -> None:
    path = edited(tmp_path / "a.vecs", "tcq:8", keep_norms=True, metric="dot")
    found = vecstore.certify(path, dict(zip(KEYS, X, strict=True)))
    assert found["relative_error"] < 0.5 and found["found"]["at"]["10"][0] > 0.7


def test_what_is_no_source(tmp_path: Path) -> None:
    path = edited(tmp_path / "a.vecs", "sq:8")
    with pytest.raises(FormatError, match=r"400 of the 1,195 rows of the store are not in it, the first is 'key 800'"):
        vecstore.certify(path, dict(zip(KEYS[:800], X, strict=False)))
    with pytest.raises(FormatError, match="other vectors"):
        vecstore.certify(path, dict(zip(KEYS, X[:, :8], strict=True)))
    with pytest.raises(FormatError, match="keys"):
        vecstore.certify(path, X)
    spoilt = X.copy()
    spoilt[7] = np.nan
    with pytest.raises(FormatError, match="'key 7'"):
        vecstore.certify(path, dict(zip(KEYS, spoilt, strict=True)))
    with vecstore.edit(path) as e:
        e.delete(KEYS)
    with pytest.raises(OptionError, match="no row lives"):
        vecstore.certify(path)
    vecstore.write(tmp_path / "b.vecs", X, codec="sq:8")
    with pytest.raises(OptionError, match="one file"):
        vecstore.certify(tmp_path / "b.vecs")
    with pytest.raises(FileNotFoundError):
        vecstore.certify(tmp_path / "c.vecs")


def test_edits_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = edited(tmp_path / "a.vecs", "sq:8")
    from vecstore.conversion.certifying import renewal

    measure = renewal.measure_decoded

    def first(change: Any) -> None:
        def changed(*given: Any, **options: Any) -> Any:
            change()
            return measure(*given, **options)

        monkeypatch.setattr(renewal, "measure_decoded", changed)

    def append() -> None:
        with vecstore.edit(path, on_drift="ignore") as e:
            e.append(X[1200:1210], KEYS[1200:1210])

    first(append)
    vecstore.certify(path, dict(zip(KEYS, X, strict=True)))
    assert {**about(path)["certified"], "drift": None}["added"] == 10 and about(path)["rows"] == 1205
    first(lambda: vecstore.compact(path))
    with pytest.raises(ConflictError, match="do it again"):
        vecstore.certify(path, dict(zip(KEYS, X, strict=True)))
    assert Manifest.read(path).generation == 4 and about(path)["certified"]["at"] == 1
