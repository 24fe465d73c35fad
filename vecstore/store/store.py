"""A store: what users open. One shard file, a directory of shards with a manifest, or several stores as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.codecs.base import Floats
from vecstore.errors import OptionError
from vecstore.keys.kind import Key, is_single
from vecstore.store.described import Described
from vecstore.store.handle import Paths
from vecstore.store.keys_view import KeysView
from vecstore.store.snapshot import Lookup
from vecstore.store.vectors import Vectors

if TYPE_CHECKING:
    from vecstore.metric import Metric
    from vecstore.search.fusion import Fuse
    from vecstore.search.options import SearchMetric
    from vecstore.search.result import SearchResult
    from vecstore.store.fields import StoreField

__all__ = ["Store", "open_store"]


def open_store(
    path: Paths, *, check: bool = True, safe: bool = False, generation: int | str | None = None, cache: Any = None
) -> Store:
    """Open a store for reading, or several as one.

    Parameters
    ----------
    path : path or URL, or list of them
        A store file, or a directory with a manifest, here or in a bucket (``s3://bucket/docs.vecs``). Several are seen
        as one: rows are counted through them, and a search looks into all. Where two hold the same key, a lookup takes
        it from the one that stands first.
    check : bool
        Compare every piece of the file with its checksum when it is first touched (64 KiB at a time, once). Without,
        damage goes unnoticed until `Store.verify`.
    safe : bool
        Read the files into memory instead of mapping them: for files that others may cut off or overwrite meanwhile,
        which ends a process that has them mapped (SIGBUS).
    generation : int or str, optional
        An earlier generation of a directory, by its number or a tag (see `Store.versions`); else the one in force.
    cache : path, optional
        The folder where what is fetched from buckets is kept; `VECSTORE_STORE_CACHE` by default.

    Raises
    ------
    FormatError
        Not a store. `CorruptError` where it is damaged, `UnsupportedVersionError` where it is too new.
    OptionError
        Several stores of other dimensions, metrics, types of keys or numbers of layers; or no such generation.
    FileNotFoundError
        Nothing is there. `RemoteError` where a bucket cannot be read.
    """
    return Store(path, check=check, safe=safe, generation=generation, cache=cache)


class Store(Described):
    """A store, mapped read-only.

    A handle shows one generation of a store that changes, until `refresh`: nobody's edits show before. It may be used
    from any number of threads, and in a child after fork; pickled, it travels as its path and generation and opens
    itself again. Vectors and keys that it returned stay valid after `close`.

    Attributes
    ----------
    path : str
        Of several stores opened as one, their paths joined by " + ".
    dimensions : int
    metric : {"cosine", "dot", "l2"}
        What scores are, unless `search` is told otherwise.
    key_type : {"str", "bytes", "int64"} or None
        None: rows are found by number.
    """

    @property
    def renumbered(self) -> bool:
        """Whether rows have other numbers than in the dump.

        Some were left out (`on_bad`, `on_duplicate`, or at compaction), or they lie by `importance`, or by cells
        (`keep_order=False`). Then `vectors`, `keys` and the numbers that searches return count the store's own rows,
        and only keys tell which row of the dump is which.
        """
        return not self._open().numbering.of_dump

    def __len__(self) -> int:
        """Return how many rows there are; deleted ones do not count."""
        return self._open().living

    def __contains__(self, key: Any) -> bool:
        return bool((self._held or self._closed()).find(key) >= 0)

    def __iter__(self) -> Iterator[Key]:
        """Iterate over the keys in row order; over row numbers in a store without keys."""
        return self._snapshot.keys()

    def __getitem__(self, key: Any) -> Floats:
        """Return the vector of a key, (d,) float32, or of a list or array of keys, (n, d).

        In a store without keys, row numbers are the keys. Raises `KeyNotFoundError`, which names the first few that
        are not there.
        """
        if not is_single(key):
            return self._snapshot.of_keys(key)
        snapshot = self._held or self._closed()  # spelled out: a method call is a tenth of a lookup
        row = snapshot.find(key)
        if row < 0:
            raise snapshot.not_found(key)
        return snapshot.vector(row)

    def get(self, keys: Any, default: Any = None) -> Any:
        """Return the vector of a key, or `default` when the store does not hold it.

        For several keys: a list of their vectors, None for missing ones. With a default, a number or a (d,) vector,
        one array (n, d) float32 that has it in the rows of missing keys.
        """
        if not is_single(keys):
            return self._snapshot.get(keys, default)
        snapshot = self._held or self._closed()
        row = snapshot.find(keys)
        return default if row < 0 else snapshot.vector(row)

    def lookup(self, keys: Sequence[Any] | NDArray[Any], *, columns: Sequence[str] = ()) -> Lookup:
        """Return vectors for keys, also for those that the store does not hold, where the codec makes them of the key.

        Codecs do that whose rows share tables and are found by hashes of their keys: `hash`, and imported floret,
        fastText and HashEmbed tables. Others raise `KeyNotFoundError`. `columns` names columns to take along, null for
        keys that are not there.
        """
        return self._snapshot.lookup(keys, columns)

    def rows_of(self, keys: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
        """Return the row number of each key, -1 where the store does not hold it: (n,) int64.

        The numbers are the dump's, unless the store is `renumbered`; `search` takes them as `rows` and `exclude` in any
        case.
        """
        return self._snapshot.own(self._snapshot.rows_of(keys))

    def key_of(self, row: int) -> Key:
        """Return the key of a row; raises `IndexError` for a number that is none, such as -1 of `rows_of`."""
        snapshot = self._open()
        if not 0 <= row < snapshot.rows:
            raise snapshot.no_row(row)
        snapshot.dead.refuse(np.array([row]))
        return snapshot.key_of(row)

    @property
    def living_rows(self) -> NDArray[np.int64]:
        """The numbers of the rows that were not deleted, rising: (n,) int64, a new array."""
        return self._snapshot.own(self._snapshot.living_rows)

    @property
    def keys(self) -> KeysView:
        """All keys by row number, the dump's unless the store is `renumbered`; a sequence with fast `in`."""
        return KeysView(self._open)

    @property
    def vectors(self) -> Vectors:
        """All vectors by row number, the dump's unless the store is `renumbered`; decoded when read."""
        return Vectors((self._open().rows, self.dimensions), self._open)

    def field(self, name: str) -> StoreField:
        """Return what rows have in a field, such as their token vectors; raises `OptionError` where there is none."""
        from vecstore.store.fields import StoreField

        return StoreField(name, self._open())

    def truncated(self, dimensions: int | None = None, *, bytes: int | None = None) -> Store:
        """Return a store over the same file that reads only the first bytes of each code.

        Raises `CodecError` where the codec mixes dimensions, such as pca or pq, or its codes cannot be cut.

        Parameters
        ----------
        dimensions : int, optional
            The vectors are the first so many dimensions, scaled to length one: for models trained so (Matryoshka).
        bytes : int, optional
            Of a `tcq` store: the vectors are coarser ones, all dimensions from the first so many bytes, or up to eight
            fewer in files without `head_bits`.
        """
        if (dimensions is None) == (bytes is None) or self._snapshot.truncated:
            raise OptionError("truncated takes either dimensions or bytes, of a store that is not truncated")
        size = dimensions if bytes is None else bytes
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)):
            raise OptionError(f"truncated takes a whole number of dimensions or bytes, found {size!r}")
        generation = self.generation if self._pinned else None
        return Store(self._paths, **self._options, generation=generation, prefix=dimensions, code_bytes=bytes)

    # Search

    def search(  # noqa: PLR0913 - options are parameters, as users know them
        self,
        queries: ArrayLike | Mapping[str, Any],
        k: int = 10,
        *,
        metric: SearchMetric | None = None,
        rows: ArrayLike | None = None,
        exclude: ArrayLike | None = None,
        where: Any = None,
        min_score: float | None = None,
        max_distance: float | None = None,
        rescore: int | Literal["auto"] = "auto",
        recall: float | None = None,
        scan_bytes: int | Literal["auto"] = "auto",
        exact: bool = False,
        nprobe: int | None = None,
        calibrated: bool = False,
        fuse: Fuse = None,
        candidates: int | tuple[str, int] | None = None,
        alpha: float = 1.0,
        field: str | None = None,
        dense: ArrayLike | None = None,
        vectors: int | None = None,
    ) -> SearchResult:
        """Find the k best rows for each query by scanning all codes, in all threads.

        With one layer the result is what brute force over `vectors` finds. With two, the coarse layer is scanned and
        the best `rescore` * k rows are scored again by the fine one. `tcq` codes are scanned by approximate scores,
        and the best `rescore` * k rows are scored again exactly.

        Parameters
        ----------
        queries : (d,) or (q, d) array, or mapping of fields to queries
            A truncated store also takes vectors of its full width and cuts them. Of fields:
            ``{"dense": q, "terms": {7: 1.5}, "tokens": Q}``, "dense" being the store's vectors; sparse terms take a
            mapping of terms to weights or a scipy matrix, token vectors a (t, d) array. The result is then a
            `FusedResult`.
        k : int
        metric : {"cosine", "dot", "l2", "hamming"}, optional
            The store's own by default. "hamming" counts the bits in which a row of a `bin` layer differs from the
            query. It is no faster than the others, which find more; it agrees with other libraries' binary indexes.
        rows, exclude : array, optional
            Which rows may be found: a mask of one bool a row, or row numbers (`rows_of` turns keys into them). A store
            that is `renumbered` takes only numbers that came from it, and refuses any other (`OptionError`).
        where : str or pyarrow.compute.Expression, optional
            Only rows whose columns satisfy a condition, such as ``"section = 'python' and size < 100000"``. Of the
            rows that it selects none is missed.
        min_score, max_distance : float, optional
            Leave out what scores less (cosine, dot), or is farther (l2, squared; hamming).
        rescore : int or "auto"
            Oversampling. "auto" is what conversion measured for `recall`, or 8 for `tcq` (32 in cells); 0 gives the
            coarse scores as they are.
        recall : float, optional
            Of two layers, for "auto": how many neighbours of the fine layer are found, 0.99 by default. Of `tcq`: how
            many of those that a scan of all bytes finds, 0.998 where `scan_bytes` asks for fewer bytes.
        scan_bytes : int or "auto"
            Of `tcq` without cells: scan so many first bytes of every row, for which conversion measured how well they
            do. "auto" is all, or the fastest for a `recall` in a large store. All are scanned, too, where `k` or a
            filter asks for a larger share of the rows than was measured.
        exact : bool
            Of `tcq`: find what brute force over `vectors` does, by decoding. Of two layers: find what a scan of the
            fine layer would, provably, by rescoring every row whose bound lets it in (see `SearchResult.rescored`).
        nprobe : int, optional
            Look only into so many cells (of each shard), those nearest to the query.
        calibrated : bool
            Scores and limits are those of the original vectors, by the map that conversion measured.
        fuse : "rrf" or mapping of fields to weights, optional
            How scores of several fields become one: the sum of 1 / (60 + rank), or a weighted sum.
        candidates : int, or name of a field and int, optional
            How many rows of each field to score in all of them. By default 100, or ten for each of `k`; and where all
            fields find exactly, more until no better row can have been missed, in three rounds.
        alpha : float
            Of sparse terms: leave out rows of which this share of the most they can score is not enough; 1 misses none.
        field : str, optional
            Search token vectors: a query is a (t, d) array, a batch a list of these. A row scores the sum, over the
            query's vectors, of the largest product with one of its own; of `tcq` about, and the best `rescore` * k (4)
            exactly. With `candidates`, only the best so many rows by dense vectors are scored, with ``("fde", 500)``
            those by that dense field, with the field's own name those by the centroids of its cells. A dense field
            is searched as the store's own vectors are, by its own metric.
        dense : (d,) or (q, d) array, optional
            The query for candidates; where dimensions agree, the mean of the query's vectors by default.
        vectors : int, optional
            With `field`: only so many first vectors of each row count, for models whose vectors are nested.

        Returns
        -------
        SearchResult
            Best first: cosine or dot product, largest first; l2 (squared) and hamming distance, smallest first.
        """
        from vecstore.search.options import SearchOptions

        options = SearchOptions(
            metric=metric or self.metric,
            rows=rows,
            exclude=exclude,
            where=where,
            min_score=min_score,
            max_distance=max_distance,
            rescore=rescore,
            recall=recall,
            scan_bytes=scan_bytes,
            exact=exact,
            nprobe=nprobe,
            calibrated=calibrated,
        )
        if field is None and (dense is not None or vectors is not None):
            raise OptionError("dense= and vectors= go with field=")
        if isinstance(queries, Mapping):
            from vecstore.store.fused_search import search_fields

            return search_fields(self._snapshot, queries, k, options, fuse=fuse, candidates=candidates, alpha=alpha)
        if fuse is not None or (candidates is not None and field is None) or alpha != 1:
            raise OptionError('fuse=, candidates= and alpha= are for queries by field, such as {"terms": {7: 1.5}}')
        if field is not None:
            from vecstore.store.field_search import FieldRequest, search_field

            asked = FieldRequest(field, candidates, dense, vectors, metric)
            return search_field(self._snapshot, queries, k, asked, options)
        from vecstore.store.searching import search

        return search(self._snapshot, queries, k, options)

    def maxsim(self, query: ArrayLike, keys: Sequence[Any] | NDArray[Any], *, field: str | None = None) -> Floats:
        """Return the scores of keys for the vectors (t, d) of a query, such as to rank them again: (n,) float32.

        The sum, over the query's vectors, of the largest product with a token vector of the key's row, as decoded;
        -inf for a row without any. `field` may be left out where one field has token vectors.
        """
        from vecstore.store.field_search import maxsim_of

        return maxsim_of(self._snapshot, query, keys, field)

    def range_search(  # noqa: PLR0913 - options are parameters, as users know them
        self,
        queries: ArrayLike,
        *,
        min_score: float | None = None,
        max_distance: float | None = None,
        metric: SearchMetric | None = None,
        rows: ArrayLike | None = None,
        exclude: ArrayLike | None = None,
        where: Any = None,
        rescore: Literal[0, "auto"] = "auto",
        nprobe: int | None = None,
        calibrated: bool = False,
    ) -> SearchResult | list[SearchResult]:
        """Find all rows that score at least `min_score`, or that lie within `max_distance` (l2, hamming).

        Of a two-layer store the scores are those of the fine layer, and nothing is missed; with `rescore=0` they are
        the coarse layer's. The rest is as in `search`. A batch of queries gives a list of results.
        """
        from vecstore.search.options import SearchOptions
        from vecstore.store.searching import range_search

        options = SearchOptions(
            metric=metric or self.metric,
            rows=rows,
            exclude=exclude,
            where=where,
            min_score=min_score,
            max_distance=max_distance,
            rescore=rescore,
            nprobe=nprobe,
            calibrated=calibrated,
        )
        return range_search(self._snapshot, queries, options)

    def scores(self, queries: ArrayLike, rows: ArrayLike | None = None, *, metric: Metric | None = None) -> Floats:
        """Return the score of every row, or of some, for each query: (q, n) float32; (n,) for a single one.

        They are exact for the decoded vectors (of the finest layer), by cosine, dot or l2; the store's metric by
        default. `rows` is a mask, or row numbers, in whose order the scores come. Deleted rows score -inf, or
        inf by l2.
        """
        from vecstore.store.scoring import scores

        return scores(self._snapshot, queries, rows, metric or self.metric)

    def most_similar(
        self,
        key: Any,
        k: int = 10,
        *,
        metric: SearchMetric | None = None,
        where: Any = None,
        rescore: int | Literal["auto"] = "auto",
    ) -> list[tuple[Key, float]]:
        """Return the k keys nearest to `key`, itself left out, with their scores, best first.

        Examples
        --------
        >>> store.most_similar("king", 1)  # doctest: +SKIP
        [('prince', 0.8236179351806641)]
        """
        snapshot = self._open()
        row = snapshot.find(key)
        if row < 0:
            raise snapshot.not_found(key)
        own = snapshot.own(np.array([row]))
        return list(self.search(snapshot.vector(row), k, metric=metric, where=where, rescore=rescore, exclude=own))
