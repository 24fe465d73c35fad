"""The bench commands: measure codecs and other libraries on one's own vectors, and report what was measured."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from vecstore.cli.console import facts, say, stdout, table
from vecstore.cli.options import Metric, Quiet, examples

if TYPE_CHECKING:
    from rich.table import Table

    from vecstore.bench.summary import Summary

__all__ = ["register"]

DATA = "What is measured on"
TRIED = "What is measured"
HELP = ("-h", "--help")
TABLE_WIDTH = 110  # what the table takes


class Bench(TyperGroup):
    """``bench DUMP`` is short for ``bench run DUMP``."""

    def parse_args(self, context: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in HELP:
            args = ["run", *args]
        return super().parse_args(context, args)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    bench = typer.Typer(
        cls=Bench,
        no_args_is_help=True,
        rich_markup_mode="rich",
        context_settings={"help_option_names": list(HELP)},
        help="Measure what each codec, and other libraries, keep of your vectors at each size. "
        "[bold]vecstore bench DUMP[/bold] is short for [bold]vecstore bench run DUMP[/bold].",
        epilog=examples(
            "vecstore bench vectors.npy --out results",
            "vecstore bench run --help",
            "vecstore bench report results",
        ),
    )
    bench.command(
        epilog=examples(
            "vecstore bench vectors.npy --quick --out results",
            "vecstore bench vectors.npy --budgets 8,16,32,64 --peers none --out results",
            "vecstore bench vectors.npy --queries queries.npy --codecs 'pq:48 tcq:48 pca:96,sq:4' --out results",
            "vecstore bench generated:clustered:20000x128:0 --out results",
        )
    )(run)
    bench.command(epilog=examples("vecstore bench report results"))(report)
    bench.command(
        epilog=examples(
            "vecstore bench fields docs.parquet --tokens token_vectors --terms indices,weights",
            "vecstore bench fields docs.parquet --tokens token_vectors --queries queries.parquet --relevant row",
        )
    )(fields)
    app.add_typer(bench, name="bench", rich_help_panel="Learn")


def run(
    source: Annotated[
        str,
        typer.Argument(
            metavar="DUMP",
            help="A dump, an HDF5 file of ann-benchmarks, glove, digits, or data such as generated:zipf:20000x128:0.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Raw results and report; a bench that is there is gone on with."),
    ] = Path("bench"),
    budgets: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Bytes a vector: 16,48 or 32x or 5%. [default: 8,16,32,64,128,256]",
            rich_help_panel=TRIED,
            show_default=False,
        ),
    ] = None,
    codecs: Annotated[
        str, typer.Option(metavar="LIST", help="default, all, or specifications.", rich_help_panel=TRIED)
    ] = "default",
    peers: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="Other libraries to compare with: all that are installed, none, or faiss,usearch,...",
            rich_help_panel=TRIED,
        ),
    ] = "all",
    seeds: Annotated[
        str, typer.Option(metavar="LIST", help="Seeds of training, such as 0,1,2.", rich_help_panel=TRIED)
    ] = "0",
    quick: Annotated[
        bool,
        typer.Option("--quick", help="A first look: fewer rows, budgets and settings.", rich_help_panel=TRIED),
    ] = False,
    limit_s: Annotated[
        float, typer.Option("--limit", metavar="SECONDS", help="Time that one codec may take.", rich_help_panel=TRIED)
    ] = 600,
    retry: Annotated[
        bool, typer.Option("--retry", help="Measure again what failed before.", rich_help_panel=TRIED)
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Processes that measure codecs side by side; times are not their own then.",
            rich_help_panel=TRIED,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the report calls the data.", rich_help_panel=DATA)
    ] = None,
    metric: Annotated[Metric, typer.Option(help="What nearest means.", rich_help_panel=DATA)] = "cosine",
    queries: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A dump of queries; rows are held out otherwise.", rich_help_panel=DATA),
    ] = None,
    ground_truth: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Nearest rows of the queries: .npy (q, k), or HDF5.", rich_help_panel=DATA),
    ] = None,
    qrels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Relevance judgements: query, key, grade a line.", rich_help_panel=DATA),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="rank|FILE|COLUMN", help="How often rows are used, for weighted metrics.", rich_help_panel=DATA
        ),
    ] = None,
    train_rows: Annotated[
        int | None, typer.Option("--train", metavar="ROWS", min=1, help="To train on, at most.", rich_help_panel=DATA)
    ] = None,
    base_rows: Annotated[
        int | None, typer.Option("--base", metavar="ROWS", min=1, help="To search, at most.", rich_help_panel=DATA)
    ] = None,
    query_rows: Annotated[
        int | None, typer.Option("--ask", metavar="QUERIES", min=1, help="At most.", rich_help_panel=DATA)
    ] = None,
    keys: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keys of an .npy or .npz dump.", rich_help_panel=DATA)
    ] = None,
    key_column: Annotated[str | None, typer.Option(metavar="NAME", rich_help_panel=DATA)] = None,
    vector_column: Annotated[str | None, typer.Option(metavar="NAME", rich_help_panel=DATA)] = None,
    seed: Annotated[int, typer.Option(help="Of the split.", rich_help_panel=DATA)] = 0,
    quiet: Quiet = False,
) -> None:
    """Measure recall, fidelity, bytes and speed of codecs at byte budgets, and write a report.

    --quick takes about two minutes on two cores; all of it an hour or so.
    Training rows, searched rows and queries are disjoint. Finished codecs are kept: the same command goes on where it
    was interrupted. Needs: pip install pyarrow matplotlib
    """
    from vecstore.bench.peers.peer import missing, peer_names, remedy
    from vecstore.bench.running import bench
    from vecstore.distributed import Processes

    absent = {} if quiet else {name: why for name in peer_names(peers) if (why := missing(name)) is not None}
    if absent:
        say(f"vecstore: note: {remedy(absent)}")
    given = {"keys": keys, "key_column": key_column, "vector_column": vector_column}
    with nullcontext() if workers is None else Processes(workers) as executor:
        summary = bench(
            source,
            out,
            budgets=budgets,
            codecs=codecs,
            peers=peers,
            seeds=_seeds(seeds),
            limit_s=limit_s,
            quick=quick,
            retry=retry,
            executor=executor,
            progress=not quiet,
            name=name,
            metric=metric,
            queries=queries,
            ground_truth=ground_truth,
            qrels=qrels,
            weights=weights,
            train_rows=train_rows,
            base_rows=base_rows,
            query_rows=query_rows,
            seed=seed,
            read={option: value for option, value in given.items() if value is not None},
        )
    if not quiet:
        _show(summary, out)


def report(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="What a bench wrote.", show_default=False)],
    quiet: Quiet = False,
) -> None:
    """Compute metrics, table, pictures and page again from the raw results of a bench."""
    from vecstore.bench.report import report as write_report

    summary = write_report(out)
    if not quiet:
        _show(summary, out)


def fields(
    source: Annotated[Path, typer.Argument(metavar="DUMP", help="A Parquet or Arrow file.", show_default=False)],
    tokens: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Lists of vectors, one a token.", show_default=False)
    ] = None,
    terms: Annotated[
        str | None,
        typer.Option(metavar="COLUMNS", help="Terms with weights: one column, or two of lists.", show_default=False),
    ] = None,
    codecs: Annotated[
        str | None, typer.Option(metavar="LIST", help="Codecs of token vectors, by spaces.", show_default=False)
    ] = None,
    queries: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Queries in columns of the same names.", show_default=False)
    ] = None,
    relevant: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Of the queries: the row that answers, from 0.", show_default=False),
    ] = None,
    vector_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The vectors of the rows.", show_default=False)
    ] = None,
) -> None:
    """Measure codecs of token vectors and of sparse terms: bytes a row, and how many of the ten best rows stay.

    Rows that did not train are the queries of the agreement. Your own queries give reciprocal ranks, too.
    """
    from vecstore.bench.fields import TOKEN_CODECS, bench_fields

    two: Any = None if terms is None else tuple(terms.split(","))
    lines = bench_fields(
        source,
        tokens=tokens,
        terms=two[0] if two is not None and len(two) == 1 else two,
        codecs=codecs.split() if codecs else TOKEN_CODECS,
        queries=queries,
        relevant=relevant,
        vector_column=vector_column,
    )
    numbers = ("bytes a row", "agreement", *(["MRR@10"] if queries is not None else []))
    shown = table("column", "codec", *numbers, right=numbers)
    for line in lines:
        kept = ["" if value is None else f"{value:.3f}" for value in (line.agreement, line.mrr)]
        shown.add_row(line.field, line.codec, f"{line.row_bytes:,.0f}", *kept[: len(numbers) - 1])
    stdout().print(shown)


def _show(summary: Summary, out: Path) -> None:
    from vecstore.bench.report import choices

    console = stdout()
    console.width = max(console.width, TABLE_WIDTH)  # of a narrow terminal lines go on in the next one; none is cut
    console.print(_table(summary))
    console.print()
    console.print("best: none of no more bytes keeps more; =: a tie with it; q/s x64: queries a second, 64 at once")
    for note in summary.about["notes"]:
        console.print(note)
    lines = []
    for budget, best, ties, peer in choices(summary, summary.about["budgets"]):
        if best is None:
            continue
        text = (
            f"{best.label}, recall@10 {best.recall.value:.3f} ± {best.recall.half:.3f}, {best.file_bytes:.1f} on disk"
        )
        if ties:
            text += "; a tie: " + ", ".join(line.label for line in ties[:3])
        if peer is not None:
            text += f"; best other library: {peer.label} {peer.recall.value:.3f}"
        lines.append((f"in {budget} bytes", text))
    console.print(facts(*lines, ("the page", str(out / "index.html"))))
    for failed in summary.failed:
        say(f"vecstore: note: {failed['label']} failed: {failed['error']}")
    for line in summary.lines:
        for dispute in line.facts["disputes"]:
            say(f"vecstore: note: {line.label} is disputed: {dispute}")


def _table(summary: Summary) -> Table:
    """Return the lines by rising bytes; what no other line beats at its bytes is marked."""
    from rich.text import Text

    from vecstore.bench.report import HEADER, rows

    shown = table(*HEADER[:8], right=HEADER[1:4] + HEADER[5:])
    for column in shown.columns:
        column.no_wrap = True
    for _, cells, mark in rows(summary):
        style = "bold" if mark == "best" else "dim" if mark == "" else ""
        shown.add_row(*(Text(cell) for cell in cells[:8]), style=style)
    return shown


def _seeds(text: str) -> list[int]:
    from vecstore.errors import OptionError

    pieces = [piece.strip() for piece in text.split(",")]
    if not all(piece.isdecimal() for piece in pieces):
        raise OptionError(f"--seeds {text!r}: write whole numbers separated by commas, such as 0,1,2")
    return sorted({int(piece) for piece in pieces})
