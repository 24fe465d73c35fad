"""Write a store: one file, or a directory of shards. It appears whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.checks import as_vectors
from vecstore.codecs.codec import Codec
from vecstore.codecs.mixed.mixed import MixedCodec
from vecstore.container.document import parse
from vecstore.conversion.shards.cutting import Cutter, Piece
from vecstore.conversion.shards.workplace import Workplace
from vecstore.editing.commit import entry_of
from vecstore.errors import DuplicateKeyError, OptionError, ShapeError
from vecstore.fields.field import trained_fields
from vecstore.keys.kind import KeyType, key_type_of
from vecstore.keys.map import write_key_map
from vecstore.keys.packed import PackedKeys
from vecstore.metric import Metric, check_metric
from vecstore.shard.attribute_types import conformed, kept_schema, raw_table, row_bytes
from vecstore.shard.field import Coded, TrainedField, coded_rows
from vecstore.shard.models import beside_model, model_file, write_model
from vecstore.shard.shard import Shard
from vecstore.shard.sizes import KEY_BYTES, field_bytes
from vecstore.shard.writer import ShardWriter
from vecstore.store.manifest import Manifest

__all__ = ["Writer", "checked_user"]


class Writer:
    """Write vectors and keys to a new store with a trained codec.

    Use it as a context manager: leaving the block publishes the store, an exception in it leaves nothing behind.

    Parameters
    ----------
    path : path or Workplace
        A file; with `shard_bytes` or a mixed codec, a directory. Or the workplace of one, held by the caller already.
    codec : Codec or MixedCodec
        Trained: ``vecstore.codec("opq:48").fit(sample)``.
    metric : {"cosine", "dot", "l2"}
    shard_bytes : int, optional
        Start another shard when the next row would make a file larger than this.
    keep_norms : bool
        Hand unit vectors to the codec and keep each row's length beside its code, 4 bytes.
    keep_order : bool
        Of a codec with cells, whose rows are stored cell by cell: let rows have the numbers in which they were added
        all the same, at 4 bytes a row. False gives these up where there are keys.
    force : bool
        Replace an existing store.
    user : mapping, optional
        Free-form metadata, anything that JSON can hold.
    fields : mapping of names to trained fields, optional
        What rows have beside their vectors that is searched: ``{"tokens": vecstore.Multi(sample).fit()}``.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(100, 8))
    >>> codec = vecstore.codec("sq:8").fit(x)
    >>> with vecstore.Writer("items.vecs", codec) as writer:
    ...     writer.add(x, [f"item {i}" for i in range(100)])
    """

    def __init__(  # noqa: PLR0913 - options are parameters, as users know them
        self,
        path: str | Path | Workplace,
        codec: Codec | MixedCodec,
        *,
        metric: Metric = "cosine",
        shard_bytes: int | None = None,
        keep_norms: bool = False,
        keep_order: bool = True,
        force: bool = False,
        user: Mapping[str, Any] | None = None,
        fields: Mapping[str, TrainedField] | None = None,
    ) -> None:
        check_metric(metric)
        if not isinstance(codec, Codec | MixedCodec):
            raise OptionError(
                f"codec is a trained one, found {codec!r:.60}: vecstore.codec('sq:8').fit(sample) trains, and "
                "vecstore.write(path, vectors, keys, 'sq:8') does all at once"
            )
        for one in codec.codecs if isinstance(codec, MixedCodec) else [codec]:
            one.refuse_if_cut()
        self._fields = trained_fields(fields, keep_order=keep_order)
        fixed = self._fixed_bytes = field_bytes(self._fields.values())
        Cutter(codec, shard_bytes, keep_norms=keep_norms, keep_order=keep_order, fixed=fixed)  # raises
        self._cutter: Cutter | None = None  # made for the first rows, which tell what there is beside vectors
        self.codec, self.metric, self._shard_bytes, self._keep_norms = codec, metric, shard_bytes, keep_norms
        self.rows = 0
        self.description: dict[str, Any] = {"user": checked_user(user or {})}
        self.schema: Any = None  # of the columns; whoever knows it before the first rows says so
        self.parts: dict[str, NDArray[Any]] = {}  # that every file is to hold beside its rows
        self._keep_order = keep_order
        self._key_type: KeyType | None = None
        self._shard: ShardWriter | None = None
        self._shards: list[dict[str, Any]] = []
        self._models: dict[int, str | None] = {}  # by the identity of the codec
        self._hashes: list[NDArray[np.uint64]] = []
        sharded = shard_bytes is not None or isinstance(codec, MixedCodec)
        self._workplace = path if isinstance(path, Workplace) else Workplace(path, sharded=sharded, force=force)

    @property
    def directory(self) -> Path:
        """Where the store is being built; temporary files may go there."""
        return self._workplace.path

    def add(
        self,
        vectors: ArrayLike,
        keys: Sequence[Any] | NDArray[Any] | None = None,
        *,
        columns: Any = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Append rows.

        Parameters
        ----------
        vectors : (n, d) array of numbers
        keys : n str, bytes or int, unique in the store; or None in a store without keys
        columns : mapping of names to n values, pyarrow.Table, or data frame; optional
            Of the types that `vecstore.convert` keeps. The first rows fix names and types; what later ones lack is
            null.
        fields : mapping of names to what n rows have in each, optional
            Such as ``{"tokens": list_of_arrays}``. Rows have nothing in a field that is not given.

        Raises
        ------
        ShapeError
            Wrong shape or type, NaN or infinity, more or fewer keys or values than vectors.
        OptionError
            Keys of several types, or given for some rows only; columns of a type that is not kept, of several types,
            or given for some rows only. Keys that come twice show at `close`.
        """
        x = as_vectors(vectors, self.codec.dimensions)
        if not len(x):
            return
        key_type = key_type_of(keys) if keys is not None else None
        if self.rows and key_type != self._key_type:
            raise OptionError(f"keys were {self._key_type or 'not given'} before, now {key_type or 'not given'}")
        if keys is not None and len(keys) != len(x):
            raise ShapeError(f"{len(keys)} keys for {len(x)} vectors")
        table = self._table(columns, len(x))
        coded = coded_rows(fields, self._fields, len(x))
        self._key_type = key_type
        if self._cutter is None:
            keep_order = self._keep_order or key_type is None
            self._cutter = Cutter(
                self.codec,
                self._shard_bytes,
                keep_norms=self._keep_norms,
                keep_order=keep_order,
                columns=len(self.schema or ()),
                fixed=self._fixed_bytes,
            )
        for piece in self._cutter.pieces(self._sizes(len(x), keys, table, coded)):
            own = slice(piece.start, piece.stop)
            own_columns = None if table is None else table.slice(piece.start, piece.stop - piece.start)
            own_fields = {name: rows[own].coded() for name, rows in coded.items()}
            self._add(piece, x[own], None if keys is None else keys[own], own_columns, own_fields)

    def close(self) -> None:
        """Finish the last shard and publish the store.

        Raises
        ------
        ShapeError
            No row was added, or two have the same key.
        """
        if not self.rows:
            raise ShapeError("a store has at least one row; none was added")
        self._close_shard()
        if not self._workplace.sharded:
            self._workplace.publish_file(self._shards[0]["file"])
            return
        maps: tuple[dict[str, Any], ...] = ()
        collisions: dict[str, list[int]] = {}
        if self._key_type is not None and len(self._shards) > 1:
            name = "keys-00000.vecs"
            collisions = write_key_map(self.directory / name, self._hashes)
            self._refuse_duplicates(collisions)
            maps = (entry_of(self.directory / name, name, shards=[0, len(self._shards)]),)
        names = [model_file(model) for model in self._models.values() if model is not None]
        models = tuple(entry_of(self.directory / name, name) for name in names)
        self._workplace.publish_directory(Manifest(0, tuple(self._shards), maps, collisions, models))

    def abort(self) -> None:
        """Give up and leave nothing behind."""
        if self._shard is not None:
            self._shard.abort()
        self._workplace.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abort()
            return
        try:
            self.close()
        except BaseException:
            self.abort()
            raise

    def _table(self, columns: Any, rows: int) -> Any:
        """Return columns as a table of the types of the first rows; None where there are none."""
        if columns is None and self.schema is None:
            return None
        if columns is None or (self.schema is None and self.rows):
            raise OptionError("columns are given for all rows or for none")
        table = raw_table(columns)
        if len(table) != rows:
            raise ShapeError(f"columns of {len(table)} rows for {rows} vectors")
        self.schema = self.schema or kept_schema(table.schema)
        return conformed(table, self.schema)

    def _sizes(
        self, rows: int, keys: Sequence[Any] | NDArray[Any] | None, columns: Any, fields: Mapping[str, Coded]
    ) -> NDArray[np.int64]:
        """Return the bytes that rows take beside their codes; zeros where nobody counts them."""
        sizes = np.zeros(rows, np.int64)
        if self._shard_bytes is None:
            return sizes
        if keys is not None and self._key_type is not None:
            sizes += PackedKeys(keys, self._key_type).lengths + KEY_BYTES
        for coded in fields.values():
            sizes += coded.row_bytes
        return sizes if columns is None else sizes + row_bytes(columns)

    def _add(
        self,
        piece: Piece,
        vectors: Floats,
        keys: Sequence[Any] | NDArray[Any] | None,
        columns: Any,
        fields: Mapping[str, Coded],
    ) -> None:
        if piece.opens:
            if self._shard is not None:
                self._close_shard()
            self._shard = ShardWriter(
                self.directory / f"shard-{len(self._shards):05d}.vecs",
                piece.codec,
                metric=self.metric,
                key_type=self._key_type,
                keep_norms=self._keep_norms,
                keep_order=self._keep_order,
                first_row=piece.number,
                schema=self.schema,
                fields=self._fields,
            )
        assert self._shard is not None
        self._shard.add(vectors, keys, columns, fields)
        self.rows += len(vectors)

    def _model_of(self, codec: Codec) -> str | None:
        """Return the file of a codec's model where there may be several shards; they share it."""
        if self._shard_bytes is None:
            return None
        if id(codec) not in self._models:
            self._models[id(codec)] = write_model(self.directory, codec, self.description)
        return self._models[id(codec)]

    def _close_shard(self) -> None:
        shard = self._shard
        assert shard is not None
        model = self._model_of(shard.codec)
        told = self.description if model is None else beside_model(self.description, self.description)
        self._hashes.append(shard.close(told, self.parts, model=model))
        self._shard = None
        self._shards.append(entry_of(shard.path, shard.path.name, rows=shard.rows))

    def _refuse_duplicates(self, collisions: dict[str, list[int]]) -> None:
        for digits, shards in collisions.items():
            h = np.uint64(int(digits, 16))
            seen: dict[Any, int] = {}
            for number in shards:
                shard = Shard(self.directory / self._shards[number]["file"])
                assert shard.keys is not None
                for row in np.flatnonzero(np.asarray(self._hashes[number]) == h).tolist():
                    key = shard.keys.key(row)
                    if key in seen:
                        raise DuplicateKeyError(
                            f"duplicate key {key!r} in shards {seen[key]} and {number}; keys must be unique "
                            '(convert takes on_duplicate="first" or on_duplicate="last")'
                        )
                    seen[key] = number


def checked_user(user: Mapping[str, Any]) -> dict[str, Any]:
    """Return the user's metadata; raises `OptionError` for what no reader would take."""
    told = dict(user)
    try:
        parse(json.dumps({"user": told}, ensure_ascii=False, allow_nan=False).encode(), "user")
    except (TypeError, ValueError, RecursionError):
        raise OptionError(
            "user metadata are what JSON holds: names that differ, finite numbers, strings of Unicode, lists and "
            "mappings, 60 levels deep and 100,000 values at most"
        ) from None
    return told
