"""From options to a strategy: options and store decide how it is searched."""

from __future__ import annotations

from vecstore.codecs.base import CodeKind
from vecstore.errors import OptionError
from vecstore.kernels.numbers import KINDS
from vecstore.search.cascade import Cascade
from vecstore.search.exact_rescore import ExactRescore
from vecstore.search.kinds import SCANNED
from vecstore.search.options import SearchOptions
from vecstore.search.prepared import Prepared
from vecstore.search.rescore import LEAST_CANDIDATES, Rescore
from vecstore.search.scan import Scan
from vecstore.search.scan_bytes import DEFAULT_RECALL
from vecstore.search.strategy import RangeStrategy, Strategy

__all__ = ["cells_to_probe", "resolve", "resolve_range"]

# Rows scored exactly after a scan by approximate scores: for each one wanted, and at least; in cells, whose scan leaves
# out lengths. Of 1,000 rows wanted, twice as many lose up to 2% of them (50-d words), four times as many .2%.
CANDIDATES, CANDIDATES_IN_CELLS = (4, 80), (12, 320)
CANDIDATES_OF_FIRST_BYTES = 8
BESIDE, BESIDE_IN_CELLS = 8, 32  # for each one wanted, beside those that a fine layer needs
RESCORED_BYTES = 4000  # scanning so many bytes takes as long as rescoring one row
# A batch is bound by arithmetic, not by the memory: so many bytes that are numbers are multiplied while one byte is
# looked up in tables of 16 entries, and others' look-ups take so many times as long.
BATCH, MULTIPLIED_BYTES = 16, 8
LOOKED_UP: dict[CodeKind, int] = {"tables16": 1, "tables256": 3, "trellis": 3, "numbers": 1, "decoded": 1}


def resolve(options: SearchOptions, prepared: Prepared, k: int, queries: int = 1) -> Strategy:
    """Return how the best k rows are searched for, for so many queries at once.

    | store | options | strategy |
    |---|---|---|
    | one layer, scanned with exact scores | | `Scan` |
    | one layer of trellis codes, scanned where they lie | | `Rescore` by the same layer |
    | | recall=, scan_bytes= | `Cascade` |
    | | rescore=0 | `Scan` by approximate scores; in cells as without |
    | | exact=True | `Scan`, by decoding |
    | one layer of trellis codes of other layouts or lengths | | `Scan`, by decoding |
    | two layers | | `Rescore` by the fine layer; `Scan` of the fine layer where that is faster |
    | two layers, trellis codes in front | | `Cascade` and the fine layer; in cells as without |
    | | exact=True | `ExactRescore` |
    | | rescore=0 | `Scan`; of trellis codes `Rescore` by the coarse layer |

    Raises
    ------
    OptionError
        Options that do not go with the store, or with each other.
    """
    if _two_layers(options, prepared):
        return _of_two_layers(options, prepared, k, queries)
    if _trellis(prepared):
        return _of_trellis(options, prepared)
    _refuse_scan_bytes(options, prepared)
    if options.exact:
        raise _not_exact(options, prepared)
    _refuse_recall(options)
    return Scan()


def resolve_range(options: SearchOptions, prepared: Prepared) -> RangeStrategy:
    """Return how all rows that reach a score are searched for; nothing is missed.

    Of two layers the fine one is scanned where the coarse one does not bound it: by another metric than the store's,
    in truncated stores, and where it was not measured how far they lie apart.
    """
    if not _two_layers(options, prepared) or options.rescore == 0:
        return Scan()
    bounded = all(section.layer_distances is not None for section in prepared.sections)
    return ExactRescore() if bounded and options.metric == prepared.shards[0].metric else Scan(layer=-1)


def cells_to_probe(options: SearchOptions, prepared: Prepared) -> int | None:
    """Return into how many cells is looked, or None where that leaves no cell out."""
    if options.nprobe is None:
        return None
    counts = [section.cells.count for section in prepared.sections if section.cells is not None]
    if not counts:
        raise OptionError("nprobe is for stores with cells: convert the dump with cells first in the codec")
    return int(options.nprobe) if options.nprobe < max(counts) else None


def _two_layers(options: SearchOptions, prepared: Prepared) -> bool:
    return len(prepared.sections[0].layers) > 1 and options.metric != "hamming"


def _trellis(prepared: Prepared) -> bool:
    """Return whether all shards hold trellis codes, whether they can be scanned where they lie or not."""
    return all(section.codec.layers[0].quantizer.code_kind == "trellis" for section in prepared.sections)


