"""In a checkout, where `formats` and `bench` lie beside the package, everything works as in an installed one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vecstore

ROOT = Path(__file__).parents[2]
FOLDERS = ("vecstore", "formats", "bench")
CONVERT = """
import sys, vecstore, vecstore.formats, vecstore.bench
print(vecstore.convert("x.npy", sys.argv[1], "f32", force=True).rows)
for package in (vecstore, vecstore.formats, vecstore.bench):
    print(package.__file__)
"""


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Return a checkout, a folder with the package as a wheel installs it, and a folder with neither.

    In each of them is an array to convert.
    """
    found = {name: tmp_path_factory.mktemp(name) for name in ("checkout", "installed", "elsewhere")}
    without = shutil.ignore_patterns("__pycache__")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, found["checkout"] / name, ignore=without)
        inside = "vecstore" if name == "vecstore" else f"vecstore/{name}"
        shutil.copytree(ROOT / name, found["installed"] / inside, ignore=without)
    for folder in found.values():
        np.save(folder / "x.npy", np.eye(40, 8, dtype=np.float32))
    return found


def python(*arguments, cwd, path):
    """Run Python in a folder, with nothing on its path but what belongs to it and `path`; return the lines it says."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"PYTHONPATH": str(path)} if path else {}
    command = [sys.executable, "-W", "error", *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("installed", [False, True], ids=["not installed", "installed"])
def test_a_checkout_uses_its_own_folders(places, installed):
    """Also where another copy is installed: the two are never mixed."""
    checkout, path = places["checkout"], places["installed"] if installed else None
    rows, *files = python("-c", CONVERT, "x.vecs", cwd=checkout, path=path)
    assert rows == "40" and files == [str(checkout / name / "__init__.py") for name in FOLDERS]
    said = python("-m", "vecstore", "convert", "x.npy", "y.vecs", "--codec", "f32", "--quiet", cwd=checkout, path=path)
    assert said == [] and (checkout / "y.vecs").exists()
    (checkout / "y.vecs").unlink()
    assert vecstore.__version__ in python("-m", "vecstore", "--version", cwd=checkout, path=path)[0]
    assert any("--budgets" in line for line in python("-m", "vecstore.bench", "run", "--help", cwd=checkout, path=path))


def test_an_installed_package_has_the_folders_inside(places):
    rows, *files = python("-c", CONVERT, "x.vecs", cwd=places["elsewhere"], path=places["installed"])
    package = places["installed"] / "vecstore"
    inside = [package, package / "formats", package / "bench"]
    assert rows == "40" and files == [str(folder / "__init__.py") for folder in inside]


def test_nothing_says_to_install_a_stranger_s_package():
    """On the public registry the name vecstore is somebody else's."""
    told = re.compile(
        r"\b(pip3?|uv|pipx|poetry|conda)\b[\w ]*\b(install|add)(?:\s+-\S+)*\s+[\"'`]*vecstore\b", re.IGNORECASE
    )
    files = [path for name in (*FOLDERS, "docs") for path in (ROOT / name).rglob("*")]
    files += [*ROOT.glob("*.md"), ROOT / "pyproject.toml", ROOT / "justfile"]
    texts = [path for path in files if path.suffix in (".py", ".md", ".html", ".js", ".toml", "") and path.is_file()]
    assert len(texts) > 100
    assert not [path for path in texts if told.search(path.read_text(encoding="utf-8"))]
    assert told.search("pip install vecstore[train]") and told.search('pip install -U "vecstore"')
