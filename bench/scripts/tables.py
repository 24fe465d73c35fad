"""Regenerate the recall tables of the documentation.

``python -m vecstore.bench.scripts.tables NAME=VECTORS[,QUERIES] ...``.

Each data set is benched as `vecstore bench` does it, all codecs and the peers that are installed, at the budgets given;
what is finished already in ``--out`` is not measured again. The tables go between the markers ``<!-- tables -->`` of a
page, the first set's picture into a file.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from vecstore.bench.pictures import recall, save
from vecstore.bench.plan import plan, run_all
from vecstore.bench.report import report
from vecstore.bench.running import prepare
from vecstore.bench.split import Split
from vecstore.bench.summary import Line, Summary
from vecstore.bench.timing import add_page, show, table

from vecstore.progress import reported

__all__ = ["add_arguments", "main", "remarks", "section", "splits"]

BUDGETS = "16,24,32,48,64,96,128,192,384,768"
SECTION = "recall"
HEADER = ("codec", "bytes", "+ model", "smaller", "recall@10", "", "error", "bound", "dB above", "fit s", "encode k/s")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.tables", description=__doc__)
    add_arguments(parser, out="bench-tables", budgets=BUDGETS, peers="all")
    parser.add_argument("--codecs", default="all")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the first set's recall (.svg or .png)")
    given = parser.parse_args(arguments)
    summaries = []
    for split, out in splits(given):
        planned = plan(split.base.shape[1], budgets=given.budgets, codecs=given.codecs, peers=given.peers)
        with reported(True) as listener:
            run_all(split, planned, out, limit_s=given.limit, report=listener)
        summaries.append(report(out))
    text = "\n\n".join(map(section, summaries)) + f"\n\n{summaries[0].about['machine']}"
    show(text, SECTION, page=given.write)
    if given.picture:
        save(summaries[0], given.picture, recall)


def add_arguments(parser: argparse.ArgumentParser, *, out: str, budgets: str, peers: str) -> None:
    """Add what scripts take that bench several data sets."""
    parser.add_argument("sets", nargs="+", metavar="NAME=VECTORS[,QUERIES]")
    parser.add_argument("--out", type=Path, default=Path(out), help="raw results, a folder a set")
    parser.add_argument("--budgets", default=budgets)
    parser.add_argument("--peers", default=peers)
    parser.add_argument("--limit", type=float, default=900, help="seconds a codec may take")
    parser.add_argument("--train", type=int, default=20_000, metavar="ROWS")
    parser.add_argument("--base", type=int, default=40_000, metavar="ROWS")
    add_page(parser)


def splits(given: argparse.Namespace) -> Iterator[tuple[Split, Path]]:
    """Yield each data set, split, and the folder for its results."""
    for number, one in enumerate(given.sets):
        name, _, files = one.rpartition("=")
        vectors, _, queries = files.partition(",")
        split = prepare(
            vectors, name=name or None, queries=queries or None, train_rows=given.train, base_rows=given.base
        )
        yield split, given.out / f"{number}"


def section(summary: Summary) -> str:
    """Return a data set's table in Markdown, with the rate-distortion bound beside each codec's error."""
    about = summary.about["split"]
    note = (
        f"**{about['name']}**, {about['dimensions']} dimensions: trained on {about['train_rows']:,} rows, searched "
        f"{about['base_rows']:,} others with {about['queries']} queries; ± is a 95% interval, = a tie with the best of "
        "no more bytes. Error is the share of the variance that is lost, bound the least that a Gaussian of the same "
        "spectrum loses at as many bytes. † trained on the rows that it searches."
    )
    rows = [_row(summary, i, line) for i, line in enumerate(summary.lines)]
    settings = [f"{name}: {_first(peer)}" for name, peer in _peers(summary).items()]
    return "\n\n".join([note, table(HEADER, rows), *remarks(summary), *settings])


def remarks(summary: Summary) -> list[str]:
    """Return what failed, what was not there, and what was not come to."""
    failed = [f"`{one['label']}` failed: {one['error']}." for one in summary.failed]
    absent = [f"Not measured: {why}." for why in summary.about["absent"].values()]
    unfinished = summary.about["unfinished"]
    ended = [f"The bench was ended before the last {unfinished} runs."] if unfinished else []
    return [*failed, *absent, *ended]


def _row(summary: Summary, number: int, line: Line) -> list[str]:
    best = summary.best(line.code_bytes)
    mark = "best" if best == number else "=" if best is not None and summary.ties[best, number] else ""
    measured = {name: interval.value for name, interval in line.metrics.items()}
    decodes = "r2" in measured
    return [
        f"`{line.label}`" + ("†" if line.facts["trains_on_base"] else ""),
        f"{line.code_bytes:.4g}",
        f"{line.bytes['code + model']:.4g}",
        f"{4 * summary.about['split']['dimensions'] / line.code_bytes:.3g}x",
        f"{line.recall.value:.3f} ± {line.recall.half:.3f}",
        mark,
        f"{1 - measured['r2']:.4f}" if decodes else "",
        f"{measured['bound']:.4f}" if decodes else "",
        f"{measured['db above bound']:.2f}" if "db above bound" in measured else "",
        f"{measured['fit s']:.1f}",
        f"{measured['encode rows/s'] / 1e3:,.0f}",
    ]


def _peers(summary: Summary) -> dict[str, str]:
    """Return what each peer's adapter says of its settings."""
    from vecstore.bench.peers.peer import peer_class

    names = sorted({line.name for line in summary.lines if line.kind == "peer"})
    versions = {line.name: line.facts["version"] for line in summary.lines}
    return {f"{name} {versions[name]}": peer_class(name).__doc__ or "" for name in names}


def _first(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    main()
