"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import typer

from vecstore.cli.completion import columns, dump_formats, files

__all__ = [
    "ArrayName",
    "AsJson",
    "Columns",
    "Dimensions",
    "DumpFormat",
    "EncodingErrors",
    "Force",
    "GroundTruth",
    "KeyColumn",
    "KeyType",
    "KeysFile",
    "Metric",
    "NumberType",
    "Quiet",
    "SearchMetric",
    "ShownColumns",
    "StorePath",
    "VectorColumn",
    "examples",
    "reading_options",
]

Metric: TypeAlias = Literal["cosine", "dot", "l2"]
SearchMetric: TypeAlias = Literal["cosine", "dot", "l2", "hamming"]

StorePath: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="STORE",
        help="A store: a .vecs file, a directory of shards, or the URL of one.",
        show_default=False,
        autocompletion=files(".vecs"),
    ),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ShownColumns: TypeAlias = Annotated[
    str | None, typer.Option("--columns", metavar="A,B,C", help="Show these columns of the rows, too.")
]
Force: TypeAlias = Annotated[bool, typer.Option("--force", "-f", help="Replace what is there.")]
GroundTruth: TypeAlias = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=0,
        help="Have N rows, and N queries, ask all rows, so that recall is not extrapolated; with --shard-size.",
        show_default=False,
    ),
]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars and no summary.")]


# How a dump is read: the parameters of a command that are named as in `vecstore.formats.ReadingOptions`.
SOURCE = "What is read"
DumpFormat: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="FORMAT",
        help="Format of the dump; the content tells otherwise. See: vecstore formats.",
        rich_help_panel=SOURCE,
        autocompletion=dump_formats,
    ),
]
KeysFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Keys of a dump of arrays: one a line, or an .npy array.",
        rich_help_panel=SOURCE,
        autocompletion=files(".txt", ".npy"),
    ),
]
KeyType: TypeAlias = Annotated[
    Literal["str", "bytes", "int64"] | None, typer.Option(help="Read keys as this type.", rich_help_panel=SOURCE)
]
KeyColumn: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Column of keys, in tables.", rich_help_panel=SOURCE, autocompletion=columns),
]
VectorColumn: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Column of vectors, in tables.", rich_help_panel=SOURCE, autocompletion=columns),
]
Columns: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,C",
        help="Columns to keep beside the vectors, for filters, in tables.",
        rich_help_panel=SOURCE,
        autocompletion=columns,
    ),
]
ArrayName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Array, tensor, table or collection, in files of several.", rich_help_panel=SOURCE
    ),
]
NumberType: TypeAlias = Annotated[
    str | None, typer.Option("--dtype", metavar="TYPE", help="Of raw files: float32, say.", rich_help_panel=SOURCE)
]
Dimensions: TypeAlias = Annotated[
    int | None,
    typer.Option("--dim", metavar="D", help="Of raw files and annoy, which do not say it.", rich_help_panel=SOURCE),
]
EncodingErrors: TypeAlias = Annotated[
    Literal["strict", "replace", "backslashreplace"] | None,
    typer.Option(help="What to do with keys that are not UTF-8.", show_default="strict", rich_help_panel=SOURCE),
]


def reading_options(context: typer.Context) -> dict[str, Any]:
    """Return what a command line says of how its dump is read."""
    from vecstore.cli.queries import names_in
    from vecstore.formats import ReadingOptions

    given = {name: context.params[name] for name in ReadingOptions.__annotations__ if name in context.params}
    return given | {"columns": names_in(given["columns"])} if given.get("columns") else given


def examples(*lines: str) -> str:
    """Return the foot of a command's help."""
    return "\n".join(["[bold]Examples[/bold]", *(f"  {line}" for line in lines)])
