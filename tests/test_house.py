"""The size of modules and functions, and what tools are told twice."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from vecstore.bench.scripts.docs_pictures.tower import floors

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "vecstore").rglob("*.py"))
MODULE_LINES, FUNCTION_LINES = 400, 60

# Longer than that, each for a reason.
LONG_MODULES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}


def functions(tree: ast.AST, within: str = "") -> Iterator[tuple[str, int]]:
    """Yield the name of each function and how many lines its body has, without the docstring."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from functions(node, f"{within}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            # Parameters have a limit of their own (PLR0913 in pyproject.toml), and a line each when there are many.
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            yield f"{within}{node.name}", lines
            yield from functions(node, f"{within}{node.name}.")
        else:
            yield from functions(node, within)


def test_no_module_is_long() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in MODULES}
    long = {path: count for path, count in lines.items() if count > MODULE_LINES}
    assert long.keys() == LONG_MODULES.keys(), long


def test_no_function_is_long() -> None:
    long = {
        f"{path.relative_to(ROOT)}:{name}": lines
        for path in MODULES
        if "kernels" not in path.parts  # a compiled loop is not cut for its length: calls in it cost time
        for name, lines in functions(ast.parse(path.read_text()))
        if lines > FUNCTION_LINES
    }
    assert long.keys() == LONG_FUNCTIONS.keys(), long


def test_every_room_has_a_floor() -> None:
    rooms = {path.parent.name for path in (ROOT / "vecstore").glob("*/__init__.py")} | {"formats", "bench"}
    ground = {path.stem for path in (ROOT / "vecstore").glob("[a-z]*.py")}
    assert {room.name for floor in floors() for room in floor} == rooms | ground


def test_one_version_of_the_formatter() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    least, below = next(
        match.groups()
        for line in project["optional-dependencies"]["test"]
        if (match := re.fullmatch(r"ruff>=([\d.]+),<([\d.]+)", line))
    )
    pinned = re.search(r"rev: v([\d.]+)", (ROOT / ".pre-commit-config.yaml").read_text())
    assert pinned is not None

    def parts(version: str) -> list[int]:
        return [int(part) for part in version.split(".")]

    assert parts(least) <= parts(pinned[1]) < parts(below)


@pytest.mark.parametrize("name", ["test", "lint", "types", "rooms", "golden", "bench-quick", "docs", "check"])
def test_recipes_of_contributors(name: str) -> None:
    assert re.search(rf"^{name}\b.*:", (ROOT / "justfile").read_text(), re.MULTILINE)


def test_every_test_module_has_a_name_of_its_own() -> None:
    # pytest imports them by their base name.
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})
