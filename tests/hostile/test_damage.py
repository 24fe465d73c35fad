"""Damaged stores: an error with a message, or exactly the right answers.

`vecstore.bench.scripts.damage` runs for longer.
"""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import pytest
from vecstore.bench.scripts.damage import KINDS, Subject, watch
from vecstore.bench.scripts.mutations import MUTATIONS

import vecstore

# 32 mutations that keep the checksums wrong and 16 that make them right again, for each kind of store.
TIMES = {"flip": 16, "flip bit": 8, "truncate": 4, "overwrite": 3, "extend": 1, "forge": 8, "forge part": 8}
FIRST = 4  # of them are always tried, the others when slow tests are


@pytest.fixture(scope="module", params=KINDS)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return Subject(request.param, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(
    ("mutation", "numbers"),
    [
        *(pytest.param(name, range(TIMES[name])[:FIRST], id=name) for name in MUTATIONS),
        *(
            pytest.param(name, range(FIRST, TIMES[name]), id=f"{name}, more", marks=pytest.mark.slow)
            for name in MUTATIONS
            if TIMES[name] > FIRST
        ),
    ],
)
def test_mutations_do_no_harm(subject: Subject, mutation: str, numbers: range, tmp_path: Path) -> None:
    tally: Counter[str] = Counter()
    for number in numbers:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # forged numbers overflow
            verdict, what = watch(subject, mutation, number, tmp_path)
        assert verdict.harmless, f"{what}: {verdict.outcome}: {verdict.detail}"
        tally[verdict.outcome] += 1
    if mutation == "truncate":
        assert set(tally) == {"refused"}


@pytest.mark.parametrize("kind", ["f32", "sharded"])
def test_every_length_near_a_page_boundary_is_refused(kind: str, tmp_path: Path) -> None:
    subject = Subject(kind, tmp_path)
    files = sorted(subject.path.glob("*.vecs")) if subject.path.is_dir() else [subject.path]
    for file in files:
        data = file.read_bytes()
        lengths = {at + shift for at in range(0, len(data), 4096) for shift in (-1, 0, 1)} | set(range(0, 200, 13))
        for length in sorted(length for length in lengths if 0 <= length < len(data)):
            file.write_bytes(data[:length])
            with pytest.raises(vecstore.VecstoreError, match=file.name):
                vecstore.open(subject.path)
        file.write_bytes(data)


def test_every_byte_of_the_manifest_counts(tmp_path: Path) -> None:
    subject = Subject("sharded", tmp_path)
    manifest = subject.path / "manifest.json"
    body = manifest.read_bytes()
    for at in range(0, len(body), 2):
        manifest.write_bytes(body[:at] + bytes([body[at] ^ 1 << at % 8]) + body[at + 1 :])
        with pytest.raises(vecstore.VecstoreError, match=r"manifest\.json"):
            vecstore.open(subject.path)
    for length in range(0, len(body), 7):
        manifest.write_bytes(body[:length])
        with pytest.raises(vecstore.VecstoreError, match=r"manifest\.json"):
            vecstore.open(subject.path)
