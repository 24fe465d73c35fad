"""The wheel holds what the tree holds: folders mapped into the package are easily forgotten."""

from __future__ import annotations

import configparser
import email
import importlib.util
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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from a copy of the tree, which the build would otherwise litter."""
    tree, target = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tree / name, ignore=LEFT_OUT)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", *build, "--wheel-dir", str(target), str(tree)], check=True)
    with zipfile.ZipFile(next(target.glob("*.whl"))) as archive:
        yield archive


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
