"""The pictures of the documentation: what is committed is what the script draws, and what they show is so."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from vecstore.bench.scripts.docs_pictures import cells, draw_all, file_parts, pictures, recall, tile
from vecstore.bench.scripts.docs_pictures.__main__ import main
from vecstore.bench.scripts.docs_pictures.colours import THEMES
from vecstore.bench.scripts.docs_pictures.drawing import Box, Drawing

import vecstore
from vecstore.container.container import Container
from vecstore.container.pages import BRANCH, LEAF, META, read_tree
from vecstore.container.part import tiled
from vecstore.errors import FormatError

DOCS = Path(__file__).parents[3] / "docs"
IMAGES, BENCHMARKS = DOCS / "images", DOCS / "benchmarks.md"
DRAWN = draw_all(BENCHMARKS)
LEAST_CONTRAST = 4.5  # of words, as WCAG 2 has it for level AA
themes = pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)


@pytest.mark.parametrize("name", DRAWN)
def test_committed_pictures_are_what_the_script_draws(name):
    assert (IMAGES / name).read_text(encoding="utf-8") == DRAWN[name], "draw it anew: see bench/scripts/docs_pictures"


def test_no_picture_is_left_over():
    committed = {file.name for theme in THEMES for file in IMAGES.glob(f"*-{theme.name}.svg")}
    assert committed == set(DRAWN)


def test_command_writes_all_pictures(tmp_path):
    main(["--out", str(tmp_path / "images"), "--benchmarks", str(BENCHMARKS)])
    assert {file.name: file.read_text(encoding="utf-8") for file in (tmp_path / "images").iterdir()} == DRAWN


@pytest.mark.parametrize("name", DRAWN)
def test_pictures_speak_and_load_nothing(name):
    root = ElementTree.fromstring(DRAWN[name])
    spoken = {child.get("id"): child.text or "" for child in root}
    assert root.get("role") == "img"
    assert all(len(spoken[label]) > 4 for label in root.get("aria-labelledby", "").split())
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= {
        "svg", "title", "desc", "style", "text", "rect", "path", "polygon", "circle",
    }  # fmt: skip
    assert "url(" not in DRAWN[name] and "href" not in DRAWN[name]


@themes
@pytest.mark.parametrize("name", sorted(pictures(BENCHMARKS)))
def test_words_do_not_overlap(name, theme):
    words = pictures(BENCHMARKS)[name](theme).words
    assert words
    assert [(a, b) for i, (a, one) in enumerate(words) for b, other in words[:i] if one.overlaps(other)] == []


@themes
def test_words_can_be_read(theme):
    for accent in (theme.blue, theme.green, theme.orange, theme.purple, theme.grey):
        for ground in (theme.page, accent.fill):
            assert contrast(accent.text, ground) >= LEAST_CONTRAST
            assert contrast(theme.ink, ground) >= LEAST_CONTRAST
    assert contrast(theme.muted, theme.page) >= LEAST_CONTRAST
    for accent in (theme.blue, theme.green, theme.orange, theme.purple):  # WCAG: 3 for what is no text
        assert contrast(accent.solid, theme.page) >= 3


def test_words_that_do_not_fit_are_refused():
    drawing = Drawing(40, title="A", description="B", theme=THEMES[0])
    with pytest.raises(ValueError, match="does not fit"):
        drawing.text((10, 20), "four words of text", within=40)
    with pytest.raises(ValueError, match="does not fit"):
        drawing.text((630, 20), "words")
    with pytest.raises(ValueError, match="does not fit"):
        drawing.text((10, 39), "words")
    assert not Box(0, 0, 2, 2).overlaps(Box(2, 0, 3, 2)) and Box(0, 0, 2, 2).overlaps(Box(1, 1, 3, 3))


@pytest.mark.parametrize("shown", [tile.COARSE, tile.TRELLIS], ids=lambda shown: str(shown.rows))
def test_tiles_are_those_of_the_container(shown):
    """Bytes that are numbered lie in the file's order where the picture has them."""
    rows, width = shown.rows, shown.chunks * shown.together
    number = np.arange(rows * width, dtype=np.int64).reshape(rows, width)
    raw = number.astype("<i8").view(np.uint8).reshape(rows, width, 8)
    # tiled() moves bytes: eight times, so that numbers above 255 can be followed
    laid = np.stack([tiled(np.ascontiguousarray(raw[:, :, i]), rows) for i in range(8)], axis=1)
    lies = np.ascontiguousarray(laid).view("<i8")[:, 0]
    letters = dict(enumerate("abc")) | {rows - 1: "z"}
    at = 0
    for chunk in range(shown.runs):
        seen = []
        for row in range(rows):
            first = chunk * shown.together
            assert lies[at : at + shown.together].tolist() == number[row, first : first + shown.together].tolist()
            at += shown.together
            seen += [shown.label(letters[row], chunk)] if row in letters else []
        assert seen == [label for label in shown.run(chunk) if label != "…"]


