"""More shards than a process may have files open, which is 1,024 on most systems."""

import subprocess
import sys

import pytest

resource = pytest.importorskip("resource", reason="limits of a process are a thing of POSIX")

SHARDS, DESCRIPTORS = 50, 40
PROGRAM = f"""
import sys, resource
from pathlib import Path
import numpy as np
import vecstore
from vecstore.keys import index_writer

scratch = Path(sys.argv[1])
rows = {SHARDS} * 1_000
x = np.random.default_rng(0).normal(size=(rows, 64)).astype("f4")
keys = [f"key {{row}}" for row in range(rows)]
np.save(scratch / "x.npy", x)
(scratch / "keys.txt").write_text("\\n".join(keys))
codec = vecstore.codec("sq:8").fit(x[:1_000])
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, ({DESCRIPTORS}, hard))

options = dict(codec=codec, shard_bytes=1 << 17)
vecstore.convert(scratch / "x.npy", scratch / "a.vecs", keys=scratch / "keys.txt", **options)
index_writer.HELD_ROWS = 1  # so that hashes of all shards go to files
with vecstore.Writer(scratch / "b.vecs", codec, shard_bytes=1 << 17) as writer:
    writer.add(x, keys)
with vecstore.edit(scratch / "b.vecs") as edit:
    edit.delete(keys[::2])
vecstore.compact(scratch / "b.vecs")
for name, some in (("a", keys), ("b", keys[1::2])):
    with vecstore.open(scratch / f"{{name}}.vecs") as store:
        assert (store.rows_of(some) >= 0).all() and store.search(x[1]).keys[0] == keys[1]
        assert name == "b" or len(store._snapshot.shards) > {DESCRIPTORS}
"""


def test_a_store_of_more_shards_than_files_may_be_open(tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
