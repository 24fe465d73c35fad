"""What a member of a codec's configuration may be, declared at the member: ``bits: Annotated[int, Among(4, 8)]``.

A step compares them whenever it is built, from a specification or from a file, and again with the width of vectors once
that is known. The format page names the same values, which a test compares; forgers take wrong ones from here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, get_type_hints

__all__ = ["Allowed", "Among", "UpToWidth", "Whole", "allowed_members"]

LARGEST = 2**31 - 1


class Allowed(ABC):
    """The values that a member may have."""

    @abstractmethod
    def holds(self, value: Any, width: int = LARGEST) -> bool:
        """Return whether it may be `value` where vectors have `width` dimensions."""

    @abstractmethod
    def described(self, width: int | str = "d") -> str:
        """Return the values in words, as in "choose 1 to 8"."""

    @property
    @abstractmethod
    def edges(self) -> tuple[Any, ...]:
        """The first and last of them, and what lies beside these."""


@dataclass(frozen=True)
class Whole(Allowed):
    """Whole numbers from `least` to `most`."""

    least: int
    most: int = LARGEST

    def holds(self, value: Any, width: int = LARGEST) -> bool:
        return type(value) is int and self.least <= value <= self.most

    def described(self, width: int | str = "d") -> str:
        beyond = self.most + 1
        power = beyond.bit_length() - 1
        return f"{self.least} to " + (f"2**{power} - 1" if beyond == 1 << power > 1 << 20 else f"{self.most:,}")

    @property
    def edges(self) -> tuple[Any, ...]:
        return self.least - 1, self.least, self.most, self.most + 1, 2**62, True, None


@dataclass(frozen=True)
class UpToWidth(Allowed):
    """Whole numbers from 1 to the number of dimensions that the step is given."""

    def holds(self, value: Any, width: int = LARGEST) -> bool:
        return type(value) is int and 1 <= value <= width

    def described(self, width: int | str = "d") -> str:
        return f"1 to {width}"

    @property
    def edges(self) -> tuple[Any, ...]:
        return 0, 1, LARGEST, LARGEST + 1, 2**62, True, None


class Among(Allowed):
    """These values and no others."""

    def __init__(self, *values: int | str) -> None:
        self.values = values

    def holds(self, value: Any, width: int = LARGEST) -> bool:
        return type(value) is type(self.values[0]) and value in self.values

    def described(self, width: int | str = "d") -> str:
        *others, last = [str(value) or '""' for value in self.values]
        return f"{', '.join(others)} or {last}"

    @property
    def edges(self) -> tuple[Any, ...]:
        numbers = isinstance(self.values[0], int)
        return (*self.values, *((0, max(self.values) + 1, 2**62, True) if numbers else ("", "x", 1)), None)  # type: ignore[operator]


@cache
def allowed_members(step: type) -> dict[str, Allowed]:
    """Return what the members of a step's configuration may be, as far as it is declared."""
    names = [field.name for field in fields(step) if "Annotated" in str(field.type)]
    if not names:
        return {}
    hints = get_type_hints(step, include_extras=True)
    return {name: found for name in names for found in hints[name].__metadata__ if isinstance(found, Allowed)}
