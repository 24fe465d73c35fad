"""What the commands that read print: vectors, columns and answers, for people and for pipes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from rich.text import Text

from vecstore.cli.console import stdout, table
from vecstore.cli.options import SearchMetric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["decimals", "print_answers", "print_columns", "print_vectors"]

OWN = ("key", "row", "score")  # of what a search prints
PREVIEW = 6  # numbers of a vector that fit a terminal


def decimals(x: NDArray[np.float32]) -> list[float]:
    """Return the numbers of a vector, as short as they read back."""
    return [float(str(value)) for value in x]  # the shortest decimals that are the same float32


def print_vectors(keys: list[str | int], vectors: NDArray[np.float32]) -> None:
    """Print a line for each key and its vector, or what fits a terminal of it."""
    if not sys.stdout.isatty():
        for key, x in zip(keys, vectors, strict=True):
            print(key, *decimals(x))
        return
    import numpy as np

    shown = table("key", "length", "vector", right=("length",))
    for key, x in zip(keys, vectors, strict=True):
        numbers = " ".join(f"{value: .4f}" for value in x[:PREVIEW].tolist())
        more = f" ... {len(x) - PREVIEW} more" if len(x) > PREVIEW else ""
        shown.add_row(Text(str(key)), f"{np.linalg.norm(x):.4f}", numbers + more)
    stdout().print(shown)


def print_columns(keys: list[str | int], beside: list[dict[str, Any]]) -> None:
    """Print a table of keys and what their rows have in columns."""
    shown = table("key", *beside[0])
    for key, own in zip(keys, beside, strict=True):
        shown.add_row(Text(str(key)), *(Text("" if value is None else str(value)) for value in own.values()))
    stdout().print(shown)


def print_answers(answers: list[dict[str, Any]], metric: SearchMetric, *, titled: bool) -> None:
    """Print what searches found, a table each."""
    score = {"l2": "squared distance", "hamming": "bits that differ"}.get(metric, metric)
    out = stdout()
    for answer in answers:
        beside = [name for name in answers[0]["neighbours"][0] if name not in OWN] if answers[0]["neighbours"] else []
        shown = table("key", score, "row", *beside, right=(score, "row"))
        if titled:
            out.print(Text(f"\n{answer['query']}", style="bold"))
        for found in answer["neighbours"]:
            texts = [Text("" if found[name] is None else str(found[name])) for name in beside]
            shown.add_row(Text(str(found["key"])), f"{found['score']:.4f}", f"{found['row']:,}", *texts)
        out.print(shown)
