"""How sparse terms lie in a file (docs/sparse.md)."""

from __future__ import annotations

from vecstore.bench.scripts.docs_pictures.colours import Accent, Theme
from vecstore.bench.scripts.docs_pictures.drawing import SMALL, Box, Drawing

__all__ = ["draw"]

LEFT, SEGMENT, GAP = 130.0, 150.0, 12.0
TOP, HEIGHT, BETWEEN = 104.0, 40.0, 26.0
LISTS = (
    ("software", "blue", ("code each row",) * 3),
    ("python", "green", ("gaps, codes",) * 3),
    ("zope", "orange", ("row, row; codes",)),
)


def draw(theme: Theme) -> Drawing:
    """Draw the picture."""
    drawing = Drawing(
        TOP + 3 * (HEIGHT + BETWEEN) + 34,
        title="Inverted lists of sparse terms",
        description=(
            "A group of up to 65,536 rows is cut into segments of 4,096. The list of a term has a chunk for each "
            "segment: a code for each row where many rows have the term, else gaps and codes. Short lists are not cut."
        ),
        theme=theme,
    )
    drawing.text((20, 26), "A group of up to 65,536 rows: one list a term", bold=True)
    for segment in range(3):
        left = LEFT + segment * (SEGMENT + GAP)
        drawing.text((left, 64), f"segment {segment}", size=SMALL, bold=True)
        drawing.text((left, 84), "4,096 rows", size=SMALL, colour=theme.muted)
    for number, (term, accent, chunks) in enumerate(LISTS):
        _list(drawing, TOP + number * (HEIGHT + BETWEEN), term, getattr(theme, accent), chunks)
    drawing.text(
        (20, TOP + 3 * (HEIGHT + BETWEEN) + 16),
        "A search adds up one segment at a time, list after list.",
        size=SMALL,
        colour=theme.muted,
    )
    return drawing


def _list(drawing: Drawing, y: float, term: str, accent: Accent, chunks: tuple[str, ...]) -> None:
    drawing.text((20, y + 26), term, size=SMALL, bold=True)
    for place, words in enumerate(chunks):
        left = LEFT + place * (SEGMENT + GAP)
        drawing.rect(Box(left, y, left + SEGMENT, y + HEIGHT), fill=accent.fill, line=accent.solid, thickness=1)
        drawing.text((left + 12, y + 26), words, size=SMALL, colour=accent.text)
