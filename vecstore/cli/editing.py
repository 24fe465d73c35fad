"""The commands that change a store: append, upsert, delete, compact, clean, versions, tag, restore."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.text import Text

from vecstore.cli.console import facts, notes_of_warnings, print_json, stderr, stdout, table
from vecstore.cli.keys import parse_key
from vecstore.cli.options import AsJson, Force, Quiet, StorePath, examples
from vecstore.cli.sizes import format_bytes
from vecstore.errors import FormatError, OptionError

if TYPE_CHECKING:
    from vecstore.editing.edit import Edit

__all__ = ["append", "clean", "compact", "delete", "register", "restore", "tag", "upload", "upsert", "versions"]

PANEL = "Change"

DumpPath = Annotated[
    str, typer.Argument(metavar="DUMP", help="A file of keys and vectors, a pattern, a URL.", show_default=False)
]
Wait = Annotated[float, typer.Option(metavar="SECONDS", help="Wait for another writer to end.", min=0)]
ToDirectory = Annotated[
    bool, typer.Option("--to-directory", help="Make a directory of a store that is one file; its name stays.")
]
OnDrift = Annotated[
    Literal["warn", "error", "ignore", "refit"],
    typer.Option(help="What to do where new rows do not suit the codec; refit trains it on them."),
]
Format = Annotated[
    str | None, typer.Option("--from", metavar="FORMAT", help="Format of the dump; the content tells otherwise.")
]
Keys = Annotated[Path | None, typer.Option(metavar="FILE", help="Keys of an .npy or .npz dump.")]
KeyColumn = Annotated[str | None, typer.Option(metavar="NAME", help="Column of keys (parquet, arrow).")]
VectorColumn = Annotated[str | None, typer.Option(metavar="NAME", help="Column of vectors (parquet, arrow).")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command, lines in (
        (append, ["vecstore append items.vecs new.parquet --key-column id"]),
        (upsert, ["vecstore upsert items.vecs changed.npy --keys changed.txt"]),
        (delete, ["vecstore delete items.vecs apple pear", "vecstore delete items.vecs --file gone.txt"]),
        (compact, ["vecstore compact items.vecs"]),
        (clean, ["vecstore clean items.vecs --older-than 7d --keep 3"]),
        (versions, ["vecstore versions items.vecs"]),
        (tag, [f"vecstore tag items.vecs monday{more}" for more in ("", " --generation 12", " --remove")]),
        (upload, ["vecstore upload items.vecs s3://bucket/items.vecs"]),
        (restore, ["vecstore restore items.vecs monday", "vecstore restore items.vecs 12"]),
    ):
        app.command(rich_help_panel=PANEL, epilog=examples(*lines))(command)


def append(
    store: StorePath,
    dump: DumpPath,
    format: Format = None,
    keys: Keys = None,
    key_column: KeyColumn = None,
    vector_column: VectorColumn = None,
    on_drift: OnDrift = "warn",
    wait: Wait = 0.0,
    to_directory: ToDirectory = False,
    quiet: Quiet = False,
) -> None:
    """Add the rows of a dump to a store, coded by the codec that it has. A key that is there already is an error.

    All rows are there afterwards, or none after an error; readers go on, and see them when they open or refresh.

    Columns of the dump that the store has are kept too; others are passed over.
    """
    reading = {"format": format, "keys": keys, "key_column": key_column, "vector_column": vector_column}
    options: dict[str, Any] = {"on_drift": on_drift, "wait": wait, "to_directory": to_directory}
    with notes_of_warnings():
        rows, edit = _put(store, dump, reading, options, replacing=False)
    _tell(quiet, edit, f"{rows:,} rows appended")


def upsert(
    store: StorePath,
    dump: DumpPath,
    format: Format = None,
    keys: Keys = None,
    key_column: KeyColumn = None,
    vector_column: VectorColumn = None,
    on_drift: OnDrift = "warn",
    wait: Wait = 0.0,
    to_directory: ToDirectory = False,
    quiet: Quiet = False,
) -> None:
    """Add the rows of a dump to a store, in the place of those that have the same keys; the last one counts of several.

    All of it happens, or nothing after an error; readers go on, and see it when they open or refresh.

    Columns of the dump that the store has are kept too; others are passed over.
    """
    reading = {"format": format, "keys": keys, "key_column": key_column, "vector_column": vector_column}
    options: dict[str, Any] = {"on_drift": on_drift, "wait": wait, "to_directory": to_directory}
    with notes_of_warnings():
        rows, edit = _put(store, dump, reading, options, replacing=True)
    _tell(quiet, edit, f"{rows:,} rows added or replaced")


def delete(
    store: StorePath,
    keys: Annotated[list[str] | None, typer.Argument(metavar="KEY...", help="Keys.", show_default=False)] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keys, one a line; - for stdin.", show_default=False)
    ] = None,
    missing: Annotated[Literal["ignore", "error"], typer.Option(help="What to do with keys that are not there.")] = (
        "ignore"
    ),
    wait: Wait = 0.0,
    to_directory: ToDirectory = False,
    quiet: Quiet = False,
) -> None:
    """Delete the rows of keys; of row numbers in a store without keys. Other rows keep their numbers."""
    import vecstore

    given = list(keys or [])
    if file is not None:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        given += text.splitlines()
    if not given:
        raise OptionError("there is nothing to delete: name keys, or give file= with one a line")
    with vecstore.open(store) as opened:
        meant = [parse_key(opened, text) for text in given]
    with vecstore.edit(store, wait=wait, to_directory=to_directory) as edit:
        rows = edit.delete(meant, missing=missing)
    _tell(quiet, edit, f"{rows:,} rows deleted")


def compact(store: StorePath, wait: Wait = 60.0, quiet: Quiet = False) -> None:
    """Merge small shards and leave out the bytes of deleted rows, while others use the store.

    Nothing is decoded. Where deleted rows go, those behind them get other numbers. Bytes are free after clean.
    """
    import vecstore

    found = vecstore.compact(store, wait=wait)
    if not quiet:
        done = f"{found.before} shards -> {found.after}, {found.dropped:,} deleted rows left out"
        stderr().print(facts(("compacted", done if found.generation is not None else "nothing to do")))


def upload(
    store: StorePath,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where it goes to.", show_default=False)],
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Copy a store into a bucket, where it can be opened, searched and changed by its URL."""
    import vecstore

    generation = vecstore.upload(store, url, force=force)
    if not quiet:
        stderr().print(facts(("uploaded", f"{url}, generation {generation}")))


