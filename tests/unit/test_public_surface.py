"""What users may lean on: the names, their documentation, its examples, and what an import costs."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys

import numpy as np
import pytest
import vecstore.formats

import vecstore

HEAVY = ["numba", "faiss", "sklearn", "scipy", "pyarrow", "lmdb", "zstandard", "rich", "typer", "matplotlib", "h5py"]
# The two folders beside the package are mapped into it; in an editable install a walk does not come across them.
FOLDERS = [(vecstore.__path__, "vecstore."), (vecstore.formats.__path__, "vecstore.formats.")]
MODULES = sorted({module.name for path, prefix in FOLDERS for module in pkgutil.walk_packages(path, prefix)})
MODULES = ["vecstore", "vecstore.formats", *(name for name in MODULES if not name.endswith("__main__"))]

every_module = pytest.mark.parametrize("name", MODULES)


def test_names_of_the_package():
    assert (
        vecstore.__all__
        == sorted(vecstore.__all__)
        == [
            "Codec",
            "CodecSpec",
            "Dense",
            "Multi",
            "Muvera",
            "Report",
            "SearchResult",
            "Sparse",
            "Store",
            "Tuned",
            "VecstoreError",
            "Vectors",
            "Writer",
            "__version__",
            "certify",
            "clean",
            "codec",
            "compact",
            "convert",
            "edit",
            "open",
            "plan",
            "restore",
            "tag",
            "tune",
            "untag",
            "upload",
            "write",
        ]
    )
    for name in vecstore.__all__:
        assert getattr(vecstore, name) is not None and name in dir(vecstore)
    assert dir(vecstore) == vecstore.__all__
    with pytest.raises(AttributeError, match="has no attribute 'Stor'"):
        vecstore.Stor  # noqa: B018
    assert callable(vecstore.open) and vecstore.open is not open


def test_write_has_the_options_of_convert():
    options = [
        {name: p.default for name, p in inspect.signature(function).parameters.items() if p.kind is p.KEYWORD_ONLY}
        for function in (vecstore.write, vecstore.convert)
    ]
    assert options[0].pop("columns") is None  # of arrays; a file's are options of reading it
    assert [options[1].pop(name) for name in ("executor", "resume")] == [None, False]  # for what files hold
    assert options[0] == options[1] and len(options[0]) > 10
    reading = inspect.signature(vecstore.convert).parameters["reading"]  # of a file, not of arrays
    assert reading.annotation == inspect.signature(vecstore.formats.open_dump).parameters["options"].annotation


def test_names_of_the_formats():
    names = {"FORMATS", "Batch", "Dump", "Format", "KeyType", "open_dump", "write_dump"}
    names |= {"Head", "Output", "Problem", "ReadingOptions", "all_formats"}  # for formats of other packages
    assert set(vecstore.formats.__all__) == names


@every_module
def test_modules_say_what_they_offer(name):
    module = importlib.import_module(name)
    assert module.__doc__, "a module says what it is for"
    offered = getattr(module, "__all__", [])
    assert len(set(offered)) == len(offered)
    for public in offered:
        assert hasattr(module, public), public


def documented(module):
    """Yield what is public in a module and was made there, with its name: functions, classes, their methods."""
    for public in getattr(module, "__all__", []):
        value = getattr(module, public)
        if not (inspect.isclass(value) or inspect.isfunction(value)) or value.__module__ != module.__name__:
            continue
        yield public, value
        for name, method in vars(value).items() if inspect.isclass(value) else ():
            if not name.startswith("_") and (inspect.isfunction(method) or isinstance(method, (property, classmethod))):
                yield f"{public}.{name}", getattr(value, name)


@every_module
def test_what_is_public_is_documented(name):
    missing = []
    for public, value in documented(importlib.import_module(name)):
        doc = value.__doc__ if inspect.isclass(value) else inspect.getdoc(value)
        if not doc or doc.startswith(f"{public}("):  # what a dataclass without a docstring gets
            missing.append(public)
    assert not missing


@every_module
def test_examples_in_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    names = {**vars(module), "np": np, "vecstore": vecstore}
    found = doctest.DocTestFinder(exclude_empty=True).find(module, globs=names)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for example in found:
        runner.run(example)
    assert runner.summarize(verbose=False).failed == 0


LOOKUP = """
import sys
import vecstore

store = vecstore.open(sys.argv[1])
key = sys.argv[2] if store.key_type else 7
assert store[key].shape == (50,) and key in store and len(store[[key, key]]) == 2
assert store.vectors[3].shape == (50,) and store.keys[3] is not None
print(*(name for name in sys.argv[3:] if name in sys.modules))
"""


@pytest.mark.parametrize("spec", ["f32", "sq:8", "pq:7x4", "opq:5x4", "bin/sq:8", "pca:20,sq:8"])
@pytest.mark.parametrize("options", [{}, {"keys": None}, {"shard_bytes": 160_000}], ids=["file", "keyless", "shards"])
def test_a_lookup_imports_little(make_store, spec, options):
    arguments = [sys.executable, "-W", "error", "-c", LOOKUP, str(make_store(spec, **options)), "the", *HEAVY]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


COMMAND = """
import atexit, sys
from vecstore.cli import main
atexit.register(lambda: print(*(name for name in sys.argv[1:] if name in sys.modules), file=sys.stderr))
main(["search", sys.argv.pop(1), "--key", "the"])
"""


def test_a_search_from_the_shell_imports_little(make_store):
    heavy = [*(name for name in HEAVY if name not in ("rich", "typer")), "numpy.ma"]
    arguments = [sys.executable, "-W", "error", "-c", COMMAND, str(make_store("sq:8")), *heavy]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert (done.returncode, done.stderr.split()) == (0, []), done.stderr


def test_the_name_alone_imports_nothing():
    code = "import sys, vecstore; print(*(name for name in sys.argv[1:] if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, "numpy", *HEAVY], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr
