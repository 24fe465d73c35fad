"""The pages that test_readme.py does not run: their Python runs, and their lists agree with the code."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import glove
from test_readme import require_shown

import vecstore
from vecstore import errors

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
RUN = (  # here
    "docs/buckets.md",
    "docs/changing.md",
    "docs/cluster.md",
    "docs/errors.md",
    "docs/filters.md",
    "docs/fusion.md",
    "docs/migration.md",
    "docs/sentences.md",
    "docs/spaces.md",
    "docs/sparse.md",
    "docs/tokens.md",
    "docs/words.md",
)
RUN_WITH_THE_CODECS = ("docs/codecs.md",)  # in tests/unit/codecs/test_codecs.py
RUN_WITH_THE_README = ("README.md", "docs/howto.md", "docs/search.md", "docs/tutorial.md")


def python_of(page: str) -> list[str]:
    """Return the Python blocks of a page, but for those behind a comment ``<!-- not run: why -->``."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"(?<!-->\n)```python\n(.*?)```", text, re.DOTALL)


def test_python_of_the_migration_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gensim", reason="the page moves from gensim")
    pytest.importorskip("faiss", reason="the page moves from faiss")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in python_of("docs/migration.md"):
        exec(compile(block, "docs/migration.md", "exec"), names)
        if "def analogy" in block:
            there, here = names["there"], names["here"]
            assert there[0][0] == here[0][0]  # type: ignore[index]
            assert len(dict(there).keys() & dict(here).keys()) >= 4  # type: ignore[call-overload]
    for there, here in zip(names["nearest"].tolist(), names["found"].keys, strict=True):  # type: ignore[attr-defined]
        assert there[0] == here[0]
        assert len(set(there) & set(here)) >= 4


@pytest.mark.parametrize("page", ["docs/fusion.md", "docs/sparse.md"])
def test_python_of_the_pages_about_fields_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in python_of(page):
        exec(compile(block, page, "exec"), names)
    assert names["found"].certain and len(names["found"]) > 2  # type: ignore[attr-defined]


def test_python_of_the_errors_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    vecstore.write("words.vecs", np.eye(4, dtype=np.float32), list("abcd"), codec="f16")
    for block in python_of("docs/errors.md"):
        names: dict[str, object] = {}
        exec(compile(block, "docs/errors.md", "exec"), names)
        assert names["vector"] is None


def test_python_of_the_filters_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in python_of("docs/filters.md"):
        exec(compile(block, "docs/filters.md", "exec"), names)
    shown = capsys.readouterr().out.strip()
    assert f"print(found.plan)  # {shown}\n" in python_of("docs/filters.md")[0]


def test_python_of_the_cluster_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in python_of("docs/cluster.md"):
        exec(compile(block, "docs/cluster.md", "exec"), names)
        shown = re.findall(r"^print\(.*  # (.*)$", block, re.MULTILINE)
        assert capsys.readouterr().out.split() == shown


@pytest.mark.parametrize(
    ("page", "least"),
    [
        ("docs/changing.md", 2),
        ("docs/words.md", 11),
        ("docs/sentences.md", 4),
        ("docs/spaces.md", 6),
        ("docs/tokens.md", 4),
    ],
)
def test_python_of_a_page_prints_what_it_shows(
    page: str, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    vectors, keys = glove(50_000)
    vecstore.write("words.vecs", vectors, keys, "sq:8")
    assert run_and_compare(page, {}) >= least


def test_python_of_the_buckets_page_prints_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENDPOINT_URL", "ALLOW_HTTP", "REGION", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "")  # restored afterwards
    monkeypatch.setenv("VECSTORE_STORE_CACHE", str(tmp_path))
    names: dict[str, object] = {}
    assert run_and_compare("docs/buckets.md", names) == 4
    server: Any = names["server"]
    assert not server._thread.is_alive()


def run_and_compare(page: str, names: dict[str, object]) -> int:
    """Run the Python of a page; return how many values it shows, which are those that came out."""
    compared = 0
    for block in python_of(page):
        for statement in ast.parse(block).body:
            if not isinstance(statement, ast.Expr):
                exec(ast.unparse(statement), names)
                continue
            found = eval(ast.unparse(statement), names)
            _, _, comment = block.splitlines()[(statement.end_lineno or 0) - 1].partition("  # ")
            if re.match(r"[\d('\[TF]", comment):
                require_shown(comment, found)
                compared += 1
    return compared


def test_python_of_every_page_runs_or_says_why_not() -> None:
    shown = {name for page in PAGES if python_of(name := page.relative_to(ROOT).as_posix())}
    missing = sorted(shown - {*RUN, *RUN_WITH_THE_CODECS, *RUN_WITH_THE_README})
    assert not missing, f"{missing}: run their Python in a test, or put <!-- not run: why --> on the line before it"


def test_every_error_has_a_line_in_the_tree_and_in_the_table() -> None:
    page = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.VecstoreError)]
    assert {kind.__name__ for kind in kinds} == set(re.findall(r"^[ │├└─]*(\w+Error)\b", page, re.MULTILINE))
    for kind in kinds:
        if kind is errors.VecstoreError:
            continue
        foreign = [base.__name__ for base in kind.__bases__ if not issubclass(base, errors.VecstoreError)]
        line = kind.__name__ + (f" ({foreign[0]})" if foreign else "")
        assert re.search(rf"─ {re.escape(line)}$", page, re.MULTILINE), line
        assert f"| `{kind.__name__}` |" in page


def test_every_environment_variable_that_is_read_has_a_line() -> None:
    page = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    sources = [ROOT / "setup.py", *(ROOT / "vecstore").rglob("*.py"), *(ROOT / "formats").rglob("*.py")]
    read = {
        name
        for source in sources
        for name in re.findall(r"environ\W+(?:get\W+)?(VECSTORE_[A-Z_]+)", source.read_text())
    }
    assert read == set(re.findall(r"^\| `(VECSTORE_\w+)` \|", page, re.MULTILINE))


def test_every_warning_has_a_line() -> None:
    page = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    sources = [ROOT / "setup.py", *(ROOT / "vecstore").rglob("*.py"), *(ROOT / "formats").rglob("*.py")]
    warned = {name for source in sources for name in re.findall(r"class (\w+Warning)\(", source.read_text())}
    assert warned == set(re.findall(r"^\| `(\w+Warning)` \|", page, re.MULTILINE))
