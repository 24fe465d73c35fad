"""How a search by several fields goes (docs/fusion.md)."""

from __future__ import annotations

from vecstore.bench.scripts.docs_pictures.colours import Theme
from vecstore.bench.scripts.docs_pictures.drawing import SMALL, Box, Drawing

__all__ = ["draw"]

TOP, HEIGHT, LISTED = 96.0, 26.0, 5
ROWS = ((7, 3, 9, 1, 4), (3, 8, 7, 2, 5))
CANDIDATES = (3, 7, 9, 8, 1, 2, 4, 5)


def draw(theme: Theme) -> Drawing:
    """Draw the picture."""
    bottom = TOP + len(CANDIDATES) * HEIGHT
    drawing = Drawing(
        bottom + 60,
        title="A search by two fields",
        description=(
            "Each field lists its best rows. Every row of either list is scored in both fields, and the sums are "
            "sorted. What is in neither list scores at most the sum of the last scores of the lists."
        ),
        theme=theme,
    )
    drawing.text((20, 26), "1. Each field lists its best", bold=True)
    drawing.text((330, 26), "2. Each candidate is scored in both", bold=True)
    for number, (name, accent) in enumerate((("dense", theme.blue), ("terms", theme.green))):
        left = 20 + number * 140.0
        drawing.text((left, TOP - 14), name, size=SMALL, bold=True, colour=accent.text)
        for place, row in enumerate(ROWS[number]):
            y = TOP + place * HEIGHT
            drawing.rect(Box(left, y, left + 110, y + HEIGHT - 4), fill=accent.fill, line="none", thickness=1)
            drawing.text((left + 10, y + 17), f"row {row}", size=SMALL)
        y = TOP + LISTED * HEIGHT
        drawing.path([(left, y), (left + 110, y)], line=accent.solid, thickness=2, dashed=True)
        drawing.text((left, y + 20), "others: less", size=SMALL, colour=theme.muted)
    for place, row in enumerate(CANDIDATES):
        y = TOP + place * HEIGHT
        drawing.text((330, y + 17), f"row {row}", size=SMALL)
        for number, accent in enumerate((theme.blue, theme.green)):
            left = 400 + number * 100.0
            solid = row in ROWS[number]
            drawing.rect(
                Box(left, y, left + 90, y + HEIGHT - 4),
                fill=accent.fill if solid else "none",
                line=accent.solid,
                thickness=1,
            )
    drawing.text(
        (20, bottom + 38),
        "3. If the k-th best sum reaches that of both lines, no row was missed.",
        size=SMALL,
        bold=True,
    )
    return drawing
