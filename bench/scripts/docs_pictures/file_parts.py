"""A store file and its parts (docs/format.md, sections 2 to 5). The order of the parts is the writer's to choose."""

from __future__ import annotations

from typing import NamedTuple

from vecstore.bench.scripts.docs_pictures.colours import Accent, Theme
from vecstore.bench.scripts.docs_pictures.drawing import SMALL, Box, Drawing

__all__ = ["PARTS", "draw"]

TOP, GAP = 54.0, 5.0
LEFT, RIGHT = 16.0, 206.0  # of the file
WORDS = 222.0  # where the explanations begin
RAIL = 624.0  # the line that joins checksums with what they cover
FOOT = 152.0  # height of what stands below the file


class Part(NamedTuple):
    """A stretch of the file: the parts in it, what they hold, and in how many blocks they are drawn."""

    name: str
    accent: str
    holds: tuple[str, ...]
    blocks: int = 1


PARTS = (
    Part("pages 0 and 1", "grey", ("meta: page size, root of the tree",)),
    Part("codes.0", "blue", ("coarse layer, n rows × 48 bytes:", "what a search scans, in tiles"), 2),
    Part(
        "codes.1",
        "blue",
        ("fine layer, n rows × 384 bytes:", "what lookups and rescoring decode,", "in blocks of about 512 KiB"),
        3,
    ),
    Part("model.L.S.NAME", "purple", ("what step S of layer L decodes with",)),
    Part("residuals", "green", ("bound of the layers’ distance, a byte a row",)),
    Part("norms", "green", ("length of each original row, if kept",)),
    Part("keys.text", "orange", ("keys in row order",)),
    Part("keys.table", "orange", ("hash of a key → row number",)),
    Part("checksums", "grey", ("XXH3-64 of each 64 KiB of the parts",)),
    Part("vecstore", "ink", ("JSON: codec, rows, metric, parts, …", "its fingerprint covers JSON and checksums")),
    Part("last pages", "grey", ("tree: name and first page of each value",)),
)


def draw(theme: Theme) -> Drawing:
    """Draw the picture."""
    heights = [max(34.0, 22.0 * len(part.holds) + 12) for part in PARTS]
    bottom = TOP + sum(heights) + GAP * (len(PARTS) - 1)
    drawing = Drawing(
        bottom + FOOT,
        title="A store file and its parts",
        description=(
            "A store is one LMDB file: two meta pages, the values, and a tree that says where each value lies. "
            + " ".join(f"{part.name}: {' '.join(part.holds)}." for part in PARTS[1:-1])
            + " A value begins 16 bytes after a page boundary and runs through whole pages."
        ),
        theme=theme,
    )
    drawing.text((LEFT, 22), "items.vecs", mono=True, bold=True)
    drawing.text((WORDS, 22), "one LMDB file, read where it is mapped")
    drawing.text((LEFT, 42), "bin/sq:8, d = 384", size=SMALL, colour=theme.muted)
    drawing.text((WORDS, 42), "each block of a part is one value", size=SMALL, colour=theme.muted)
    places: dict[str, Box] = {}
    y = TOP
    for part, height in zip(PARTS, heights, strict=True):
        places[part.name] = Box(LEFT, y, RIGHT, y + height)
        _stretch(drawing, part, places[part.name])
        y += height + GAP
    _coverage(drawing, places)
    _value(drawing, bottom)
    return drawing


def _stretch(drawing: Drawing, part: Part, place: Box) -> None:
    theme = drawing.theme
    accent = Accent(theme.page, theme.ink, theme.ink) if part.accent == "ink" else getattr(theme, part.accent)
    step = (place.bottom - place.top) / part.blocks
    drawing.rect(place, fill=accent.fill, line=accent.solid, radius=3)
    for block in range(part.blocks):
        y = place.top + block * step
        if block:
            drawing.path([(LEFT, y), (RIGHT, y)], line=accent.solid, thickness=1.2)
        if part.blocks > 1:
            number = f"block {block}" + (" …" if block == part.blocks - 1 else "")
            drawing.text((LEFT + 104, y + step / 2 + 5), number, size=SMALL, colour=accent.text)
    y = place.top + step / 2 + 5
    drawing.text((LEFT + 14, y), part.name, size=SMALL, mono=True, colour=accent.text, within=RIGHT - LEFT - 24)
    first = (place.top + place.bottom) / 2 + 5 - 11 * (len(part.holds) - 1)
    for line, words in enumerate(part.holds):
        drawing.text((WORDS, first + 22 * line), words, size=SMALL + 0.5, within=RAIL - WORDS - 16)


def _coverage(drawing: Drawing, places: dict[str, Box]) -> None:
    """Draw what covers what: the fingerprint the checksums, they the parts."""
    theme = drawing.theme
    covered = [places[part.name] for part in PARTS[1:-3]]
    middles = [(place.top + place.bottom) / 2 for place in covered]
    sums = (places["checksums"].top + places["checksums"].bottom) / 2
    described = (places["vecstore"].top + places["vecstore"].bottom) / 2
    drawing.path(
        [(RAIL - 12, sums - 4), (RAIL, sums - 4), (RAIL, middles[0]), (RAIL - 4, middles[0])], line=theme.muted
    )
    for middle in middles:
        drawing.arrow([(RAIL, middle), (RAIL - 12, middle)], line=theme.muted, thickness=1.5, head=7)
    drawing.path([(RAIL - 12, described), (RAIL, described)], line=theme.muted)
    drawing.arrow([(RAIL, described), (RAIL, sums + 6), (RAIL - 12, sums + 6)], line=theme.muted, thickness=1.5, head=7)


def _value(drawing: Drawing, top: float) -> None:
    """Draw how one value lies in pages."""
    theme = drawing.theme
    y, height, page = top + 66, 36.0, 152.0
    drawing.text((LEFT, top + 42), "A value")
    drawing.text(
        (LEFT + 62, top + 42), "begins 16 bytes after a page boundary, so it is aligned", size=SMALL, colour=theme.muted
    )
    right = LEFT + 4 * page
    drawing.rect(Box(LEFT, y, right, y + height), fill=theme.surface, line=theme.line)
    drawing.rect(Box(LEFT + 34, y, right - 90, y + height), fill=theme.blue.fill, line=theme.blue.solid)
    drawing.text((LEFT + 17, y + 24), "16", size=SMALL, colour=theme.muted, anchor="middle")
    drawing.text(
        (LEFT + 44, y + 24), "rows of one block, one after the other or in tiles", size=SMALL, colour=theme.blue.text
    )
    drawing.text((right - 45, y + 24), "unused", size=SMALL, colour=theme.muted, anchor="middle")
    for number in range(5):
        x = LEFT + number * page
        for edge in (y - 7, y + height):
            drawing.path([(x, edge), (x, edge + 7)], line=theme.muted, thickness=1.2)
    for number, name in enumerate(("page p", "page p + 1", "…", "last page")):
        at = (LEFT + (number + 0.5) * page, y + height + 22)
        drawing.text(at, name, size=SMALL, colour=theme.muted, anchor="middle")
