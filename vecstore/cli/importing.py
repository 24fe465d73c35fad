"""The command that imports tables which other libraries trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vecstore.cli.completion import files
from vecstore.cli.console import facts, stderr
from vecstore.cli.options import Force, Metric, Quiet, examples
from vecstore.cli.writing import PANEL
from vecstore.errors import FormatError, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["import_", "register"]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        "import",
        hidden=True,  # convert does it, but for the layouts of a qr table
        rich_help_panel=PANEL,
        epilog=examples(
            "vecstore import cc.en.300.bin words.vecs",
            "vecstore import vectors.floret words.vecs --keys words.txt",
            "vecstore import dlrm.pt items.vecs --kind qr --tensor emb_l.2 --operation mult",
            "vecstore import embed.safetensors words.vecs --kind hashembed --tensor E --seed 8 --keys words.txt",
        ),
    )(import_)


def import_(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="The model or its tensors.", show_default=False)],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="The store to write.", show_default=False)],
    kind: Annotated[
        Literal["subwords", "qr", "hashembed"],
        typer.Option(help="fastText or floret; quotient-remainder of DLRM; HashEmbed of thinc and spaCy."),
    ] = "subwords",
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The keys that the store is to hold, one a line.", autocompletion=files(".txt")
        ),
    ] = None,
    tensor: Annotated[
        str | None, typer.Option(metavar="NAME", help="The tensor (hashembed), or the table such as emb_l.0 (qr).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the HashEmbed layer.")] = 0,
    operation: Annotated[
        Literal["mult", "add", "concat"], typer.Option(help="How quotient and remainder are put together.")
    ] = "mult",
    compat: Annotated[
        Literal["dlrm", "exact"], typer.Option(help="Divide row numbers in float32, as DLRM does, or exactly.")
    ] = "dlrm",
    rows: Annotated[int | None, typer.Option(metavar="N", help="Rows of a qr table; all that it tells apart.")] = None,
    metric: Annotated[Metric, typer.Option(help="What nearest means in searches.")] = "cosine",
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Import tables that another library trained: lookups give exactly what they gave there.

    Reads safetensors, zips of torch.save (nothing in them is run), fastText and floret files.
    """
    from vecstore.conversion import importing

    words = None if keys is None else _lines(keys)
    options: dict[str, Any] = {"metric": metric, "force": force}
    run: Callable[..., int]
    if kind == "qr":
        run = importing.import_quotient_remainder
        options |= {"operation": operation, "compat": "dlrm" if compat == "dlrm" else "", "rows": rows}
        options |= {"table": tensor} if tensor else {}
    elif kind == "hashembed":
        if words is None:
            raise OptionError("a HashEmbed table has no keys: give those that the store is to hold by --keys FILE")
        run = importing.import_hash_embed
        options |= {"seed": seed, "keys": words, "tensor": tensor}
    else:
        run = importing.import_subwords
        options |= {"keys": words}
    count = run(source, destination, **options)
    if not quiet:
        stderr().print(facts(("imported", f"{count:,} rows to {destination}")))


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8").split("\n") if line]
    except UnicodeDecodeError:
        raise FormatError("keys are UTF-8 text, one a line", path=path) from None
