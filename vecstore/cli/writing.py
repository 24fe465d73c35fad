"""The command that writes a store: convert."""

from __future__ import annotations

import json
import shlex
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vecstore.cli.certificates import recalls
from vecstore.cli.completion import codec_specs, files
from vecstore.cli.console import facts, notes_of_warnings, print_commands, shown_key, stderr
from vecstore.cli.keys import parse_key
from vecstore.cli.options import (
    SOURCE,
    ArrayName,
    Columns,
    Dimensions,
    DumpFormat,
    EncodingErrors,
    GroundTruth,
    KeyColumn,
    KeysFile,
    KeyType,
    Metric,
    NumberType,
    Quiet,
    VectorColumn,
    examples,
    reading_options,
)
from vecstore.cli.queries import read_queries
from vecstore.cli.sizes import format_bytes, parse_size, row_bytes
from vecstore.errors import OptionError

if TYPE_CHECKING:
    from vecstore.conversion.report import Report
    from vecstore.store.store import Store

__all__ = ["PANEL", "convert", "register"]

PANEL = "Write"
TRIED_KEYS, SHORT_KEY = 100, 40  # to find one that can be typed
TARGET = "What is written"
WORTH_CHANGING = 0.9  # of the time: what another codec in front has to save to be named


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        rich_help_panel=PANEL,
        epilog=examples(
            "vecstore convert glove.6B.50d.txt words.vecs --codec sq:8",
            "vecstore convert vectors.npy docs.vecs --keys keys.txt --codec opq:48 --shard-size 1GiB",
            "vecstore convert items.parquet items.vecs --key-column id --codec bin/sq:8 --on-duplicate last",
            "vecstore convert vectors.npy docs.vecs --budget 64",
            "vecstore convert vectors.npy docs.vecs --target recall@10=0.95 --queries queries.npy",
            "vecstore convert glove.6B.50d.txt words.vecs --codec mixed:12",
            "vecstore convert 'part-*.parquet' docs.vecs --codec tcq:48 --shard-size 1GiB --workers 8",
        ),
    )(convert)


def convert(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="The dump: a file or folder, a pattern, a URL.", show_default=False)
    ],
    destination: Annotated[
        str,
        typer.Argument(
            metavar="DST",
            help="The store to write; with --shard-size, a mixed codec or the URL of a bucket, a directory.",
            show_default=False,
            autocompletion=files(""),
        ),
    ],
    codec: Annotated[
        str | None,
        typer.Option(
            "--codec",
            "-c",
            metavar="SPEC",
            help="How vectors are coded; see: vecstore codecs.",
            show_default="sq:8",
            autocompletion=codec_specs,
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="B",
            help="Choose the codec: bytes a vector (64), times smaller (32x), share (5%), scanned/stored (24/200).",
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="T", help="Choose the smallest codec that reaches recall@10=0.95, say.")
    ] = None,
    like: Annotated[Path | None, typer.Option(metavar="STORE", help="Use the trained codec of another store.")] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npy",
            help="Real queries, to measure recall with and to choose by.",
            autocompletion=files(".npy"),
        ),
    ] = None,
    metric: Annotated[Metric, typer.Option(help="What nearest means in searches.")] = "cosine",
    keep_norms: Annotated[
        bool, typer.Option("--norms", help="Code unit vectors and keep each length beside its code, in 4 bytes.")
    ] = False,
    keep_order: Annotated[
        bool,
        typer.Option(
            " /--any-order",
            help="With cells and keys: give up the dump's row numbers, 4 bytes a row.",
            show_default=False,
        ),
    ] = True,
    shard_bytes: Annotated[
        str | None,
        typer.Option(
            "--shard-size", metavar="SIZE", help="Cut into shards of at most this size, such as 512MB or 1GiB."
        ),
    ] = None,
    user: Annotated[
        list[str] | None,
        typer.Option(
            "--meta", metavar="KEY=VALUE", help="Metadata to keep in the store; repeatable. @FILE.json takes a file."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Replace what is there; fit a table codec where another keeps more.")
    ] = False,
    accept_dominated: Annotated[
        bool, typer.Option("--accept-dominated", help="Fit a table codec where another keeps more in the same bytes.")
    ] = False,
    ground_truth: GroundTruth = 0,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", help="Have N processes read the files and encode the shards; with --shard-size."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted conversion stopped, and leave what is done.")
    ] = False,
    quiet: Quiet = False,
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
    on_bad: Annotated[
        Literal["error", "skip", "zero"],
        typer.Option(help="What to do with rows that are not d finite numbers and a key.", rich_help_panel=SOURCE),
    ] = "error",
    on_duplicate: Annotated[
        Literal["error", "first", "last"],
        typer.Option(help="Which of several rows with one key stays.", rich_help_panel=SOURCE),
    ] = "error",
    importance: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npy",
            help="How often each row is asked for, one number a row: the store holds the rows in falling order of it.",
            rich_help_panel=SOURCE,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the training sample and the training.", rich_help_panel=SOURCE)] = 0,
) -> None:
    """Convert a dump of embeddings to a store.

    Reads the dump twice, in bounded memory: once to check it and draw a training sample, once to encode it.
    The store appears when it is complete; an interrupted conversion leaves nothing behind, unless --resume is given.
    """
    import vecstore
    from vecstore.distributed import Processes
    from vecstore.formats.npy import read_npy

    most_bytes = None if shard_bytes is None else parse_size(shard_bytes)
    metadata = _metadata(user or [])
    with notes_of_warnings(), nullcontext() if workers is None else Processes(workers) as executor:
        report = vecstore.convert(
            source,
            destination,
            codec,
            budget=budget,
            target=target,
            like=like,
            queries=None if queries is None else read_queries(str(queries)),
            metric=metric,
            keep_norms=keep_norms,
            keep_order=keep_order,
            shard_bytes=most_bytes,
            seed=seed,
            on_bad=on_bad,
            on_duplicate=on_duplicate,
            importance=None if importance is None else read_npy(importance, where="--importance"),
            user=metadata,
            force=force,
            accept_dominated=accept_dominated,
            ground_truth=ground_truth,
            executor=executor,
            resume=resume,
            progress=not quiet,
            **reading_options(context),
        )
    if not quiet:
        stderr().print(facts(*_summary(report)))
        print_commands(stderr(), "Next", _next_commands(destination))


