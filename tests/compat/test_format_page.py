"""The examples that docs/format.md gives for codecs are what the package and the independent reader make of them."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import independent_reader as independent
import independent_tables as tables
import numpy as np
import pytest

from vecstore.codecs.members import allowed_members
from vecstore.codecs.registry import BUILT_IN, step_class
from vecstore.errors import CodecError

PAGE = (Path(__file__).parents[2] / "docs/format.md").read_text(encoding="utf-8")
VECTORS = re.findall(r"^```vector\n(.+?)^```", PAGE, re.DOTALL | re.MULTILINE)
ENTRIES = re.findall(r"^```entries\n(.+?)^```", PAGE, re.DOTALL | re.MULTILINE)
PQ_BLOCK = PAGE.partition("#### pq and subspace")[2].partition("####")[0].replace("`", "")
CONFIGURATIONS = {  # that go with the members' edges: what has no default, and what other members compare with
    **{name: {"m": 2} for name in ("pq", "subspace", "opq", "vaq", "rq", "lsq")},
    **{name: {"entries": 90} for name in ("hash", "fasttext", "hashembed")},
    "floret": {"entries": 90, "least": 0, "most": 64},
    "anchor": {"anchors": 1 << 16, "taken": 1},
    "qr": {"sizes": "3x4"},
    **{name: {"bits": 2} for name in ("lloyd", "lvq", "rabitq")},
    **{name: {"size_bytes": 2} for name in ("uniform", "tcq")},
}
HAVE_NONE = {"f32", "residual", "qr", "tcq", "subspace", "lsq"}  # shown in other ways, or as another one


def parsed(text: str) -> tuple[str, dict[str, Any], list[str]]:
    """Return name, configuration and the lines that follow."""
    first, *lines = text.strip().splitlines()
    name, configuration = re.fullmatch(r"(\w+) (\{.*\})(?:, d = \d+)?", first).groups()  # type: ignore[union-attr]
    return name, json.loads(configuration), lines


def array(line: str) -> tuple[str, np.ndarray]:
    """Return name and array of ``name = [...]``, ``name <u4 = [...]`` or ``name (shape) [indices] = formula``."""
    left, _, right = line.partition(" = ")
    formula = re.fullmatch(r"(\w+) (\(.+\)) \[(.+)\]", left)
    if formula:
        indices = [index.strip() for index in formula[3].split(",")]
        grids = np.indices(json.loads(formula[2].replace("(", "[").replace(")", "]")))
        return formula[1], eval(right, dict(zip(indices, grids, strict=True))).astype("<f4")
    name, _, dtype = left.partition(" ")
    return name, np.array(json.loads(right), dtype or "<f4")


@pytest.mark.parametrize("text", VECTORS, ids=lambda text: text.partition(",")[0])
def test_vectors_decode_as_the_page_says(text: str) -> None:
    name, configuration, lines = parsed(text)
    arrays = dict(map(array, lines[:-2]))
    code = np.frombuffer(bytes.fromhex(lines[-2].removeprefix("code = ")), np.uint8)[None]
    z, exact = json.loads(lines[-1][4:]), lines[-1].startswith("z = ")
    trained = step_class(name).from_configuration(configuration).restore(len(z), arrays)  # type: ignore[attr-defined]
    assert trained.code_bytes == code.shape[1]
    if name == "anchor":
        read = tables.decode({"name": name, "configuration": configuration}, code, arrays.get, [0], None)
    else:
        step = {"name": name, "configuration": configuration}
        read = independent.dequantize(step, code, len(z), arrays.get)
    for found in (trained.decode(code)[0], read[0]):
        np.testing.assert_allclose(found, z, rtol=0 if exact else 1e-6)


@pytest.mark.parametrize("text", ENTRIES)
def test_keys_pick_the_entries_that_the_page_says(text: str) -> None:
    name, configuration, lines = parsed(text)
    key, expected = (json.loads(line.partition(" = ")[2]) for line in lines)
    found = [h % configuration["entries"] for h in tables.hashes(name, configuration, key)]
    assert found == expected


def test_every_quantizer_has_an_example() -> None:
    shown = {parsed(text)[0] for text in VECTORS + ENTRIES}
    quantizers = {name for name in BUILT_IN if step_class(name).kind == "quantizer"}
    assert shown >= quantizers - HAVE_NONE


def test_every_step_and_each_member_of_its_configuration_is_named() -> None:
    section = PAGE.partition("## 6. Codecs")[2].partition("## 7.")[0]
    for name in BUILT_IN:
        assert re.search(rf"`{name}`|^#+ .*\b{name}\b", section, re.MULTILINE), name
        for member in fields(step_class(name)):
            assert f"`{member.name}`" in section, f"{name}: {member.name}"


MEMBERS = [(name, member) for name in BUILT_IN for member in allowed_members(step_class(name))]


@pytest.mark.parametrize(("name", "member"), MEMBERS)
def test_members_have_the_values_that_the_page_says(name: str, member: str) -> None:
    step = step_class(name)
    allowed, default = allowed_members(step)[member], next(f.default for f in fields(step) if f.name == member)
    section = PAGE.partition("## 6. Codecs")[2].partition("## 7.")[0].replace("`", "")
    headed = re.findall(rf"^####? (?:Codes of )?[\w, ]*\b{name}\b.*?(?=^#|\Z)", section, re.DOTALL | re.MULTILINE)
    block = headed[0] if headed else section.partition("### Transforms")[2].partition("###")[0]
    block = PQ_BLOCK if name == "opq" else block
    shown = member + ("" if default is MISSING else f" = {json.dumps(default)}")
    assert re.search(rf"\b{re.escape(f'{shown}: {allowed.described()}')}[.,;]", block), shown

    sound = CONFIGURATIONS.get(name, {}) | {member: default}
    for value in allowed.edges:
        given = {**sound, member: value}
        if allowed.holds(value):
            assert getattr(step.from_configuration(given), member) == value
        else:
            with pytest.raises(CodecError, match=member):
                step.from_configuration(given)


def test_models_of_rans_are_those_of_the_table() -> None:
    rows = PAGE.partition("| model | frequency[0] |")[2].partition("\n\n")[0].splitlines()[2:]
    for row in rows:
        number, *expected = (int(cell) for cell in row.strip("|").split("|"))
        found = independent.model_frequencies(number)
        assert [found[0], found[127], found[128]] == expected


def test_sentences_are_short() -> None:
    """More than 30 words are two sentences; tables, formulas and code are none."""
    text = re.sub(r"^```.*?^```|^\|.*?$|<picture>.*?</picture>|^#.*?$", "", PAGE, flags=re.DOTALL | re.MULTILINE)
    long = []
    for line in text.splitlines():
        plain = re.sub(r"`[^`]*`", "x", re.sub(r"\]\([^)]*\)", "]", line))
        long += [part for part in re.split(r"(?<=[.:;!?])\s", plain) if len(re.findall(r"[^\W_]+", part)) > 30]
    assert not long
