"""All kernels as an ARM processor runs them, where it can be emulated: the tests of the kernels, run by those."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vecstore.kernels.libraries import file_name

TESTS = Path(__file__).parents[2]
TARGET, SYSTEM = "linux-aarch64-neon", "/usr/aarch64-linux-gnu"
COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
MISSING = [tool for tool in (COMPILER, EMULATOR) if shutil.which(tool) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)}: gcc-aarch64-linux-gnu, qemu-user"),
]


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    """The command that calls kernels of the library for ARM."""
    folder = tmp_path_factory.mktemp("emulated")
    making = [sys.executable, "-m", "vecstore.kernels.ahead", "--into", folder, TARGET]
    subprocess.run(making, check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    program = folder / "emulated"
    options = ["-O1", "-Wno-unused-parameter", "-rdynamic", "-o", program]
    subprocess.run([COMPILER, *options, TESTS / "emulated.c", "-ldl"], check=True)
    return f"{EMULATOR} -L {SYSTEM} {program} {folder / file_name(TARGET)}"


@pytest.mark.parametrize(
    ("module", "chosen"),
    [
        ("kernels/test_kernels.py", ""),
        ("kernels/test_scan_kernels.py", "neon and not masks_of"),  # masks are compiled for this processor
        ("search/test_trellis_search.py", "neon and not every_instruction"),  # the rest are of stores, for minutes
    ],
)
def test_kernels_pass_their_tests(emulator, module, chosen):
    command = [sys.executable, "-m", "pytest", "-p", "emulated", "-p", "no:cacheprovider", "-n", "0", "-q", "-x"]
    command += [str(TESTS / "unit" / module), "-k", chosen]
    path = os.pathsep.join([str(TESTS), *sys.path])
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path, "VECSTORE_EMULATOR": emulator}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
