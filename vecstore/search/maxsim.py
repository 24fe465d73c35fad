"""Search by several vectors a row: the sum, over the query's vectors, of the largest product with one of the row's.

Khattab and Zaharia, ColBERT, 2020, equation 3. Codes are scored where they lie, those of a trellis in whole numbers or
by tables of 8 bits, whichever is faster, others as numbers side by side (`panels`); the best are scored again by what
they decode to. Codes whose bytes all stand for the whole vector are decoded. Of vectors in cells, codes say what is
left of their centroids (`token_cells`): scores as they lie are those of vectors whose lengths are as decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.fields.multi.agreement import maxsim
from vecstore.fields.multi.reader import MultiReader
from vecstore.fields.runs import spread
from vecstore.kernels.arguments import PRODUCT, UNIT, TrellisQueries, TrellisScores
from vecstore.kernels.levels import best_level
from vecstore.kernels.numbers import SHAPES
from vecstore.kernels.scans import NO_CENTROIDS, maxsim_decoded, maxsim_panels, maxsim_trellis, maxsim_whole
from vecstore.parallel import over_items, over_slices, thread_count
from vecstore.search.panels import Panels
from vecstore.search.token_cells import TokenCells
from vecstore.search.trellis import Trellis
from vecstore.search.whole_numbers import WholeNumbers

__all__ = ["MaxSim"]

QUERY_VECTORS = 32  # at once: their sums of a tile stay in the second cache
DECODED_NUMBERS = 1 << 20  # at once: 4 MiB
EVERYTHING = (1 << 62) - 1
LEAST_ITEMS = 64  # of a thread
IN_WHOLE_NUMBERS = ("avx2",)  # levels; others look up 64 entries at once
# Writes the scores of rising items, of which the first vectors count, to the last argument.
Scan: TypeAlias = Callable[[NDArray[np.int64], NDArray[np.int64], int, NDArray[np.float64]], None]
EXPECTED = 2.0  # standard deviations by which an item's best vector scores above the mean


class MaxSim:
    """The token vectors of a store's shards, ready to be searched.

    Parameters
    ----------
    readers : sequence of MultiReader or None
        One a shard; None where one has none, whose rows are not found.
    edges : sequence of int
        Rows edges[i] to edges[i + 1] are those of readers[i].
    """

    def __init__(self, readers: Sequence[MultiReader | None], edges: Sequence[int]) -> None:
        self._shards = [_Shard(reader) for reader in readers if reader is not None]
        self._firsts = [first for reader, first in zip(readers, edges, strict=False) if reader is not None]

    @property
    def dimensions(self) -> int:
        """Of the vectors."""
        return self._shards[0].reader.dimensions

    @property
    def pooled(self) -> bool:
        """Whether vectors of rows were merged."""
        return any(shard.reader.trained.pool > 1 for shard in self._shards)

    def find(
        self, query: Floats, k: int, rows: NDArray[np.int64] | None, *, rescore: int, most: int = EVERYTHING
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
        """Return scores and numbers of the best k rows, best first, and how many were scored again.

        Parameters
        ----------
        query : (t, d) float32
        k : int
        rows : (n,) int64, rising, or None
            Which may be found; all for None.
        rescore : int
            So many times k rows are scored again, where scores are approximate; 0: none.
        most : int
            How many vectors of a row count, the first ones.
        """
        scores, every = self._scores(query, rows, most)
        again = rescore and self.approximate
        best = _best(scores, every, k * rescore if again else k)
        scores, every = scores[best], every[best]
        if again:
            scores = self.exactly(query, every, most=most)
            best = _best(scores, every, k)
            return scores[best], every[best], len(scores)
        return scores, every, 0

    @property
    def in_cells(self) -> bool:
        """Whether all vectors are in cells."""
        return all(shard.cells is not None for shard in self._shards)

    def by_cells(
        self, query: Floats, wanted: int, rows: NDArray[np.int64] | None, *, most: int = EVERYTHING
    ) -> NDArray[np.int64]:
        """Return the numbers, rising, of the rows that score best by the centroids of their vectors alone."""
        found, numbers = [np.empty(0)], [np.empty(0, np.int64)]
        for shard, first, own in self._of_shards(rows):
            assert shard.cells is not None
            found.append(shard.cells.scores(query, shard.reader.starts, own, most))
            numbers.append(own + first)
        scores, every = np.concatenate(found), np.concatenate(numbers)
        return np.sort(every[_best(scores, every, wanted)])

    @property
    def approximate(self) -> bool:
        """Whether scores of codes, as they lie, are not those of what they decode to."""
        return any(shard.approximate for shard in self._shards)

    def scores(self, query: Floats, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the scores (n,) of rising rows for a query (t, d), by codes as they lie; -inf of rows without any."""
        found, there = self._scores(query, rows, EVERYTHING)
        out = np.full(len(rows), -np.inf)
        out[np.searchsorted(rows, there)] = found
        return out

    def _scores(
        self, query: Floats, rows: NDArray[np.int64] | None, most: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        found, numbers = [np.empty(0)], [np.empty(0, np.int64)]
        for shard, first, own in self._of_shards(rows):
            found.append(shard.scores(query, own, most))
            numbers.append(own + first)
        return np.concatenate(found), np.concatenate(numbers)

    def exactly(self, query: Floats, rows: NDArray[np.int64], *, most: int = EVERYTHING) -> NDArray[np.float64]:
        """Return the scores (n,) of rows for a query (t, d), by what their codes decode to."""
        order = np.argsort(rows, kind="stable")
        out, done = np.full(len(rows), -np.inf), 0
        for shard, first, own in self._of_shards(rows[order]):
            at = np.searchsorted(rows[order], own[:1] + first)[0] if len(own) else done
            done = int(at) + len(own)
            out[order[int(at) : done]] = shard.decoded_scores(query, own, most)
        return out

    def _of_shards(self, rows: NDArray[np.int64] | None) -> Iterator[tuple[_Shard, int, NDArray[np.int64]]]:
        """Yield each shard, its first row, and which of its rows are meant, as it counts them."""
        for shard, first in zip(self._shards, self._firsts, strict=True):
            if rows is None:
                yield shard, first, np.arange(shard.reader.rows)
            else:
                low, high = np.searchsorted(rows, [first, first + shard.reader.rows])
                yield shard, first, rows[low:high] - first


class _Shard:
    """The token vectors of one shard."""

    def __init__(self, reader: MultiReader) -> None:
        self.reader = reader

    @cached_property
    def trellis(self) -> Trellis | None:
        """What scores codes of a trellis where they lie; None for others."""
        codes = self.reader.codes
        return Trellis.of(codes) if codes.layer.quantizer.code_kind == "trellis" and codes.rows else None

    @cached_property
    def panels(self) -> Panels | None:
        """What makes numbers of codes that are none of a trellis; None where they have to be decoded."""
        return Panels.of(self.reader.codes) if self.trellis is None and self.reader.codes.rows else None

    @cached_property
    def cells(self) -> TokenCells | None:
        """The cells that vectors are in; None where codes stand for whole vectors."""
        cells = self.reader.cells
        return None if cells is None else TokenCells(cells, lengths_of_one=self.reader.unit)

    @property
    def _unit(self) -> bool:
        """Whether scores of codes, as they lie, are divided by lengths."""
        return self.reader.unit and self.cells is None

    @property
    def approximate(self) -> bool:
        """Whether codes are scored where they lie."""
        return self.trellis is not None or self.panels is not None

    def scores(self, query: Floats, rows: NDArray[np.int64], most: int) -> NDArray[np.float64]:
        """Return the scores of rising rows: approximate ones where codes are scored where they lie."""
        if not self.approximate:
            return self.decoded_scores(query, rows, most)
        starts, part = self.reader.starts, self.reader.codes.part
        if part.unchecked:
            runs = np.flatnonzero(np.diff(rows, prepend=-2, append=EVERYTHING) != 1)
            ranges = np.stack([starts[rows[runs[:-1]]], starts[rows[runs[1:] - 1] + 1]], axis=1)
            for _ in part.checked(ranges[ranges[:, 0] < ranges[:, 1]]):
                pass
        out = np.zeros(len(rows))
        for first in range(0, len(query), QUERY_VECTORS):
            own = np.empty(len(rows))
            scan = self._scan(query[first : first + QUERY_VECTORS])

            def over(piece: slice, own: NDArray[np.float64] = own, scan: Scan = scan) -> None:
                scan(starts, rows[piece], most, own[piece])

            over_slices(over, len(rows), at_least=LEAST_ITEMS)
            out += own
        return out

    @property
    def _code_bytes(self) -> int:
        return self.reader.codes.layer.code_bytes

    def _scan(self, query: Floats) -> Scan:
        """Return what scores items where they lie, for a few vectors."""
        tiles, trellis, cells = self.reader.codes.part.tiles, self.trellis, self.cells
        if trellis is None:
            assert self.panels is not None
            asked, lanes = self.panels.queries(query, unit=self._unit), 2 * SHAPES[best_level()].lanes
            own = NO_CENTROIDS if cells is None else cells.by_cell(query, lanes, asked.bounds[:, 1], asked.biases)
            return partial(maxsim_panels, self.panels.kind, tiles, self.panels.pieces, asked, own)
        stage = trellis.stage(self._code_bytes)
        if best_level() not in IN_WHOLE_NUMBERS:
            own = NO_CENTROIDS if cells is None else cells.by_query(query)
            return partial(maxsim_trellis, tiles, stage.kernel, self._asked(trellis, query), own)
        whole = self._numbers.queries(trellis.coefficients, query, unit=self._unit)
        own = NO_CENTROIDS if cells is None else cells.by_query(query, whole.factors)
        return partial(maxsim_whole, tiles, stage.kernel, self._numbers.kernel, whole, own)

    @cached_property
    def _numbers(self) -> WholeNumbers:
        assert self.trellis is not None
        return WholeNumbers.of(self.trellis.stage(self._code_bytes))

    def _asked(self, trellis: Trellis, query: Floats) -> TrellisQueries:
        none = np.zeros((1, len(query)))
        weights, biases = trellis.coefficients.weights(query)
        kind, made_for = PRODUCT, none
        if self._unit:  # tables are most exact about the scores that an item's best vectors have
            moments = trellis.scores(self._code_bytes, "unit")
            features = trellis.coefficients.feature_weights(weights, biases[:, None], "unit")
            mean, variance = moments.along(features[:, : len(moments.mean)])
            kind, made_for = UNIT, (mean + EXPECTED * np.sqrt(variance))[None]
        return TrellisQueries(kind, weights, biases[:, None], trellis.edges, made_for, none[0], none, 1)

    def decoded_scores(self, query: Floats, rows: NDArray[np.int64], most: int) -> NDArray[np.float64]:
        """Return the scores of rows, by what their codes decode to."""
        if self.trellis is not None:
            return self._trellis_scores(self.trellis, query, rows, most)
        reader, out = self.reader, np.empty(len(rows))
        ends = np.cumsum(reader.starts[rows + 1] - reader.starts[rows]) * reader.dimensions
        edges = [0]
        while edges[-1] < len(rows):
            before = int(ends[edges[-1] - 1]) if edges[-1] else 0
            edges.append(max(int(np.searchsorted(ends, before + DECODED_NUMBERS, side="right")), edges[-1] + 1))

        def over(piece: slice) -> None:
            items = [item[:most] for item in reader.items(rows[piece])]
            counts = np.array([len(item) for item in items], np.int64)
            out[piece] = maxsim(query, np.concatenate(items), counts)

        pieces = [slice(*edge) for edge in pairwise(edges)]
        if pieces and thread_count() > 1:
            over_items(over, pieces)
        else:
            for piece in pieces:
                over(piece)
        return out

    def _trellis_scores(
        self, trellis: Trellis, query: Floats, rows: NDArray[np.int64], most: int
    ) -> NDArray[np.float64]:
        """Do what `decoded_scores` does among coefficients, of which no rotation has to be undone."""
        codes, starts, out = self.reader.codes, self.reader.starts, np.empty(len(rows))
        counts = np.minimum(starts[rows + 1] - starts[rows], most)
        ends, vectors = np.cumsum(counts), spread(starts[rows], counts)
        tokens = codes.part.slots_of(vectors)
        if codes.part.unchecked:
            codes.part.check_rows(tokens)
        weights, biases = trellis.coefficients.weights(query)
        biases, own_cells = biases[:, None], np.empty(0, np.int64)
        if self.cells is not None:
            biases = np.ascontiguousarray(biases + self.cells.products(query).T)
            own_cells = self.cells.of(vectors)
        asked = TrellisScores(
            kind=UNIT if self.reader.unit else PRODUCT,
            weights=weights,
            biases=biases,
            edges=trellis.edges,
            size_bytes=self._code_bytes,
            scale=trellis.coefficients.scale,
            linear=trellis.norm_weights[0],
            constants=trellis.norm_weights[1],
        )

        def over(piece: slice) -> None:
            first = int(ends[piece.start] - counts[piece.start])
            some = slice(first, int(ends[piece.stop - 1]))
            own = own_cells[some], tokens[some], ends[piece] - first
            maxsim_decoded(codes.part.tiles, trellis.coefficients.quantizer.decoding, asked, *own, out[piece])

        if len(rows):
            over_slices(over, len(rows), at_least=LEAST_ITEMS)
        return out.astype(np.float32).astype(np.float64)  # as shown: a limit that was read from a score lets it in


def _best(scores: NDArray[np.float64], rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Return where the best k scores are, best first; of equal ones the first rows. Rows that score -inf are none."""
    there = np.flatnonzero(scores > -np.inf)
    if len(there) > k:
        worst = np.partition(scores[there], len(there) - k)[len(there) - k]
        there = there[scores[there] >= worst]
    return there[np.lexsort((rows[there], -scores[there]))][:k]
