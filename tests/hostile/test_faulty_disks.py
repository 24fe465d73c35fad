"""Stores on disks that fail, fill up, lose power, and under processes that are killed, call by call; see `faults`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))
import faults

FAULTS = [*faults.FAULTS, "power"]
pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("cc") is None, reason="the shim needs Linux and a C compiler"
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return faults.build(tmp_path_factory.mktemp("shim"))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("scenario", ["edit", "compact"])
def test_every_seventh_call(scenario: str, fault: str, library: Path, tmp_path: Path) -> None:
    assert f"{scenario} {fault} {{" in faults.run(library, scenario, fault, tmp_path, 3, 7)


@pytest.mark.parametrize("fault", faults.FAULTS)
def test_a_directory_is_made_of_a_file(fault: str, library: Path, tmp_path: Path) -> None:
    assert f"to_directory {fault} {{" in faults.run(library, "to_directory", fault, tmp_path, 0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("scenario", faults.SCENARIOS)
def test_every_call(scenario: str, fault: str, library: Path, tmp_path: Path) -> None:
    assert f"{scenario} {fault} {{" in faults.run(library, scenario, fault, tmp_path, 0, 1)
