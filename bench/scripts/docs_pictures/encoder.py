"""How a store of tokens makes the vector of a text (docs/sentences.md)."""

from __future__ import annotations

from collections.abc import Sequence

from vecstore.bench.scripts.docs_pictures.colours import Accent, Theme
from vecstore.bench.scripts.docs_pictures.drawing import SMALL, Box, Drawing

__all__ = ["draw"]

STEPS = (
    ("Text", "“a cat on a mat”", "grey"),
    ("Tokens", "the tokenizer is in the store", "orange"),
    ("Rows", "each distinct one is decoded once", "blue"),
    ("Vector", "their mean, weighted; at length one, if the model says so", "green"),
)
TOKENS = (("a", 263), ("cat", 6635), ("on", 373), ("a", 263), ("mat", 1775))
HEIGHT, GAP, LEFT, RIGHT = 88.0, 28.0, 8.0, 632.0
CHIP, ACROSS = 86.0, 12.0


def draw(theme: Theme) -> Drawing:
    """Draw the picture."""
    drawing = Drawing(
        len(STEPS) * (HEIGHT + GAP) - GAP + 16,
        title="From a text to its vector",
        description=(
            "A text is cut into tokens by the tokenizer that the store holds. Tokens are numbers of rows: each "
            "distinct one is decoded once. The vector of the text is the weighted mean of its tokens' vectors."
        ),
        theme=theme,
    )
    for number, (name, says, colour) in enumerate(STEPS):
        accent: Accent = getattr(theme, colour)
        top = 8 + number * (HEIGHT + GAP)
        drawing.rect(Box(LEFT, top, RIGHT, top + HEIGHT), fill=accent.fill, line=accent.solid, radius=6)
        drawing.text((LEFT + 14, top + 28), name, bold=True, colour=accent.text)
        drawing.text((LEFT + 106, top + 28), says, size=SMALL)
        if number:
            x = (LEFT + RIGHT) / 2
            drawing.arrow([(x, top - GAP + 4), (x, top - 3)], line=theme.muted)
        _chips(drawing, top + 42, accent, CHIPS[name])
    return drawing


def _distinct() -> list[str]:
    return [f"row {row}" for row in dict(TOKENS).values()]


CHIPS = {
    "Text": [],
    "Tokens": [f"{word} {row}" for word, row in TOKENS],
    "Rows": _distinct(),
    "Vector": ["(2 a", "+ cat", "+ on", "+ mat)", "/ 5"],
}


def _chips(drawing: Drawing, top: float, accent: Accent, words: Sequence[str]) -> None:
    for place, word in enumerate(words):
        left = LEFT + 106 + place * (CHIP + ACROSS)
        drawing.rect(Box(left, top, left + CHIP, top + 34), fill="none", line=accent.solid, radius=4)
        drawing.text((left + CHIP / 2, top + 23), word, size=SMALL, anchor="middle")
