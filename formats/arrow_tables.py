"""Tables that a library hands over as Arrow batches: Lance datasets and DuckDB files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from vecstore.formats.columnar import ColumnarDump
from vecstore.formats.dump import Dump
from vecstore.formats.format import SURE, Format
from vecstore.formats.head import Head
from vecstore.formats.reading import ReadingOptions

from vecstore.errors import FormatError, did_you_mean, require

__all__ = ["FORMATS"]


def _error(error: BaseException, path: Path, format: str) -> FormatError:
    reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return FormatError(f"the {format} data is damaged, or not readable ({reason})", path=path)


class LanceDump(ColumnarDump):
    """A Lance dataset; deleted rows are not read."""

    def _describe(self) -> tuple[Any, int | None]:
        with self._dataset() as dataset:
            return dataset.schema, dataset.count_rows()

    def _record_batches(self, rows: int, columns: list[str]) -> Iterator[tuple[Any, float]]:
        with self._dataset() as dataset:
            for record in dataset.scanner(columns=columns, batch_size=rows).to_batches():
                for first in range(0, len(record), rows):
                    yield record.slice(first, rows), 1.0

    @contextmanager
    def _dataset(self) -> Iterator[Any]:
        lance = require("lance", purpose="reading lance")
        try:
            yield lance.dataset(str(self.path))
        except (FormatError, GeneratorExit, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of the library is no Exception
            raise _error(error, self.path, "lance") from None


class DuckDump(ColumnarDump):
    """A table of a DuckDB file, opened to be read only, without extensions or other files."""

    def __init__(self, path: Path, *, table: str | None, **columns: Any) -> None:
        self._table = self._chosen(path, table)
        super().__init__(path, **columns)

    @staticmethod
    def _chosen(path: Path, wanted: str | None) -> str:
        with _duckdb(path) as connection:
            names = [
                row[0]
                for row in connection.execute("SELECT table_name FROM duckdb_tables() WHERE NOT internal").fetchall()
            ]
            if wanted is None:
                lists = "SELECT DISTINCT table_name FROM duckdb_columns() WHERE data_type LIKE '%[%]' AND NOT internal"
                names = [row[0] for row in connection.execute(lists).fetchall()]
        if wanted is not None and wanted in names:
            return wanted
        if wanted is None and len(names) == 1:
            return str(names[0])
        found = ", ".join(names[:8]) or "none"
        near = did_you_mean(wanted or "", names)
        raise FormatError(f"name one of its tables with array={near} (with vectors: {found})", path=path)

    def _describe(self) -> tuple[Any, int | None]:
        name = '"' + self._table.replace('"', '""') + '"'
        with _duckdb(self.path) as connection:
            ((rows,),) = connection.execute(f"SELECT count(*) FROM {name}").fetchall()
            return connection.sql(f"SELECT * FROM {name} LIMIT 0").to_arrow_reader(1).schema, rows

    def _record_batches(self, rows: int, columns: list[str]) -> Iterator[tuple[Any, float]]:
        name, *names = ('"' + part.replace('"', '""') + '"' for part in (self._table, *columns))
        with _duckdb(self.path) as connection:
            for record in connection.sql(f"SELECT {', '.join(names)} FROM {name}").to_arrow_reader(rows):
                yield record, 1.0


@contextmanager
def _duckdb(path: Path) -> Iterator[Any]:
    duckdb = require("duckdb", purpose="reading duckdb")
    settings = {"enable_external_access": "false", "autoload_known_extensions": "false", "memory_limit": "1GB"}
    try:
        with closing(duckdb.connect(str(path), read_only=True, config=settings)) as connection:
            yield connection
    except FormatError:
        raise
    except Exception as error:
        raise _error(error, path, "duckdb") from None


def _opener(kind: Callable[..., Dump], format: str) -> Callable[[Head, ReadingOptions], Dump]:
    def open(head: Head, options: ReadingOptions) -> Dump:
        more = {"table": options.get("array")} if format == "duckdb" else {}
        return kind(
            head.path,
            format=format,
            key_type=options.get("key_type"),
            key_column=options.get("key_column"),
            vector_column=options.get("vector_column"),
            columns=options.get("columns") or (),
            **more,
        )

    return open


def _sniff_lance(head: Head) -> float:
    return SURE if "_versions" in head.names else 0.0


def _sniff_duckdb(head: Head) -> float:
    return SURE if head.data[8:12] == b"DUCK" else 0.0


FORMATS = (
    Format(
        "lance",
        (".lance",),
        "Lance dataset, also a table of LanceDB: columns as in Parquet",
        open=_opener(LanceDump, "lance"),
        sniff=_sniff_lance,
        options=("key_column", "vector_column", "columns"),
        library="lance",
    ),
    Format(
        "duckdb",
        (".duckdb", ".db"),
        "DuckDB: a table with a column of arrays",
        open=_opener(DuckDump, "duckdb"),
        sniff=_sniff_duckdb,
        options=("array", "key_column", "vector_column", "columns"),
        library="duckdb",
    ),
)
