"""Cells: rows around centroids, and how they lie in a shard (docs/codecs/cells.md)."""

from __future__ import annotations

import random
from collections.abc import Sequence

from vecstore.bench.scripts.docs_pictures.colours import Accent, Theme
from vecstore.bench.scripts.docs_pictures.drawing import SMALL, Box, Drawing, Point

__all__ = ["CENTROIDS", "QUERY", "cell_of", "draw", "nearest_cells", "rows_by_cell"]

PLANE = Box(16, 40, 372, 330)
CENTROIDS: tuple[Point, ...] = ((82, 98), (196, 90), (312, 104), (90, 226), (206, 216), (310, 258))
SIZES = (5, 4, 5, 6, 5, 4)  # rows to draw of each cell
QUERY: Point = (252, 176)
NPROBE = 2
SEED = 4
WORDS = 396.0
STRIP, HEIGHT = 398.0, 30.0


def cell_of(row: Point) -> int:
    """Return the number of the cell whose centroid is nearest."""
    return nearest_cells(row)[0]


def nearest_cells(point: Point) -> list[int]:
    """Return the numbers of all cells, those of the nearest centroids first."""
    return sorted(range(len(CENTROIDS)), key=lambda cell: _squared_distance(point, CENTROIDS[cell]))


def rows_by_cell() -> list[list[Point]]:
    """Return the rows of each cell: points near its centroid, not too near to anything else that is drawn."""
    rng = random.Random(SEED)
    drawn: list[Point] = [*CENTROIDS, QUERY]
    cells: list[list[Point]] = []
    for cell, (x, y) in enumerate(CENTROIDS):
        rows: list[Point] = []
        while len(rows) < SIZES[cell]:
            row = (x + (rng.random() - 0.5) * 108, y + (rng.random() - 0.5) * 112)
            apart = all(_squared_distance(row, other) > 23**2 for other in drawn)
            if apart and cell_of(row) == cell and _to_edge(row) > 9:
                rows.append(row)
                drawn.append(row)
        cells.append(rows)
    return cells


def draw(theme: Theme) -> Drawing:
    """Draw the picture."""
    drawing = Drawing(
        514,
        title="Cells",
        description=(
            "Every row belongs to the cell of the nearest centroid, and its code stands for the row minus that "
            "centroid. A search with nprobe=2 looks into the two cells nearest to the query. In the shard rows lie "
            "cell by cell, so that the position of a row tells its cell."
        ),
        theme=theme,
    )
    cells, probed = rows_by_cell(), nearest_cells(QUERY)[:NPROBE]
    _plane(drawing, cells, probed)
    _legend(drawing)
    _strip(drawing, cells, probed)
    return drawing


def _accent(theme: Theme, cell: int, probed: Sequence[int]) -> Accent:
    return theme.blue if cell in probed else theme.grey


def _plane(drawing: Drawing, cells: Sequence[Sequence[Point]], probed: Sequence[int]) -> None:
    theme = drawing.theme
    drawing.text((PLANE.left, 24), "Rows and centroids", bold=True)
    for cell in sorted(range(len(cells)), key=lambda cell: cell in probed):  # their frames above those of others
        accent = _accent(theme, cell, probed)
        drawing.polygon(_region(cell), fill=accent.fill, line=accent.solid)
    for cell, rows in enumerate(cells):
        accent = _accent(theme, cell, probed)
        for row in rows:
            drawing.circle(row, 4.5, fill=theme.blue.solid if cell in probed else theme.muted)
        x, y = CENTROIDS[cell]
        drawing.circle((x, y), 11, fill=theme.page, line=accent.text if cell in probed else theme.muted)
        drawing.text((x, y + 5.5), f"{cell}", size=SMALL, colour=accent.text, anchor="middle", bold=True)
    _residual(drawing, cells[probed[0]], CENTROIDS[probed[0]])
    _diamond(drawing, QUERY)


def _residual(drawing: Drawing, rows: Sequence[Point], centroid: Point) -> None:
    """Draw what is coded of the farthest row of a cell."""
    x, y = max(rows, key=lambda row: _squared_distance(row, centroid))
    length = _squared_distance((x, y), centroid) ** 0.5
    u, v = (x - centroid[0]) / length, (y - centroid[1]) / length
    start, end = (centroid[0] + 11 * u, centroid[1] + 11 * v), (x - 5 * u, y - 5 * v)
    drawing.arrow([start, end], line=drawing.theme.green.text, thickness=2.2)