def test_parts_are_those_of_a_store(docs, tmp_path):
    """All parts that the picture names are in a file, and with the sizes that it gives."""
    keys = [f"item {i}" for i in range(len(docs))]
    vecstore.write(tmp_path / "items.vecs", docs, keys, codec="bin/sq:8", keep_norms=True)
    container = Container(tmp_path / "items.vecs")
    named = [part.name for part in file_parts.PARTS[1:-3]]
    assert {"checksums", "vecstore"} == {part.name for part in file_parts.PARTS[-3:-1]}
    held = set(container.names())
    models = {name for name in held if name.startswith("model.")}
    assert {name for name in named if name != "model.L.S.NAME"} == held - models - {"residuals.scales"}
    assert container.part("codes.0").shape == (len(docs), 48) and container.part("codes.1").shape == (len(docs), 384)
    assert container.part("codes.0").tile_rows == 32 and models
    assert container.part("residuals").row_bytes == 1
    # two meta pages come first, checksums and description last, and behind them the tree
    data = np.fromfile(tmp_path / "items.vecs", np.uint8)
    page_bytes = int(data[40:44].view("<u4")[0])
    values = sorted(read_tree(data, "items.vecs").items(), key=lambda entry: entry[1].offset)
    assert [int(data[page * page_bytes + 10]) for page in (0, 1)] == [META, META]
    assert values[0][1].offset == 2 * page_bytes + 16
    assert int(data[data[page_bytes + 128 :][:8].view("<u8")[0] * page_bytes + 10]) in (LEAF, BRANCH)  # the root
    assert data[page_bytes + 128 :][:8].view("<u8")[0] == len(data) // page_bytes - 1
    assert [name for name, _ in values[-2:]] == [b"checksums", b"vecstore"]


def test_rows_lie_in_their_cells():
    drawn = cells.rows_by_cell()
    assert tuple(map(len, drawn)) == cells.SIZES
    assert all(cells.cell_of(row) == cell for cell, rows in enumerate(drawn) for row in rows)


def test_recall_is_that_of_the_table():
    page = BENCHMARKS.read_text(encoding="utf-8")
    runs = recall.runs_in(page)
    assert f"| `{runs[0].label}`" in page and len(runs) > 50
    for series in recall.SERIES:
        shown = recall.series_of(runs, series)
        assert shown, f"{series.name} is in the table"
        assert [run.recall for run in shown] == sorted(run.recall for run in shown)
        for run in shown:
            assert f"`{run.label}`" in page and f"| {run.recall:.3f} ±" in page
        assert all((" " in run.label) == bool(series.starts) for run in shown)


def test_a_page_without_the_table_is_refused():
    with pytest.raises(FormatError, match="recall"):
        recall.draw(THEMES[0], "no table")


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG 2 defines it."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_contrast_is_that_of_the_standard():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
