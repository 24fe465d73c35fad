"""The command that compares codecs on the user's own vectors: tune."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from vecstore.cli.console import print_json, stdout, table
from vecstore.cli.options import AsJson, Metric, Quiet, examples
from vecstore.cli.queries import read_queries
from vecstore.progress import Step, reported

if TYPE_CHECKING:
    from vecstore.tuning.result import Tuned

__all__ = ["register", "tune"]

BUDGETS = ["64x", "32x", "16x", "8x"]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        rich_help_panel="Learn",
        epilog=examples(
            "vecstore tune vectors.npy",
            "vecstore tune vectors.npy --budget 48 --budget 64 --queries queries.npy",
            "vecstore tune vectors.npy --target recall@10=0.95",
        ),
    )(tune)


def tune(
    source: Annotated[Path, typer.Argument(metavar="DUMP", help="The dump.", show_default=False)],
    budgets: Annotated[
        list[str] | None,
        typer.Option("--budget", metavar="B", help="As for convert; repeatable.", show_default=" ".join(BUDGETS)),
    ] = None,
    target: Annotated[str | None, typer.Option(metavar="T", help="recall@10=0.95, say, instead of budgets.")] = None,
    metric: Annotated[Metric, typer.Option(help="What nearest means.")] = "cosine",
    queries: Annotated[
        Path | None, typer.Option(metavar="FILE.npy", help="Real queries, beside rows that are held out.")
    ] = None,
    keep_order: Annotated[
        bool,
        typer.Option(
            " /--any-order",
            help="Do not count row numbers in cells: for stores with keys, as in convert.",
            show_default=False,
        ),
    ] = True,
    seed: Annotated[int, typer.Option(help="Of the sample and the training.")] = 0,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processes that try candidates side by side.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare codecs on your own vectors: recall with 95% intervals, for some budgets or a target.

    Every candidate is trained on some rows and judged on others. Bytes are those of a row, its share of the trained
    model included. An arrow marks what convert would take.
    """
    from vecstore.conversion.survey.sampler import sample_dump
    from vecstore.distributed import Processes
    from vecstore.formats import open_dump
    from vecstore.tuning.tuner import tune as choose

    with reported(not quiet) as report, nullcontext() if workers is None else Processes(workers) as executor:
        sample, rows = sample_dump(open_dump(source), seed=seed, report=report)
        own_queries = None if queries is None else read_queries(str(queries))
        found: list[Tuned] = []
        for budget in [None] if target is not None else budgets or BUDGETS:

            def show(step: Step, name: str = budget or "target") -> None:
                report(replace(step, stage=f"{step.stage} {name}"))

            options: dict[str, Any] = {"metric": metric, "queries": own_queries, "rows": rows, "seed": seed}
            options["executor"] = executor
            found.append(choose(sample, budget, target=target, **options, keep_order=keep_order, progress=show))
    if as_json:
        print_json([{"chosen": one.entry.codec, "table": one.table.to_list()} for one in found])
        return
    _print(found)
    if keep_order and any(entry.codec.startswith("cells") for one in found for entry in one.table):
        stdout().print("With cells, bytes hold 4 a row for its number in the dump; --any-order leaves them out.")


def _print(found: list[Tuned]) -> None:
    columns = ("", "codec", "bytes", "code", "recall@10", "R²", "dB", "trained on")
    shown = table(*columns, right=("bytes", "code", "recall@10"))
    for one in found:
        for entry in one.table:
            recall = entry.recall
            shown.add_row(
                "->" if entry.chosen else "",
                Text(entry.codec, style="bold" if entry.chosen else ""),
                f"{entry.row_bytes:.1f}",
                str(entry.code_bytes),
                f"{recall.mean:.3f} ± {(recall.high - recall.low) / 2:.3f}",
                f"{1 - entry.error:.3f}",
                f"{entry.decibels:+.2f}",
                f"{entry.train_rows:,}",
            )
    out = stdout()
    out.print(shown)
    out.print("\n±: 95% interval; dB: error above the bound of a Gaussian with this spectrum.")
    for one in found:
        out.print(Text(one.summary))
