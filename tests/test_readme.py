"""Everything that the README and the docs show runs as it stands there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import vecstore

ROOT = Path(__file__).parents[1]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *shlex.split(line)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


SHOWN = re.compile(r"'[^']*'|-?\d+(?:\.\d+)?|True|False|None|float32")


def values(found: object) -> list[object]:
    """Return the strings and numbers that a result consists of, in order; of float32 arrays what they are like."""
    if isinstance(found, np.ndarray):
        return [*found.shape, "float32"] if found.ndim > 1 or len(found) > 10 else found.tolist()
    if isinstance(found, (tuple, list)):
        return [value for one in found for value in values(one)]
    return [found]


def require_shown(comment: str, found: object) -> None:
    """Hold what a comment shows, which may leave out the end of a list, against the values that came out."""
    left = iter(values(found))
    for shown in SHOWN.findall(comment.split(", one call")[0].split(";")[0]):
        digits = len(shown.partition(".")[2])
        for value in left:
            text = f"{value:.{digits}f}" if isinstance(value, float) else str(value)
            if text == shown.strip("'"):
                break
        else:
            pytest.fail(f"{comment!r} shows {shown}, which is not in {found!r}")


def test_python_of_the_readme_prints_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed: list[object] = []
    names: dict[str, object] = {"print": lambda *given: printed.extend(given)}
    compared = 0
    for line in (line for block in blocks("README.md", "python") for line in block.splitlines()):
        code, _, comment = line.partition("  # ")
        try:
            compiled = compile(code, "README.md", "eval")
        except SyntaxError:
            exec(line, names)
            continue
        found = eval(compiled, names)
        if SHOWN.search(comment):
            require_shown(comment, tuple(printed) if code.startswith("print") else found)
            compared += 1
    assert compared == 12


def test_convert_commands_of_the_readme_run(tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", np.random.default_rng(0).normal(size=(600, 96)).astype("f4"))
    (tmp_path / "keys.txt").write_text("".join(f"key {i}\n" for i in range(600)))
    lines = [line for block in blocks("README.md", "sh") for line in block.splitlines() if "convert" in line]
    for line, store in zip(lines, ("vectors.vecs", "tuned.vecs"), strict=True):
        done = run(line, tmp_path)
        assert done.returncode == 0, done.stderr
        assert len(vecstore.open(tmp_path / store)) == 600


def test_commands_of_the_tutorial_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = ["king", "queen", *(f"word{i}" for i in range(400))]
    lines = (f"{word} " + " ".join(f"{value:.4f}" for value in rng.normal(size=50)) for word in words)
    (tmp_path / "glove.txt").write_text("\n".join(lines) + "\n")
    commands = [line for block in blocks("docs/tutorial.md", "sh") for line in block.splitlines()]
    assert len(commands) == 5
    for line in commands:
        done = run(line, tmp_path)
        assert done.returncode == 0, (line, done.stderr)


def test_python_of_the_docs_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(100, 8)).astype("f4")
    words = ["king", "queen", *map(str, range(98))]
    vecstore.write("words.vecs", x, words, codec="f16")
    names: dict[str, object] = {"vecstore": vecstore, "sample": x, "batches": [(x, words)]}
    for page in ("docs/tutorial.md", "docs/howto.md", "docs/search.md"):
        for block in blocks(page, "python"):
            exec(compile(block, page, "exec"), names)
    assert len(names["nearest"]) == 5  # type: ignore[arg-type]
    assert vecstore.open("items.vecs").info()["user"] == {"model": "all-MiniLM-L6-v2"}


def test_set_up_commands_name_extras_that_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = re.findall(r'pip install -e "\.\[(\w+)\]"', (ROOT / "README.md").read_text())
    assert named == ["demo", "test"]
    assert set(named) <= set(extras)


def test_links_of_readme_and_docs_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


OPTIONAL = ("pyarrow", "matplotlib", "sklearn", "h5py", "pcodec", "safetensors", "gensim", "scipy")
CORE = f"""
import sys
sys.modules.update(dict.fromkeys({OPTIONAL!r}))  # importing one of these fails
import numpy as np, vecstore
x = np.random.default_rng(0).normal(size=(300, 16)).astype("f4")
np.save("x.npy", x)
report = vecstore.convert("x.npy", "a.vecs", budget=64)
assert report.table and len(vecstore.open("a.vecs").search(x[0]).rows) == 10
for codec in ("cells:4,tcq:4", "opq:4", "pca:8,sq:4", "bin/sq:8"):
    vecstore.write("b.vecs", x, range(300), codec=codec, force=True)
"""


def test_a_plain_install_converts_and_tunes(tmp_path: Path) -> None:
    """Arrays and npy files need no extra."""
    done = subprocess.run([sys.executable, "-c", CORE], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert any(one.startswith("faiss-cpu") for one in project["dependencies"])
