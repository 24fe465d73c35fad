"""What a first lookup fetches of a store in a bucket (docs/buckets.md)."""

from __future__ import annotations

from vecstore.bench.scripts.docs_pictures.colours import Theme
from vecstore.bench.scripts.docs_pictures.drawing import SMALL, Box, Drawing

__all__ = ["draw"]

LEFT, RIGHT = 20.0, 400.0  # edges of the bucket, and of the disk
WIDE, CACHE_WIDE = 250.0, 220.0
PIECES = 12  # of the shard, as drawn
STEPS = (  # piece or None, words in the bucket, words on the disk, colour
    ("manifest.json", "1. which files there are", "read anew at each open", "grey"),
    ("shard….vecs.head", "2. its tree and checksums", "kept: .head", "orange"),
    ("shard….vecs", "3. one or two pages of keys", "kept: pieces of 64 KiB", "blue"),
    ("", "4. one piece of codes", "in a file with holes", "green"),
)
TOP, STEP = 92.0, 66.0
KEYS, CODES = (3, 4), (9,)


def draw(theme: Theme) -> Drawing:
    """Draw the picture."""
    bottom = TOP + len(STEPS) * STEP
    drawing = Drawing(
        bottom + 34,
        title="What a first lookup fetches",
        description=(
            "A first lookup of a key asks a bucket for the manifest, the head of a shard, one or two pieces with keys, "
            "and one piece with codes. All but the manifest stays in a cache on the disk, so that a second lookup of "
            "the same key asks for the manifest alone."
        ),
        theme=theme,
    )
    drawing.text((LEFT, 26), "In the bucket", bold=True)
    drawing.text((RIGHT, 26), "On your disk", bold=True)
    for left, wide in ((LEFT, WIDE), (RIGHT, CACHE_WIDE)):
        drawing.rect(Box(left, 40, left + wide, bottom + 4), line=theme.line, radius=8)
    for number, (name, asked, kept, colour) in enumerate(STEPS):
        y, accent = TOP + number * STEP, getattr(theme, colour)
        drawing.text((LEFT + 14, y - 24), name, size=SMALL, mono=True) if name else None
        drawing.text((LEFT + 14, y), asked, size=SMALL, colour=accent.text, bold=True)
        drawing.arrow([(LEFT + WIDE + 8, y - 5), (RIGHT - 8, y - 5)], line=accent.text)
        drawing.text((RIGHT + 14, y), kept, size=SMALL, colour=accent.text)
    for left, wide in ((LEFT, WIDE), (RIGHT, CACHE_WIDE)):
        _shard(drawing, left + 14, wide - 28, bottom - 44, here=left == LEFT)
    drawing.text((LEFT, bottom + 26), "The same key again: the manifest alone.", size=SMALL, colour=theme.muted)
    return drawing


def _shard(drawing: Drawing, left: float, wide: float, top: float, *, here: bool) -> None:
    """Draw the pieces of a shard, those that are fetched in colour; on the disk the others are holes."""
    theme, each = drawing.theme, wide / PIECES
    for piece in range(PIECES):
        accent = theme.blue if piece in KEYS else theme.green if piece in CODES else None
        box = Box(left + piece * each + 1, top, left + (piece + 1) * each - 1, top + 22)
        fill = accent.solid if accent else theme.surface if here else "none"
        drawing.rect(box, fill=fill, line="none" if accent or here else theme.line, thickness=1, dashed=not here)
