"""What a bench shows: a table for the terminal, pictures, one page for the browser, and the numbers as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from vecstore.bench.page import page
from vecstore.bench.pictures import draw
from vecstore.bench.summary import Line, Summary, summarise
from vecstore.bench.timing import table as markdown

__all__ = ["HEADER", "choices", "markdown_table", "report", "rows"]

HEADER = ("codec", "bytes", "smaller", "recall@10", "", "R²", "q/s", "q/s x64", "fit s", "on disk B/row")


def report(out: str | Path) -> Summary:
    """Compute everything from the raw results in `out` and write it there.

    Writes ``summary.json``, ``table.md``, ``recall``, ``speed`` and ``queries`` as .svg and .png, and ``index.html``.

    Raises
    ------
    FormatError
        `out` holds no finished run.
    """
    out = Path(out)
    summary = summarise(out)
    (out / "summary.json").write_text(json.dumps(summary.to_dict(), indent=1))
    (out / "table.md").write_text(markdown_table(summary) + "\n")
    draw(summary, out)
    (out / "index.html").write_text(page(summary), encoding="utf-8")
    return summary


def markdown_table(summary: Summary) -> str:
    """Return the same as Markdown, with what it was measured on."""
    about = summary.about["split"]
    note = (
        f"{about['name']}: {about['dimensions']} dimensions, {about['metric']}; trained on {about['train_rows']:,} "
        f"rows, searched {about['base_rows']:,} others with {about['queries']} queries ({about['queries_from']}); "
        "± is a 95% interval over the queries; = is a tie with the best of no more bytes."
    )
    shown = [[f"`{cells[0]}`", *cells[1:]] for _, cells, _ in rows(summary)]
    failed = [f"Failed: `{one['label']}`: {one['error']}" for one in summary.failed]
    absent = [f"Not installed: {name}: {why}" for name, why in summary.about["absent"].items()]
    peers = {line.label: line.settings for line in summary.lines if line.kind == "peer"}
    settings = [f"Settings of {label}: `{json.dumps(own)}`" for label, own in peers.items()]
    notes = [*summary.about["notes"], *settings, *failed, *absent]
    return "\n\n".join([note, markdown(HEADER, shown), *notes, summary.about["machine"]])


def choices(summary: Summary, budgets: Sequence[int]) -> list[tuple[int, Line | None, list[Line], Line | None]]:
    """Return for each budget the best codec, its ties among the codecs, and the best peer."""
    found = []
    for budget in budgets:
        own, peer = summary.best(budget, kinds=("codec",)), summary.best(budget, kinds=("peer",))
        ties = [
            line
            for i, line in enumerate(summary.lines)
            if own is not None
            and i != own
            and line.kind == "codec"
            and line.code_bytes <= budget
            and summary.ties[own, i]
        ]
        lines = summary.lines
        found.append((budget, None if own is None else lines[own], ties, None if peer is None else lines[peer]))
    return found


def rows(summary: Summary) -> list[tuple[Line, list[str], str]]:
    """Return the lines by rising bytes, each with its cells under `HEADER` and a mark: "best", "=" (a tie) or ""."""
    found = []
    width = 4 * summary.about["split"]["dimensions"]
    for i, line in enumerate(summary.lines):
        best = summary.best(line.code_bytes)
        assert best is not None  # the line itself fits
        mark = "best" if best == i else "=" if summary.ties[best, i] else ""
        notes = ("†" if line.facts["trains_on_base"] else "") + ("‡" if line.facts["beside"] else "")
        notes += " DISPUTED" if line.facts["disputes"] else ""
        cells = [
            line.label + notes,
            f"{line.code_bytes:.4g}",
            f"{width / line.code_bytes:.3g}x" if line.code_bytes else "",
            f"{line.recall.value:.3f} ± {line.recall.half:.3f}",
            mark,
            _number(line, "r2", "{:.3f}"),
            _number(line, "queries/s, batch 1", "{:,.0f}"),
            _number(line, "queries/s, batch 64", "{:,.0f}"),
            _number(line, "fit s", "{:.1f}"),
            "" if line.bytes["amortised"] is None else f"{line.bytes['amortised']:.1f}",
        ]
        found.append((line, cells, mark))
    return found


def _number(line: Line, name: str, form: str) -> str:
    return form.format(line.metrics[name].value) if name in line.metrics else ""
