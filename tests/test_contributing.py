"""The codec that CONTRIBUTING.md makes works as it stands there."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from samples import glove

import vecstore
from vecstore.codecs import registry

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()


def shown(path: str) -> str:
    """Return what the page shows for a file."""
    found = re.search(rf"<!-- toy: {re.escape(path)} -->\n```python\n(.*?)```\n<!-- end -->", PAGE, re.DOTALL)
    assert found is not None, path
    return found[1]


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make the module as a reader does, and return the name of the codec."""
    (tmp_path / "toy_ternary.py").write_text(shown("vecstore/codecs/scalar/ternary.py"))
    line = re.fullmatch(r' +"(\w+)": "vecstore\.codecs\.scalar\.(\w+):(\w+)",\n', shown("vecstore/codecs/registry.py"))
    assert line is not None
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(registry.BUILT_IN, line[1], f"toy_{line[2]}:{line[3]}")
    yield line[1]
    sys.modules.pop("toy_ternary", None)


def test_the_toy_codec_keeps_what_the_page_says(toy: str) -> None:
    words = np.random.default_rng(0).permutation(glove()[0])
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    bound = float(re.findall(rf'"{toy}": ([\d.]+)', shown("tests/unit/codecs/test_codec_contract.py"))[0])
    trained = vecstore.codec(toy).fit(words[:2000], seed=1)
    unseen = words[2000:]
    error = ((trained.decode(trained.encode(unseen)) - unseen) ** 2).sum() / ((unseen - unseen.mean(axis=0)) ** 2).sum()
    assert bound / 3 <= error <= bound


def test_the_toy_codec_makes_a_store_that_finds(toy: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(500, 50)).astype(np.float32)
    vecstore.write(tmp_path / "toy.vecs", x, codec=f"rotate,{toy}")
    store = vecstore.open(tmp_path / "toy.vecs")
    assert store.codec.code_bytes == 10
    assert store.search(x[7], k=3).rows[0] == 7


def test_set_up_takes_two_commands_and_names_an_extra_that_exists() -> None:
    block = re.search(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    commands = block[1].splitlines()
    assert len(commands) == 2
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert re.findall(r"\.\[(\w+)\]", block[1])[0] in extras


def test_recipes_that_the_page_names_exist() -> None:
    recipes = set(re.findall(r"^(\w[\w-]*)", (ROOT / "justfile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`just ([\w-]+)", PAGE)) <= recipes
