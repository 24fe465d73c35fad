"""docs/formats.md names every format."""

from __future__ import annotations

from pathlib import Path

from vecstore.formats import FORMATS

PAGE = (Path(__file__).parents[1] / "docs" / "formats.md").read_text()


def test_every_format_has_a_row() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    missing = [name for name in FORMATS if not any(f"`{name}`" in row.split("|")[1] for row in rows)]
    assert not missing


def test_what_is_written_is_said() -> None:
    for line in PAGE.splitlines():
        name = line.split("`")[1] if line.startswith("| `") and line.count("|") == 5 else ""
        if name in FORMATS and "," not in line.split("|")[1]:
            assert FORMATS[name].writable == line.split("|")[3].strip().startswith("yes"), name
