"""Draw the pictures of the documentation: SVG files, one for light pages and one for dark ones each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from vecstore.bench.scripts.docs_pictures import (
    bucket_lookup,
    candidates,
    cells,
    encoder,
    file_parts,
    filter_plan,
    flow,
    fusion,
    generations,
    maxsim,
    recall,
    scan_bytes,
    sparse_lists,
    tile,
    tower,
    turn,
)
from vecstore.bench.scripts.docs_pictures.colours import THEMES, Theme
from vecstore.bench.scripts.docs_pictures.drawing import Drawing

__all__ = ["draw_all", "pictures"]


def pictures(benchmarks: Path) -> Mapping[str, Callable[[Theme], Drawing]]:
    """Return what draws each picture, by its name.

    Parameters
    ----------
    benchmarks : Path
        docs/benchmarks.md, whose first table of recall is drawn.
    """
    return {
        "bucket-lookup": bucket_lookup.draw,
        "candidates": candidates.draw,
        "cells": cells.draw,
        "encoder": encoder.draw,
        "file-parts": file_parts.draw,
        "filter-plan": filter_plan.draw,
        "flow": flow.draw,
        "fusion": fusion.draw,
        "generations": generations.draw,
        "maxsim": maxsim.draw,
        "recall": partial(recall.draw, page=benchmarks.read_text(encoding="utf-8")),
        "scan-bytes": scan_bytes.draw,
        "sparse-lists": sparse_lists.draw,
        "tile": tile.draw,
        "tower": tower.draw,
        "turn": turn.draw,
    }


def draw_all(benchmarks: Path) -> dict[str, str]:
    """Return the text of each file by its name, such as ``cells-dark.svg``."""
    drawn = pictures(benchmarks).items()
    return {f"{name}-{theme.name}.svg": draw(theme).svg() for name, draw in drawn for theme in THEMES}
