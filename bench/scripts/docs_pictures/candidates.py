"""What finds candidates for MaxSim, against the bytes that it takes: the table of docs/tokens.md, at 100 candidates."""

from __future__ import annotations

from math import log2
from typing import NamedTuple

from vecstore.bench.scripts.docs_pictures.colours import Theme
from vecstore.bench.scripts.docs_pictures.drawing import SMALL, Anchor, Box, Drawing, Point

__all__ = ["draw"]

PLOT = Box(58, 62, 620, 330)
BYTES, SHARE = (24.0, 131072.0), (0.82, 0.98)  # ends of the axes


class Series(NamedTuple):
    """A way to find them: (bytes a row, share of the ten best among 100 candidates), and where its name is."""

    name: str
    accent: str
    points: tuple[Point, ...]
    at: Point
    anchor: Anchor = "start"


SERIES = (
    Series("centroids of the tokens", "green", ((71, 0.842), (141, 0.966)), (170, 0.9635)),
    Series("dense vectors of the model", "blue", ((48, 0.909), (1536, 0.917)), (170, 0.9225)),
    Series("mean of the tokens", "purple", ((512, 0.913),), (1700, 0.899)),
    Series(
        "encodings (MUVERA)",
        "orange",
        ((64, 0.855), (128, 0.868), (1280, 0.912), (40960, 0.923), (81920, 0.943)),
        (160, 0.862),
    ),
)


def draw(theme: Theme) -> Drawing:
    """Draw the picture."""
    told = [f"{one.name}: " + ", ".join(f"{y:.2f} at {x:,.0f} bytes" for x, y in one.points) for one in SERIES]
    drawing = Drawing(
        384,
        title="Candidates for MaxSim against bytes",
        description="How many of the ten best rows are among 100 candidates. " + ". ".join(told) + ".",
        theme=theme,
    )
    drawing.text((16, 24), "Of the ten best rows, among 100 candidates", bold=True)
    drawing.text((16, 46), "3,000 texts of 71 token vectors each", size=SMALL, colour=theme.muted)
    for hundredth in range(84, 100, 4):
        x, y = _at((BYTES[0], hundredth / 100))
        drawing.path([(x, y), (PLOT.right, y)], line=theme.line, thickness=0.6)
        drawing.text((x - 8, y + 5), f".{hundredth}", size=SMALL, colour=theme.muted, anchor="end")
    for size, name in ((32, "32"), (128, "128"), (512, "512"), (2048, "2K"), (8192, "8K"), (32768, "32K")):
        x, y = _at((size, SHARE[0]))
        drawing.path([(x, y), (x, y + 6)], line=theme.muted, thickness=1)
        drawing.text((x, y + 23), name, size=SMALL, colour=theme.muted, anchor="middle")
    drawing.text((PLOT.right, PLOT.bottom + 44), "bytes a row", size=SMALL, colour=theme.muted, anchor="end")
    for series in SERIES:
        accent, points = getattr(theme, series.accent), [_at(point) for point in series.points]
        if len(points) > 1:
            drawing.path(points, line=accent.solid, thickness=2)
        for point in points:
            drawing.circle(point, 4.5, fill=accent.solid)
        drawing.text(_at(series.at), series.name, size=SMALL, colour=accent.text, anchor=series.anchor)
    return drawing


def _at(point: Point) -> Point:
    low, high = map(log2, BYTES)
    x = PLOT.left + (log2(point[0]) - low) / (high - low) * (PLOT.right - PLOT.left)
    y = PLOT.bottom - (point[1] - SHARE[0]) / (SHARE[1] - SHARE[0]) * (PLOT.bottom - PLOT.top)
    return x, y
