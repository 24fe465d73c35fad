"""How the bytes of rows lie in tiles (docs/format.md, section 4 (Parts, blocks and checksums))."""

from __future__ import annotations

from typing import NamedTuple

from vecstore.bench.scripts.docs_pictures.colours import Accent, Theme
from vecstore.bench.scripts.docs_pictures.drawing import SMALL, Box, Drawing

__all__ = ["COARSE", "TRELLIS", "Tile", "draw"]

LEFT, RIGHT = 16.0, 624.0
WORDS = 322.0  # where the explanations begin
CELL = 29.0  # height of one
ROWS = "abc…z"  # the first three rows of a tile, those between, and its last one


class Tile(NamedTuple):
    """One of the two kinds of tiles.

    Attributes
    ----------
    together : int
        Bytes of a row that lie together: a chunk.
    chunks : int
        That are drawn in the matrix of rows.
    runs : int
        Chunks of all rows that are drawn in a row, as they lie in the file.
    wide, narrow : float
        Width of a cell of the matrix, and of one of the file.
    """

    rows: int
    together: int
    codecs: str
    chunks: int
    runs: int
    wide: float
    narrow: float
    words: tuple[str, ...]

    def label(self, row: str, chunk: int) -> str:
        """Return how a chunk of a row is called: a0, or a0–7."""
        first = chunk * self.together
        return f"{row}{first}" if self.together == 1 else f"{row}{first}–{first + self.together - 1}"

    def run(self, chunk: int) -> list[str]:
        """Return what a run holds: one chunk of each row, row after row."""
        return ["…" if row == "…" else self.label(row, chunk) for row in ROWS]


COARSE = Tile(
    rows=32,
    together=1,
    codecs="pq, opq, sq:4, bin, …",
    chunks=4,
    runs=3,
    wide=37,
    narrow=37,
    words=(
        "A run holds one byte of 32 rows.",
        "A search loads a run at once, and",
        "looks up 32 rows in one step.",
        "The bytes of a row lie 32 apart.",
    ),
)
TRELLIS = Tile(
    rows=2048,
    together=8,
    codecs="tcq",
    chunks=3,
    runs=2,
    wide=68,
    narrow=58.5,
    words=(
        "A run holds eight bytes of 2,048 rows.",
        "A scan of the first bytes reads",
        "the first runs, and no others.",
        "One row: a cache line for 8 bytes.",
    ),
)


def draw(theme: Theme) -> Drawing:
    """Draw the picture."""
    drawing = Drawing(
        672,
        title="How codes lie in tiles",
        description=(
            "In a tile of 32 rows byte 0 of all rows comes first, then byte 1 of all rows, and so on. "
            "In a tile of 2,048 rows, which tcq has, bytes 0 to 7 of each row come first, row after row, "
            "then bytes 8 to 15 of each row, and so on."
        ),
        theme=theme,
    )
    _tile(drawing, COARSE, 0)
    drawing.path([(LEFT, 337), (RIGHT, 337)], line=theme.line, thickness=1)
    _tile(drawing, TRELLIS, 342)
    return drawing


def _accents(theme: Theme) -> tuple[Accent, ...]:
    return theme.blue, theme.green, theme.orange, theme.purple


def _tile(drawing: Drawing, tile: Tile, top: float) -> None:
    theme = drawing.theme
    drawing.text((LEFT, top + 24), f"Tiles of {tile.rows:,} rows", bold=True)
    drawing.text((RIGHT, top + 24), tile.codecs, size=SMALL, mono=True, colour=theme.muted, anchor="end")
    _matrix(drawing, tile, top + 62)
    drawing.lines((WORDS, top + 92), tile.words, leading=25)
    _runs(drawing, tile, top + 256)


def _matrix(drawing: Drawing, tile: Tile, top: float) -> None:
    """Draw rows below each other, the chunks of each beside each other."""
    theme = drawing.theme
    drawing.text((LEFT, top - 9), "rows of the part", size=SMALL, colour=theme.muted)
    for i, row in enumerate(ROWS):
        y = top + i * CELL
        for chunk in range(tile.chunks):
            x = LEFT + chunk * tile.wide
            _cell(drawing, Box(x, y, x + tile.wide, y + CELL), "⋮" if row == "…" else tile.label(row, chunk), chunk)
        x = LEFT + tile.chunks * tile.wide
        words = {"a": "… row 0", "b": "… row 1", "c": "… row 2", "z": f"… row {tile.rows - 1:,}"}.get(row)
        if words:
            drawing.text((x + 8, y + 20), words, size=SMALL, colour=theme.muted)


def _runs(drawing: Drawing, tile: Tile, top: float) -> None:
    """Draw the tile as it lies in the file."""
    theme = drawing.theme
    drawing.text((LEFT, top - 10), "in the file", size=SMALL, colour=theme.muted)
    x = LEFT
    for chunk in range(tile.runs):
        start = x
        for label in tile.run(chunk):
            width = 26.0 if label == "…" else tile.narrow
            _cell(drawing, Box(x, top, x + width, top + CELL), label, chunk)
            x += width
        y = top + CELL + 6
        drawing.path([(start + 2, y), (start + 2, y + 5), (x - 2, y + 5), (x - 2, y)], line=theme.muted, thickness=1.2)
        size = tile.rows * tile.together
        words = f"{size} bytes" if size < 1024 else f"{size // 1024} KiB"
        drawing.text(((start + x) / 2, y + 24), words, size=SMALL, colour=theme.muted, anchor="middle")
    drawing.text((x + 8, top + 19), "…", colour=theme.muted)


def _cell(drawing: Drawing, box: Box, label: str, chunk: int) -> None:
    accent = _accents(drawing.theme)[chunk]
    drawing.rect(box, fill=accent.fill, line=accent.solid, thickness=1.2)
    middle = ((box.left + box.right) / 2, box.top + 20)
    drawing.text(
        middle,
        label,
        size=SMALL,
        mono=label not in "…⋮",
        colour=accent.text,
        anchor="middle",
        within=box.right - box.left,
    )
