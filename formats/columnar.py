"""Parquet and Arrow files: a column of lists of numbers, and a column of keys."""

from __future__ import annotations

import errno
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.arrow_columns import checked, lengths_of, numbers_of, texts_of, values_of, values_of_some
from vecstore.formats.column_choice import choose_columns, is_integer, known_columns
from vecstore.formats.dump import Batch, Dump, Keys, KeyType, Problem, read_batch, to_float32
from vecstore.formats.format import SURE, Format, Output
from vecstore.formats.head import Head
from vecstore.formats.keys import convert_integers, convert_text, row_place
from vecstore.formats.reading import ReadingOptions

from vecstore.errors import FormatError, require

__all__ = ["FORMATS", "ArrowDump", "ColumnarDump", "ParquetDump", "write_parquet"]

_PIECE_BYTES = 1 << 20  # of vectors: what is read stays in the caches of its processor until it is coded
_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


class ColumnarDump(Dump):
    """What Parquet and Arrow share: record batches with a column of vectors."""

    def __init__(
        self,
        path: Path,
        *,
        format: str,
        key_type: KeyType | None,
        key_column: str | None,
        vector_column: str | None,
        columns: Sequence[str] = (),
    ) -> None:
        self.path, self.format = path, format  # what reading the schema needs
        with self._translated():
            schema, declared = self._describe()
            found = choose_columns(schema, path, key_column=key_column, vector_column=vector_column, beside=columns)
        self.vector_column, self.key_column = found.vectors, found.keys
        self.columns = known_columns(columns, schema.names, path)
        dimensions = found.dimensions or self._infer_dimensions()
        kind = None if found.key_type is None else key_type or found.key_type
        dtype = str(getattr(schema.field(found.vectors).type, "value_type", "float32"))
        super().__init__(path, format=format, rows=declared, dimensions=dimensions, key_type=kind, dtype=dtype)
        self.left_out = tuple(name for name in schema.names if name not in (found.vectors, found.keys, *self.columns))

    @abstractmethod
    def _describe(self) -> tuple[Any, int | None]:
        """Return the schema, and how many rows the file declares."""

    @abstractmethod
    def _record_batches(self, rows: int, columns: list[str]) -> Iterator[tuple[Any, float]]:
        """Yield record batches of at most `rows` rows, and the fraction read."""

    def _batches(self, rows: int) -> Iterator[Batch]:
        done = 0
        with self._translated():
            columns = [self.vector_column] + ([] if self.key_column is None else [self.key_column])
            columns += [name for name in self.columns if name not in columns]
            for record, fraction_read in self._record_batches(rows, columns):
                problems: dict[int, Problem] = {}
                vectors = self._vectors(record.column(self.vector_column), done, problems)
                keys = None if self.key_column is None else self._keys(record.column(self.key_column), done, problems)
                done += len(record)
                share = fraction_read if self.rows is None else done / max(self.rows, 1)
                beside = {name: self._beside(record, name) for name in self.columns}
                yield read_batch(vectors, keys, problems, share, beside)
        if self.rows is not None and done != self.rows:
            raise FormatError(
                "damaged; write it again", path=self.path, expected=f"{self.rows} rows", found=f"{done} rows"
            )

    def _beside(self, record: Any, name: str) -> Any:
        """Return a column as it is in the file; keys that are text have become bytes."""
        pa, column = _pyarrow(self.format), record.column(name)
        raw = pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)
        return column.cast(pa.large_string()) if raw and name == self.key_column and self.key_type == "str" else column

    def _vectors(self, column: Any, first: int, problems: dict[int, Problem]) -> NDArray[np.float32]:
        lengths = lengths_of(column)
        regular = lengths == self.dimensions
        if regular.all() and not (values := values_of(column, self.dimensions)).null_count:
            return to_float32(numbers_of(values)).reshape(-1, self.dimensions)
        for index in np.flatnonzero(~regular).tolist():
            length = lengths[index]
            kind = "no vector (null)" if length < 0 else "wrong number of numbers"
            why = kind if length < 0 else f"{length} numbers, expected {self.dimensions}"
            problems[index] = Problem(kind, f"row {first + index}: {why}")
        values = values_of_some(column, regular)
        if values.null_count:
            nulls = np.asarray(values.is_null()).reshape(-1, self.dimensions).any(axis=1)
            holed = np.flatnonzero(regular)[nulls]
            regular[holed] = False
            for index in holed.tolist():
                why = f"row {first + index}: null among the numbers"
                problems[index] = Problem("null among the numbers", why)
            values = values_of_some(column, regular)
        vectors = np.full((len(column), self.dimensions), np.nan, np.float32)
        vectors[regular] = to_float32(numbers_of(values)).reshape(-1, self.dimensions)
        return vectors

    def _keys(self, column: Any, first: int, problems: dict[int, Problem]) -> Keys:
        pa = _pyarrow(self.format)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        nulls = np.flatnonzero(np.asarray(column.is_null())).tolist() if column.null_count else []
        for index in nulls:
            problems.setdefault(index, Problem("no key (null)", f"row {first + index}: no key (null)"))
        key_type = self.key_type or "str"
        if is_integer(column.type):
            try:
                integers = column if pa.types.is_int64(column.type) else column.cast(pa.int64())
                integers = integers.fill_null(0) if integers.null_count else integers
            except pa.ArrowInvalid as error:
                raise FormatError(
                    "a key does not fit a signed 64-bit integer; save the keys as strings",
                    path=self.path,
                    where=f"column {self.key_column!r}, rows {first} to {first + len(column) - 1}",
                ) from error
            return convert_integers(numbers_of(integers), key_type)
        if key_type == "str" and not nulls and (together := texts_of(column)) is not None:
            return together
        # As bytes: the file may call text what is not valid UTF-8.
        raw = [value or b"" for value in column.cast(pa.large_binary()).to_pylist()]
        return convert_text(raw, key_type, row_place(first), problems)

    def _infer_dimensions(self) -> int:
        with self._translated():
            for record, _ in self._record_batches(1024, [self.vector_column]):
                lengths = [length for length in lengths_of(record.column(self.vector_column)).tolist() if length > 0]
                if lengths:
                    return int(Counter(lengths).most_common(1)[0][0])
        raise FormatError(
            f"no row of column {self.vector_column!r} holds a vector, so their width is unknown; "
            "write the column as fixed_size_list",
            path=self.path,
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        pa = _pyarrow(self.format)
        try:
            yield
        except (pa.ArrowException, OSError, EOFError, ValueError) as error:
            if isinstance(error, FormatError) or getattr(error, "errno", None) not in (None, errno.EINVAL):
                raise
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise FormatError(
                f"the {self.format} data is truncated or damaged ({reason}); fetch or write it again", path=self.path
            ) from error


class ParquetDump(ColumnarDump):
    """A Parquet file."""

    _groups: list[int] | None = None  # of rows, that are read; None: all

    def _describe(self) -> tuple[Any, int | None]:
        with _parquet().ParquetFile(self.path) as file:
            return file.schema_arrow, file.metadata.num_rows

    def batches_from(self, first: int) -> Iterator[Batch]:
        """Read from the row group of row `first` on."""
        with self._translated(), _parquet().ParquetFile(self.path) as file:
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        ends = np.cumsum(sizes)
        group = int(np.searchsorted(ends, first, side="right"))
        later = copy(self)
        later._groups = list(range(group, len(sizes)))
        later.rows = sum(sizes[group:])
        return super(ParquetDump, later).batches_from(first - int(ends[group - 1] if group else 0))

    def _batches(self, rows: int) -> Iterator[Batch]:
        return super()._batches(max(min(rows, _PIECE_BYTES // (4 * self.dimensions)), 1))

    def _record_batches(self, rows: int, columns: list[str]) -> Iterator[tuple[Any, float]]:
        # Buffered, without prefetch: a row group may be larger than memory.
        with _parquet().ParquetFile(self.path, pre_buffer=False, buffer_size=1 << 20) as file:
            done, total = 0, max(file.metadata.num_rows, 1)
            for record in file.iter_batches(rows, row_groups=self._groups, columns=columns, use_threads=False):
                done += len(record)
                yield record, done / total
        _pyarrow(self.format).default_memory_pool().release_unused()


class ArrowDump(ColumnarDump):
    """An Arrow IPC file (Feather v2) or stream."""

    def _describe(self) -> tuple[Any, int | None]:
        with self._reader() as (reader, _):
            return reader.schema, None

    def _record_batches(self, rows: int, columns: list[str]) -> Iterator[tuple[Any, float]]:
        pa = _pyarrow(self.format)
        with self._reader() as (reader, source):
            count = getattr(reader, "num_record_batches", None)
            records = reader if count is None else map(reader.get_batch, range(count))
            size = max(self.size_bytes, 1)
            for number, record in enumerate(records, start=1):
                chosen = pa.record_batch([self._checked(record, name) for name in columns], names=columns)
                fraction_read = source.tell() / size if count is None else number / count
                for first in range(0, len(chosen), rows):
                    yield chosen.slice(first, rows), fraction_read
            if count is None:
                self._check_end(source)

    def _checked(self, record: Any, name: str) -> Any:
        if name in (self.vector_column, self.key_column):
            return checked(record.column(name))
        record.column(name).validate(full=True)
        return record.column(name)

    def _check_end(self, source: Any) -> None:
        source.seek(max(0, self.size_bytes - len(_END_OF_STREAM)))
        if source.read(len(_END_OF_STREAM)) != _END_OF_STREAM:
            raise FormatError(
                "truncated, or its writer was never closed: fetch or write it again",
                path=self.path,
                expected="the mark of the end of an Arrow stream",
                found="none",
            )

    @contextmanager
    def _reader(self) -> Iterator[tuple[Any, Any]]:
        pa = _pyarrow(self.format)
        with pa.memory_map(str(self.path)) as source:
            is_file = source.read(6) == b"ARROW1"
            source.seek(0)
            with pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source) as reader:
                yield reader, source


def _written_batches(output: Output, key: str = "key") -> tuple[Any, Iterator[Any]]:
    """Return the schema and the batches: ``key`` (if there are keys) and ``vector``, a fixed_size_list of float32."""
    pa = _pyarrow("tables", "writing")
    kinds = {"str": pa.string(), "bytes": pa.binary(), "int64": pa.int64()}
    fields = [pa.field("vector", pa.list_(pa.float32(), output.dimensions))]
    if output.key_type is not None:
        fields.insert(0, pa.field(key, kinds[output.key_type], nullable=False))
    beside = pa.table({}) if output.columns is None else output.columns
    for name in beside.column_names:
        if name in [field.name for field in fields]:
            raise FormatError(f"column {name!r} has the name of the keys or vectors: leave it out", path=output.path)
    schema = pa.schema([*fields, *beside.schema])

    def batches() -> Iterator[Any]:
        done = 0
        for keys, vectors in output.pairs:
            flat = pa.array(np.ascontiguousarray(vectors).ravel())
            columns = [pa.FixedSizeListArray.from_arrays(flat, output.dimensions)]
            if output.key_type is not None:
                columns.insert(0, pa.array(keys, kinds[output.key_type]))
            columns += [column.combine_chunks() for column in beside.slice(done, len(vectors)).columns]
            done += len(vectors)
            yield pa.record_batch(columns, schema=schema)

    return schema, batches()


def write_parquet(output: Output, key: str = "key") -> None:
    """Write a Parquet file with the columns `key`, if there are keys, and ``vector``."""
    parquet = _parquet("writing")
    with output.file() as file:
        schema, batches = _written_batches(output, key)
        # Numbers of vectors do not come twice, and nobody asks for the least of them.
        others = [f"{name}{leaf}" for name in schema.names if name != "vector" for leaf in ("", ".list.element")]
        with parquet.ParquetWriter(file, schema, use_dictionary=others, write_statistics=others) as writer:
            for batch in batches:
                writer.write_batch(batch)


def _write_arrow(output: Output) -> None:
    pa = _pyarrow("arrow", "writing")
    with output.file() as file:
        schema, batches = _written_batches(output)
        with pa.ipc.new_file(file, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)


def _pyarrow(format: str, verb: str = "reading") -> Any:
    return require("pyarrow", purpose=f"{verb} {format}")


def _parquet(verb: str = "reading") -> Any:
    return require("pyarrow.parquet", purpose=f"{verb} parquet")


def _sniff_parquet(head: Head) -> float:
    return SURE if head.data.startswith(b"PAR1") else 0.0


def _sniff_arrow(head: Head) -> float:
    return SURE if head.data.startswith((b"ARROW1", b"\xff\xff\xff\xff")) else 0.0


def _opener(kind: type[ColumnarDump], format: str) -> Callable[[Head, ReadingOptions], Dump]:
    def open(head: Head, options: ReadingOptions) -> Dump:
        return kind(
            head.path,
            format=format,
            key_type=options.get("key_type"),
            key_column=options.get("key_column"),
            vector_column=options.get("vector_column"),
            columns=options.get("columns", ()) or (),
        )

    return open


FORMATS = (
    Format(
        "parquet",
        (".parquet", ".pq"),
        "Parquet: a column of lists of numbers and a column of keys",
        open=_opener(ParquetDump, "parquet"),
        sniff=_sniff_parquet,
        write=write_parquet,
        keeps_columns=True,
        options=("key_column", "vector_column", "columns"),
        library="pyarrow",
    ),
    Format(
        "arrow",
        (".arrow", ".feather", ".arrows", ".ipc"),
        "Arrow IPC file or stream, Feather v2: columns as in Parquet",
        open=_opener(ArrowDump, "arrow"),
        sniff=_sniff_arrow,
        write=_write_arrow,
        keeps_columns=True,
        options=("key_column", "vector_column", "columns"),
        library="pyarrow",
    ),
)
