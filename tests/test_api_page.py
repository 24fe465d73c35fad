"""docs/api.md says what is public, and says it as the code has it."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest
from vecstore.bench.scripts.docs_api import MODULES, SECTION, members, section

import vecstore
import vecstore.errors

PAGE = (Path(__file__).parents[1] / "docs" / "api.md").read_text()
CLASSES = [name for name in vecstore.__all__ if inspect.isclass(getattr(vecstore, name))]


def test_tables_are_those_of_the_code() -> None:
    found = re.search(f"<!-- {SECTION} -->\n(.*?)\n?<!-- /{SECTION} -->", PAGE, re.DOTALL)
    assert found is not None
    assert found[1].strip() == section(), "python -m vecstore.bench.scripts.docs_api --write docs/api.md"


def test_every_public_name_is_on_the_page() -> None:
    errors = [name for name in vecstore.errors.__all__ if inspect.isclass(getattr(vecstore.errors, name))]
    others = [f"{module}.{name}" for module, names in MODULES.items() for name in names]
    missing = [name for name in [*vecstore.__all__, *errors, *others] if not re.search(rf"`[^`]*\b{name}\b", PAGE)]
    assert not missing


@pytest.mark.parametrize("name", [name for name in CLASSES if not issubclass(getattr(vecstore, name), Exception)])
def test_every_public_method_and_attribute_is_listed(name: str) -> None:
    kind = getattr(vecstore, name)
    listed = " ".join(written for written, _ in members(name, kind))
    inherited = {key for base in kind.__mro__[1:] if base.__name__ in CLASSES for key in vars(base)}
    own = {key for key, value in vars(kind).items() if not key.startswith("_") and callable(value)}
    own |= {key for key, value in vars(kind).items() if not key.startswith("_") and isinstance(value, property)}
    own |= {key for key in vars(kind).get("__annotations__", {}) if not key.startswith("_")}
    missing = [key for key in own - inherited if not re.search(rf"\.{key}\b", listed)]
    assert not missing


@pytest.mark.parametrize("module", MODULES)
def test_names_of_other_modules_exist_and_are_documented(module: str) -> None:
    found = importlib.import_module(module)
    for name in MODULES[module]:
        assert name in found.__all__, name
        assert getattr(found, name).__doc__, name
