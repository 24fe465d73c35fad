"""Forged stores under right checksums: an answer or an error of this package, soon, in little memory.

`vecstore.bench.scripts.forgery` runs for longer, over twenty thousand of them.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from vecstore.bench.scripts.damage import DIMENSIONS, Subject, Verdict
from vecstore.bench.scripts.forgery import FORGED, forged
from vecstore.bench.scripts.mutations import reseal

import vecstore
from vecstore.codecs.members import allowed_members
from vecstore.codecs.registry import step_class
from vecstore.container.container import Container
from vecstore.errors import VecstoreError

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is limited by what Linux tells")
STORES = 3  # of each kind; they differ by the kind


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VECSTORE_THREADS", "1")


@pytest.mark.parametrize("kind", FORGED)
def test_forged_stores_do_no_harm(kind: str, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    subject = Subject(kind, tmp_path / "whole", FORGED[kind])
    first = 1_000_000 + STORES * list(FORGED).index(kind)
    for number in range(first, first + STORES):
        verdict, what = forged(subject, number, tmp_path)
        assert verdict.harmless, f"--only {number}: {what}: {verdict.outcome}: {verdict.detail}"


@pytest.mark.parametrize("kind", FORGED)
def test_members_beyond_their_values_are_refused(kind: str, tmp_path: Path) -> None:
    path = Subject(kind, tmp_path, FORGED[kind]).path
    for file in sorted(path.glob("shard*.vecs")) if path.is_dir() else [path]:
        whole = file.read_bytes()
        about = Container(file).description
        for step in [step for layer in about["codec"] for step in layer]:
            for name, allowed in allowed_members(step_class(step["name"])).items():
                before = step["configuration"][name]
                for value in allowed.edges:
                    if allowed.holds(value, DIMENSIONS):
                        continue
                    step["configuration"][name] = value
                    reseal(file, about)
                    with pytest.raises(VecstoreError), vecstore.open(file) as store:
                        store.verify()
                    file.write_bytes(whole)
                step["configuration"][name] = before


class Harmful(Subject):
    """A subject that does harm when it is judged."""

    def __init__(self, path: Path, harm: str) -> None:
        self.path, self.harm = path, harm

    def judge(self, path: Path, **options: object) -> Verdict:
        options["before"]()  # type: ignore[operator]
        if self.harm == "exception":
            raise RuntimeError("wrong")
        if self.harm == "memory":
            np.ones(400 << 20, np.uint8)  # more than a long-lived process may have in stock
        if self.harm == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        while self.harm == "slow":
            pass
        return Verdict("exact")


@pytest.mark.parametrize(
    ("harm", "outcome"),
    [("none", "exact"), ("exception", "exception"), ("memory", "exception"), ("crash", "crash"), ("slow", "slow")],
)
def test_harm_is_noticed(harm: str, outcome: str, tmp_path: Path) -> None:
    path = tmp_path / "whole.vecs"
    path.write_bytes(bytes(1000))
    (tmp_path / "copies").mkdir()
    verdict, _ = forged(Harmful(path, harm), 0, tmp_path / "copies")
    assert verdict.outcome == outcome
    assert harm != "memory" or "MemoryError" in verdict.detail
