"""An orthogonal map turns all vectors: the codes stay, and the query is turned back (docs/spaces.md)."""

from __future__ import annotations

from math import cos, radians, sin

from vecstore.bench.scripts.docs_pictures.colours import Accent, Theme
from vecstore.bench.scripts.docs_pictures.drawing import SMALL, Box, Drawing, Point

__all__ = ["draw"]

PANEL, TOP = 232.0, 44.0
LEFTS = 8.0, 400.0
ROWS = ((82, 20), (66, 46), (-20, 78), (-74, 40), (-58, -48), (24, -70), (78, -34))
QUERY = (96.0, 40.0)
ANGLE = 65.0


def draw(theme: Theme) -> Drawing:
    """Draw the picture."""
    drawing = Drawing(
        TOP + PANEL + 92,
        title="An orthogonal map turns the query, not the rows",
        description=(
            "Two panels with the same rows and the same query: on the right all are turned by one angle, so that "
            "distances and neighbours are the same. A search of the right space turns its query back and scans the "
            "codes of the left one."
        ),
        theme=theme,
    )
    for left, angle, name in zip(LEFTS, (0.0, ANGLE), ("The rows as coded", "The turned space"), strict=True):
        _panel(drawing, left, angle, name)
    middle = (LEFTS[0] + PANEL + LEFTS[1]) / 2
    y = TOP + PANEL / 2
    drawing.arrow([(LEFTS[0] + PANEL + 12, y - 26), (LEFTS[1] - 12, y - 26)], line=theme.blue.solid)
    drawing.text((middle, y - 40), "lookups: map", size=SMALL, colour=theme.blue.text, anchor="middle")
    drawing.arrow([(LEFTS[1] - 12, y + 26), (LEFTS[0] + PANEL + 12, y + 26)], line=theme.orange.solid)
    drawing.text((middle, y + 50), "queries: map.T", size=SMALL, colour=theme.orange.text, anchor="middle")
    foot = TOP + PANEL + 34
    _legend(drawing, 16, foot, theme.blue, "rows: only one set of codes, on disk once")
    _legend(drawing, 16, foot + 30, theme.orange, "query: its nearest rows are the same on both sides")
    return drawing


def _panel(drawing: Drawing, left: float, angle: float, name: str) -> None:
    theme = drawing.theme
    centre = (left + PANEL / 2, TOP + PANEL / 2)
    drawing.text((centre[0], TOP - 16), name, bold=True, anchor="middle")
    drawing.rect(Box(left, TOP, left + PANEL, TOP + PANEL), fill=theme.surface, line=theme.line, radius=6)
    for axis in (angle, angle + 90):
        ends = [_at(centre, (reach, 0.0), axis) for reach in (-104, 104)]
        drawing.path(ends, line=theme.line, dashed=True)
    for row in ROWS:
        drawing.circle(_at(centre, row, angle), 6, fill=theme.blue.solid)
    x, y = _at(centre, QUERY, angle)
    drawing.polygon([(x, y - 9), (x + 9, y), (x, y + 9), (x - 9, y)], fill=theme.orange.solid)


def _at(centre: Point, point: Point, angle: float) -> Point:
    """Return where a point lies on the page once it is turned; y points up."""
    c, s = cos(radians(angle)), sin(radians(angle))
    return centre[0] + c * point[0] - s * point[1], centre[1] - s * point[0] - c * point[1]


def _legend(drawing: Drawing, left: float, y: float, accent: Accent, words: str) -> None:
    drawing.circle((left, y - 5), 6, fill=accent.solid)
    drawing.text((left + 18, y), words, size=SMALL)