def _of_two_layers(options: SearchOptions, prepared: Prepared, k: int, queries: int) -> Strategy:
    _refuse_scan_bytes(options, prepared)
    if options.exact:
        if options.metric != prepared.shards[0].metric:
            raise _not_exact(options, prepared)
        _refuse_recall(options)
        return ExactRescore()
    if options.rescore == "auto":
        factor = prepared.oversampling(options.recall)
        if options.nprobe is None and _scans_faster(k * factor, prepared, queries):
            return Scan(layer=-1)
    else:
        _refuse_recall(options)
        factor = int(options.rescore)
    if not prepared.scanned_by_trellis(options.metric):
        return Rescore(factor) if factor else Scan()
    if not factor:
        factor, least = _candidates(options, prepared)
        return Rescore(factor, fine=0, least=least)
    # The factor was measured by exact scores of the coarse layer: more rows make up for approximate ones.
    beside = max(factor, BESIDE_IN_CELLS) if in_cells(prepared) and options.metric != "dot" else BESIDE
    if in_cells(prepared):
        return Rescore(factor + beside, least=LEAST_CANDIDATES)
    plan = prepared.plan(max(options.recall or 0.0, DEFAULT_RECALL), "auto")
    return Cascade(plan, factor + beside, LEAST_CANDIDATES, fine=-1)


def _scans_faster(rescored: int, prepared: Prepared, queries: int) -> bool:
    """Return whether scanning the fine layer takes no longer than scanning the coarse one and rescoring rows."""
    coarse, fine = prepared.sections[0].codec.layers
    coarse_bytes, fine_bytes, numbers = coarse.code_bytes, float(fine.code_bytes), fine.quantizer.numbers
    if queries >= BATCH and numbers is not None and KINDS[numbers.dtype].of_bytes:
        fine_bytes /= MULTIPLIED_BYTES
        coarse_bytes *= LOOKED_UP[coarse.quantizer.code_kind]
    saved = prepared.rows * (fine_bytes - coarse_bytes)
    scanned = fine.quantizer.code_kind in SCANNED and not fine.byte_steps
    return scanned and rescored * RESCORED_BYTES > saved


def _of_trellis(options: SearchOptions, prepared: Prepared) -> Strategy:
    scanned = prepared.scanned_by_trellis(options.metric)
    if options.scan_bytes != "auto" and in_cells(prepared):
        raise OptionError(
            "scan_bytes is for stores without cells: in cells all bytes are read, of as many as nprobe= says"
        )
    if options.exact:
        _refuse_recall(options)
    if not scanned or options.exact:
        _refuse_scan_bytes(options, prepared)
        return Scan()
    plan = prepared.plan(options.recall, options.scan_bytes)
    given = None if options.rescore == "auto" else int(options.rescore)
    if plan.sizes:
        return Cascade(plan, CANDIDATES_OF_FIRST_BYTES if given is None else given, LEAST_CANDIDATES)
    if given == 0 and not in_cells(prepared):
        return Scan(approximate=True)
    factor, least = (given, LEAST_CANDIDATES) if given else _candidates(options, prepared)
    return Rescore(factor, fine=0, least=least)


def _candidates(options: SearchOptions, prepared: Prepared) -> tuple[int, int]:
    """Return how many rows are scored exactly after a scan by approximate scores: for each one wanted, and at least."""
    return CANDIDATES_IN_CELLS if in_cells(prepared) and options.metric != "dot" else CANDIDATES


def in_cells(prepared: Prepared) -> bool:
    """Return whether rows of any shard lie in cells."""
    return any(section.cells is not None for section in prepared.sections)


def _not_exact(options: SearchOptions, prepared: Prepared) -> OptionError:
    first = prepared.shards[0]
    return OptionError(
        f"exact= is for two-layer stores and their own metric, here {first.metric}: "
        f"a search of {first.codec.spec} by {options.metric} is exact for one layer, or not bounded"
    )


def _refuse_scan_bytes(options: SearchOptions, prepared: Prepared) -> None:
    if options.scan_bytes != "auto":
        raise OptionError(
            f"scan_bytes is for tcq codes in one layer, in the layout of format 1.2, and without exact=; "
            f"here {prepared.sections[0].codec.spec} is searched by {options.metric}"
        )


def _refuse_recall(options: SearchOptions) -> None:
    if options.recall is not None:
        raise OptionError("recall= is for two-layer stores without rescore=, or for tcq codes, and without exact=")
