"""Decision records keep one form, and their list names them all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "decisions"
RECORDS = sorted(FOLDER.glob("[0-9]*.md"))


def test_the_list_names_every_record_by_its_title() -> None:
    listed = re.findall(r"^\| \[(\d{4})\]\(([^)]+)\) \| (.+) \|$", (FOLDER / "index.md").read_text(), re.MULTILINE)
    titles = [re.match(r"# (\d{4}): (.+)\n", record.read_text()) for record in RECORDS]
    assert listed == [(match[1], path.name, match[2]) for match, path in zip(titles, RECORDS, strict=True) if match]
    assert [number for number, _, _ in listed] == [f"{n:04}" for n in range(1, len(RECORDS) + 1)]


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_a_record_says_when_why_and_what_else(record: Path) -> None:
    text = record.read_text()
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences", "Alternatives"]
    assert re.search(r"^Status: .*\d{4}-\d\d-\d\d", text, re.MULTILINE)
    assert "measured" in text.split("## Alternatives")[1]
    assert len(text.split()) <= 700, "one page"
