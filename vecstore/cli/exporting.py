"""The command that writes a store back as a dump: export."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vecstore.cli.completion import export_formats, files
from vecstore.cli.console import facts, stderr
from vecstore.cli.options import Force, Quiet, StorePath, examples
from vecstore.cli.queries import names_in
from vecstore.cli.sizes import format_bytes
from vecstore.cli.writing import PANEL
from vecstore.errors import ExistsError
from vecstore.progress import Listener, Step, reported

if TYPE_CHECKING:
    from vecstore.formats import Batch
    from vecstore.store.store import Store

__all__ = ["export", "register"]

EXPORT_ROWS = 8192


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        rich_help_panel=PANEL,
        epilog=examples(
            "vecstore export words.vecs words.parquet",
            "vecstore export words.vecs words.txt --to word2vec",
        ),
    )(export)


def export(
    store: StorePath,
    destination: Annotated[
        str,
        typer.Argument(
            metavar="DST",
            help="The file to write, or its URL; its ending tells the format without --to.",
            show_default=False,
            autocompletion=files(""),
        ),
    ],
    format: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help="parquet, word2vec, npy or another; see: vecstore formats.",
            autocompletion=export_formats,
        ),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Columns to write beside the vectors (parquet, arrow).")
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Write a store back as a dump that other programs read.

    Vectors come out as the codec keeps them: exact from f32 only.
    """
    import vecstore
    from vecstore.formats import write_dump

    with vecstore.open(store) as opened, reported(not quiet) as report:
        if os.path.exists(destination) and os.path.exists(store) and os.path.samefile(destination, store):
            raise ExistsError(f"{destination}: is the store itself; choose another name for the dump")
        write_dump(
            destination,
            _batches(opened, report),
            dimensions=opened.dimensions,
            rows=len(opened),
            key_type=opened.key_type,
            format=format,
            force=force,
            columns=None if columns is None else _columns(opened, names_in(columns)),
            keys=opened.keys,
        )
        rows, left = len(opened), [field["name"] for field in opened.info()["fields"]]
    if left:
        stderr().print(f"Fields are not exported: {', '.join(left)}; store.field(name) reads them.", markup=False)
    if not quiet:
        stderr().print(facts(("exported", f"{rows:,} rows to {destination}{_size(destination)}")))


def _columns(store: Store, names: list[str]) -> Any:
    from vecstore.store.columns import decoded, some_columns

    return decoded(some_columns(store.columns, names, store.living_rows))


def _batches(store: Store, report: Listener) -> Iterator[Batch]:
    from vecstore.conversion.sources.store_dump import StoreDump

    done = 0
    for batch in StoreDump(store).batches(EXPORT_ROWS):
        yield batch
        done += len(batch)
        report(Step("writing", done, len(store)))


def _size(destination: str) -> str:
    """Return how large what was written is, as the end of a line; nothing is told of what lies in a bucket."""
    path = Path(destination)
    if not path.exists():
        return ""
    files = path.rglob("*") if path.is_dir() else [path]
    return ", " + format_bytes(sum(file.stat().st_size for file in files))
