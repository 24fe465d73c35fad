"""The fuzzers themselves, with a few inputs each; CI runs them for 15 seconds each: `vecstore.bench.scripts.fuzz`."""

from __future__ import annotations

from pathlib import Path

import pytest
from vecstore.bench.scripts.fuzz import attempt, changed, fuzz
from vecstore.bench.scripts.fuzz_targets import TARGETS, Target

from vecstore.errors import CorruptError


@pytest.mark.parametrize("name", TARGETS)
def test_changed_bytes_do_no_harm(name: str, tmp_path: Path) -> None:
    target = TARGETS[name](tmp_path)
    for seed, whole in target.seeds.items():
        assert attempt(target, seed, whole)
    assert fuzz(target, number=1, examples=25) >= 25


def test_changes() -> None:
    whole = bytes(range(16))
    assert changed(whole, [("set", 3, 0, b"ab")]) == whole[:3] + b"ab" + whole[5:]
    assert changed(whole, [("set", 15, 0, b"ab")]) == whole[:15] + b"a"
    assert changed(whole, [("word", 5, 14, b"")]) == whole[:4] + b"\xff\0\0\0" + whole[8:]
    assert changed(whole, [("insert", 0, 0, b"x"), ("delete", 2, 64 + 3, b"")]) == b"x\0" + whole[4:]
    assert changed(whole, [("copy", 16, 4, b"")]) == whole + whole[4:8]
    assert changed(whole, [("cut", 9, 0, b"")]) == whole[:9]
    assert all(len(changed(b"", [(how, 5, 5, b"x")])) <= 2 for how in ("set", "word", "header", "delete", "copy"))


class Harmful(Target):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.seeds = {"one": bytes(20)}

    def use(self, name: str, data: bytes) -> None:
        if b"\xff" in data:
            raise IndexError("an x too many")
        if len(data) < 20:
            raise CorruptError("too short")


def test_harm_is_noticed_and_kept(tmp_path: Path) -> None:
    assert not attempt(Harmful(tmp_path), "one", bytes(19))
    with pytest.raises(IndexError, match="an x too many"):
        fuzz(Harmful(tmp_path), 0, 1000, last=tmp_path / "x.input")
    assert b"\xff" in (tmp_path / "x.input").read_bytes()
    assert (tmp_path / "x.name").read_text() == "one"
