"""A small drawing board: shapes and words in, an SVG file out, the same bytes each time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple
from xml.sax.saxutils import escape, quoteattr

from vecstore.bench.scripts.docs_pictures.colours import Theme

__all__ = ["WIDTH", "Box", "Drawing", "Point", "text_width"]

# A phone shows 640 units in about 360 pixels: so words are set large, SMALL being the smallest.
WIDTH = 640
SIZE, SMALL = 16.5, 15.0
SANS = "-apple-system, 'Segoe UI', Helvetica, Arial, 'Liberation Sans', sans-serif"
MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', monospace"
MONO_WIDTH = 0.605  # of a letter, in ems
# Widths of letters in ems, rounded up from those of Helvetica and its like; REST is that of all others.
LETTERS = {
    0.27: "'ijlI.,:;|!",
    0.33: " ft/\\()[]-r",
    0.51: "cksvxyzJ*",
    0.62: "FTZ+<>=~≥≤×",
    0.68: "ABEKPSVXY&",
    0.74: "CDHNRUw",
    0.79: "GOQ",
    0.86: "mM",
    0.96: "W%",
    1.01: "→←↓↑…",
}
WIDTHS = {letter: width for width, letters in LETTERS.items() for letter in letters}
REST = 0.57
BOLD = 1.07  # times as wide

Point = tuple[float, float]
Anchor = Literal["start", "middle", "end"]


class Box(NamedTuple):
    """A rectangle: its left, top, right and bottom edge."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Return whether two boxes share more than an edge."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


def text_width(words: str, size: float, *, mono: bool = False, bold: bool = False) -> float:
    """Return about how wide words are, rather more than less."""
    if mono:
        return size * MONO_WIDTH * len(words)
    return size * sum(WIDTHS.get(letter, REST) for letter in words) * (BOLD if bold else 1)


class Drawing:
    """One picture in one theme.

    Parameters
    ----------
    height : float
        The width is WIDTH.
    title, description : str
        What people hear who do not see it.
    theme : Theme

    Attributes
    ----------
    words : list of (str, Box)
        What was written and where, so that a test can see that nothing overlaps.
    """

    def __init__(self, height: float, *, title: str, description: str, theme: Theme) -> None:
        self.height, self.title, self.description, self.theme = height, title, description, theme
        self.words: list[tuple[str, Box]] = []
        self._shapes: list[str] = []

    def text(
        self,
        at: Point,
        words: str,
        *,
        size: float = SIZE,
        colour: str = "",
        anchor: Anchor = "start",
        mono: bool = False,
        bold: bool = False,
        within: float = WIDTH,
    ) -> None:
        """Write a line of words whose baseline begins, is centred or ends at a point.

        Raises
        ------
        ValueError
            The words are wider than `within`, or leave the picture.
        """
        x, y = at
        width = text_width(words, size, mono=mono, bold=bold)
        left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
        box = Box(left, y - 0.74 * size, left + width, y + 0.22 * size)
        if width > within or left < 0 or box.right > WIDTH or box.top < 0 or box.bottom > self.height:
            raise ValueError(f"{words!r} does not fit: {width:.0f} of {within:.0f} wide, at {box}")
        self.words.append((words, box))
        style = f' class="{"m" if mono else "s"}{" b" if bold else ""}" font-size="{_number(size)}"'
        style += f' fill="{colour or self.theme.ink}"' + (f' text-anchor="{anchor}"' if anchor != "start" else "")
        self._shapes.append(f'<text x="{_number(x)}" y="{_number(y)}"{style}>{escape(words)}</text>')

    def lines(
        self, at: Point, lines: Sequence[str], *, size: float = SIZE, colour: str = "", leading: float = 22
    ) -> None:
        """Write lines below each other, the first one's baseline beginning at a point."""
        for number, words in enumerate(lines):
            self.text((at[0], at[1] + number * leading), words, size=size, colour=colour)

    def rect(
        self,
        box: Box,
        *,
        fill: str = "none",
        line: str = "none",
        radius: float = 0,
        dashed: bool = False,
        thickness: float = 1.5,
    ) -> None:
        """Draw a rectangle."""
        left, top, right, bottom = box
        shape = f'<rect x="{_number(left)}" y="{_number(top)}" width="{_number(right - left)}"'
        shape += f' height="{_number(bottom - top)}"' + (f' rx="{_number(radius)}"' if radius else "")
        self._shapes.append(f"{shape} fill={quoteattr(fill)}{_stroke(line, thickness, dashed)}/>")

    def polygon(self, points: Iterable[Point], *, fill: str, line: str = "none", thickness: float = 1.5) -> None:
        """Draw a closed shape."""
        corners = " ".join(f"{_number(x)},{_number(y)}" for x, y in points)
        self._shapes.append(f'<polygon points="{corners}" fill="{fill}"{_stroke(line, thickness, False)}/>')

    def circle(self, centre: Point, radius: float, *, fill: str, line: str = "none", thickness: float = 1.5) -> None:
        """Draw a circle."""
        place = f'cx="{_number(centre[0])}" cy="{_number(centre[1])}" r="{_number(radius)}"'
        self._shapes.append(f'<circle {place} fill="{fill}"{_stroke(line, thickness, False)}/>')

    def path(self, points: Sequence[Point], *, line: str, thickness: float = 1.5, dashed: bool = False) -> None:
        """Draw straight lines from point to point."""
        steps = "M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points)
        self._shapes.append(
            f'<path d="{steps}" fill="none"{_stroke(line, thickness, dashed)} stroke-linejoin="round"/>'
        )

    def arrow(self, points: Sequence[Point], *, line: str, thickness: float = 1.8, head: float = 8) -> None:
        """Draw straight lines from point to point with a head at the last, which must not be slanted by much."""
        (x0, y0), (x1, y1) = points[-2:]
        length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        u, v = (x1 - x0) / length, (y1 - y0) / length
        base = (x1 - head * u, y1 - head * v)
        self.path([*points[:-1], base], line=line, thickness=thickness)
        wing = 0.55 * head
        sides = ((base[0] - wing * v, base[1] + wing * u), (base[0] + wing * v, base[1] - wing * u))
        self.polygon([(x1, y1), *sides], fill=line)

    def svg(self) -> str:
        """Return the file."""
        size = f'width="{WIDTH}" height="{_number(self.height)}" viewBox="0 0 {WIDTH} {_number(self.height)}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title desc">'
        style = f".s{{font-family:{SANS}}}.m{{font-family:{MONO}}}.b{{font-weight:600}}"
        return "\n".join(
            [
                head,
                f'<title id="title">{escape(self.title)}</title>',
                f'<desc id="desc">{escape(self.description)}</desc>',
                f"<style>{style}</style>",
                *self._shapes,
                "</svg>\n",
            ]
        )


def _stroke(line: str, thickness: float, dashed: bool) -> str:
    if line == "none":
        return ""
    return f' stroke="{line}" stroke-width="{_number(thickness)}"' + (' stroke-dasharray="5 4"' if dashed else "")


def _number(value: float) -> str:
    """Return a length in tenths, without zeros that say nothing."""
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")
