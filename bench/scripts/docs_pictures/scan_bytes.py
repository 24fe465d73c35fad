"""A search that scans first bytes of codes, and reads more of few rows (docs/search.md)."""

from __future__ import annotations

from vecstore.bench.scripts.docs_pictures.colours import Accent, Theme
from vecstore.bench.scripts.docs_pictures.drawing import SMALL, Box, Drawing

__all__ = ["draw"]

CODE_BYTES, CHUNK_BYTES = 64, 8
STAGES = (16, 32, 64)  # bytes of a row that are known after each stage
ROWS = 19
PASSED = ((2, 5, 6, 11, 14, 16), (5, 11, 14))  # rows that come to the second and to the third stage
LEFT, TOP = 58.0, 66.0
CELL, HEIGHT, GAP = 34.0, 20.0, 5.0
EXACT = 364.0  # middle of the last column
WORDS = 396.0
STEPS = (
    ("blue", "Scan 16 bytes of all rows", ("tables give each row", "an approximate score")),
    ("green", "Above the threshold?", ("and near the k best so far?", "read 32 bytes of the row")),
    ("orange", "Still near the k best?", ("read all 64 bytes",)),
    ("purple", "Best rescore × k rows", ("score exactly,", "return the k best")),
)


def draw(theme: Theme) -> Drawing:
    """Draw the picture."""
    bottom = TOP + ROWS * HEIGHT
    drawing = Drawing(
        bottom + 46,
        title="A scan of first bytes",
        description=(
            "The first 16 bytes of the codes of all rows are scanned. Of rows whose score by them is above a "
            "threshold 32 bytes are read; of those that come near the k best so far, all 64. "
            "The best of these are scored exactly."
        ),
        theme=theme,
    )
    _head(drawing)
    for row in range(ROWS):
        _row(drawing, row, TOP + row * HEIGHT)
    _steps(drawing)
    words = "How high the threshold is was measured at conversion, with held-out rows."
    drawing.text((LEFT, bottom + 32), words, size=SMALL, colour=theme.muted)
    return drawing


def _accents(theme: Theme) -> tuple[Accent, ...]:
    return theme.blue, theme.green, theme.orange


def _left_of(chunk: int) -> float:
    """Return where a chunk's column begins: there is a gap before the bytes of each stage."""
    before = sum(chunk * CHUNK_BYTES >= known for known in STAGES)
    return LEFT + chunk * CELL + before * GAP


def _head(drawing: Drawing) -> None:
    first = 0
    for known, accent in zip(STAGES, _accents(drawing.theme), strict=True):
        middle = (_left_of(first // CHUNK_BYTES) + _left_of(known // CHUNK_BYTES - 1) + CELL) / 2
        drawing.text((middle, TOP - 12), f"{first}–{known - 1}", size=SMALL, colour=accent.text, anchor="middle")
        first = known
    drawing.text((EXACT, TOP - 12), "exact", size=SMALL, colour=drawing.theme.purple.text, anchor="middle")
    drawing.text((LEFT, 22), "Bytes of a code of tcq:64", bold=True)
    drawing.text((LEFT - 8, TOP - 12), "row", size=SMALL, colour=drawing.theme.muted, anchor="end")


def _row(drawing: Drawing, row: int, y: float) -> None:
    theme = drawing.theme
    known = STAGES[sum(row in rows for rows in PASSED)]
    number = "…" if row == ROWS - 2 else "n − 1" if row == ROWS - 1 else f"{row}"
    drawing.text((LEFT - 8, y + 15), number, size=SMALL, colour=theme.muted, anchor="end")
    for chunk in range(CODE_BYTES // CHUNK_BYTES):
        stage = sum(chunk * CHUNK_BYTES >= bytes_known for bytes_known in STAGES)
        read = chunk * CHUNK_BYTES < known
        x = _left_of(chunk)
        fill, line = (_accents(theme)[stage].solid, "none") if read else ("none", theme.line)
        drawing.rect(Box(x, y + 2, x + CELL - 2, y + HEIGHT - 2), fill=fill, line=line, thickness=1, radius=2)
    if known == CODE_BYTES:
        drawing.circle((EXACT, y + HEIGHT / 2), 6, fill=theme.purple.solid)


def _steps(drawing: Drawing) -> None:
    theme = drawing.theme
    y = TOP + 24
    for number, (name, question, then) in enumerate(STEPS):
        accent = getattr(theme, name)
        drawing.circle((WORDS + 13, y - 6), 13, fill=accent.fill, line=accent.solid)
        drawing.text((WORDS + 13, y - 0.5), f"{number + 1}", size=SMALL, colour=accent.text, anchor="middle", bold=True)
        drawing.text((WORDS + 36, y), question, size=SMALL + 0.5, bold=True)
        drawing.lines((WORDS + 36, y + 23), then, size=SMALL, colour=theme.muted)
        y += 58 + 22 * len(then)