def _metadata(given: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in given:
        if text.startswith("@"):
            found |= _metadata_file(Path(text[1:]))
            continue
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise OptionError(f"--meta {text!r}: write KEY=VALUE, or @FILE.json for a file with a JSON object")
        found[name] = value
    return found


def _metadata_file(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise OptionError(f"--meta @{path}: not JSON: {error}") from None
    if not isinstance(found, dict):
        raise OptionError(f"--meta @{path}: a JSON object is needed, found {type(found).__name__}")
    return found


def _summary(report: Report) -> list[tuple[str, str]]:
    import vecstore
    from vecstore.search.explain import Explanation
    from vecstore.shard.certificate import Certificate

    before, after = report.dump_bytes, report.store_bytes
    share = f"{before / after:.1f} times smaller" if after < before else f"{after / before:.1f} times as large"
    with vecstore.open(report.path) as store:
        dimensions = store.dimensions
    lines = [
        ("store", report.path),
        ("rows", f"{report.rows:,} x {dimensions}, codec {report.codec}"),
        ("row order", _row_order(report)),
        ("search", str(Explanation(**report.search))),
        ("size", f"{format_bytes(before)} -> {format_bytes(after)}: {share}"),
        ("a row", row_bytes(report.bytes, report.rows, dimensions)),
    ]
    if report.imported:
        lines.append(("imported", f"the tables of {report.imported} as they are: vectors are exactly its own"))
    elif report.codes_of:
        lines.append(("imported", f"the codes of {report.codes_of} as they are: nothing is lost beyond what was"))
    else:
        found = Certificate.from_dict(report.certificate)
        kept = f"{found.cosine_mean:.4f} to the originals on average, 1% are below {found.cosine_p1:.4f}"
        lines += [("cosine", kept), *recalls(found)]
    if report.fronts:
        lines.append(("in front", _fronts(report)))
    counts = {"bad rows left out": report.bad, "bad rows stored as zeros": report.zeroed}
    lines += [(name, f"{count:,}") for name, count in counts.items() if count]
    lines += [("advice", advice) for advice in report.advice]
    lines += [("", example) for example in report.examples]
    lines += [(finding.kind, str(finding)) for finding in report.findings]
    if report.duplicates:
        lines.append(("duplicate keys left out", f"{report.duplicates:,}"))
    return lines


def _fronts(report: Report) -> str:
    """Return what a search takes with either layer in front, and which other codec would be faster."""
    taken = " and ".join(f"{front.search_ms:.2g} ms with {front.coarse}" for front in report.fronts)
    own, other = report.fronts
    shown = f"a search takes {taken} (estimated for {report.rows:,} rows here)"
    if other.search_ms > WORTH_CHANGING * own.search_ms:
        return shown
    _, fine = report.codec.split("/")
    return f"{shown}: --codec {other.coarse}/{fine} would be faster"


def _row_order(report: Report) -> str:
    """Return what row numbers are, and what could be had for them."""
    parts = report.bytes["parts"]
    shown = report.numbering.explained(keyed="keys" in parts)
    if report.row_order != "dump" or "keys" not in parts:
        return shown
    if "order" in parts:
        return f"{shown}, for 4 bytes a row: --any-order saves them" + (
            " and leaves the codec more" if report.table else ""
        )
    if any(entry.codec.startswith("cells") for entry in report.table or ()):
        return f"{shown}; codecs with cells were counted with 4 bytes a row for it, which --any-order leaves out"
    return shown


def _next_commands(path: str) -> list[str]:
    import vecstore

    store = shlex.quote(path)
    with vecstore.open(path) as opened:
        key = shlex.quote(_typable_key(opened))
    return [f"vecstore info {store}", f"vecstore search {store} --key {key} -k 5", f"vecstore verify {store}"]


def _typable_key(store: Store) -> str:
    """Return one of the first keys that can be typed, or the first one as well as it goes."""
    for key in islice(store, TRIED_KEYS):
        text = str(shown_key(key))
        if text.isprintable() and len(text) <= SHORT_KEY and parse_key(store, text) == key:
            return text
    return str(shown_key(store.keys[0]))
