"""Which scanner serves which kind of code; a quantizer names its kind by `TrainedQuantizer.code_kind`.

| kind | scanner | scores of a scan |
|---|---|---|
| tables16, tables256 | `TableScanner` | exact for the decoded vectors |
| numbers | `NumberScanner` | exact |
| trellis | `TrellisScanner` | approximate: the best are scored again |
| decoded | `DecodedScanner` | exact; it serves all kinds, and is what others fall back to |

In cells, tables and numbers are scanned cell by cell, by `CellScanner`.
"""

from __future__ import annotations

from vecstore.codecs.base import CodeKind
from vecstore.errors import OptionError
from vecstore.search.cell_scanner import CellScanner
from vecstore.search.decoded_scanner import DecodedScanner
from vecstore.search.number_scanner import NumberScanner
from vecstore.search.plan import Plan
from vecstore.search.ranking import Ranking
from vecstore.search.scanner import Lengths, RowLengths, Scanner
from vecstore.search.table_scanner import HammingScanner, TableScanner
from vecstore.search.trellis import Trellis
from vecstore.search.trellis_scanner import TrellisScanner
from vecstore.shard.layers import LayerCodes

__all__ = ["SCANNED", "scanner_of", "scorer_of"]

# Kinds of code that are scanned where they lie with exact scores, as fast as the memory, and what scans them.
SCANNED: dict[CodeKind, type[TableScanner] | type[NumberScanner]] = {
    "tables16": TableScanner,
    "tables256": TableScanner,
    "numbers": NumberScanner,
}


def scanner_of(
    codes: LayerCodes, ranking: Ranking, lengths: Lengths | None, row_lengths: RowLengths | None = None
) -> Scanner:
    """Return the fastest scanner whose scores are exact.

    Parameters
    ----------
    codes : LayerCodes
    ranking : Ranking
    lengths : (least, largest) or None
        Of the layer's decoded vectors, if known.
    row_lengths : function of rows, optional
        The lengths that decoded vectors are scaled to, where they differ from row to row.

    Raises
    ------
    OptionError
        Hamming distance of what are no bits.
    """
    if ranking.hamming:
        if codes.cells is not None:
            raise OptionError(
                "hamming compares the bits of vectors; with cells, bits are those of what the cells leave"
            )
        return HammingScanner(codes, ranking)
    if row_lengths is not None and ranking.raw != "unit":
        return DecodedScanner(codes, ranking, row_lengths)
    of_kind = _of_kind(codes, ranking, lengths)
    if of_kind is None:
        return DecodedScanner(codes, ranking)
    return of_kind if codes.cells is None else CellScanner(codes, ranking, of_kind)


def _of_kind(codes: LayerCodes, ranking: Ranking, lengths: Lengths | None) -> TableScanner | NumberScanner | None:
    """Return what scans the layer's codes where they lie, with exact scores; None where they have to be decoded."""
    scanner = SCANNED.get(codes.layer.quantizer.code_kind)
    if scanner is TableScanner and codes.cells is not None and lengths is None and ranking.raw == "unit":
        return None  # a cell's tables have no bound of their own
    return None if scanner is None else scanner.of(codes, ranking, lengths)


def scorer_of(
    codes: LayerCodes, ranking: Ranking, row_lengths: RowLengths | None = None, trellis: Trellis | None = None
) -> Scanner:
    """Return the fastest way to score single rows of a layer exactly, by `Scanner.of_rows`.

    `trellis` is that of the layer, if it has one.
    """
    if row_lengths is not None and ranking.raw != "unit":
        return DecodedScanner(codes, ranking, row_lengths)
    if trellis is not None:
        return TrellisScanner(trellis, ranking, Plan(), wanted=1)
    numbers = codes.layer.quantizer.code_kind == "numbers" and codes.cells is None
    found = NumberScanner.of(codes, ranking, None) if numbers else None
    return found or DecodedScanner(codes, ranking, row_lengths)
