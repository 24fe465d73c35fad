"""Draw the pictures of the documentation: ``python -m vecstore.bench.scripts.docs_pictures --out docs/images``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from vecstore.bench.scripts.docs_pictures import draw_all

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.docs_pictures", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"), metavar="FOLDER")
    parser.add_argument("--benchmarks", type=Path, default=Path("docs/benchmarks.md"), metavar="PAGE")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    for name, text in draw_all(given.benchmarks).items():
        (given.out / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
