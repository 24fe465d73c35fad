"""Make libraries of all kernels: ``python -m vecstore.kernels.ahead --into FOLDER [TARGET ... | all]``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from vecstore.kernels.ahead.compiling import TARGETS
from vecstore.kernels.ahead.making import make
from vecstore.kernels.levels import best_level
from vecstore.kernels.libraries import target_of

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the libraries of some targets, of this machine's by default, into a folder."""
    parser = argparse.ArgumentParser(description="Make libraries of all kernels.")
    parser.add_argument("--into", type=Path, required=True, metavar="FOLDER")
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}, or all; this machine's by default"
    )
    chosen = parser.parse_args(arguments)
    own = target_of(best_level())
    targets = list(TARGETS) if chosen.targets == ["all"] else chosen.targets or ([own] if own else [])
    unknown = [target for target in targets if target not in TARGETS]
    if unknown:
        parser.error(f"unknown targets {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    chosen.into.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), max_tasks_per_child=1) as processes:
        list(processes.map(make, targets, [chosen.into] * len(targets)))


if __name__ == "__main__":
    main()
