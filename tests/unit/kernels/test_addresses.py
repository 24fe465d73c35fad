"""Addresses of arrays in kernels: numba frees an array after its last use by name, whoever still has its address."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import vecstore.kernels

FILES = sorted(Path(vecstore.kernels.__file__).parent.glob("*.py"))
MAKERS = ("np.empty", "np.zeros", "np.full")


def freed_early(function: ast.FunctionDef) -> list[int]:
    """Return the lines where the address is taken of an array that a function made, and that it names no more."""
    made = {
        name.id: node.lineno
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        for target, value in _pairs(node)
        if isinstance(value, ast.Call) and ast.unparse(value.func) in MAKERS
        for name in [target]
        if isinstance(name, ast.Name)
    }
    uses = [node for node in ast.walk(function) if isinstance(node, ast.Name) and node.id in made]
    loops = [node for node in ast.walk(function) if isinstance(node, ast.For | ast.While)]
    found = []
    for node in ast.walk(function):
        if not (isinstance(node, ast.Attribute) and node.attr == "data" and ast.unparse(node).endswith(".ctypes.data")):
            continue
        name = ast.unparse(node).split(".")[0].split("[")[0]
        if name not in made:
            continue
        again = any(loop.lineno <= node.lineno <= loop.end_lineno and made[name] < loop.lineno for loop in loops)
        if not again and not any(use.id == name and use.lineno > node.end_lineno for use in uses):
            found.append(node.lineno)
    return found


def _pairs(node: ast.Assign) -> list[tuple[ast.expr, ast.expr]]:
    target, value = node.targets[0], node.value
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return list(zip(target.elts, value.elts, strict=True))
    return [(target, value)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_arrays_live_as_long_as_their_addresses(path: Path) -> None:
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    assert [line for each in functions for line in freed_early(each)] == []


def test_what_is_freed_early_is_seen() -> None:
    early = """
def f(x):
    room, n = np.empty(9, np.uint8), 3
    for i in range(n):
        room[i] = i
    take(room.ctypes.data)
"""
    kept = early + "    room[0] = 1\n"
    for source, expected in ((early, [6]), (kept, [])):
        (function,) = ast.parse(source).body
        assert isinstance(function, ast.FunctionDef)
        assert freed_early(function) == expected
