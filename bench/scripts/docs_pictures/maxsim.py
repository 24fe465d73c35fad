"""How token vectors are compared: the largest product of each of a query's vectors, summed."""

from __future__ import annotations

from vecstore.bench.scripts.docs_pictures.colours import Theme
from vecstore.bench.scripts.docs_pictures.drawing import SMALL, Box, Drawing

__all__ = ["draw"]

QUERY = ("fast", "text", "search")
ROW = ("a", "quick", "index", "for", "words")
PRODUCTS = ((0.11, 0.83, 0.32, 0.07, 0.21), (0.05, 0.14, 0.41, 0.12, 0.72), (0.09, 0.22, 0.78, 0.15, 0.36))
LEFT, TOP, WIDE, HIGH = 110.0, 84.0, 78.0, 40.0


def draw(theme: Theme) -> Drawing:
    """Draw the picture."""
    best = [max(products) for products in PRODUCTS]
    total = f"{sum(best):.2f}"
    drawing = Drawing(
        TOP + 3 * HIGH + 76,
        title="The score of a row with token vectors",
        description=(
            "Each vector of the query is multiplied with each vector of the row. The largest product of each line "
            f"counts, and their sum is the score: {' + '.join(f'{each:.2f}' for each in best)} = {total}."
        ),
        theme=theme,
    )
    drawing.text((LEFT, 26), "a row’s vectors, one a token, as its codes stand for them")
    for number, word in enumerate(ROW):
        drawing.text((LEFT + (number + 0.5) * WIDE, TOP - 14), word, size=SMALL, colour=theme.muted, anchor="middle")
    drawing.text((LEFT + 5 * WIDE + 50, TOP - 14), "largest", size=SMALL, colour=theme.muted, anchor="middle")
    for line, (word, products) in enumerate(zip(QUERY, PRODUCTS, strict=True)):
        y = TOP + line * HIGH
        drawing.text((LEFT - 12, y + HIGH / 2 + 5), word, anchor="end")
        for number, product in enumerate(products):
            place = Box(LEFT + number * WIDE, y, LEFT + (number + 1) * WIDE - 4, y + HIGH - 4)
            found = product == max(products)
            accent = theme.blue
            drawing.rect(place, fill=accent.fill if found else "none", line=accent.solid if found else theme.line)
            at = ((place.left + place.right) / 2, y + HIGH / 2 + 4)
            drawing.text(
                at, f"{product:.2f}", size=SMALL, anchor="middle", colour=accent.text if found else theme.muted
            )
        drawing.text((LEFT + 5 * WIDE + 50, y + HIGH / 2 + 4), f"{max(products):.2f}", anchor="middle", bold=True)
    bottom = TOP + 3 * HIGH
    drawing.path([(LEFT + 5 * WIDE + 20, bottom + 4), (LEFT + 5 * WIDE + 80, bottom + 4)], line=theme.ink)
    drawing.text((LEFT + 5 * WIDE + 50, bottom + 28), total, anchor="middle", bold=True)
    drawing.text((LEFT, bottom + 28), "the query’s vectors, as they are", size=SMALL, colour=theme.muted)
    drawing.text((LEFT, bottom + 54), "only the sum leaves the processor’s cache, a number a row", size=SMALL)
    return drawing
