"""Conversion says what a search takes with the layer in front that a store has, and with the other one."""

from __future__ import annotations

import numpy as np
import pytest

import vecstore
from vecstore.conversion import fronts

ROWS, DIMENSIONS = 1500, 32


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(fronts, "LEAST_ROWS", 1500)


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(ROWS, DIMENSIONS)).astype("f4")


@pytest.mark.parametrize(
    ("codec", "other"),
    [("bin/sq:8", "tcq:4"), ("tcq:4/sq:8", "bin"), ("pca:16,bin/sq:8", "pca:16,tcq:2"), ("normalize,tcq:6/f16", None)],
)
@pytest.mark.parametrize("keep_norms", [False, True])
def test_both_layers_in_front_are_measured(tmp_path, x, codec, other, keep_norms):
    report = vecstore.write(tmp_path / "a.vecs", x, codec=codec, keep_norms=keep_norms)
    own, compared = report.fronts
    assert own.coarse == codec.split("/")[0]
    assert compared.coarse == (other or "normalize,bin")
    assert all(front.rescored >= 1 and front.search_ms > 0 for front in report.fronts)


def test_shards_and_workers_say_it_too(tmp_path, x):
    np.save(tmp_path / "x.npy", x)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vecstore.conversion.shards.cutting.FIXED_BYTES", 0)
        report = vecstore.convert(tmp_path / "x.npy", tmp_path / "a", "bin/sq:8", shard_bytes=30_000)
    assert [front.coarse for front in report.fronts] == ["bin", "tcq:4"]


@pytest.mark.parametrize("codec", ["sq:8", "pq:8/sq:8", "cells:4,bin/sq:8", "bin/sq:8@500+bin/sq:4"])
def test_others_are_not_compared(tmp_path, x, codec):
    assert vecstore.write(tmp_path / "a.vecs", x, codec=codec).fronts == []


def test_few_rows_are_not_compared(tmp_path, x):
    assert vecstore.write(tmp_path / "a.vecs", x[:1400], codec="bin/sq:8").fronts == []


def test_what_is_in_the_store_does_not_depend_on_it(tmp_path, x, monkeypatch):
    vecstore.write(tmp_path / "a.vecs", x, codec="bin/sq:8")
    monkeypatch.setattr(fronts, "LEAST_ROWS", 10**9)
    vecstore.write(tmp_path / "b.vecs", x, codec="bin/sq:8")
    assert (tmp_path / "a.vecs").read_bytes() == (tmp_path / "b.vecs").read_bytes()


def test_where_there_is_no_room_for_copies_the_store_is_there(tmp_path, x, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vecstore.conversion.fronts.shutil.copyfile", full)
    assert vecstore.write(tmp_path / "a.vecs", x, codec="bin/sq:8").fronts == []
    assert len(vecstore.open(tmp_path / "a.vecs")) == ROWS
