"""The commands that list what there is: codecs and formats."""

from __future__ import annotations

import importlib.util

import typer
from rich.text import Text

from vecstore.cli.console import stdout, table
from vecstore.cli.options import examples

__all__ = ["codecs", "formats", "register"]

PANEL = "Learn"

LANGUAGE = """\
A codec is written as steps, separated by commas, each with its parameters behind colons: any number of transforms, \
then exactly one quantizer, then, for archives, steps that pack its bytes. Two such chains with a slash between them \
make a store of two layers: a search scans the first, coarse one, and scores the best rows again from the second, \
fine one, which also answers lookups. Behind a table that rows share, the slash adds a code of what the table leaves. \
Before all of it may stand cells, or cells:K: rows are then stored in the order of their nearest of K centroids, and \
what is coded is the rest. Blocks of rows may have codecs of their own: mixed:12 chooses them for 12 bytes a row, \
codec@row+codec names them."""

EXAMPLES = (
    ("sq:8", "a byte a dimension: a quarter of float32 at next to no loss; where to begin"),
    ("opq:48", "48 bytes a vector whatever its width: the most neighbours kept for the bytes"),
    ("cells,opq:48", "more neighbours for the same bytes; a search can look into the nearest cells only"),
    ("pca:128,sq:8", "128 bytes, decodes fast; good where few dimensions carry the variance"),
    ("truncate:256,sq:8", "for models trained to be cut (Matryoshka)"),
    ("bin/sq:8", "scans one bit a dimension, then scores the best rows again"),
    ("mixed:12", "12 bytes a vector on average, more for those asked for most (rows in order of frequency)"),
    ("sq:8@1000+pq:25", "sq:8 for the first 1,000 rows, pq:25 for the rest"),
    ("f32,zstd", "exact and smaller, for archives; not scanned where it lies"),
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(
        rich_help_panel=PANEL,
        epilog=examples("vecstore codecs", "vecstore convert words.txt words.vecs --codec pca:128,sq:8"),
    )(codecs)
    app.command(
        rich_help_panel=PANEL,
        epilog=examples("vecstore formats", "vecstore convert table.bin words.vecs --from word2vec-binary"),
    )(formats)


def codecs() -> None:
    """List the codecs and explain how they are combined."""
    from vecstore.codecs.registry import ALIASES, BUILT_IN, codec_names, step_class

    shown = table("codec", "kind", "write", "what it does")
    for name in codec_names():
        try:
            step = step_class(name)
            cells: tuple[str, str, str] = (step.kind, step.usage, step.summary)
        except Exception as error:  # a plug-in's fault must not hide the others
            cells = ("?", "", f"cannot be loaded: {error}")
        mark = "" if name in BUILT_IN else " (plug-in)"
        shown.add_row(Text(name + mark, style="bold"), *map(Text, cells))
    out = stdout()
    out.print(shown)
    out.print(f"\n{LANGUAGE}\n")
    written = table("--codec", "gives")
    for spec, meaning in EXAMPLES:
        written.add_row(Text(spec, style="bold"), meaning)
    out.print(written)
    out.print(
        Text("\nShort names: " + ", ".join(f"{short} for {name}" for short, name in ALIASES.items()), style="dim")
    )


def formats() -> None:
    """List the formats of dumps that are read and written."""
    from vecstore.formats import all_formats

    shown = table("format", "use", "needs", "what it is")
    for entry in all_formats().values():
        use = [verb for verb, able in (("read", entry.readable), ("write", entry.writable)) if able]
        use = ["import exactly"] if entry.table else use
        about = Text(entry.description).append("\n" + " ".join(entry.suffixes), style="dim")
        needs = "" if entry.library is None else _state(entry.library)
        shown.add_row(Text(entry.name, style="bold"), ", ".join(use), Text(needs), about)
    out = stdout()
    out.print(shown)
    out.print(
        "\nThe content of a file tells its format; --from names it where it does not. May be compressed (gz, bz2, xz, "
        f"zst): {', '.join(entry.name for entry in all_formats().values() if entry.streamed)}."
    )


def _state(library: str) -> str:
    """Return whether a library is there, or how to get it."""
    return f"{library}, installed" if importlib.util.find_spec(library) else f"pip install {library}"
