"""What users ask for: bytes a row, a share of float32, bytes scanned and stored, or a recall."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vecstore.errors import BudgetError, OptionError

__all__ = ["Budget", "parse_budget", "parse_target", "reduced"]

NUMBER = r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
BYTES = re.compile(rf"{NUMBER}b?", re.IGNORECASE)
TIMES = re.compile(rf"{NUMBER}x", re.IGNORECASE)
SHARE = re.compile(rf"{NUMBER}%")
RECALL = re.compile(rf"(?:recall@10=)?{NUMBER}")


@dataclass(frozen=True)
class Budget:
    """Bytes a row, the trained model shared out over the rows.

    Attributes
    ----------
    stored : float
        All that a row takes.
    scanned : float or None
        What a search reads of a row, if that is to be less: the coarse layer of two.
    """

    stored: float
    scanned: float | None = None


def parse_budget(given: int | float | str | Budget, dimensions: int) -> Budget:
    """Return the budget that a user wrote.

    Parameters
    ----------
    given : number or str
        Bytes a row (``64``), how many times smaller than float32 (``"32x"``), the share of float32 (``"5%"``), or
        any two of these as scanned and stored (``"24/200"``).
    dimensions : int

    Raises
    ------
    BudgetError
        It is none of these, or not positive, or more is to be scanned than stored.

    Examples
    --------
    >>> parse_budget("32x", 384)
    Budget(stored=48.0, scanned=None)
    >>> parse_budget("24/200", 384)
    Budget(stored=200.0, scanned=24.0)
    """
    if isinstance(given, Budget):
        return given
    scanned, slash, stored = str(given).replace(" ", "").rpartition("/")
    if not slash:
        return Budget(_bytes(stored, dimensions))
    found = Budget(_bytes(stored, dimensions), _bytes(scanned, dimensions))
    if found.scanned is not None and found.scanned >= found.stored:
        raise BudgetError(f"budget {given!r}: fewer bytes are scanned than stored; write it as scanned/stored, 24/200")
    return found


def reduced(budget: Budget, size_bytes: float) -> Budget:
    """Return what is left of a budget when a row has `size_bytes` beside its codes."""
    return Budget(max(budget.stored - size_bytes, 0.0), budget.scanned)


def parse_target(given: float | str) -> float:
    """Return the recall of ``"recall@10=0.95"``, or of a number.

    Raises
    ------
    OptionError
        It is no recall@10 above 0 and up to 1.

    Examples
    --------
    >>> parse_target("recall@10=0.95")
    0.95
    """
    found = RECALL.fullmatch(str(given).replace(" ", ""))
    if not found or not 0 < float(found[1]) <= 1:
        raise OptionError(f"target {given!r}: write recall@10=0.95, a share above 0 and up to 1")
    return float(found[1])


def _bytes(text: str, dimensions: int) -> float:
    raw = 4 * dimensions
    number, times, share = (pattern.fullmatch(text) for pattern in (BYTES, TIMES, SHARE))
    if number and float(number[1]) > 0:
        return float(number[1])
    if times and float(times[1]) > 0:
        return raw / float(times[1])
    if share and float(share[1]) > 0:
        return raw * float(share[1]) / 100
    raise BudgetError(
        f"budget {text!r}: write bytes a row (64), times smaller than float32 (32x), its share (5%), or two of them "
        "as scanned/stored (24/200)"
    )
