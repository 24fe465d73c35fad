"""How data flows: from a dump to what lookups and searches read."""

from __future__ import annotations

from collections.abc import Sequence

from vecstore.bench.scripts.docs_pictures.colours import Accent, Theme
from vecstore.bench.scripts.docs_pictures.drawing import SMALL, Box, Drawing

__all__ = ["draw"]

LEFT, RIGHT = 158.0, 624.0  # of the boxes
MIDDLE = (LEFT + RIGHT) / 2
GAP = 30.0
FIT = (("draw a sample", 126.0), ("fit the codec", 116.0), ("encode by blocks", 144.0))  # and how wide a box


def draw(theme: Theme) -> Drawing:
    """Draw the picture."""
    drawing = Drawing(
        566,
        title="From a dump to lookups and searches",
        description=(
            "A writer reads a dump of keys and vectors: it draws a sample, fits the codec to it and encodes all rows "
            "by blocks into shards. Shards are files that are never changed. A reader maps the shards that one "
            "manifest names, a snapshot, and answers lookups and searches from it."
        ),
        theme=theme,
    )
    dump = Box(LEFT, 8, RIGHT, 74)
    writer = Box(LEFT, dump.bottom + GAP, RIGHT, dump.bottom + GAP + 96)
    shards = Box(LEFT, writer.bottom + GAP, RIGHT, writer.bottom + GAP + 116)
    snapshot = Box(LEFT, shards.bottom + GAP, RIGHT, shards.bottom + GAP + 66)
    answers = Box(LEFT, snapshot.bottom + GAP, RIGHT, snapshot.bottom + GAP + 86)
    _box(drawing, dump, theme.grey, "Dump", "keys and vectors: .npy, Parquet, word2vec, …")
    _box(drawing, writer, theme.orange, "Writer", "")
    _steps(drawing, writer)
    _box(drawing, shards, theme.blue, "Shards", "one file each, never changed; a manifest names them")
    _files(drawing, shards)
    _box(drawing, snapshot, theme.purple, "Snapshot", "the shards of one manifest, mapped into memory")
    half = (RIGHT - LEFT - 16) / 2
    lookup, search = answers._replace(right=LEFT + half), answers._replace(left=RIGHT - half)
    _box(drawing, lookup, theme.green, "Lookup", "")
    drawing.lines((lookup.left + 14, lookup.top + 50), ("key → row number", "→ code → vector"), size=SMALL)
    _box(drawing, search, theme.green, "Search", "")
    drawing.lines((search.left + 14, search.top + 50), ("query → scan of codes", "→ the k best rows"), size=SMALL)
    for above, below in ((dump, writer), (writer, shards), (shards, snapshot)):
        drawing.arrow([(MIDDLE, above.bottom + 4), (MIDDLE, below.top - 3)], line=theme.muted)
    for box in (lookup, search):
        x = (box.left + box.right) / 2
        drawing.arrow([(x, snapshot.bottom + 4), (x, box.top - 3)], line=theme.muted)
    _phase(drawing, "Convert", ("once",), dump.top, writer.bottom)
    _phase(drawing, "On disk", ("a directory,", "or one file"), shards.top, shards.bottom)
    _phase(drawing, "Read", ("in any number", "of processes"), snapshot.top, answers.bottom)
    return drawing


def _box(drawing: Drawing, box: Box, accent: Accent, name: str, says: str) -> None:
    drawing.rect(box, fill=accent.fill, line=accent.solid, radius=6)
    drawing.text((box.left + 14, box.top + 26), name, bold=True, colour=accent.text)
    if says:
        drawing.text((box.left + 14, box.top + 50), says, size=SMALL, within=box.right - box.left - 24)


def _phase(drawing: Drawing, name: str, says: Sequence[str], top: float, bottom: float) -> None:
    """Write at the left what boxes from a height to another one have in common."""
    theme = drawing.theme
    bracket = [(LEFT - 14, top + 4), (LEFT - 20, top + 4), (LEFT - 20, bottom - 4), (LEFT - 14, bottom - 4)]
    drawing.path(bracket, line=theme.line)
    middle = (top + bottom) / 2 - 10 * len(says) + 6
    drawing.text((LEFT - 30, middle), name, bold=True, anchor="end")
    for number, words in enumerate(says):
        drawing.text((LEFT - 30, middle + 21 * (number + 1)), words, size=SMALL, colour=theme.muted, anchor="end")


def _steps(drawing: Drawing, box: Box) -> None:
    theme = drawing.theme
    gap = (box.right - box.left - 28 - sum(width for _, width in FIT)) / (len(FIT) - 1)
    left = box.left + 14
    for number, (words, width) in enumerate(FIT):
        step = Box(left, box.top + 42, left + width, box.top + 78)
        drawing.rect(step, fill=theme.page, line=theme.orange.solid, radius=4)
        drawing.text((left + width / 2, step.top + 23), words, size=SMALL, anchor="middle", within=width - 6)
        if number:
            y = (step.top + step.bottom) / 2
            drawing.arrow([(left - gap + 4, y), (left - 3, y)], line=theme.orange.text)
        left += width + gap


def _files(drawing: Drawing, box: Box) -> None:
    theme = drawing.theme
    y = box.top + 66
    x = box.left + 14
    files = (("shard-00000.vecs", 160.0, theme.blue), ("…", 30.0, theme.blue), ("manifest.json", 136.0, theme.purple))
    for name, width, accent in files:
        file, middle = Box(x, y, x + width, y + 34), (x + width / 2, y + 22)
        drawing.rect(file, fill=theme.page, line=accent.solid, radius=3)
        mono = name != "…"
        drawing.text(middle, name, size=SMALL, mono=mono, colour=accent.text, anchor="middle", within=width - 8)
        x += width + 8
