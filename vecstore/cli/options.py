"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

__all__ = ["AsJson", "Force", "Metric", "Quiet", "SearchMetric", "StorePath", "examples"]

Metric: TypeAlias = Literal["cosine", "dot", "l2"]
SearchMetric: TypeAlias = Literal["cosine", "dot", "l2", "hamming"]

StorePath: TypeAlias = Annotated[
    Path, typer.Argument(metavar="STORE", help="A store: a .vecs file, or a directory of shards.", show_default=False)
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Force: TypeAlias = Annotated[bool, typer.Option("--force", "-f", help="Replace what is there.")]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars and no summary.")]


def examples(*lines: str) -> str:
    """Return the foot of a command's help."""
    return "\n".join(["[bold]Examples[/bold]", *(f"  {line}" for line in lines)])
