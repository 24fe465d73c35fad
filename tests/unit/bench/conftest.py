"""A bench of real vectors, small enough for every run of the tests: the smoke run."""

from __future__ import annotations

import json
import os
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from vecstore.bench.plan import plan
from vecstore.bench.running import finish
from vecstore.bench.sources import Judgement, Source
from vecstore.bench.split import Split, make_split
from vecstore.bench.summary import Summary

# Two codecs that lie, as a package on the path of the bench's processes would bring them.
LIARS = """
    from dataclasses import dataclass
    import numpy as np
    from vecstore.codecs.scalar.floats import F16, TrainedF16

    class Boaster(TrainedF16):  # its scan sees float16, its lookups give noise
        def decode(self, codes):
            x = super().decode(codes)
            return x + np.float32(0.05) * np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)

    class Miser(TrainedF16):  # says 48 bytes a row, and writes more
        def __init__(self, dimensions):
            super().__init__(dimensions)
            self.code_bytes = 48

    @dataclass(frozen=True)
    class Boast(F16):
        name = "boast"
        trained = Boaster

    @dataclass(frozen=True)
    class Mise(F16):
        name = "mise"
        trained = Miser
"""
ENTRY_POINTS = "[vecstore.codecs]\nboast = liars:Boast\nmise = liars:Mise\n"
CODECS = "sq:8 tcq:48 cells:8,tcq:16 bin/sq:8 boast mise"


@dataclass(frozen=True)
class Done:
    """A finished bench."""

    out: Path
    split: Split
    summary: Summary


@pytest.fixture(scope="session")
def liars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that, on the path, is an installed package with codecs that lie."""
    folder = tmp_path_factory.mktemp("liars")
    (folder / "liars.py").write_text(textwrap.dedent(LIARS))
    about = folder / "liars-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: liars\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


@pytest.fixture(scope="session")
def split(docs: np.ndarray, doc_keys: list[str], queries: np.ndarray) -> Split:
    """Return real documents and queries, with made-up judgements and weights by rank."""
    judged = [Judgement(query, query * 7 % 2000, 1 + query % 2) for query in range(50)]
    weights = 1 / np.arange(1, 2001)
    source = Source("PyPI summaries", docs, doc_keys, queries=queries, judgements=judged, weights=weights)
    return make_split(source)


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory, split: Split, liars: Path) -> Done:
    """Run the smoke bench: honest codecs, liars and a baseline."""
    from vecstore.codecs import registry

    out = tmp_path_factory.mktemp("bench") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{liars}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        patch.syspath_prepend(str(liars))
        registry._plugins.cache_clear()
        registry.step_class.cache_clear()
        planned = plan(384, budgets="48", codecs=CODECS, peers="numpy", search_s=0.05)
        found = Done(out, split, finish(split, planned, out, limit_s=120))
    registry._plugins.cache_clear()
    registry.step_class.cache_clear()
    return found


@pytest.fixture(scope="session")
def facts(done: Done) -> dict[str, dict]:
    """Return the records of the smoke bench by label."""
    found = [json.loads(path.read_text()) for path in (done.out / "cells").glob("*.json")]
    return {" ".join([one["cell"]["name"], one["cell"]["settings"].get("label", "")]).strip(): one for one in found}
