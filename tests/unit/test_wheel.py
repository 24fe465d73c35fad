"""The wheel holds what the tree holds: folders mapped into the package are easily forgotten."""

from __future__ import annotations

import configparser
import email
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import vecstore

ROOT = Path(__file__).parents[2]
FOLDERS = {"vecstore": "vecstore", "formats": "vecstore/formats", "bench": "vecstore/bench"}
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")


def can_build():
    if importlib.util.find_spec("setuptools") is None or importlib.util.find_spec("pip") is None:
        return False
    from importlib.metadata import version

    return int(version("setuptools").partition(".")[0]) >= 77


pytestmark = pytest.mark.skipif(not can_build(), reason="building a wheel offline needs pip and setuptools 77 or newer")


def build(tree, target, **environment):
    """Build a wheel from a copy of the tree, which the build would otherwise litter; return its path."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tree / name, ignore=LEFT_OUT)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    options = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", *options, "--wheel-dir", str(target), str(tree)]
    subprocess.run(command, check=True, env={**os.environ, **environment})
    return next(target.glob("*.whl"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Return a wheel without compiled kernels, which take minutes."""
    path = build(tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel"), VECSTORE_KERNELS="jit")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.mark.slow
def test_an_installed_package_compiles_nothing(tmp_path, make_store):
    """It brings kernels for all processors, and a search needs no numba."""
    path = build(tmp_path / "tree", tmp_path / "wheel", VECSTORE_TARGETS="all")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "installed")
    kernels = sorted(found.name for found in (tmp_path / "installed/vecstore/kernels/libraries").iterdir())
    targets = ["linux-aarch64-neon", "linux-x86_64-avx2", "linux-x86_64-avx512", "linux-x86_64-plain"]
    assert [name.rpartition("-")[0] for name in kernels] == targets
    code = """
import sys
sys.modules["numba"] = sys.modules["llvmlite"] = None
import numpy as np, vecstore
store = vecstore.open(sys.argv[1])
print(vecstore.__file__, store.search(np.ones(store.dimensions, np.float32)).keys)
"""
    told = {**os.environ, "PYTHONPATH": str(tmp_path / "installed"), "VECSTORE_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", code, str(make_store("pq:25x4"))]
    done = subprocess.run(command, env=told, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith(str(tmp_path / "installed")) and done.stderr == "", done.stderr
    assert not (tmp_path / "cache").exists()


def test_files_are_those_of_the_tree(wheel):
    expected = {
        f"{place}/{path.relative_to(ROOT / folder)}"
        for folder, place in FOLDERS.items()
        for path in (ROOT / folder).rglob("*.py")
    }
    expected |= {f"vecstore/bench/{name}" for name in ("page.html", "page.css", "page.js")}
    expected |= {f"vecstore/bench/uplot.{name}" for name in ("min.js", "min.css", "LICENSE")}
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == expected | {"vecstore/py.typed"}


def test_metadata(wheel):
    def read(name):
        return wheel.read(next(path for path in wheel.namelist() if path.endswith(f".dist-info/{name}"))).decode()

    about = email.message_from_string(read("METADATA"))
    assert (about["Name"], about["Version"]) == ("vecstore-format", vecstore.__version__)
    assert about["License-Expression"] == "Apache-2.0" and about["Requires-Python"] == ">=3.11"
    assert "Apache License" in read("licenses/LICENSE")
    points = configparser.ConfigParser()
    points.read_string(read("entry_points.txt"))
    assert points["console_scripts"]["vecstore"] == "vecstore.cli:main"
