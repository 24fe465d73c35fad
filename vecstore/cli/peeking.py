"""The command that looks into a dump before it is converted."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vecstore.cli.console import facts, print_commands, shown_key, stdout
from vecstore.cli.options import (
    ArrayName,
    AsJson,
    Columns,
    Dimensions,
    DumpFormat,
    EncodingErrors,
    KeyColumn,
    KeysFile,
    KeyType,
    NumberType,
    VectorColumn,
    examples,
    reading_options,
)
from vecstore.cli.sizes import format_bytes

if TYPE_CHECKING:
    from vecstore.conversion.survey.peeking import Peek
    from vecstore.formats import Dump

__all__ = ["peek", "register"]

SHOWN_NUMBERS = 5


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        rich_help_panel="Write",
        epilog=examples("vecstore peek vectors.npy", "vecstore peek 'parts/part-*.parquet' --rows 50000"),
    )(peek)


def peek(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="DUMP", help="A file or folder of vectors.", show_default=False)],
    rows: Annotated[int, typer.Option(metavar="N", help="How many rows are read, at most.")] = 10_000,
    as_json: AsJson = False,
    format: DumpFormat = None,
    keys: KeysFile = None,
    key_type: KeyType = None,
    key_column: KeyColumn = None,
    vector_column: VectorColumn = None,
    columns: Columns = None,
    array: ArrayName = None,
    dtype: NumberType = None,
    dimensions: Dimensions = None,
    encoding_errors: EncodingErrors = None,
) -> None:
    """Say what a dump is and what its first rows hold, and how to convert it."""
    from vecstore.cli.console import print_json
    from vecstore.conversion.survey.peeking import peek as look
    from vecstore.formats import open_dump

    dump = open_dump(source, **reading_options(context))
    found = look(dump, rows)
    command = _command(source, context, found)
    if as_json:
        print_json(_json(dump, found, command))
        return
    stdout().print(facts(*_summary(dump, found)))
    for key, vector in found.shown:
        numbers = " ".join(f"{number:.4g}" for number in vector[:SHOWN_NUMBERS].tolist())
        more = " ..." if len(vector) > SHOWN_NUMBERS else ""
        stdout().print(f"  {shown_key(key)!s}: {numbers}{more}", markup=False, highlight=False)
    print_commands(stdout(), "Convert", [command])


def _summary(dump: Dump, found: Peek) -> list[tuple[str, str]]:
    count = "unknown before the end" if dump.rows is None else f"{dump.rows:,}"
    shortest, median, longest = found.norms.tolist()
    lengths = "all 1" if found.is_normalised else f"{shortest:.4g} to {longest:.4g}, median {median:.4g}"
    lines = [
        ("dump", f"{dump.path}: {dump.format}, {format_bytes(dump.size_bytes)}"),
        ("rows", f"{count} x {dump.dimensions}, {dump.dtype}; the first {found.rows_read:,} were read"),
        ("keys", {"str": "text", "bytes": "bytes", "int64": "integers"}.get(dump.key_type or "", "none")),
        ("lengths", lengths),
        ("rank", f"{found.rank} directions hold 99% of the variance"),
    ]
    if found.any_recall:
        verdict = "the first dimensions say more: try truncate" if found.can_be_cut else "not ordered: do not cut"
        quarters = f"the first quarter finds {found.first_recall:.2f} of the neighbours, any {found.any_recall:.2f}"
        lines.append(("dimensions", f"{verdict} ({quarters})"))
    lines += [("repeated keys", f"{found.repeated_keys:,}")] if found.repeated_keys else []
    lines += [("repeated vectors", f"{found.repeated_vectors:,}")] if found.repeated_vectors else []
    return lines + [(finding.kind, str(finding)) for finding in found.findings]


def _command(source: str, context: typer.Context, found: Peek) -> str:
    """Return the command that converts the dump as it was read here, with what its first rows call for."""
    target = Path(source.rstrip("/*?")).name.split("*")[0].split(".")[0] or "vectors"
    words = ["vecstore", "convert", source, f"{target}.vecs"]
    flags = {"format": "--from", "dtype": "--dtype", "dimensions": "--dim"}
    given = {name: value for name, value in context.params.items() if name not in ("source", "rows", "as_json")}
    for name, value in given.items():
        if value is not None:
            words += [flags.get(name, "--" + name.replace("_", "-")), str(value)]
    kinds = {finding.kind for finding in found.findings}
    if any("number" in kind or "vector (null)" in kind or kind.startswith(("NaN", "no ", "null")) for kind in kinds):
        words += ["--on-bad", "skip"]
    if found.repeated_keys:
        words += ["--on-duplicate", "first"]
    return shlex.join(words)


def _json(dump: Dump, found: Peek, command: str) -> dict[str, Any]:
    return {
        "format": dump.format,
        "rows": dump.rows,
        "dimensions": dump.dimensions,
        "dtype": dump.dtype,
        "key_type": dump.key_type,
        "rows_read": found.rows_read,
        "norms": found.norms.tolist(),
        "normalised": found.is_normalised,
        "rank": found.rank,
        "repeated_keys": found.repeated_keys,
        "repeated_vectors": found.repeated_vectors,
        "can_be_cut": found.can_be_cut,
        "findings": [asdict(finding) for finding in found.findings],
        "convert": command,
    }
