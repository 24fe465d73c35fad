"""The tower of rooms: floors from the layers contract in pyproject.toml, words from the rooms' own docstrings."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import NamedTuple

from vecstore.bench.scripts.docs_pictures.colours import Accent, Theme
from vecstore.bench.scripts.docs_pictures.drawing import SMALL, Box, Drawing, text_width

__all__ = ["Room", "draw", "floors"]

ROOT = Path(__file__).parents[3]  # the checkout: the contract is in no wheel
MAPPED = ("formats", "bench")  # folders beside the package
LEFT, RIGHT, TOP, GAP = 52.0, 624.0, 46.0, 7.0
LEADING, PADDING = 20.0, 11.0
WORDS = 132.0  # from a room's left edge to what it says, where it is alone on its floor
# What a room is part of: the way from a dump into a store, or from a store to answers; all others are green.
ACCENTS = dict.fromkeys(("conversion", "tuning", "formats"), "orange") | dict.fromkeys(("store", "search"), "blue")
ACCENTS |= dict.fromkeys(("cli", "bench", "errors", "parallel", "metric", "version"), "grey")
LEGEND = {"orange": "from a dump to a store", "blue": "from a store to answers", "green": "what both stand on"}


class Room(NamedTuple):
    """A package, or a module of the ground, with the first line of its docstring and the rooms in it."""

    name: str
    says: str
    rooms: tuple[Room, ...] = ()


def floors() -> list[list[Room]]:
    """Return the rooms of each floor, from the highest down, as import-linter is told."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [[_room(name.strip()) for name in layer.replace(":", "|").split("|")] for layer in layers]


def _room(module: str) -> Room:
    name = module.removeprefix("vecstore.")
    path = name.replace(".", "/")
    folder = ROOT / path if path.split("/")[0] in MAPPED else ROOT / "vecstore" / path
    source = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    says = (ast.get_docstring(ast.parse(source.read_text())) or "").partition("\n")[0]
    within = (
        sorted(path.name for path in folder.iterdir() if (path / "__init__.py").exists()) if folder.is_dir() else []
    )
    return Room(name, says, tuple(_room(f"{module}.{inner}") for inner in within))


def draw(theme: Theme) -> Drawing:
    """Draw the picture."""
    tower = floors()
    heights = [_height(floor) for floor in tower]
    bottom = TOP + sum(heights) + GAP * (len(tower) - 1)
    drawing = Drawing(
        bottom + 44,
        title="The rooms of vecstore, as a tower",
        description="A room imports only from rooms below it. From the highest down: "
        + "; ".join(" beside ".join(room.name for room in floor) for floor in tower)
        + ".",
        theme=theme,
    )
    drawing.text((LEFT, 26), "A room imports only from rooms below it.", bold=True)
    drawing.arrow([(26, TOP + 4), (26, bottom - 4)], line=theme.muted, thickness=2.2, head=12)
    y = TOP
    for floor, height in zip(tower, heights, strict=True):
        width = (RIGHT - LEFT - GAP * (len(floor) - 1)) / len(floor)
        for place, room in enumerate(floor):
            left = LEFT + place * (width + GAP)
            _draw_room(drawing, room, Box(left, y, left + width, y + height), alone=len(floor) == 1)
        y += height + GAP
    _legend(drawing, bottom + 28)
    return drawing


def _lines(room: Room, alone: bool) -> list[str]:
    """Return what the room says, in lines that fit into its box."""
    width = RIGHT - LEFT - WORDS - 12 if alone else (RIGHT - LEFT - GAP) / 2 - 24
    lines = [""]
    for word in room.says.split():
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer, SMALL) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _height(floor: list[Room]) -> float:
    if len(floor) > 2:  # modules of the ground: names alone
        return 2 * PADDING + LEADING
    alone = len(floor) == 1
    words = max(len(_lines(room, alone)) + (not alone) for room in floor)
    within = any(room.rooms for room in floor if room.name == "codecs")
    return 2 * PADDING + LEADING * (words + 1.3 * within)


def _legend(drawing: Drawing, y: float) -> None:
    x = LEFT
    for name, says in LEGEND.items():
        accent: Accent = getattr(drawing.theme, name)
        drawing.rect(Box(x, y - 12, x + 14, y + 2), fill=accent.fill, line=accent.solid, radius=2)
        drawing.text((x + 21, y), says, size=SMALL, colour=drawing.theme.muted)
        x += 36 + text_width(says, SMALL)


def _draw_room(drawing: Drawing, room: Room, place: Box, *, alone: bool) -> None:
    theme = drawing.theme
    accent: Accent = getattr(theme, ACCENTS.get(room.name, "green"))
    drawing.rect(place, fill=accent.fill, line=accent.solid, radius=4)
    x, y = place.left + 12, place.top + PADDING + 15
    if place.right - place.left < 200:
        middle = ((place.left + place.right) / 2, (place.top + place.bottom) / 2 + 5)
        drawing.text(middle, room.name, size=SMALL, mono=True, colour=accent.text, anchor="middle")
        return
    drawing.text((x, y), f"{room.name}/", mono=True, bold=True, size=SMALL, colour=accent.text)
    words = (place.left + WORDS, y) if alone else (x, y + LEADING)
    drawing.lines(words, _lines(room, alone), size=SMALL, leading=LEADING)
    if room.name == "codecs":
        names = " ".join(inner.name.rpartition(".")[2] for inner in room.rooms)
        drawing.text((x, place.bottom - PADDING - 3), names, size=SMALL, mono=True, colour=accent.text)
