"""Links, anchors and section numbers of the documentation lead where they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SOURCES = sorted(path for folder in ("vecstore", "formats", "bench", "tests") for path in (ROOT / folder).rglob("*.py"))

TO_BE_MADE = "ternary"  # the codec that CONTRIBUTING.md makes
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)|<(?:img|source)\b[^>]*?\b(?:src|srcset)=\"([^\"]+)\"")
FORMAT = re.compile(r"docs/format\.md,?\s*section\s+(\d+)(?:\s+\(([^)]+)\))?|section\s+(\d+)\s+of\s+docs/format\.md")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def headings(text: str) -> list[str]:
    """Return the headings of a page, without those that stand in blocks of code."""
    return re.findall(r"^#+ +(.+?) *$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)


def anchors(text: str) -> set[str]:
    """Return the anchors of a page, as a forge makes them of headings: repeated ones are numbered."""
    found: set[str] = set()
    for heading in headings(text):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        repeated = next(n for n in range(len(text)) if (f"{slug}-{n}" if n else slug) not in found)
        found.add(f"{slug}-{repeated}" if repeated else slug)
    return found | set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))


def sections() -> dict[int, str]:
    """Return the numbered sections of the format page."""
    numbered = re.findall(r"^## (\d+)\. (.+)$", (ROOT / "docs/format.md").read_text(), re.MULTILINE)
    return {int(number): title for number, title in numbered}


@every_page
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = page.read_text()
    for link in LINK.finditer(CODE.sub("", text)):
        target = link[1] or link[2]
        if re.match(r"(https?|mailto):", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.is_relative_to(ROOT) and place.exists(), f"{target}: no such file"
        # The site shows files, not folders.
        assert place.is_file(), f"{target}: name a file, not a folder"
        if anchor:
            assert anchor in anchors(place.read_text()), f"{target}: no such heading"


def test_sections_of_the_format_are_numbered_and_listed() -> None:
    text = (ROOT / "docs/format.md").read_text()
    found = sections()
    assert list(found) == list(range(1, len(found) + 1))
    listed = re.findall(r"^(\d+)\. \[(.+)\]\(#(\d+)-", text, re.MULTILINE)
    assert [(int(number), title, int(at)) for number, title, at in listed] == [(n, t, n) for n, t in found.items()]


def test_section_numbers_within_the_format_exist() -> None:
    named = re.findall(r"\bsections? (\d+)", (ROOT / "docs/format.md").read_text())
    assert named and {int(number) for number in named} <= set(sections())


def test_section_numbers_elsewhere_stand_with_their_title() -> None:
    """A number alone says nothing once sections move: write docs/format.md, section N (Title)."""
    for path in {*PAGES, *SOURCES} - {Path(__file__)}:
        for reference in FORMAT.finditer(path.read_text()):
            assert reference[2], f"{path}: {reference[0]!r} lacks the title: docs/format.md, section N (Title)"
            assert sections().get(int(reference[1])) == reference[2], f"{path}: {reference[0]!r}"


@every_page
def test_paths_that_pages_name_exist(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        pytest.skip("tells of what was, too")
    named = re.findall(r"`((?:vecstore|formats|bench|tests|docs|\.ci|\.github)/[^`\s]*)`", page.read_text())
    # What a reader is to fill in is written large: `bench/peers/NAME.py`.
    open_ = re.compile(rf"[A-Z]{{2}}|\.\.\.|{TO_BE_MADE}")
    missing = [path for path in named if not open_.search(path) and not (ROOT / path).exists()]
    assert not missing
