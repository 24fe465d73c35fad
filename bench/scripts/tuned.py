"""What `vecstore tune` picks, beside other libraries.

``python -m vecstore.bench.scripts.tuned NAME=VECTORS[,QUERIES] ...``.

Tuning sees the training rows only; what it picks is then benched as any codec is: trained on these rows, searched among
others, with real queries where they are given. What is finished already in ``--out`` is not done again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from vecstore.bench.budget import parse_budgets
from vecstore.bench.plan import Plan, plan, run_all
from vecstore.bench.run import Run
from vecstore.bench.scripts.tables import add_arguments, remarks, splits
from vecstore.bench.split import Split
from vecstore.bench.summary import Line, Summary, summarise
from vecstore.bench.timing import show, table

from vecstore.errors import BudgetError
from vecstore.progress import reported
from vecstore.tuning.tuner import tune

__all__ = ["main", "section"]

BUDGETS = "16,24,32,48,64,96,128,192,384"
SECTION = "tuned"
OWN = ("budget", "picked", "bytes", "recall@10")
HEADER = (*OWN, "best of no more bytes", "bytes", "recall@10", "best code", "recall@10")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.tuned", description=__doc__)
    add_arguments(parser, out="bench-tuned", budgets=BUDGETS, peers="faiss")
    given = parser.parse_args(arguments)
    sections = []
    for split, out in splits(given):
        picks = picked(split, parse_budgets(given.budgets, split.base.shape[1]), out / "picks.json")
        peers = plan(split.base.shape[1], budgets=given.budgets, codecs="", peers=given.peers)
        runs = [*(Run("codec", spec) for spec in dict.fromkeys(picks.values())), *peers.runs]
        planned = Plan(tuple(runs), peers.budgets, peers.absent)
        with reported(True) as listener:
            run_all(split, planned, out / "bench", limit_s=given.limit, report=listener)
        sections.append(section(summarise(out / "bench"), picks))
    text = "\n\n".join(sections)
    show(text, SECTION, page=given.write)


def picked(split: Split, budgets: Sequence[int], path: Path) -> dict[int, str]:
    """Return what is picked for each budget that anything fits, from the training rows; picks are kept in a file."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    for budget in budgets:
        if str(budget) in kept:
            continue
        start = time.monotonic()
        try:
            spec = str(tune(split.train, budget, metric=split.metric, rows=len(split.base)).spec)
        except BudgetError as error:
            spec = ""
            print(error, flush=True)
        kept[str(budget)] = spec
        print(f"{budget} bytes: {spec} in {time.monotonic() - start:.0f} s", flush=True)
        path.write_text(json.dumps(kept, indent=1))
    return {budget: kept[str(budget)] for budget in budgets if kept[str(budget)]}


def section(summary: Summary, picks: dict[int, str]) -> str:
    """Return a data set's table in Markdown."""
    about = summary.about["split"]
    note = (
        f"**{about['name']}**, {about['dimensions']} dimensions: tuned and trained on {about['train_rows']:,} rows, "
        f"searched {about['base_rows']:,} others with {about['queries']} queries; ± is a 95% interval, bytes are those "
        "of a row with its share of the model. Best code: as if models of other libraries took no bytes."
    )
    own = {line.label: line for line in summary.lines if line.kind == "codec"}
    peers = [line for line in summary.lines if line.kind == "peer"]
    rows = [_row(budget, own[spec], peers) for budget, spec in picks.items() if spec in own]
    header = HEADER if peers else OWN
    return "\n\n".join([note, table(header, rows), *remarks(summary)])


def _row(budget: int, own: Line, peers: Sequence[Line]) -> list[str]:
    shown = [f"{budget}", *_shown(own, _bytes(own))]
    if peers:
        whole = _best([line for line in peers if _bytes(line) <= budget])
        code = _best([line for line in peers if line.code_bytes <= budget])
        shown += _shown(whole, _bytes(whole)) if whole else ["none", "", ""]
        shown += _shown(code, None) if code else ["none", ""]
    return shown


def _best(lines: Sequence[Line]) -> Line | None:
    return max(lines, key=lambda line: line.recall.value, default=None)


def _bytes(line: Line) -> float:
    taken = line.bytes["code + model"]
    assert taken is not None
    return taken


def _shown(line: Line, taken: float | None) -> list[str]:
    numbers = [] if taken is None else [f"{taken:.1f}"]
    return [f"`{line.label}`", *numbers, f"{line.recall.value:.3f} ± {line.recall.half:.3f}"]


if __name__ == "__main__":
    main()
