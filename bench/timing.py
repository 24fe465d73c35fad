"""Time functions side by side, and put results into a page between markers."""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from vecstore.errors import FormatError

__all__ = ["add_page", "machine", "medians", "show", "table", "write_section"]


def medians(functions: Mapping[str, Callable[[], object]], *, runs: int = 7) -> dict[str, float]:
    """Return each function's median seconds; they take turns, so that a slow moment of the machine meets all."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(runs):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def machine() -> str:
    """Return a line on the processor, for the foot of a table."""
    import os
    import platform

    import numpy as np

    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, IndexError):
        model = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[0]
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, numpy {np.__version__}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def add_page(parser: argparse.ArgumentParser) -> None:
    """Add the option by which a script puts what it measured into a page."""
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables into this Markdown page")


def show(text: str, name: str, *, page: Path | None) -> None:
    """Print what was measured, and put it into the section of that name where a page is given."""
    print(text)
    if page:
        write_section(page, name, text)


def write_section(page: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- /name -->`` in a page.

    Raises
    ------
    FormatError
        The page has no such markers.
    """
    body = page.read_text()
    pattern = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(body):
        raise FormatError(f"no markers <!-- {name} --> and <!-- /{name} -->", path=page)
    page.write_text(pattern.sub(lambda found: found[1] + text + "\n" + found[2], body))
