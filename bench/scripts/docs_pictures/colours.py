"""Colours of the documentation's pictures: one theme for light pages, one for dark ones."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DARK", "LIGHT", "THEMES", "Accent", "Theme"]


@dataclass(frozen=True)
class Accent:
    """A colour that means one thing in a picture.

    Attributes
    ----------
    text : str
        Of words and thin lines; readable on the page and on `fill`.
    fill : str
        Of areas with words in them.
    solid : str
        Of areas without words.
    """

    text: str
    fill: str
    solid: str


@dataclass(frozen=True)
class Theme:
    """What a picture is drawn with. The page itself shines through: pictures have no background.

    Attributes
    ----------
    page : str
        The page that the colours are chosen for.
    ink, muted : str
        Of words, and of words that matter less.
    line, surface : str
        Of frames, and of areas that mean nothing particular.
    blue, green, orange, purple : Accent
    """

    name: str
    page: str
    ink: str
    muted: str
    line: str
    surface: str
    blue: Accent
    green: Accent
    orange: Accent
    purple: Accent

    @property
    def grey(self) -> Accent:
        """Return what is neither of the others, as an accent."""
        return Accent(self.muted, self.surface, self.line)


LIGHT = Theme(
    name="light",
    page="#ffffff",
    ink="#1f2328",
    muted="#59636e",
    line="#b7c0c9",
    surface="#f3f5f8",
    blue=Accent("#0757ba", "#dcefff", "#2f81e8"),
    green=Accent("#116329", "#d6f5dd", "#2da44e"),
    orange=Accent("#953800", "#ffead5", "#e16f24"),
    purple=Accent("#6639ba", "#f1e7fe", "#9a6be8"),
)
DARK = Theme(
    name="dark",
    page="#0d1117",
    ink="#e6edf3",
    muted="#9aa4af",
    line="#475160",
    surface="#1a212a",
    blue=Accent("#79bbff", "#0f2d52", "#3b82d6"),
    green=Accent("#6bd585", "#12361f", "#2f9e4a"),
    orange=Accent("#ffa763", "#45260d", "#cf6a24"),
    purple=Accent("#c9a5ff", "#332158", "#8a5cd6"),
)
THEMES = (LIGHT, DARK)
