"""Kernels compiled ahead of time: what calls them, what they refuse, where they come from."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from vecstore.errors import VecstoreError
from vecstore.kernels import entries, libraries
from vecstore.kernels.entry import Entry
from vecstore.kernels.levels import best_level, levels

ENTRIES = {name: entry for name, entry in vars(entries).items() if isinstance(entry, Entry)}

compiled = pytest.mark.skipif(libraries.target_of("plain") is None, reason="numba compiles kernels here")


def run(code, *arguments, **environment):
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    surroundings = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    return subprocess.run(command, capture_output=True, text=True, env=surroundings)


def test_entries_are_listed():
    assert sorted(ENTRIES) == entries.__all__
    assert all(callable(entry.kernel()) and entry.signatures for entry in ENTRIES.values())


@compiled
@pytest.mark.parametrize("level", levels())
def test_every_level_has_every_entry(level):
    library = libraries._library(level)
    assert library is not None
    for entry in ENTRIES.values():
        assert library.function(entry.name)() is NotImplemented  # it has no use for no arguments


@compiled
def test_arguments_are_looked_at():
    text, starts, out = np.frombuffer(b"abc", np.uint8), np.array([0, 1, 3]), np.zeros(2, np.uint64)
    entries.xxh64_packed(text, starts, 0, 0, out)
    entries.xxh64_packed(text.view(np.memmap), starts, np.int64(0), np.uint64(0), out)
    frozen = out.copy()
    frozen.flags.writeable = False
    wrong = [
        (text, starts, 0, 0),
        (text, starts, 0, 0, out, out),
        (text, starts.astype(np.int32), 0, 0, out),
        (text, starts.astype(">i8"), 0, 0, out),
        (text, starts[::2], 0, 0, out),
        (text, starts[None], 0, 0, out),
        (text, starts.tolist(), 0, 0, out),
        (text, starts, 0.5, 0, out),
        (text, starts, None, 0, out),
        (text, starts, 0, 0, frozen),
        (text, np.frombuffer(bytes(25), np.uint8)[1:].view(np.int64), 0, 0, out),  # not aligned
    ]
    for arguments in wrong:
        with pytest.raises(TypeError, match=r"^hashing.xxh64_packed takes \(u1\[::1\], .*; given \(uint8\[1d\], "):
            entries.xxh64_packed(*arguments)


@compiled
def test_a_tuple_of_another_length_is_refused():
    rows, out = np.zeros(1, np.int64), np.zeros((1, 4), np.uint8)
    for tiles in [(np.zeros(8, np.uint8), rows), 5, [1, 2, 3, 4, 5, 6, 7]]:
        with pytest.raises(TypeError, match="takes"):
            entries.gather_tiled(tiles, rows, out)


@compiled
def test_a_kernel_that_fails_raises():
    hashes = np.zeros(1, np.uint64)
    with pytest.raises(RuntimeError, match=r"keymap\.peel failed"):
        entries.peel(hashes, np.zeros(1, np.uint16), 0, 1 << 58, np.zeros(1, np.uint16))


@compiled
def test_a_process_that_looks_up_and_searches_imports_no_compiler(make_store):
    path = make_store("pq:25x4")
    code = """
import sys, numpy as np, vecstore
store = vecstore.open(sys.argv[1])
keys = store.search(np.ones(store.dimensions, np.float32), k=5).keys
assert store.rows_of(list(store)[:1000]).tolist() == list(range(1000))
print([name for name in ("numba", "llvmlite", "faiss", "scipy") if name in sys.modules], len(keys))
"""
    done = run(code, path)
    assert done.stdout.split("\n")[0] == "[] 5" and not done.stderr


def test_without_a_place_numba_compiles(tmp_path):
    """It says so; the result is the same."""
    code = """
import numpy as np
from vecstore.kernels import entries, libraries
from pathlib import Path
libraries.INSTALLED = Path("nowhere")
out = np.zeros(1, np.uint64)
entries.xxh64_packed(np.frombuffer(b"abc", np.uint8), np.array([0, 3]), 0, 0, out)
print(out[0])
"""
    (tmp_path / "file").touch()
    told = run(code, VECSTORE_CACHE=str(tmp_path / "file" / "below"), NUMBA_CACHE_DIR=str(tmp_path))
    assert told.stdout.strip() == "4952883123889572249", told.stderr
    if libraries.target_of("plain") is not None:
        assert "this process compiles its kernels with numba" in told.stderr
    quiet = run(code, VECSTORE_KERNELS="jit", NUMBA_CACHE_DIR=str(tmp_path))
    assert (quiet.stdout, quiet.stderr) == (told.stdout, "")


def test_what_the_variable_may_say(monkeypatch):
    monkeypatch.setenv("VECSTORE_KERNELS", "objects")
    with pytest.raises(VecstoreError, match="VECSTORE_KERNELS=objects: leave it empty, or write jit"):
        libraries.target_of(best_level())


@compiled
@pytest.mark.slow
def test_compiled_ahead_or_not_kernels_pass_the_same_tests():
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", os.path.dirname(__file__)]
    done = subprocess.run(command, env={**os.environ, "VECSTORE_KERNELS": "jit"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
