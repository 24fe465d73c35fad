"""Libraries of machine code: where they lie, and functions out of them.

An installed package brings one for each level. In a checkout the one that is needed is made at first use, in a process
of its own, and kept in the user's cache, by a digest of the sources.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from vecstore.errors import VecstoreError
from vecstore.kernels.levels import best_level, levels

__all__ = ["INSTALLED", "file_name", "functions", "path_of", "target_of"]

HERE = Path(__file__).parent
INSTALLED = HERE / "libraries"  # of a package that was built
FASTCALL = 0x80  # how `ahead.trampolines` is called: METH_FASTCALL
HEAD_BYTES = 16  # of an object of Python that `ahead.trampolines` counts on
MACHINES = ("linux-x86_64", "linux-aarch64")  # for which there are targets in `ahead.compiling`


def functions(name: str) -> Iterator[Callable[..., Any]]:
    """Return an entry out of each library for this processor, the best level first; none where numba has to compile."""
    for level in (best_level(), *reversed(levels())):
        library = _library(level)
        if library is None:
            return
        yield library.function(name)


def path_of(level: str) -> Path | None:
    """Return where the library of a level lies, after it was made if need be; None if there can be none."""
    target = target_of(level)
    if target is None:
        return None
    for folder in (INSTALLED, _cache()):
        if (folder / file_name(target)).exists():
            return folder / file_name(target)
    try:
        return _made(target)
    except (OSError, RuntimeError) as error:
        print(f"vecstore: {error}; this process compiles its kernels with numba", file=sys.stderr)
        return None


def target_of(level: str) -> str | None:
    """Return what a level of this kind of machine is called; None where kernels are not to come from libraries."""
    machine = f"{sys.platform}-{os.uname().machine}"
    told = os.environ.get("VECSTORE_KERNELS", "")
    if told not in ("", "jit"):
        raise VecstoreError(f"VECSTORE_KERNELS={told}: leave it empty, or write jit")
    return f"{machine}-{level}" if not told and machine in MACHINES and object.__basicsize__ == HEAD_BYTES else None


@cache
def file_name(target: str) -> str:
    """Return what the library of a target is called when it is made of these sources."""
    digest = sha256()
    for path in sorted([*HERE.glob("*.py"), *HERE.glob("ahead/*.py")]):
        digest.update(path.read_bytes())
    return f"{target}-{digest.hexdigest()[:16]}.so"


class _Library:
    """A library that was loaded."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        self._kept: list[Any] = []

    def function(self, name: str) -> Callable[..., Any]:
        """Return an entry as a function that Python calls without going through ctypes."""
        import numpy as np

        address = ctypes.cast(self._library[name], ctypes.c_void_p).value
        method = _Method(name.encode(), address, FASTCALL, None)
        self._kept.append(method)  # Python refers to it
        made: Callable[..., Any] = _new_function(ctypes.byref(method), np.ndarray, None)
        return made


class _Method(ctypes.Structure):
    """Python's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("documentation", ctypes.c_char_p),
    )


_new_function = ctypes.pythonapi.PyCFunction_NewEx
_new_function.argtypes = (ctypes.POINTER(_Method), ctypes.py_object, ctypes.c_void_p)
_new_function.restype = ctypes.py_object


@cache
def _library(level: str) -> _Library | None:
    path = path_of(level)
    return None if path is None else _Library(path)


def _cache() -> Path:
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("VECSTORE_CACHE") or caches / "vecstore")


def _made(target: str) -> Path:
    """Make a library, unless another process has just done so."""
    import subprocess

    path = _cache() / file_name(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path):
        if not path.exists():
            print(f"vecstore: compiling kernels for {target}, once; this takes about a minute", file=sys.stderr)
            command = [sys.executable, "-m", "vecstore.kernels.ahead", "--into", str(path.parent), target]
            surroundings = dict(os.environ)
            surroundings["PYTHONPATH"] = os.pathsep.join(sys.path)
            done = subprocess.run(command, env=surroundings, capture_output=True, text=True)
            if done.returncode or not path.exists():
                raise RuntimeError(f"kernels were not compiled: {(done.stderr.splitlines() or [''])[-1]}")
    return path


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    import fcntl

    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
