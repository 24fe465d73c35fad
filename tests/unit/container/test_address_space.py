"""Writing where address space is limited, as batch systems do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import resource, sys
import numpy as np
from vecstore.container.container import Container, ContainerWriter

used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30),) * 2)
writer = ContainerWriter(sys.argv[1])
for i in range(5):
    writer.put_array(f"part {i}", np.full(50 << 20, i, np.uint8))
writer.put_array("one block", np.arange(3.0))
writer.close({"kind": "test"})
found = Container(sys.argv[1])
assert found.verify() > 250 << 20 and found.part("part 4").block(3)[-1] == 4
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell the address space in use")
def test_files_are_written_in_limited_address_space(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "a")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
