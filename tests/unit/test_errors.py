"""What is raised on purpose is of `vecstore.errors`: users catch one base class, the command line says one line."""

from __future__ import annotations

import ast
import builtins
from pathlib import Path

import pytest

import vecstore.errors

ROOT = Path(__file__).parents[2]
FILES = sorted(path for name in ("vecstore", "formats", "bench") for path in (ROOT / name).rglob("*.py"))

# What Python itself asks for, wherever it stands.
ANYWHERE = {
    "AssertionError": "says that something cannot happen",
    "NotImplementedError": "a body that subclasses or the compiler replace",
    "SystemExit": "ends a script",
}
# Other exceptions that are no VecstoreError: file, name -> why.
ALLOWED = {
    ("vecstore/__init__.py", "AttributeError"): "the protocol of modules",
    ("vecstore/distributed/__init__.py", "AttributeError"): "the protocol of modules",
    ("vecstore/store/keys_view.py", "IndexError"): "the protocol of sequences",
    ("vecstore/store/tombstones.py", "IndexError"): "the protocol of sequences",
    ("vecstore/store/vectors.py", "IndexError"): "the protocol of sequences",
    ("vecstore/store/vectors.py", "ValueError"): "what numpy asks of __array__(copy=False)",
    ("vecstore/compat/gensim/attributes.py", "TypeError"): "as gensim",
    ("vecstore/compat/gensim/similar.py", "ZeroDivisionError"): "as gensim",
    ("vecstore/compat/magnitude/magnitude.py", "IndexError"): "the protocol of sequences",
    ("vecstore/remote/objects.py", "FileNotFoundError"): "as open() does",
    ("vecstore/remote/fsspec_objects.py", "FileNotFoundError"): "as open() does",
    ("bench/scripts/fuzz.py", "TimeoutError"): "a find: what took too long",
    ("vecstore/codecs/base.py", "TypeError"): "caught where a configuration is read, which names the file",
    ("vecstore/codecs/mixed/budget.py", "ValueError"): "caught a few lines below, with those of int()",
    ("vecstore/fields/sparse/entries.py", "OverflowError"): "caught a few lines below, with those of numpy",
    ("vecstore/editing/directory.py", "OSError"): "what the system says of a rename",
    ("formats/zarr_store.py", "ValueError"): "caught where the library reads, with its own",
    ("formats/npy_array.py", "ValueError"): "caught a few lines below, with those of numpy",
    (
        "formats/plain_pickle.py",
        "ValueError",
    ): "caught a few lines below, with those of numpy",  # becomes a FormatError in the same module
    ("formats/remote.py", "FileNotFoundError"): "as open() does",
    ("formats/stream.py", "EOFError"): "caught by the stream, with those of the decompressors",
    ("formats/torch_zip.py", "IndexError"): "caught by the machine, with those of its stack",
    ("formats/torch_zip.py", "TypeError"): "caught by the machine, with those of its stack",
    ("vecstore/distributed/processes.py", "RuntimeError"): "as executors of the standard library raise it",
    ("vecstore/container/document.py", "ValueError"): "caught a few lines below, with those of json",
    ("vecstore/container/mapped_file.py", "OSError"): "the error of the system, with what to do",
    ("vecstore/kernels/entry.py", "TypeError"): "as numba's: tells whoever changes a call of a kernel",
    ("vecstore/kernels/libraries.py", "RuntimeError"): "caught where numba takes over, with those of the system",
    ("vecstore/kernels/ahead/linking.py", "ValueError"): "tells whoever changes a kernel",
    ("vecstore/kernels/ahead/trampolines.py", "TypeError"): "tells whoever changes a kernel",
    ("bench/scripts/docs_pictures/drawing.py", "ValueError"): "tells whoever changes a picture",
}


def raised(tree):
    """Yield the names of the builtin exceptions that are raised."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            called = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            if isinstance(called, ast.Name) and isinstance(getattr(builtins, called.id, None), type):
                yield called.id


def test_builtin_exceptions_are_raised_where_there_is_a_reason():
    found = {(str(path.relative_to(ROOT)), name) for path in FILES for name in raised(ast.parse(path.read_text()))}
    unknown = {(path, name) for path, name in found if name not in ANYWHERE} - ALLOWED.keys()
    assert not unknown


@pytest.mark.parametrize("name", [name for name in vecstore.errors.__all__ if name.endswith("Error")])
def test_errors_are_of_one_family(name):
    error = getattr(vecstore.errors, name)
    assert issubclass(error, vecstore.errors.VecstoreError)
    assert name in (vecstore.errors.__doc__ or ""), "the tree in the module's docstring names it"


def test_no_except_takes_everything():
    bare = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert not bare


def test_arrays_of_others_are_read_in_one_place():
    """`read_npy` never unpickles, and says what is wrong with a file."""
    loads = {
        str(path.relative_to(ROOT))
        for path in FILES
        if "scripts" not in path.parts  # those read what they have written
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "np.load"
    }
    assert loads == {"formats/npy_array.py"}
