"""The command that predicts what a large conversion takes: plan."""

from __future__ import annotations

from typing import Annotated

import typer

from vecstore.cli.console import notes_of_warnings, print_json, stdout
from vecstore.cli.options import AsJson, examples
from vecstore.cli.sizes import parse_size

__all__ = ["plan", "register"]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        rich_help_panel="Learn",
        epilog=examples("vecstore plan --rows 1e9 --dimensions 1024 --codec tcq:64 --machines 16"),
    )(plan)


def plan(
    rows: Annotated[float, typer.Option(metavar="N", help="Rows of the dump, such as 1e9.", show_default=False)],
    dimensions: Annotated[int, typer.Option(metavar="D", help="Of a vector.", show_default=False)],
    codec: Annotated[str, typer.Option(metavar="SPEC", help="As for convert.")] = "sq:8",
    machines: Annotated[int, typer.Option(metavar="N", help="How many.")] = 1,
    cores: Annotated[int, typer.Option(metavar="N", help="Of each; one worker a core.")] = 8,
    shard_bytes: Annotated[str, typer.Option("--shard-size", metavar="SIZE", help="As for convert.")] = "1GiB",
    files: Annotated[int | None, typer.Option(metavar="N", help="Of the dump.", show_default="one a GiB")] = None,
    key_bytes: Annotated[int, typer.Option(metavar="B", help="Of a key, on average; 0 for none.")] = 16,
    memory_bytes: Annotated[
        str, typer.Option("--memory", metavar="SIZE", help="Of a machine that searches.")
    ] = "64GiB",
    disk_bytes_s: Annotated[
        str, typer.Option("--disk", metavar="SIZE", help="What a machine reads and writes in a second.")
    ] = "500MB",
    as_json: AsJson = False,
) -> None:
    """Predict bytes, hours and machines of a conversion, from a small one that is measured here.

    That takes from ten seconds to a few minutes, on all cores.
    """
    from vecstore.conversion.capacity import plan as predict

    with notes_of_warnings():
        found = predict(
            rows,
            dimensions,
            codec,
            machines=machines,
            cores=cores,
            shard_bytes=parse_size(shard_bytes),
            files=files,
            key_bytes=key_bytes,
            memory_bytes=parse_size(memory_bytes),
            disk_bytes_s=parse_size(disk_bytes_s),
        )
    if as_json:
        print_json(found.to_dict())
    else:
        stdout().print(str(found), highlight=False, soft_wrap=True)