def _diamond(drawing: Drawing, centre: Point) -> None:
    x, y = centre
    corners = [(x, y - 9), (x + 9, y), (x, y + 9), (x - 9, y)]
    drawing.polygon(corners, fill=drawing.theme.orange.solid, line=drawing.theme.page)


def _legend(drawing: Drawing) -> None:
    theme = drawing.theme
    x, words = WORDS + 13, WORDS + 36
    drawing.circle((x, 62), 11, fill=theme.page, line=theme.muted)
    drawing.text((x, 67.5), "k", size=SMALL, colour=theme.muted, anchor="middle", bold=True)
    drawing.lines((words, 68), ("centroid of cell k, stored", "once, in a few bits"), size=SMALL)
    drawing.circle((x, 124), 4.5, fill=theme.muted)
    drawing.lines((words, 130), ("row, in the cell of the", "nearest centroid"), size=SMALL)
    drawing.arrow([(x - 13, 187), (x + 13, 187)], line=theme.green.text, thickness=2.2)
    drawing.lines((words, 192), ("residual: what is coded,", "row − centroid"), size=SMALL)
    _diamond(drawing, (x, 248))
    drawing.text((words, 254), "query", size=SMALL)
    drawing.rect(Box(x - 12, 282, x + 12, 302), fill=theme.blue.fill, line=theme.blue.solid)
    drawing.lines((words, 298), (f"nprobe={NPROBE} searches the two", "cells nearest to the query"), size=SMALL)


def _strip(drawing: Drawing, cells: Sequence[Sequence[Point]], probed: Sequence[int]) -> None:
    """Draw the rows as they lie in the shard."""
    theme = drawing.theme
    drawing.text((PLANE.left, STRIP - 14), "In the shard", bold=True)
    drawing.text((PLANE.left + 112, STRIP - 14), "codes lie cell by cell", size=SMALL, colour=theme.muted)
    count, gap = sum(map(len, cells)), 7.0
    width = (608 - gap * (len(cells) - 1)) / count
    x = PLANE.left
    for cell, rows in enumerate(cells):
        accent = _accent(theme, cell, probed)
        start = x
        for _ in rows:
            drawing.rect(Box(x, STRIP, x + width, STRIP + HEIGHT), fill=accent.fill, line=accent.solid, thickness=1.2)
            x += width
        middle = (start + x) / 2
        drawing.text((middle, STRIP + HEIGHT + 20), f"cell {cell}", size=SMALL, colour=accent.text, anchor="middle")
        x += gap
    sizes = ", ".join(f"{len(rows)}" for rows in cells)
    drawing.text((PLANE.left, STRIP + HEIGHT + 52), f"cells.sizes = {sizes}", size=SMALL, mono=True)
    words = "The position of a row tells its cell, so no code spends bits on it."
    drawing.text((PLANE.left, STRIP + HEIGHT + 76), words, size=SMALL, colour=theme.muted)


def _region(cell: int) -> list[Point]:
    """Return the corners of what is nearer to a centroid than to others: the plane, cut by a line for each of them."""
    corners = [
        (PLANE.left, PLANE.top),
        (PLANE.right, PLANE.top),
        (PLANE.right, PLANE.bottom),
        (PLANE.left, PLANE.bottom),
    ]
    own = CENTROIDS[cell]
    for other in CENTROIDS:
        if other == own:
            continue
        # nearer[i] > 0: corner i is nearer to the own centroid; linear along every edge
        nearer = [_squared_distance(corner, other) - _squared_distance(corner, own) for corner in corners]
        kept: list[Point] = []
        for i, corner in enumerate(corners):
            before = corners[i - 1]
            if (nearer[i] > 0) != (nearer[i - 1] > 0):
                t = nearer[i - 1] / (nearer[i - 1] - nearer[i])
                kept.append((before[0] + t * (corner[0] - before[0]), before[1] + t * (corner[1] - before[1])))
            if nearer[i] > 0:
                kept.append(corner)
        corners = kept
    return corners


def _to_edge(row: Point) -> float:
    """Return how far a row is from the edge of its cell, less than nothing outside of the plane."""
    first, *others = (CENTROIDS[cell] for cell in nearest_cells(row))
    nearest = _squared_distance(row, first)
    edges = [(_squared_distance(row, c) - nearest) / (2 * _squared_distance(first, c) ** 0.5) for c in others]
    x, y = row
    return min(*edges, x - PLANE.left, PLANE.right - x, y - PLANE.top, PLANE.bottom - y)


def _squared_distance(one: Point, other: Point) -> float:
    return (one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2
