"""A store: what users open. One shard file, or a directory of shards with a manifest."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
import xxhash
from numpy.typing import ArrayLike, NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.checks import as_vectors
from vecstore.codecs.codec import Codec
from vecstore.errors import ClosedError, CorruptError, KeyNotFoundError, ShapeError
from vecstore.keys.kind import Key, KeyType
from vecstore.keys.map import KeyMap
from vecstore.keys.packed import KERNEL_KEYS, PackedKeys
from vecstore.metric import METRICS, Metric
from vecstore.search.selection import Selection
from vecstore.shard.shard import Shard
from vecstore.store.keys_view import KeysView
from vecstore.store.manifest import MANIFEST_NAME, Manifest
from vecstore.store.vectors import Vectors

if TYPE_CHECKING:
    from vecstore.measure.calibration import Calibration
    from vecstore.search.search import Question, SearchResult
    from vecstore.search.topk import TopK
    from vecstore.search.trellis_sweeping import Plan

__all__ = ["SEARCH_METRICS", "Lookup", "SearchMetric", "Store", "open_store"]

SearchMetric: TypeAlias = Metric | Literal["hamming"]
SEARCH_METRICS: tuple[SearchMetric, ...] = (*METRICS, "hamming")
DISTANCES = ("l2", "hamming")  # whose scores are better when smaller
# Rows scored exactly for each one wanted, after a sweep of tcq codes by approximate scores; in cells, without lengths.
CANDIDATES, CANDIDATES_IN_CELLS = 8, 32


def open_store(path: str | Path, *, check: bool = True) -> Store:
    """Open a store for reading.

    Parameters
    ----------
    path : path
        A store file, or a directory with a manifest.
    check : bool
        Compare every piece of the file with its checksum when it is first touched (64 KiB at a time, once). Without,
        damage goes unnoticed until `Store.verify`.

    Raises
    ------
    FormatError
        Not a store. `CorruptError` where it is damaged, `UnsupportedVersionError` where it is too new.
    FileNotFoundError
        Nothing is there.

    Examples
    --------
    >>> store = open_store("words.vecs")  # doctest: +SKIP
    >>> store["king"].shape  # doctest: +SKIP
    (50,)
    """
    return Store(path, check=check)


@dataclass(frozen=True)
class Lookup:
    """Vectors of keys, (n, d) float32, and which of the keys the store holds, (n,) bool."""

    vectors: Floats
    known: NDArray[np.bool_]


class Store:
    """A store, mapped read-only.

    A handle may be used from any number of threads, and in a child after fork; pickled, it travels as its path and
    opens itself again. Vectors and keys that it returned stay valid after `close`.

    Attributes
    ----------
    path : str
    dimensions : int
    metric : {"cosine", "dot", "l2"}
        What scores are, unless `search` is told otherwise.
    key_type : {"str", "bytes", "int64"} or None
        None: rows are found by number.
    """

    def __init__(
        self, path: str | Path, *, check: bool = True, prefix: int | None = None, code_bytes: int | None = None
    ) -> None:
        self.path, self._check, self._prefix, self._code_bytes = str(path), check, prefix, code_bytes
        self._manifest: Manifest | None = None
        self._key_maps: list[tuple[int, KeyMap]] = []  # with the first shard that each covers
        self._unmapped: list[int] = []  # shards that no key map covers
        self._plans: dict[tuple[float | None, int | str], Plan] = {}  # of searches by (recall, prefix)
        self._shards = self._open_shards()
        first = self._shards[0]
        self.dimensions, self.metric = first.dimensions, first.metric
        self.key_type: KeyType | None = first.keys.key_type if first.keys else None
        self._starts = np.concatenate([[0], np.cumsum([shard.rows for shard in self._shards])])  # first row of a shard
        self._edges: list[int] = self._starts.tolist()
        self._rows = self._edges[-1]
        if prefix is not None or code_bytes is not None:
            _ = first.codec  # raises now when the codec does not allow it
        # The two steps of store[key], bound once: a method call saved is a tenth of a lookup.
        single = len(self._shards) == 1
        self._find: Callable[[Any], int] = first.keys.find if first.keys and single else self._find_row
        self._read: Callable[[int], Floats] = first.vector if single else self._vector

    @property
    def _truncated(self) -> bool:
        return self._prefix is not None or self._code_bytes is not None

    # Lookup

    def __len__(self) -> int:
        return self._rows

    def __contains__(self, key: Any) -> bool:
        return bool(self._find(key) >= 0)

    def __iter__(self) -> Iterator[Key]:
        """Iterate over the keys in row order; over row numbers in a store without keys."""
        self._open_or_raise()
        if self.key_type is None:
            return iter(range(self._rows))
        indexes = [shard.keys for shard in self._shards if shard.keys is not None]
        return (key for index in indexes for key in index)

    def __getitem__(self, key: Any) -> Floats:
        """Return the vector of a key, (d,) float32, or of a list or array of keys, (n, d).

        In a store without keys, row numbers are the keys. Raises `KeyNotFoundError`.
        """
        if isinstance(key, (list, tuple, np.ndarray)):
            return self._of_keys(key, None)
        row = self._find(key)
        if row < 0:
            raise self._not_found(key)
        return self._read(row)

    def get(self, keys: Any, default: Any = None) -> Any:
        """Return the vector of a key, or `default` when the store does not hold it.

        For a list or array of keys: (n, d) float32, with `default` (a number or a (d,) vector) in the rows of keys
        that are not there; without a default a missing key raises `KeyNotFoundError`.
        """
        if isinstance(keys, (list, tuple, np.ndarray)):
            return self._of_keys(keys, default)
        row = self._find(keys)
        return default if row < 0 else self._read(row)

    def lookup(self, keys: Sequence[Any] | NDArray[Any]) -> Lookup:
        """Return vectors for keys, also for those that the store does not hold, where the codec makes them of the key.

        That is what codecs do whose rows share tables and are found by hashes of their keys: `hash`, and imported
        floret, fastText and HashEmbed tables.

        Raises
        ------
        KeyNotFoundError
            A key is not in the store, and the codec has no vector for it.

        Examples
        --------
        >>> store.lookup(["king", "kingishly"]).known  # doctest: +SKIP
        array([ True, False])
        """
        rows = self.rows_of(keys) if len(keys) else np.empty(0, np.int64)
        known = rows >= 0
        vectors = np.empty((len(rows), self.dimensions), np.float32)
        vectors[known] = self._vectors(rows[known])
        if not known.all():
            missing = [keys[at] for at in np.flatnonzero(~known).tolist()]
            if self.key_type is None:
                raise self._not_found(*missing)
            packed = PackedKeys(np.array(missing) if self.key_type == "int64" else missing, self.key_type)
            # Blocks of a mixed store may differ in this; the rare keys' table comes last.
            tried = (shard.vectors_of_unknown(packed) for shard in reversed(self._shards))
            made = next((vectors for vectors in tried if vectors is not None), None)
            if made is None:
                raise self._not_found(*missing)
            vectors[~known] = made
        return Lookup(vectors, known)

    def rows_of(self, keys: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
        """Return the row number of each key, -1 where the store does not hold it: (n,) int64."""
        self._open_or_raise()
        if self.key_type is None:
            given = np.asarray(keys)
            if given.dtype.kind not in "iu":
                raise ShapeError(f"this store has no keys: rows are found by number, not by {given.dtype}")
            rows = given.astype(np.int64)
            return np.where((rows >= 0) & (rows < self._rows), rows, -1)
        if len(self._shards) == 1:
            keys_of_shard = self._shards[0].keys
            assert keys_of_shard is not None
            return keys_of_shard.find_many(keys)
        if len(keys) < KERNEL_KEYS:
            return np.array([self._find(key) for key in keys], np.int64)
        return self._find_in_shards(keys)

    @property
    def keys(self) -> KeysView:
        """All keys in row order; a sequence with fast `in`."""
        self._open_or_raise()
        return KeysView(self)

    @property
    def vectors(self) -> Vectors:
        """All vectors in row order, decoded when read."""
        self._open_or_raise()
        return Vectors((self._rows, self.dimensions), self._vector, self._vectors, self._span)

    def truncated(self, dimensions: int | None = None, *, bytes: int | None = None) -> Store:
        """Return a store over the same file that reads only the first bytes of each code.

        Parameters
        ----------
        dimensions : int, optional
            The vectors are the first so many dimensions, scaled to length one: for models trained so (Matryoshka).
        bytes : int, optional
            Of a `tcq` store: the vectors are coarser ones, all dimensions from the first so many bytes. (Codes of files
            without `head_bits` are cut where a group of eight steps ends, up to eight bytes below.)

        Raises
        ------
        CodecError
            The codec mixes dimensions, such as pca or pq; or its codes cannot be cut. The message says what can.
        ShapeError
            Neither or both are given.
        """
        self._open_or_raise()
        if (dimensions is None) == (bytes is None) or self._truncated:
            raise ShapeError("truncated takes either dimensions or bytes, of a store that is not truncated")
        size = dimensions if bytes is None else bytes
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)):
            raise ShapeError(f"truncated takes a whole number of dimensions or bytes, found {size!r}")
        return Store(self.path, check=self._check, prefix=dimensions, code_bytes=bytes)

    # Search

    def search(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        metric: SearchMetric | None = None,
        rows: ArrayLike | None = None,
        exclude: ArrayLike | None = None,
        min_score: float | None = None,
        max_distance: float | None = None,
        rescore: int | Literal["auto"] = "auto",
        recall: float | None = None,
        prefix: int | Literal["auto"] = "auto",
        exact: bool = False,
        nprobe: int | None = None,
        calibrated: bool = False,
    ) -> SearchResult:
        """Find the k best rows for each query by scanning all codes, in all threads.

        With one layer the result is exact for the codec: what brute force over `vectors` finds. With a coarse and
        a fine layer, the coarse one is scanned and the best `rescore` * k rows are scored again from the fine one.
        `tcq` codes are scanned by approximate scores, of their first bytes where that is faster, and the best
        `rescore` * k rows are scored again by all that the codec says of them.

        Parameters
        ----------
        queries : (d,) or (q, d) array
            A truncated store also takes vectors of its full width and cuts them.
        k : int
        metric : {"cosine", "dot", "l2", "hamming"}, optional
            The store's own by default. "hamming" is for codecs whose scanned layer is `bin`: the number of bits in
            which a row differs from the query when that is made bits as well. No faster than the others here, which
            keep the query in full and find more; for agreement with what other libraries call a binary index.
        rows, exclude : array, optional
            Which rows may be found: a mask of one bool a row, or row numbers (`rows_of` turns keys into them).
        min_score : float, optional
            Of cosine and dot product: leave out what scores less.
        max_distance : float, optional
            Of l2 and hamming: leave out what is farther, in the (squared) distance that scores are.
        rescore : int or "auto"
            Oversampling of a two-layer store; "auto" takes what conversion measured to reach `recall` of the fine
            layer's neighbours, 0 gives the coarse scores as they are. Of a `tcq` store, "auto" is 8; 32 in cells.
        recall : float, optional
            For "auto": 0.999 by default. Of a `tcq` store, how many of the neighbours that a sweep of all bytes finds a
            sweep of fewer has to find: 0.998 where `prefix` asks for one.
        prefix : int or "auto"
            Of a `tcq` store without cells, how many bytes of every row are swept: a number for which conversion
            measured how well they do, or all. "auto" is all, or what is expected to be the fastest where a `recall` is
            given and the store is large. All are swept, too, where `k` or what `rows` and `exclude` leave out make up
            a larger share of the rows than was measured.
        exact : bool
            Of a `tcq` store: decode all rows, and find what brute force over `vectors` does.
            Of a two-layer store: find what a scan of the fine layer would, provably, by rescoring every row whose
            bound (see `SearchResult.rescored` for how many) lets it into the best k.
        nprobe : int, optional
            Of a store with cells: look only into so many of them, those nearest to the query (in each shard). All
            else here then means the rows in these.
        calibrated : bool
            Scores, and `min_score` or `max_distance`, are what they were between the original vectors, as far as
            the map measured at conversion tells; the order of the rows stays.

        Returns
        -------
        SearchResult
            Keys, rows and scores: cosine or dot product, largest first; l2 (squared) and hamming distance, smallest
            first.
        """
        from vecstore.search.search import find

        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise ShapeError(f"k is a positive whole number, found {k!r}")
        asked = self._question(metric, rows, exclude, min_score, max_distance, rescore, recall, exact, nprobe, prefix)
        calibration = self._calibration(asked) if calibrated else None
        if calibration is not None:
            asked = replace(asked, least=calibration.compressed_of(asked.least))
        given = np.asarray(queries)
        x = self._queries(given)
        best, rescored = find(self._shards, self._edges, x, min(int(k), self._rows), asked)
        if calibration is not None:
            best.scores = calibration.original_of(best.scores)
        if asked.least > -np.inf or not asked.selection.everything:
            best = best.cut(int(best.sizes.max(initial=0)))
        return self._result(best, rescored, asked.metric, single=given.ndim == 1)

    def range_search(
        self,
        queries: ArrayLike,
        *,
        min_score: float | None = None,
        max_distance: float | None = None,
        metric: SearchMetric | None = None,
        rows: ArrayLike | None = None,
        exclude: ArrayLike | None = None,
        rescore: Literal[0, "auto"] = "auto",
        nprobe: int | None = None,
        calibrated: bool = False,
    ) -> SearchResult | list[SearchResult]:
        """Find all rows that score at least `min_score`, or that lie within `max_distance` (l2, hamming).

        Of a two-layer store the scores are those of the fine layer, and nothing is missed; with `rescore=0` they are
        the coarse layer's. The rest is as in `search`.

        Returns
        -------
        SearchResult, or a list of them for a batch of queries
        """
        from vecstore.search.search import SearchResult, find_all

        if min_score is None and max_distance is None:
            raise ShapeError("range_search needs min_score (cosine, dot) or max_distance (l2, hamming)")
        asked = self._question(metric, rows, exclude, min_score, max_distance, rescore, None, False, nprobe)
        calibration = self._calibration(asked) if calibrated else None
        if calibration is not None:
            asked = replace(asked, least=calibration.compressed_of(asked.least))
        given = np.asarray(queries)
        sign = -1 if asked.metric in DISTANCES else 1
        results = [
            SearchResult(
                self.keys[found],
                found,
                (sign * (scores if calibration is None else calibration.original_of(scores))).astype(np.float32),
                rescored,
            )
            for scores, found, rescored in find_all(self._shards, self._edges, self._queries(given), asked)
        ]
        return results[0] if given.ndim == 1 else results

    def most_similar(
        self, key: Any, k: int = 10, *, metric: SearchMetric | None = None, rescore: int | Literal["auto"] = "auto"
    ) -> list[tuple[Key, float]]:
        """Return the k keys nearest to `key`, itself left out, with their scores, best first.

        Examples
        --------
        >>> store.most_similar("king", 1)  # doctest: +SKIP
        [('prince', 0.8236179351806641)]
        """
        row = self._find(key)
        if row < 0:
            raise self._not_found(key)
        found = self.search(self._read(row), k, metric=metric, rescore=rescore, exclude=[row])
        return list(zip(found.keys, found.scores.tolist(), strict=True))

    def _question(
        self,
        metric: SearchMetric | None,
        rows: ArrayLike | None,
        exclude: ArrayLike | None,
        min_score: float | None,
        max_distance: float | None,
        rescore: int | Literal["auto"],
        recall: float | None,
        exact: bool,
        nprobe: int | None,
        prefix: int | Literal["auto"] | None = None,
    ) -> Question:
        from vecstore.measure.fidelity import oversampling
        from vecstore.search.prefixes import plan_of
        from vecstore.search.search import Question

        self._open_or_raise()
        metric = metric or self.metric
        if metric not in SEARCH_METRICS:
            raise ShapeError(f"unknown metric {metric!r}; choose one of {', '.join(SEARCH_METRICS)}")
        distance = metric in DISTANCES
        if rescore != "auto" and (not isinstance(rescore, (int, np.integer)) or rescore < 0):
            raise ShapeError(f'rescore is "auto", or 0 or a positive oversampling factor; found {rescore!r}')
        if min_score is not None and distance:
            raise ShapeError(f"scores of {metric} are distances: give max_distance instead of min_score")
        if max_distance is not None and not distance:
            raise ShapeError(f"scores of {metric} are no distances: give min_score instead of max_distance")
        limit = min_score if min_score is not None else max_distance
        if limit is not None and not np.isfinite(limit):
            raise ShapeError(f"a limit of scores is a number, found {limit!r}")
        sweepable = prefix is not None and self._sweepable(metric)
        of_trellis = sweepable or all(_of_trellis(shard) for shard in self._shards)
        if prefix not in (None, "auto") and any(shard.cells is not None for shard in self._shards):
            raise ShapeError(
                "prefix is for stores without cells: in cells all bytes are read, of as many as nprobe= says"
            )
        if prefix not in (None, "auto") and (not sweepable or exact):
            raise ShapeError(
                f"prefix is for tcq codes in one layer, in the layout of format 1.2, and without exact=; "
                f"here {self._shards[0].codec.spec} is searched by {metric}"
            )
        if exact and not of_trellis and (metric != self.metric or len(self._shards[0].layers) < 2):
            raise ShapeError(
                f"exact is for two-layer stores and their own metric, here {self.metric}: "
                f"a search of {self._shards[0].codec.spec} by {metric} is exact for one layer, or not bounded"
            )
        least = -np.inf if limit is None else -float(limit) if distance else float(limit)
        two_step = len(self._shards[0].layers) > 1 and metric != "hamming"
        selection, cells = Selection(self._rows, rows, exclude), self._cells_to_look_into(nprobe)
        if of_trellis and (exact or not sweepable):  # by decoding
            return Question(metric, selection, least, 0, False, cells)
        descriptions = [shard.description for shard in self._shards]
        if sweepable and prefix is not None:
            asked = recall, prefix
            if asked not in self._plans:
                size = self._shards[0].codec.code_bytes
                self._plans[asked] = plan_of(descriptions, size, recall, prefix, rows=self._rows)
            plan = self._plans[asked]
            in_cells = any(shard.cells is not None for shard in self._shards) and metric != "dot"
            factor = (CANDIDATES_IN_CELLS if in_cells else CANDIDATES) if rescore == "auto" else int(rescore)
            return Question(metric, selection, least, factor, False, cells, plan)
        if recall is not None and (not two_step or rescore != "auto" or exact):
            raise ShapeError('recall is for rescore="auto" of a two-layer store, or for tcq codes')
        factor = 0
        if two_step:
            factor = oversampling(descriptions, recall) if rescore == "auto" else int(rescore)
        return Question(metric, selection, least, factor, exact, cells)

    def _sweepable(self, metric: str) -> bool:
        """Return whether codes are of `tcq` and are searched where they lie; rows of lengths kept apart are not."""
        from vecstore.search.trellis_sweeping import trellis_of

        return all(
            (trellis := trellis_of(shard)) is not None
            and (shard.norms is None or metric == "cosine")
            and trellis.serves(metric)
            for shard in self._shards
        )

    def _cells_to_look_into(self, nprobe: int | None) -> int | None:
        """Return nprobe, or None if it leaves no cell out."""
        if nprobe is None:
            return None
        if isinstance(nprobe, bool) or not isinstance(nprobe, (int, np.integer)) or nprobe < 1:
            raise ShapeError(f"nprobe is a positive number of cells, found {nprobe!r}")
        counts = [shard.cells.count for shard in self._shards if shard.cells is not None]
        if not counts:
            raise ShapeError("nprobe is for stores with cells: convert the dump with cells first in the codec")
        return int(nprobe) if nprobe < max(counts) else None

    def _calibration(self, asked: Question) -> Calibration:
        from vecstore.measure.calibration import Calibration

        found = self._shards[0].description.get("calibration")
        if found is None:
            raise ShapeError(f"{self.path} holds no map to the original scores; convert the dump again for one")
        calibration = Calibration.from_dict(found, self._shards[0].path)
        coarse = len(self._shards[0].layers) > 1 and not asked.oversample
        if asked.metric != calibration.metric or self._truncated or coarse:
            raise ShapeError(
                f"calibrated scores are those of all stored bytes by {calibration.metric}: no other metric, no "
                "truncated store, no rescore=0"
            )
        return calibration

    def _result(self, best: TopK, rescored: NDArray[np.int64], metric: SearchMetric, *, single: bool) -> SearchResult:
        from vecstore.search.search import SearchResult

        scores = (-best.scores if metric in DISTANCES else best.scores).astype(np.float32)
        if single:
            found = best.rows[0, : int(best.sizes[0])]
            return SearchResult(self.keys[found], found, scores[0, : len(found)], int(rescored[0]))
        scores[best.rows < 0] = np.nan
        flat = iter(self.keys[best.rows[best.rows >= 0]])
        keys = [list(islice(flat, size)) for size in best.sizes.tolist()]
        return SearchResult(keys, best.rows, scores, rescored)

    # The store itself

    @property
    def codec(self) -> Codec:
        """The trained codec, to encode and decode with, or to convert other vectors with.

        Raises `ShapeError` for a store of several (mixed precision).
        """
        self._open_or_raise()
        specs = {str(shard.codec.spec) for shard in self._shards}
        if len(specs) > 1:
            raise ShapeError(f"{self.path} has a codec for each block of rows: {', '.join(sorted(specs))}")
        return self._shards[0].codec

    @property
    def description(self) -> dict[str, Any]:
        """The document in the (first) file; `info` returns what is of use to people."""
        self._open_or_raise()
        return self._shards[0].description

    def info(self) -> dict[str, Any]:
        """Return what the store says of itself: shape, codec, bytes, provenance, certificate, user metadata."""
        from vecstore.store.description import describe

        self._open_or_raise()
        return describe(self.path, self._shards, self._manifest)

    def verify(self) -> int:
        """Check every byte against its checksum, and every key; return the bytes checked or raise `CorruptError`."""
        self._open_or_raise()
        total = sum(key_map.verify() for _, key_map in self._key_maps)
        for first, shard in zip(self._edges, self._shards, strict=False):
            total += shard.container.verify()
            if shard.order is not None:
                shard.order.verify()
            if shard.keys is not None:
                self._verify_keys(shard, first)
        return total

    def close(self) -> None:
        """Let go of the files. Using the store afterwards raises `ClosedError`."""
        self._shards = []
        self._key_maps = []
        self._find = self._read = self._closed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        return _reopen, (self.path, self._check, self._prefix, self._code_bytes)

    def __repr__(self) -> str:
        if not self._shards:
            return f"<Store {self.path!r}, closed>"
        from vecstore.store.description import codec_text

        cut = "" if self._code_bytes is None else f", first {self._code_bytes} bytes"
        cut = cut if self._prefix is None else f", first {self._prefix} dimensions"
        codec = codec_text(self._shards) + cut
        return f"<Store {self.path!r}: {self._rows} x {self.dimensions}, {codec}, {self.metric}>"

    # Inside

    def _open_shards(self) -> list[Shard]:
        directory = Path(self.path)
        if not directory.is_dir():
            return [Shard(self.path, check=self._check, prefix=self._prefix, code_bytes=self._code_bytes)]
        for attempt in (1, 2):
            manifest = Manifest.read(directory)
            try:
                shards = [
                    Shard(
                        directory / entry["file"],
                        check=self._check,
                        prefix=self._prefix,
                        code_bytes=self._code_bytes,
                    )
                    for entry in manifest.shards
                ]
                maps = [KeyMap(directory / entry["file"], check=self._check) for entry in manifest.key_maps]
                break
            except FileNotFoundError as error:
                # A rewrite may have replaced the manifest, and removed what it named, since it was read.
                if attempt == 2 or Manifest.read(directory).generation == manifest.generation:
                    raise CorruptError(f"{error.filename} is missing from the store", path=directory) from None
        self._require_agreement(manifest, shards, maps)
        covered = [entry["shards"] for entry in manifest.key_maps]
        self._manifest = manifest
        self._key_maps = [(first, key_map) for (first, _), key_map in zip(covered, maps, strict=True)]
        mapped = {shard for first, end in covered for shard in range(first, end)}
        self._unmapped = [shard for shard in range(len(shards)) if shard not in mapped]
        return shards

    def _require_agreement(self, manifest: Manifest, shards: list[Shard], maps: list[KeyMap]) -> None:
        first = shards[0]
        opened: list[Shard | KeyMap] = [*shards, *maps]
        for entry, part in zip(manifest.entries, opened, strict=True):
            same = part.container.fingerprint == entry["fingerprint"]
            if isinstance(part, Shard):
                same_keys = (part.keys and part.keys.key_type) == (first.keys and first.keys.key_type)
                same_space = (part.dimensions, part.metric) == (first.dimensions, first.metric)
                same = same and part.rows == entry["rows"] and same_keys and same_space
            if not same:
                raise CorruptError(
                    f"{entry['file']} is not the file that the manifest means: restore it from a copy",
                    path=Path(self.path) / MANIFEST_NAME,
                )

    def _find_row(self, key: Any) -> int:
        """Return the row of a key, or -1."""
        if self.key_type is None:
            if not isinstance(key, (int, np.integer)) or isinstance(key, bool):
                raise ShapeError(f"this store has no keys: rows are found by number, not by {key!r}")
            return int(key) if 0 <= key < self._rows else -1
        keys = self._shards[0].keys
        assert keys is not None
        raw = keys.raw(key)
        if raw is None:
            return -1
        h = xxhash.xxh64_intdigest(raw)
        collisions = self._manifest.collisions if self._manifest else {}
        several = collisions.get(f"{h:016x}", []) if collisions else []
        for shard in [first + key_map.shard(h) for first, key_map in self._key_maps] + self._unmapped + several:
            row = self._find_in_shard(shard, key)
            if row >= 0:
                return row
        return -1

    def _find_in_shard(self, shard: int, key: Any) -> int:
        if shard >= len(self._shards):
            return -1
        keys = self._shards[shard].keys
        assert keys is not None
        row = keys.find(key)
        return row + self._edges[shard] if row >= 0 else -1

    def _find_in_shards(self, keys: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
        assert self.key_type is not None
        try:
            packed = PackedKeys(keys, self.key_type)
        except (TypeError, ValueError, AttributeError):
            return np.array([self._find_row(key) for key in keys], np.int64)
        hashes = packed.hashes()
        rows = np.full(len(packed), -1, np.int64)
        for first, key_map in self._key_maps:
            self._find_packed(packed, first + key_map.shards_of(hashes), rows)
        for number in self._unmapped:
            self._find_packed(packed, np.full(len(packed), number), rows)
        collisions = self._manifest.collisions if self._manifest else {}
        if collisions:
            rare = np.array([int(h, 16) for h in collisions], np.uint64)
            for at in np.flatnonzero(np.isin(hashes, rare)).tolist():
                rows[at] = self._find_row(keys[at])
        return rows

    def _find_packed(self, packed: PackedKeys, shards: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
        """Look each key up in its shard of `shards` and write the rows of those found into `rows`."""
        for number in np.unique(shards[shards < len(self._shards)]).tolist():
            own = self._shards[number].keys
            assert own is not None
            picked = np.flatnonzero((shards == number) & (rows < 0))
            found = own.find_packed(packed.take(picked))
            rows[picked] = np.where(found >= 0, found + self._edges[number], -1)

    def _of_keys(self, keys: Any, default: Any) -> Floats:
        if isinstance(keys, np.ndarray) and keys.ndim != 1:
            raise ShapeError(f"keys are a one-dimensional list, found shape {keys.shape}")
        rows = self.rows_of(keys) if len(keys) else np.empty(0, np.int64)
        missing = rows < 0
        if not missing.any():
            return self._vectors(rows)
        if default is None:
            raise self._not_found(*(keys[at] for at in np.flatnonzero(missing)))
        vectors = np.empty((len(rows), self.dimensions), np.float32)
        vectors[~missing] = self._vectors(rows[~missing])
        vectors[missing] = default
        return vectors

    def _not_found(self, *keys: Any) -> KeyNotFoundError:
        more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
        what = "row" if self.key_type is None else "key"
        kind = "" if self.key_type in (None, "str") else f"; keys here are {self.key_type}"
        return KeyNotFoundError(
            f"no {what} {keys[0]!r}{more} in {self.path}{kind}; store.get(keys, default=...) takes missing ones"
        )

    def _vector(self, row: int) -> Floats:
        self._open_or_raise()
        shard = bisect_right(self._edges, row) - 1
        return self._shards[shard].vector(row - self._edges[shard])

    def _vectors(self, rows: NDArray[np.int64]) -> Floats:
        self._open_or_raise()
        if len(self._shards) == 1:
            return self._shards[0].vectors(rows)
        out = np.empty((len(rows), self.dimensions), np.float32)
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(shards).tolist():
            picked = shards == number
            out[picked] = self._shards[number].vectors(rows[picked] - self._edges[number])
        return out

    def _span(self, start: int, stop: int) -> Floats:
        self._open_or_raise()
        if len(self._shards) == 1:
            return self._shards[0].vector_range(start, stop)
        out = np.empty((max(stop - start, 0), self.dimensions), np.float32)
        for first, shard in zip(self._edges, self._shards, strict=False):
            low, high = max(start, first), min(stop, first + shard.rows)
            if low < high:
                out[low - start : high - start] = shard.vector_range(low - first, high - first)
        return out

    def _queries(self, given: NDArray[Any]) -> Floats:
        if given.ndim not in (1, 2):
            raise ShapeError(f"a query is a vector (d,) or a batch (q, d), found shape {given.shape}")
        x = np.atleast_2d(given)
        if self._prefix is not None and x.shape[1] == self._shards[0].stored_dimensions:
            x = x[:, : self._prefix]
        return as_vectors(x, self.dimensions)

    def _verify_keys(self, shard: Shard, first: int) -> None:
        assert shard.keys is not None
        row = 0
        for page in shard.keys.pages():
            found = self.rows_of(page)
            if not np.array_equal(found, np.arange(first + row, first + row + len(page))):
                raise CorruptError("the key index does not find every key: convert the dump again", path=shard.path)
            row += len(page)
        if row != shard.rows:
            raise CorruptError(f"{row} keys for {shard.rows} rows: convert the dump again", path=shard.path)

    def _open_or_raise(self) -> None:
        if not self._shards:
            self._closed()

    def _closed(self, *_: Any) -> Any:
        raise ClosedError(f"the store {self.path} is closed; open it again")

    def key_of(self, row: int) -> Key:
        """Return the key of a row in range."""
        self._open_or_raise()
        if self.key_type is None:
            return row
        shard = bisect_right(self._edges, row) - 1
        keys = self._shards[shard].keys
        assert keys is not None
        return keys.key(row - self._edges[shard])


def _of_trellis(shard: Shard) -> bool:
    """Return whether a shard has one layer of `tcq` codes, whether they can be swept where they lie or not."""
    from vecstore.codecs.trellis.quantizer import TrainedTCQ

    return len(shard.codec.layers) == 1 and isinstance(shard.codec.layers[0].quantizer, TrainedTCQ)


def _reopen(path: str, check: bool, prefix: int | None, code_bytes: int | None) -> Store:
    return Store(path, check=check, prefix=prefix, code_bytes=code_bytes)
