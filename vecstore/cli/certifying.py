"""The command that measures a certificate again: certify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vecstore.cli.certificates import certificate, covered
from vecstore.cli.console import facts, print_json, stdout
from vecstore.cli.editing import PANEL, Format, KeyColumn, Keys, VectorColumn, Wait
from vecstore.cli.options import AsJson, Quiet, StorePath, examples
from vecstore.cli.queries import read_queries

__all__ = ["certify", "register"]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    lines = [
        "vecstore certify items.vecs",
        "vecstore certify items.vecs items.parquet --key-column id",
        "vecstore certify items.vecs items.npy --keys items.txt --queries queries.npy",
    ]
    app.command(rich_help_panel=PANEL, epilog=examples(*lines))(certify)


def certify(
    store: StorePath,
    dump: Annotated[
        str | None, typer.Argument(metavar="DUMP", help="All rows that live, by key.", show_default=False)
    ] = None,
    format: Format = None,
    keys: Keys = None,
    key_column: KeyColumn = None,
    vector_column: VectorColumn = None,
    queries: Annotated[
        Path | None, typer.Option(metavar="FILE.npy", help="Real queries: the certificate tells of them, too.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Which rows are drawn.", min=0)] = 0,
    wait: Wait = 0.0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measure the certificate of a store again, after edits, and put it in force as a new generation.

    With the dump of all rows that live: everything that a conversion measures, of what the store holds.

    Without it: what searches find of the rows that exact scores of the codes put first, not what the codes lost.

    Rows of the dump that the store does not have are passed over. Without keys: those that live, in their order.
    """
    import vecstore
    from vecstore.formats import open_dump
    from vecstore.formats.remote import fetched
    from vecstore.shard.certificate import Certificate

    source = None
    if dump is not None:
        with vecstore.open(store) as opened:
            key_type = opened.key_type
        source = open_dump(
            fetched(dump),
            key_type=key_type,
            format=format,
            keys=keys,
            key_column=key_column,
            vector_column=vector_column,
        )
    given = None if queries is None else read_queries(str(queries))
    found = vecstore.certify(store, source, queries=given, seed=seed, wait=wait, progress=not quiet and not as_json)
    if as_json:
        print_json(found)
    elif not quiet:
        with vecstore.open(store) as opened:
            about = opened.info()
        lines = certificate(Certificate.from_dict(about["certificate"]))
        stdout().print(facts(*lines, *covered(about["certified"])))
