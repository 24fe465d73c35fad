"""How a search with a filter is planned (docs/filters.md)."""

from __future__ import annotations

from vecstore.bench.scripts.docs_pictures.colours import Accent, Theme
from vecstore.bench.scripts.docs_pictures.drawing import SMALL, Box, Drawing

__all__ = ["draw"]

ROWS, GROUP = 16, 4
TOP, HEIGHT, WIDE = 92.0, 18.0, 66.0
FEW, MANY = (6,), (1, 2, 6, 13, 14)  # rows that two conditions select
COLUMNS = ((70.0, FEW, "few selected", "green"), (318.0, MANY, "many selected", "blue"))
MASK = 26.0
WORDS = {
    "green": ("Picked out:", "each is scored", "where it lies"),
    "blue": ("Scanned:", "groups of rows that", "hold a selected one"),
}


def draw(theme: Theme) -> Drawing:
    """Draw the picture."""
    bottom = TOP + ROWS * HEIGHT
    drawing = Drawing(
        bottom + 50,
        title="How a filter is planned",
        description=(
            "A condition becomes a mask, one bit a row. Where it selects few rows, they are picked out and scored one "
            "by one. Where it selects many, groups of rows that hold a selected one are scanned, others are skipped."
        ),
        theme=theme,
    )
    drawing.text((20, 26), "1. The condition becomes a mask: how many rows it selects is known", bold=True)
    drawing.text((20, 52), "2. What is read of the codes follows from it", bold=True)
    for left, selected, head, name in COLUMNS:
        _column(drawing, left, selected, head, getattr(theme, name), picked=name == "green")
        drawing.lines((left + MASK + WIDE + 16, TOP + 110), WORDS[name], size=SMALL)
    drawing.text((20, bottom + 34), "Every selected row is compared: none is missed.", size=SMALL, colour=theme.muted)
    return drawing


def _column(
    drawing: Drawing, left: float, selected: tuple[int, ...], head: str, accent: Accent, *, picked: bool
) -> None:
    theme = drawing.theme
    drawing.text((left, TOP - 12), head, size=SMALL, colour=accent.text, bold=True)
    for row in range(ROWS):
        y, chosen = TOP + row * HEIGHT, row in selected
        scanned = chosen if picked else any(each // GROUP == row // GROUP for each in selected)
        mark = Box(left, y + 2, left + 14, y + HEIGHT - 2)
        drawing.rect(mark, fill=accent.solid if chosen else "none", line="none" if chosen else theme.line, thickness=1)
        code = Box(left + MASK, y + 2, left + MASK + WIDE, y + HEIGHT - 2)
        fill = accent.solid if chosen else accent.fill if scanned else "none"
        drawing.rect(code, fill=fill, line="none" if scanned else theme.line, thickness=1, radius=2)
    for row in range(GROUP, ROWS, GROUP):
        y = TOP + row * HEIGHT
        drawing.path([(left - 8, y), (left + MASK + WIDE + 8, y)], line=theme.line, thickness=1, dashed=True)
