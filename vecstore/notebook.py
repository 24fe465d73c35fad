"""What a notebook shows: tables in HTML, for `_repr_html_` of what people look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

__all__ = ["facts_html", "table_html"]

MOST_ROWS = 50


def table_html(header: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str = "") -> str:
    """Return a table of at most 50 rows, numbers to the right; what is shown is escaped."""
    shown = [*(_row(row) for row in rows[:MOST_ROWS])]
    if len(rows) > MOST_ROWS:
        shown.append(f"<tr><td colspan={len(header)}>and {len(rows) - MOST_ROWS:,} more</td></tr>")
    return _table(title, [f"<tr>{''.join(f'<th>{escape(name)}</th>' for name in header)}</tr>", *shown])


def facts_html(title: str, facts: Mapping[str, Any]) -> str:
    """Return names and values as two columns."""
    return _table(
        title, (f"<tr><th>{escape(name)}</th>{_cell(value, left=True)}</tr>" for name, value in facts.items())
    )


def _table(title: str, rows: Iterable[str]) -> str:
    caption = f"<caption>{escape(title)}</caption>" if title else ""
    return f"<table>{caption}{''.join(rows)}</table>"


def _row(cells: Sequence[Any]) -> str:
    return f"<tr>{''.join(map(_cell, cells))}</tr>"


def _cell(value: Any, *, left: bool = False) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    text = f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if number else str(value)
    return f"<td style='text-align: {'right' if number and not left else 'left'}'>{escape(text)}</td>"