def clean(
    store: StorePath,
    older_than: Annotated[str, typer.Option(metavar="AGE", help="Only what was replaced so long ago: 1d, 12h.")] = "1d",
    keep: Annotated[int, typer.Option(metavar="N", help="Keep so many generations, the newest.", min=1)] = 2,
    wait: Wait = 0.0,
    quiet: Quiet = False,
) -> None:
    """Remove earlier generations, and the files that no other one needs. Those with tags stay.

    Handles that are open lose nothing. Leave an age for those who are just opening an earlier generation.
    """
    import vecstore

    found = vecstore.clean(store, older_than=older_than, keep=keep, wait=wait)
    if not quiet:
        done = f"{found.generations} generations, {found.files} files, {format_bytes(found.bytes)}"
        stderr().print(facts(("removed", done)))


def versions(store: StorePath, as_json: AsJson = False) -> None:
    """List the generations of a store that can be opened."""
    import vecstore

    with vecstore.open(store) as opened:
        found = opened.versions()
    if as_json:
        print_json([vars(version) for version in found])
        return
    shown = table("generation", "rows", "shards", "written", "tags", right=("generation", "rows", "shards"))
    for version in found:
        written = datetime.fromtimestamp(version.written_s).isoformat(sep=" ", timespec="seconds")
        numbers = f"{version.generation}", f"{version.rows:,}", f"{version.shards:,}"
        shown.add_row(*numbers, written, Text(", ".join(version.tags)))
    stdout().print(shown)


def tag(
    store: StorePath,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The tag.", show_default=False)],
    generation: Annotated[
        int | None, typer.Option(metavar="N", help="Of that generation.", show_default="that in force")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the tag.")] = False,
    wait: Wait = 0.0,
    quiet: Quiet = False,
) -> None:
    """Give a generation a name, under which it stays and opens; a tag that exists moves."""
    import vecstore

    if remove:
        vecstore.untag(store, name, wait=wait)
        return
    found = vecstore.tag(store, name, generation, wait=wait)
    if not quiet:
        stderr().print(facts(("tagged", f"generation {found} as {name}")))


def restore(
    store: StorePath,
    generation: Annotated[
        str, typer.Argument(metavar="GENERATION", help="A number of vecstore versions, or a tag.", show_default=False)
    ],
    wait: Wait = 0.0,
    quiet: Quiet = False,
) -> None:
    """Make the rows of an earlier generation those in force, as a new one. Those in between stay until clean."""
    import vecstore

    found = vecstore.restore(store, int(generation) if generation.isdecimal() else generation, wait=wait)
    if not quiet:
        stderr().print(facts(("restored", f"{generation}, as generation {found}")))


def _put(
    store: str, path: str, reading: dict[str, Any], options: dict[str, Any], *, replacing: bool
) -> tuple[int, Edit]:
    import vecstore
    from vecstore.formats import open_dump
    from vecstore.formats.remote import fetched

    source = fetched(path)
    with vecstore.open(store) as opened:
        key_type, names = opened.key_type, [column["name"] for column in opened.info()["columns"]]
    dump = open_dump(source, key_type=key_type, **reading)
    beside = [name for name in names if name in dump.left_out]
    if beside:
        dump = open_dump(source, key_type=key_type, columns=beside, **reading)
    if (dump.key_type is None) != (key_type is None):
        expected = f"{key_type} keys" if key_type else "no keys"
        raise FormatError("does not go with the keys of the store", path=path, expected=expected)
    rows = 0
    with vecstore.edit(store, **options) as edit:
        for batch in dump.batches():
            for row, problem in batch.problems.items():
                raise FormatError(str(problem), path=path, where=f"row {rows + row}")
            if replacing:
                edit.upsert(batch.vectors, batch.keys if batch.keys is not None else [], columns=batch.columns)
            else:
                edit.append(batch.vectors, batch.keys, columns=batch.columns)
            rows += len(batch)
    return rows, edit


def _tell(quiet: bool, edit: Edit, done: str) -> None:
    if not quiet:
        generation = "nothing has changed" if edit.generation is None else f"generation {edit.generation}"
        stderr().print(facts(("done", f"{done}: {generation}")))
