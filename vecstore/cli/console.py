"""What the commands print with: consoles, tables, lists of facts, JSON, one-line notes."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = [
    "complain",
    "facts",
    "notes_of_warnings",
    "print_commands",
    "print_json",
    "say",
    "shown_key",
    "stderr",
    "stdout",
    "table",
]


def stdout() -> Console:
    """Return a console on standard output; made anew, since tests and pipes replace the stream."""
    return Console(highlight=False)


def stderr() -> Console:
    """Return a console on standard error."""
    return Console(stderr=True, highlight=False)


def say(message: str) -> None:
    """Print one line on stderr, as it is."""
    print(" ".join(message.split()), file=sys.stderr)


def complain(message: str) -> None:
    """Print an error in one line on stderr."""
    say(f"vecstore: error: {message}")


def table(*header: str, right: Sequence[str] = ()) -> Table:
    """Return an empty table; `right` names the columns that are numbers."""
    made = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for name in header:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return made


def facts(*rows: tuple[str, str]) -> Table:
    """Return names and values as two columns."""
    made = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(name, Text(value))
    return made


def shown_key(key: Any) -> str | int:
    """Return a key as it is printed: bytes as text, escaped where they are none."""
    if isinstance(key, bytes):
        return key.decode(errors="backslashreplace")
    return key if isinstance(key, str) else int(key)


def print_commands(console: Console, title: str, commands: Sequence[str]) -> None:
    """Print what to do next: a title, and commands to copy, a line each."""
    console.print()
    console.print(Text(title))
    for command in commands:
        console.print(Text(f"  {command}", style="bold"), soft_wrap=True)


def print_json(value: Any) -> None:
    """Print JSON on stdout, for programs."""
    print(json.dumps(value, ensure_ascii=not (sys.stdout.encoding or "").lower().startswith("utf")))


@contextmanager
def notes_of_warnings() -> Iterator[None]:
    """Print the warnings that arise inside as one-line notes."""
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in noted:
        say(f"vecstore: note: {warning.message}")
