"""What a reader of a changing store sees when (docs/changing.md)."""

from __future__ import annotations

from vecstore.bench.scripts.docs_pictures.colours import Accent, Theme
from vecstore.bench.scripts.docs_pictures.drawing import SMALL, Box, Drawing

__all__ = ["draw"]

LEFT, CELL, GAP = 148.0, 34.0, 14.0
TOP, HEIGHT, BETWEEN = 60.0, 36.0, 30.0
TOLD = 404.0
# What each generation consists of: shards by their colours, with the rows of each; and what made it.
GENERATIONS: tuple[tuple[tuple[tuple[str, str], ...], str, str], ...] = (
    ((("blue", "abcd"),), "convert", "one shard"),
    ((("blue", "abcd"), ("green", "ef")), "append e, f", "one more file"),
    ((("blue", "acd"), ("green", "ef")), "delete b", "a file with its number"),
    ((("orange", "acdef"),), "compact", "a new file; none decoded"),
)
ROWS = {"blue": "abcd", "green": "ef", "orange": "acdef"}


def draw(theme: Theme) -> Drawing:
    """Draw the picture."""
    bottom = TOP + len(GENERATIONS) * (HEIGHT + BETWEEN)
    drawing = Drawing(
        bottom + 62,
        title="Generations of a store",
        description=(
            "Generation 0 is one shard with rows a to d. An append adds a shard with e and f, as generation 1. A "
            "deletion adds a file that says that b is gone, as generation 2. Compaction writes a new shard with the "
            "rows that live, as generation 3. A reader shows one of these, until it refreshes."
        ),
        theme=theme,
    )
    drawing.text((20, 30), "No file changes: each edit makes a generation", bold=True)
    for number, (shards, made, how) in enumerate(GENERATIONS):
        y = TOP + number * (HEIGHT + BETWEEN)
        drawing.text((20, y + 24), f"generation {number}", size=SMALL, bold=True)
        left = LEFT
        for colour, living in shards:
            left = _shard(drawing, left, y, getattr(theme, colour), ROWS[colour], living) + GAP
        drawing.text((TOLD, y + 14), made, size=SMALL, bold=True)
        drawing.text((TOLD, y + 34), how, size=SMALL, colour=theme.muted)
    told = (
        "A handle shows one line of this picture, until refresh(): then the last one.",
        "A colour is a file. Lines that are not needed go by clean; tags keep theirs.",
    )
    drawing.lines((20, bottom + 22), told, size=SMALL, colour=theme.muted)
    return drawing


def _shard(drawing: Drawing, left: float, y: float, accent: Accent, rows: str, living: str) -> float:
    """Draw the rows of a shard, dead ones hollow; return its right edge."""
    for place, row in enumerate(rows):
        box = Box(left + place * CELL, y, left + (place + 1) * CELL, y + HEIGHT)
        lives = row in living
        drawing.rect(box, fill=accent.fill if lives else "none", line=accent.solid, dashed=not lives, thickness=1)
        if lives:
            drawing.text((box.left + CELL / 2, y + 24), row, colour=accent.text, anchor="middle")
    return left + len(rows) * CELL
