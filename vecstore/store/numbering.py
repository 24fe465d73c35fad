"""What the number of a row is: its place in the dump, unless rows were moved or left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self, TypeAlias

from vecstore.shard.shard import Shard

__all__ = ["Numbering", "RowOrder"]

RowOrder: TypeAlias = Literal["dump", "cells", "importance"]
LIES: dict[RowOrder, str] = {
    "dump": "in the dump's order",
    "cells": "in the order of cells, not the dump's",
    "importance": "in the order of importance, not the dump's",
}
REMEDIES: dict[RowOrder, str] = {
    "dump": "",
    "cells": ", or convert with keep_order=True",
    "importance": ", or convert without importance=",
}


@dataclass(frozen=True)
class Numbering:
    """How the rows of a store are numbered. As text: in which order they lie, and how many of the dump's are missing.

    Attributes
    ----------
    order : {"dump", "cells", "importance"}
        The order in which rows are counted.
    left_out : int
        Rows that the store does not hold, bad ones and duplicates of the dump, and deleted ones that compaction left
        out: those behind them moved up.
    """

    order: RowOrder = "dump"
    left_out: int = 0

    @classmethod
    def of(cls, shards: Sequence[Shard]) -> Self:
        """Return the numbering of one store, by what its files say; provenance that is malformed says nothing."""
        first = shards[0]
        found = first.description.get("provenance")
        told = found if isinstance(found, dict) else {}
        counts = [told.get(name) for name in ("bad", "duplicates")]
        counts += [shard.description.get("dropped") for shard in shards]
        left_out = sum(count for count in counts if type(count) is int and count > 0)
        if first.keys is not None and any(shard.reordered for shard in shards):
            return cls("cells", left_out)
        return cls("importance" if told.get("order") == "importance" else "dump", left_out)

    @classmethod
    def joined(cls, several: Sequence[Numbering]) -> Self:
        """Return the numbering of several stores as one: the dump's where it is that of each."""
        orders = {each.order for each in several}
        order: RowOrder = "cells" if "cells" in orders else "importance" if "importance" in orders else "dump"
        return cls(order, sum(each.left_out for each in several))

    @property
    def of_dump(self) -> bool:
        """Whether each number is the row's place in the dump."""
        return self.order == "dump" and not self.left_out

    def __str__(self) -> str:
        return LIES[self.order] + (f", {self.left_out:,} left out" if self.left_out else "")

    def explained(self, *, keyed: bool) -> str:
        """Return the text, and what follows from it for who looks for rows."""
        if self.of_dump:
            return str(self)
        return f"{self}: rows have other numbers than there" + (", find them by their keys" if keyed else "")

    def refusal(self, given: str, instead: str) -> str:
        """Return what to answer who gives numbers or a mask of the dump."""
        return (
            f"{given}: rows here lie {self}, so that numbers or a mask of the dump would name other rows; give "
            f"{instead}{REMEDIES[self.order]}"
        )
