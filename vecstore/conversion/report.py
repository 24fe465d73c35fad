"""What a conversion did, as `convert` and `write` return it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from vecstore.conversion.survey.findings import Finding
from vecstore.shard.certificate import Certificate
from vecstore.store.numbering import Numbering, RowOrder

if TYPE_CHECKING:
    from vecstore.tuning.result import Table

__all__ = ["Front", "Report"]


@dataclass(frozen=True)
class Front:
    """A codec in front of a fine layer, and what a search for the ten nearest takes with it.

    Attributes
    ----------
    coarse : str
        Its specification.
    rescored : int
        Rows of the fine layer that are scored for each one wanted, at the recall of default options.
    search_ms : float
        Milliseconds, as estimated for all rows of the store, on the machine that converted it.
    """

    coarse: str
    rescored: int
    search_ms: float


@dataclass(frozen=True)
class Report:
    """What a conversion did.

    Attributes
    ----------
    path : str
    rows : int
        In the store.
    rows_read, bad, zeroed, duplicates : int
        In the dump; left out as bad; stored as zeros; left out as duplicates.
    examples : list of str
        The first few bad rows.
    codec : str
    dump_bytes, store_bytes : int
        Size of the source (as float32 where it was an array) and of the store.
    bytes : dict
        What `Store.info` says of bytes: ``code`` of a row in each layer, ``per_vector`` on disk with its key, and more.
    row_order : {"dump", "cells", "importance"}
        How rows are counted: as in the dump (without those left out), as they lie by cells, or by falling importance.
    search : dict
        What a search of the store does, as `Store.info` says it.
    certificate : dict
        What is left of the vectors, as the store holds it; see `vecstore.measure.certificate.measure_certificate`.
        Empty where trained tables were imported.
    table : Table or None
        What was tried, if the codec was chosen by a budget or a target.
    advice : list of str
        What a product quantizer would keep in the bytes of a codec whose rows share tables.
    findings : list of Finding
        What was found in the dump, bad or only remarkable: kind, count, first places.
    ground_truth : dict of arrays or None
        Of ``ground_truth=``: ``asking`` (q,) int64, the numbers of the rows that asked, -1 for real queries; ``rows``
        (q, k) int64, the nearest of all rows, -1 where there are fewer, and ``scores`` (q, k) float64 as a search gives
        them, a distance with its sign changed. Numbers are those of rows in the order of the dump.
    fronts : list of Front
        Of `tcq` or `bin` in front of another codec, and 131,072 rows or more: the layer that the store has, and the
        other one in as many bytes. Else empty.
    imported : str
        The format of the trained tables that were taken over exactly; "" where vectors were converted.
    codes_of : str
        The format of the file whose codes were taken over as they are; "" where vectors were coded here. The
        certificate then speaks of what the codes stand for, not of the vectors that they were made of.
    """

    path: str
    rows: int
    rows_read: int
    bad: int
    zeroed: int
    duplicates: int
    examples: list[str] = field(repr=False)
    codec: str
    dump_bytes: int
    store_bytes: int
    bytes: dict[str, Any] = field(repr=False)
    row_order: RowOrder
    search: dict[str, Any] = field(repr=False)
    certificate: dict[str, Any] = field(repr=False)
    table: Table | None = field(default=None, repr=False)
    advice: list[str] = field(default_factory=list, repr=False)
    imported: str = ""
    codes_of: str = ""
    findings: list[Finding] = field(default_factory=list, repr=False)
    ground_truth: dict[str, NDArray[Any]] | None = field(default=None, repr=False)
    fronts: list[Front] = field(default_factory=list, repr=False)

    @property
    def numbering(self) -> Numbering:
        """What row numbers are; as text, for people."""
        return Numbering(self.row_order, self.bad + self.duplicates)

    def _repr_html_(self) -> str:
        from vecstore.notebook import facts_html

        names = ("path", "rows", "codec", "dump_bytes", "store_bytes", "bad", "zeroed", "duplicates")
        shown = {name: getattr(self, name) for name in names} | {"bytes a row": self.store_bytes / self.rows}
        shown |= {"row order": str(self.numbering)}
        shown |= Certificate.from_dict(self.certificate).facts() if self.certificate else {}
        return facts_html("vecstore: conversion", shown)
