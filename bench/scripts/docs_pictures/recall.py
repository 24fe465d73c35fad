"""Recall against bytes: the best that vecstore and other libraries keep, from a table of docs/benchmarks.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from math import log2
from typing import NamedTuple

from vecstore.bench.scripts.docs_pictures.colours import Theme
from vecstore.bench.scripts.docs_pictures.drawing import SMALL, Anchor, Box, Drawing, Point

from vecstore.errors import FormatError

__all__ = ["Run", "Series", "best_of", "draw", "runs_in", "series_of"]

TABLE = re.compile(r"<!-- recall -->\n(.*?)<!-- /recall -->", re.DOTALL)
ABOUT = re.compile(r"\*\*(.+?)\*\*, (\d+) dimensions: trained on [\d,]+ rows, searched ([\d,]+) others")
PLOT = Box(58, 62, 620, 430)
BYTES = (11.0, 470.0)  # ends of the axis
RECALL = (0.3, 1.0)


class Run(NamedTuple):
    """A line of the table."""

    label: str
    code_bytes: float
    recall: float


class Series(NamedTuple):
    """The best runs of a library.

    Attributes
    ----------
    starts : str
        What the labels of its runs begin with; nothing for vecstore, whose labels are codecs.
    at : (bytes, recall)
        Where the name begins or ends.
    """

    name: str
    starts: str
    accent: str
    at: Point
    anchor: Anchor = "start"


SERIES = (
    Series("usearch i8", "usearch i8", "grey", (440, 0.917), "end"),
    Series("usearch b1", "usearch b1", "grey", (51, 0.571)),
    Series("rabitqlib", "rabitqlib ", "grey", (68, 0.665)),
    Series("LanceDB", "lancedb ", "purple", (22.6, 0.569), "end"),
    Series("ScaNN", "scann ", "green", (15, 0.358)),
    Series("faiss, best index", "faiss ", "orange", (11.3, 0.728)),
    Series("vecstore, best codec", "", "blue", (44, 0.865), "end"),
)


def runs_in(page: str) -> list[Run]:
    """Return the runs of the first data set's table."""
    rows = _first_table(page)
    return [Run(row[0].strip("`†"), float(row[1]), float(row[4].split()[0])) for row in rows]


def series_of(runs: Sequence[Run], series: Series) -> list[Run]:
    """Return what is drawn of a series."""
    own = [run for run in runs if (run.label.startswith(series.starts) if series.starts else " " not in run.label)]
    return [run for run in best_of(own) if BYTES[0] <= run.code_bytes <= BYTES[1]]


def best_of(runs: Iterable[Run]) -> list[Run]:
    """Return the runs that keep more than all that are as small or smaller."""
    best: list[Run] = []
    for run in sorted(runs, key=lambda run: (run.code_bytes, -run.recall)):
        if not best or run.recall > best[-1].recall:
            best.append(run)
    return best


def draw(theme: Theme, page: str) -> Drawing:
    """Draw the picture from the text of docs/benchmarks.md.

    Raises
    ------
    FormatError
        The page has no table of recall.
    """
    section, runs = _section(page), runs_in(page)
    about = ABOUT.search(section)
    if not about:
        raise FormatError("the table of recall does not say what it is of: write it by bench.scripts.tables")
    name, dimensions, rows = about.groups()
    drawn = {series: series_of(runs, series) for series in SERIES}
    drawing = Drawing(
        484,
        title="Recall against bytes",
        description=f"Recall at 10 against bytes of a code. {name}, {dimensions} dimensions. " + _spoken(drawn),
        theme=theme,
    )
    drawing.text((16, 24), "Recall@10 against bytes of a code", bold=True)
    drawing.text((16, 46), f"{name}, {rows} rows", size=SMALL, colour=theme.muted)
    _axes(drawing, 4 * int(dimensions))
    note = _at(BYTES[1], 0.32)
    drawing.text(note, "bytes of codes; models are not counted", size=SMALL, colour=theme.muted, anchor="end")
    for series, shown in drawn.items():
        _line(drawing, series, shown)
    return drawing


def _section(page: str) -> str:
    found = TABLE.search(page)
    if not found or "\n|" not in found[1]:
        raise FormatError("the page has no table between <!-- recall --> and <!-- /recall -->")
    return found[1]


def _first_table(page: str) -> list[list[str]]:
    """Return the fields of the first table's rows, without its head."""
    section = _section(page)
    lines = section[section.index("\n|") + 1 :].split("\n\n")[0].splitlines()
    return [[field.strip() for field in line.strip("|").split("|")] for line in lines[2:]]


def _spoken(drawn: dict[Series, list[Run]]) -> str:
    """Return the numbers in words."""
    told = []
    for series, runs in reversed(drawn.items()):
        told.append(f"{series.name}: " + ", ".join(f"{run.recall:.2f} at {run.code_bytes:g} bytes" for run in runs))
    return ". ".join(told) + "."


def _at(code_bytes: float, recall: float) -> Point:
    low, high = map(log2, BYTES)
    x = PLOT.left + (log2(code_bytes) - low) / (high - low) * (PLOT.right - PLOT.left)
    y = PLOT.bottom - (recall - RECALL[0]) / (RECALL[1] - RECALL[0]) * (PLOT.bottom - PLOT.top)
    return x, y


def _axes(drawing: Drawing, row_bytes: int) -> None:
    theme = drawing.theme
    for tenth in range(3, 11):
        x, y = _at(BYTES[0], tenth / 10)
        drawing.path([(x, y), (PLOT.right, y)], line=theme.line, thickness=0.6)
        drawing.text((x - 8, y + 5), f"{tenth / 10:.1f}", size=SMALL, colour=theme.muted, anchor="end")
    for size in (16, 32, 64, 128, 256):
        x, y = _at(size, RECALL[0])
        drawing.path([(x, y), (x, y + 6)], line=theme.muted, thickness=1)
        drawing.text((x, y + 23), f"{size}", size=SMALL, colour=theme.muted, anchor="middle")
        drawing.text((x, y + 42), f"{row_bytes // size}×", size=SMALL, colour=theme.muted, anchor="middle")
    drawing.text((PLOT.right, PLOT.bottom + 23), "bytes", size=SMALL, colour=theme.muted, anchor="end")
    drawing.text((PLOT.right, PLOT.bottom + 42), "smaller", size=SMALL, colour=theme.muted, anchor="end")


def _line(drawing: Drawing, series: Series, runs: Sequence[Run]) -> None:
    theme, own = drawing.theme, not series.starts
    accent = getattr(theme, series.accent)
    colour = theme.muted if series.accent == "grey" else accent.solid
    points = [_at(run.code_bytes, run.recall) for run in runs]
    drawing.path(points, line=colour, thickness=3 if own else 1.8 if series.accent != "grey" else 1.2)
    for point in points:
        drawing.circle(point, 5 if own else 3.5, fill=colour)
    drawing.text(_at(*series.at), series.name, size=SMALL, colour=accent.text, anchor=series.anchor, bold=own)
