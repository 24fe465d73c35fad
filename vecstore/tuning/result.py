"""What tuning returns: a trained codec, and the table of all that was tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vecstore.codecs.codec import Codec
from vecstore.shard.certificate import Interval

__all__ = ["Entry", "Table", "Tuned"]


@dataclass(frozen=True)
class Entry:
    """One candidate.

    Attributes
    ----------
    codec : str
    role : {"stored", "scanned"}
        What it was tried for: everything that is stored, or the layer that is scanned.
    row_bytes : float
        Code, and the model shared out over the rows.
    code_bytes, model_bytes : int
    recall : Interval
        recall@10, with the 95% interval of its mean.
    asked : str
        By what queries among how many rows.
    error : float
        Squared error of held-out rows over their squared deviation from the mean.
    decibels : float
        How far that is above the rate-distortion bound of a code of as many bytes (the model apart), for a Gaussian
        with the same spectrum.
    speed : int
        Class of scan speed: 0 for tables of 16 entries (4-bit codes and bits), 1 for numbers and trellis codes, 2 for
        tables of 256 entries, 3 for codes that are decoded before they are scored.
    train_rows : int
        Rows that it was trained on; candidates that dropped out early were trained on fewer.
    chosen : bool
    """

    codec: str
    role: str
    row_bytes: float
    code_bytes: int
    model_bytes: int
    recall: Interval
    error: float
    decibels: float
    speed: int
    train_rows: int
    chosen: bool = False
    asked: str = ""


class Table(Sequence[Entry]):
    """All candidates: the chosen one, then those that stayed longest and, among them, by falling recall."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = sorted(
            entries, key=lambda entry: (not entry.chosen, -entry.train_rows, -entry.recall.mean, entry.row_bytes)
        )

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, at: Any) -> Any:
        return self._entries[at]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    @property
    def pareto(self) -> list[Entry]:
        """The candidates trained on most rows that no other beats in recall with as few bytes, by rising bytes."""
        last = [entry for entry in self if entry.train_rows == self[0].train_rows]
        kept: list[Entry] = []
        for entry in sorted(last, key=lambda entry: (entry.row_bytes, -entry.recall.mean)):
            if not kept or entry.recall.mean > kept[-1].recall.mean:
                kept.append(entry)
        return kept

    def to_list(self) -> list[dict[str, Any]]:
        """Return plain dictionaries, ready for JSON."""
        return [asdict(entry) | {"recall": entry.recall.to_list()} for entry in self]

    def _repr_html_(self) -> str:
        from vecstore.notebook import table_html

        rows = [
            (e.codec, e.row_bytes, str(e.recall), e.error, e.decibels, e.train_rows, "chosen" if e.chosen else "")
            for e in self
        ]
        return table_html(("codec", "bytes a row", "recall@10, 95%", "error", "dB", "trained on", ""), rows)

    def __str__(self) -> str:
        head = f"{'codec':<28} {'bytes':>7} {'recall@10, 95%':<24} {'error':>8} {'dB':>6}"
        lines = [
            f"{entry.codec:<28} {entry.row_bytes:>7.1f} {entry.recall!s:<24} {entry.error:>8.4f} {entry.decibels:>6.2f}"
            + (" <-" if entry.chosen else "")
            for entry in self
        ]
        return "\n".join([head, *lines])


class Tuned(Codec):
    """A trained codec that tuning chose; it goes wherever a `Codec` does.

    Attributes
    ----------
    codec : Codec
        The same without the table.
    table : Table
        All candidates that were measured.
    entry : Entry
        The chosen one.
    """

    def __init__(self, codec: Codec, table: Table, entry: Entry) -> None:
        super().__init__(codec.spec, codec.layers)
        vars(self).update(vars(codec))  # whatever a codec consists of
        self.codec, self.table, self.entry = codec, table, entry

    @property
    def summary(self) -> str:
        """What was chosen and how good it is, in one line."""
        entry = self.entry
        side = "above" if entry.decibels >= 0 else "below"
        return (
            f"{entry.codec}: {entry.row_bytes:.1f} bytes a row, recall@10 {entry.recall} by {entry.asked}, "
            f"{abs(entry.decibels):.2f} dB {side} the Gaussian limit"
        )
