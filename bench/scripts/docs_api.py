"""Write the tables of docs/api.md from the code: ``python -m vecstore.bench.scripts.docs_api --write docs/api.md``.

Names, signatures and the first sentence of each docstring; a test holds the page to what this prints.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

from vecstore.bench.timing import add_page, show, table

import vecstore

__all__ = ["MODULES", "main", "members", "section"]

SECTION = "public names"
HEADER = ("name", "is or does")
# Modules of which these names are public, beside those of the package and its errors.
MODULES: dict[str, tuple[str, ...]] = {
    "vecstore.formats": ("open_dump", "write_dump", "FORMATS"),
    "vecstore.conversion.importing": ("import_subwords", "import_hash_embed", "import_quotient_remainder"),
    "vecstore.codecs.base": (
        "Transform",
        "TrainedTransform",
        "Quantizer",
        "TrainedQuantizer",
        "ByteStep",
        "named",
        "frozen",
    ),
    "vecstore.codecs.tables.table": ("TableQuantizer", "TrainedTable"),
    "vecstore.codecs.mixed.plan": ("plan",),
    "vecstore.measure.advisor": ("predict",),
    "vecstore.measure.drift": ("DriftWarning",),
    "vecstore.progress": ("Step",),
    "vecstore.distributed": ("Processes", "Searcher"),
    "vecstore.words": ("Words",),
    "vecstore.compat.gensim": ("KeyedVectors",),
    "vecstore.compat.magnitude": (
        "Magnitude",
        "ConcatenatedMagnitude",
        "FeaturizerMagnitude",
        "MagnitudeUtils",
    ),
    "vecstore.sentences": ("Encoder", "import_static", "sif_weights"),
    "vecstore.spaces": (
        "align",
        "Map",
        "adapt",
        "Adaptation",
        "combine",
        "Combined",
        "direction",
        "remove",
        "hubness",
        "Hubness",
        "Neighbourhoods",
        "ideal",
        "Ideal",
    ),
    "vecstore.judging": ("analogies", "pairs", "Analogies", "Section", "Pairs"),
    "vecstore.codecs.transforms.truncate": ("TruncationWarning",),
    "vecstore.conversion.certification": ("RescoringWarning",),
    "vecstore.bench.running": ("bench",),
    "vecstore.bench.report": ("report",),
}
CALLED_BY_USERS = ("Writer",)  # other objects are returned by functions
CONSTANTS = {
    "vecstore.__version__": "Version of the package, a string.",
    "vecstore.formats.FORMATS": "All formats of dumps.",
}
VARIABLES = {"CodecSpec": "spec", "SearchResult": "found"}  # other classes: their name in small letters
OPERATORS = {  # how they are written, and what they do where no docstring says it
    "__getitem__": ("{name}[{argument}]", "Return what an index, a slice, a list or a mask of rows selects."),
    "__contains__": ("{argument} in {name}", "Return whether the store holds a key."),
    "__len__": ("len({name})", "Return the number of rows."),
    "__iter__": ("iter({name})", "Iterate over rows."),
    "__array__": ("np.asarray({name})", "Return all rows, decoded."),
    "__enter__": ("with {name}:", "Close at the end of the block, or abort a writer after an error."),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.docs_api", description=__doc__)
    add_page(parser)
    given = parser.parse_args(arguments)
    text = section()
    show(text, SECTION, page=given.write)


def section() -> str:
    """Return all tables."""
    public = {name: getattr(vecstore, name) for name in vecstore.__all__}
    functions = {name: value for name, value in public.items() if inspect.isfunction(value)}
    classes = {name: value for name, value in public.items() if inspect.isclass(value)}
    calls = _calls({f"vecstore.{name}": value for name, value in [*functions.items(), ("__version__", None)]})
    pieces = ["### Functions", calls]
    for name, value in classes.items():
        if not issubclass(value, Exception):
            pieces += [f"### `{name}`", _sentence(value), table(HEADER, list(members(name, value)))]
    errors = importlib.import_module("vecstore.errors")
    listed = {name: getattr(errors, name) for name in errors.__all__}
    rows = [(f"`{name}`", _sentence(value)) for name, value in listed.items() if inspect.isclass(value)]
    pieces += [
        "### `vecstore.errors`",
        "`vecstore.VecstoreError` is the base of all.",
        table(HEADER, rows),
    ]
    others = {
        f"{module}.{name}": getattr(importlib.import_module(module), name)
        for module, names in MODULES.items()
        for name in names
    }
    pieces += ["### Other modules", _calls(others)]
    return "\n\n".join(pieces)


def members(name: str, kind: type) -> Iterator[tuple[str, str]]:
    """Yield what is public of a class: how it is written, and what it does."""
    variable = VARIABLES.get(name, name.lower())
    bases = [base for base in kind.__mro__ if base.__module__.startswith("vecstore.")]
    for base in bases[1:]:
        if base.__name__ in vecstore.__all__:
            bases = bases[: bases.index(base)]
            yield f"all of `{base.__name__}`", ""
            break
    if name in CALLED_BY_USERS:
        yield f"`vecstore.{_call(name, kind)}`", f"Open a {variable}."
    found = {key: value for base in reversed(bases) for key, value in vars(base).items()}
    for key, (form, says) in OPERATORS.items():
        if key in found:
            argument = ", ".join(list(inspect.signature(found[key]).parameters)[1:2])
            yield f"`{form.format(name=variable, argument=argument)}`", _sentence(found[key]) or says
    listed: set[str] = set()
    for base in reversed(bases):
        for names, says in _attributes(base):
            listed |= set(names)
            yield ", ".join(f"`{variable}.{each}`" for each in names), says
    for key, annotation in (
        (key, kind) for base in bases for key, kind in vars(base).get("__annotations__", {}).items()
    ):
        if not key.startswith("_") and key not in listed:
            listed.add(key)
            yield f"`{variable}.{key}`", f"`{annotation}`".replace("|", "\\|")
    for key, value in found.items():
        if key.startswith("_") or key in listed:
            continue
        if isinstance(value, classmethod):
            yield f"`{name}.{_call(key, getattr(kind, key))}`", _sentence(value.__func__)
        elif inspect.isfunction(value):
            yield f"`{variable}.{_call(key, value, method=True)}`", _sentence(value)
        elif isinstance(value, (property, cached_property)):
            yield f"`{variable}.{key}`", _sentence(value)


def _calls(found: dict[str, Any]) -> str:
    rows = []
    for name, value in found.items():
        if inspect.isclass(value):
            rows.append((f"`{name}`", _sentence(value)))
        elif callable(value):
            rows.append((f"`{_call(name, value)}`", _sentence(value)))
        else:
            rows.append((f"`{name}`", CONSTANTS[name]))
    return table(HEADER, rows)


def _call(name: str, function: Callable[..., Any], *, method: bool = False) -> str:
    """Return how a function is called: its parameters and their defaults."""
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())[method:]
    plain = [each.replace(annotation=inspect.Parameter.empty) for each in parameters]
    return name + str(inspect.Signature(plain))


def _sentence(value: Any) -> str:
    """Return the first sentence of a docstring."""
    return _first((inspect.getdoc(value) or "").split("\n\n")[0]).rstrip(":")


def _first(text: str) -> str:
    return re.split(r"(?<=[^.]\.) (?=[A-Z])", " ".join(text.split()))[0].replace("|", "\\|")


def _attributes(kind: type) -> Iterator[tuple[list[str], str]]:
    """Yield the attributes that a class's docstring lists, with what it says of them, or their type."""
    doc = inspect.getdoc(kind) if kind.__doc__ else ""
    found = re.search(r"^Attributes\n-+\n(.*?)(?=\n\n\w+\n-+\n|\Z)", doc or "", re.DOTALL | re.MULTILINE)
    if not found:
        return
    for entry in re.finditer(r"^(\w[\w, ]*?) : ([^\n]*)\n?((?:(?: +[^\n]*)?(?:\n|\Z))*)", found[1], re.MULTILINE):
        names, annotation, text = entry[1], entry[2], " ".join(entry[3].split())
        yield names.split(", "), _first(text) or f"`{annotation}`"


if __name__ == "__main__":
    main()
