"""Pictures of a bench as files: recall against bytes, speed against recall, and the spread over the queries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from vecstore.bench.summary import Line, Summary

from vecstore.errors import require

__all__ = ["COLOURS", "colour_of", "draw"]

INK = "#7a7f87"  # readable on light and dark pages
COLOURS = [
    "#2f9e77",
    "#d9822b",
    "#4c78d0",
    "#d1495b",
    "#b05fc4",
    "#8a9a1f",
    "#1f9fb5",
    "#a0704a",
    "#e07ba8",
    "#5d6fa8",
    "#c2a21f",
    "#6bbf59",
    "#7d6b91",
    "#c45f3c",
]
PEER_COLOURS = [
    "#8c939c",
    "#a48f7a",
    "#7f9aa8",
    "#9a86a3",
    "#86a08b",
    "#b09393",
    "#8f8fb0",
    "#a3a06f",
    "#7fa39f",
    "#b0a08a",
]
SPREAD_LINES = 10  # of the distribution's picture
NAMED_APART = 0.25  # powers of two between dots that are named


def draw(summary: Summary, folder: Path) -> list[Path]:
    """Write ``recall``, ``speed`` and ``queries`` as .svg and .png into a folder; return the files."""
    written = []
    for name, picture in (("recall", recall), ("speed", _speed), ("queries", _queries)):
        for suffix in ("svg", "png"):
            written.append(save(summary, folder / f"{name}.{suffix}", picture))
    return written


def save(summary: Summary, path: Path, picture: Callable[[Summary, Any], None]) -> Path:
    """Draw one picture to a file."""
    matplotlib: Any = require("matplotlib", purpose="drawing")
    matplotlib.use("Agg")
    matplotlib.rcParams |= {"svg.hashsalt": "vecstore", "svg.fonttype": "none"}
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.6), layout="constrained")
    picture(summary, axes)
    axes.grid(color=INK, alpha=0.25)
    axes.tick_params(colors=INK)
    for spine in axes.spines.values():
        spine.set_color(INK)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    about = summary.about["split"]
    title = f"{about['name']}: {about['base_rows']:,} rows x {about['dimensions']}, {about['queries']} queries"
    axes.set_title(title, color=INK, fontsize=10)
    figure.savefig(path, transparent=True, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
    return path


def families(summary: Summary) -> dict[str, list[Line]]:
    """Return the lines of each family by rising bytes; those of vecstore first."""
    found: dict[str, list[Line]] = {}
    for line in sorted(summary.lines, key=lambda line: line.kind != "codec"):
        found.setdefault(line.family, []).append(line)
    return found


def colour_of(summary: Summary) -> dict[str, str]:
    """Return a colour for each family; peers are greyish."""
    own = {line.family: line.kind for line in summary.lines}
    codecs = sorted(name for name, kind in own.items() if kind == "codec")
    peers = sorted(name for name, kind in own.items() if kind != "codec")
    chosen = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(codecs)}
    return chosen | {name: PEER_COLOURS[i % len(PEER_COLOURS)] for i, name in enumerate(peers)}


def recall(summary: Summary, axes: Any) -> None:
    """Draw recall@10 against bytes a row, with 95% intervals, and the best at every size as a line."""
    colours = colour_of(summary)
    for family, lines in families(summary).items():
        sizes, values = [line.code_bytes for line in lines], [line.recall.value for line in lines]
        errors = np.array(
            [
                [max(line.recall.value - line.recall.low, 0), max(line.recall.high - line.recall.value, 0)]
                for line in lines
            ]
        ).T
        peer = lines[0].kind == "peer"
        style: dict[str, Any] = {"fmt": "x" if peer else "o", "ms": 5, "lw": 1, "color": colours[family]}
        axes.errorbar(sizes, values, yerr=errors, label=family, alpha=0.8, **style)
    front = frontier(summary)
    axes.step([line.code_bytes for line in front], [line.recall.value for line in front], where="post", color=INK, lw=1)
    _name(axes, colours, front)
    sizes = sorted({line.code_bytes for line in summary.lines})
    axes.set_xscale("log", base=2)
    ticks = [2**p for p in range(1, 15) if sizes[0] / 1.5 <= 2**p <= sizes[-1] * 1.5]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xlabel(f"bytes a vector (float32: {4 * summary.about['split']['dimensions']})")
    axes.set_ylabel("recall@10, held out")
    _legend(axes)


def _name(axes: Any, colours: dict[str, str], front: list[Line]) -> None:
    """Draw the codecs of the frontier above all other dots, and write the names of those that lie apart."""
    before = -np.inf
    for line in front:
        if line.kind == "peer":
            continue
        axes.plot(line.code_bytes, line.recall.value, "o", ms=5, color=colours[line.family], zorder=3)
        if np.log2(line.code_bytes) - before > NAMED_APART:
            place = {"xytext": (-6, 4), "textcoords": "offset points", "ha": "right"}
            axes.annotate(line.label, (line.code_bytes, line.recall.value), fontsize=7, color=INK, **place)
            before = np.log2(line.code_bytes)


def frontier(summary: Summary) -> list[Line]:
    """Return the lines that keep more than every smaller one."""
    front: list[Line] = []
    for line in summary.lines:
        if not front or line.recall.value > front[-1].recall.value:
            front.append(line)
    return front


def _speed(summary: Summary, axes: Any) -> None:
    """Draw queries a second against recall."""
    from matplotlib import ticker

    colours = colour_of(summary)
    name = "queries/s, batch 64"
    for family, lines in families(summary).items():
        timed = [line for line in lines if name in line.metrics]
        if timed:
            speeds = [line.metrics[name].value for line in timed]
            marker = "x" if timed[0].kind == "peer" else "o"
            axes.plot([line.recall.value for line in timed], speeds, marker, color=colours[family], label=family)
    axes.set_yscale("log")
    plain = ticker.FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(plain)
    axes.yaxis.set_minor_locator(ticker.NullLocator())
    axes.set_xlabel("\n".join(["recall@10, held out", *(note.lstrip("‡ ") for note in summary.about["notes"])]))
    axes.set_ylabel("queries a second, 64 at once")
    _legend(axes)


def _queries(summary: Summary, axes: Any) -> None:
    """Draw what share of the queries reaches each recall, for the lines of the frontier."""
    front = frontier(summary)
    picked = [front[i] for i in sorted({round(i) for i in np.linspace(0, len(front) - 1, SPREAD_LINES)})]
    from matplotlib import colormaps

    for number, line in enumerate(picked):
        values = np.sort(line.queries["recall@10"])
        share = 1 - np.arange(len(values)) / len(values)
        colour = colormaps["viridis"](0.15 + 0.75 * number / max(len(picked) - 1, 1))
        axes.step(values, share, where="pre", color=colour, label=f"{line.label}, {line.code_bytes:g} B")
    axes.set_xlabel("recall@10 of a query")
    axes.set_ylabel("share of queries at least as good")
    _legend(axes)


def _legend(axes: Any) -> None:
    axes.legend(frameon=False, labelcolor=INK, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
