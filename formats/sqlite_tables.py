"""SQLite files that hold vectors: tables of sqlite-vec, Magnitude files, Chroma's log. No extension is loaded."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.block_dump import Block, BlockDump
from vecstore.formats.dump import Dump, Problem
from vecstore.formats.format import Format
from vecstore.formats.head import Head
from vecstore.formats.reading import ReadingOptions

from vecstore.errors import FormatError, did_you_mean

__all__ = ["FORMATS", "connected", "tables_of"]

_MAGIC = b"SQLite format 3\0"
_LONGEST_VALUE = 64 << 20
_MOST_STEPS = 1000  # times 100,000 instructions, for what is read at once: a row, or the list of tables
_MOST_DIMENSIONS = 1 << 16
_VECTOR = re.compile(r"[\s(,]\"?(\w+)\"?\s+(float|f32|int8|i8)\s*\[\s*(\d{1,7})\s*\]", re.IGNORECASE)
_TEXT_KEY = re.compile(r"\btext\s+primary\s+key\b", re.IGNORECASE)


@contextmanager
def connected(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that only reads, trusts no schema, and gives up on what takes long."""
    steps = 0

    def step() -> bool:
        nonlocal steps
        steps += 1
        return steps > _MOST_STEPS * 100

    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
            database.execute("PRAGMA trusted_schema = OFF")
            database.execute("PRAGMA cell_size_check = ON")
            database.set_progress_handler(step, 100_000)
            database.text_factory = bytes
            yield database
    except (sqlite3.Error, sqlite3.Warning, MemoryError, OverflowError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(f"the SQLite data is truncated or damaged ({reason}); fetch it again", path=path) from error


def tables_of(path: Path) -> dict[str, str]:
    """Return the statement that made each table, by its name."""
    with connected(path) as database:
        found = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' LIMIT 1000").fetchall()
    return {
        name.decode("utf-8", "replace"): sql.decode("utf-8", "replace")
        for name, sql in found
        if isinstance(name, bytes) and isinstance(sql, bytes)
    }


def _tables_if_sqlite(head: Head) -> dict[str, str]:
    if not head.data.startswith(_MAGIC) or head.compression:
        return {}
    try:
        return tables_of(head.path)
    except FormatError:
        return {}  # opening it says what is wrong


def quoted(name: str) -> str:
    """Return a name as SQL takes any."""
    return '"' + name.replace('"', '""') + '"'


# sqlite-vec: a virtual table vec0 keeps its vectors in tables of its own, in chunks of so many rows.


def _vec_tables(tables: dict[str, str]) -> dict[str, list[tuple[str, str, int]]]:
    """Return the vector columns of each table of sqlite-vec: name, type, dimensions."""
    found = {}
    for name, sql in tables.items():
        if re.match(r"\s*create\s+virtual\s+table\b.*\busing\s+vec0\b", sql, re.IGNORECASE | re.DOTALL):
            found[name] = [(column, kind.lower(), int(width)) for column, kind, width in _VECTOR.findall(sql)]
    return {name: columns for name, columns in found.items() if columns}


def _open_sqlite_vec(head: Head, options: ReadingOptions) -> Dump:
    path, tables = head.path, tables_of(head.path)
    found = _vec_tables(tables)
    table = _named(path, found, options.get("array"), "table of sqlite-vec", "array")
    columns = {column: (number, kind, width) for number, (column, kind, width) in enumerate(found[table])}
    column = _named(path, columns, options.get("vector_column"), "column of vectors", "vector_column")
    number, kind, width = columns[column]
    if not 1 <= width <= _MOST_DIMENSIONS:
        raise FormatError("declares no usable width", path=path, where=f"table {table!r}", found=str(width))
    is_text = bool(_TEXT_KEY.search(tables[table]))
    dtype = np.dtype("<f4" if kind in ("float", "f32") else "i1")
    rows_table, chunks = quoted(f"{table}_rowids"), quoted(f"{table}_vector_chunks{number:02}")
    with connected(path) as database:
        (rows,) = database.execute(f"SELECT count(*) FROM {rows_table}").fetchone()

    def blocks(most: int) -> Iterator[Block]:
        key = "id" if is_text else "rowid"
        query = f"SELECT {key}, chunk_id, chunk_offset FROM {rows_table} ORDER BY chunk_id, chunk_offset"
        with connected(path) as database:
            held, chunk = None, np.empty(0, dtype)
            cursor = database.execute(query)
            while some := cursor.fetchmany(most):
                vectors = np.empty((len(some), width), dtype)
                for row, (_, number, offset) in enumerate(some):
                    if number != held:
                        held, chunk = number, _chunk(database, chunks, number, dtype, width, path)
                    if not isinstance(offset, int) or not 0 <= offset < len(chunk):
                        raise FormatError("damaged: a row outside of its chunk", path=path, where=f"table {table!r}")
                    vectors[row] = chunk[offset]
                yield _keys([key for key, _, _ in some], is_text, path), vectors, {}

    dump = BlockDump(
        path,
        blocks,
        format="sqlite-vec",
        rows=rows,
        dimensions=width,
        own_key_type="str" if is_text else "int64",
        key_type=options.get("key_type"),
        dtype=dtype.name,
    )
    dump.left_out = tuple(name for name in [*columns, *found] if name not in (column, table))
    return dump


def _chunk(
    database: sqlite3.Connection, chunks: str, number: Any, dtype: np.dtype[Any], width: int, path: Path
) -> NDArray[Any]:
    found = database.execute(f"SELECT vectors FROM {chunks} WHERE rowid = ?", (number,)).fetchone()
    data = found[0] if found else None
    if not isinstance(data, bytes) or len(data) % (width * dtype.itemsize):
        raise FormatError("damaged: a chunk of vectors is missing or has another size", path=path)
    return np.frombuffer(data, dtype).reshape(-1, width)


def _keys(keys: list[Any], is_text: bool, path: Path) -> list[bytes] | NDArray[np.int64]:
    if not all(isinstance(key, bytes if is_text else int) for key in keys):
        raise FormatError("damaged: keys of several types", path=path)
    return keys if is_text else np.array(keys, np.int64)


def _named(path: Path, found: dict[str, Any], wanted: str | None, what: str, option: str) -> str:
    """Return what is wanted of several, or the only one."""
    if wanted is not None and wanted not in found:
        raise FormatError(f"no {what} {wanted!r}{did_you_mean(wanted, found)}", path=path, found=", ".join(found))
    if wanted is None and len(found) != 1:
        some = ", ".join(list(found)[:8])
        raise FormatError(f"holds {len(found)} times a {what}; name one with {option}= ({some or 'none'})", path=path)
    return wanted if wanted is not None else next(iter(found))


# Magnitude: a table of whole numbers, a column each dimension: value times 10**precision, of unit vectors mostly.


def _open_magnitude(head: Head, options: ReadingOptions) -> Dump:
    path = head.path
    settings = _magnitude_settings(path)
    width, digits = int(settings.get("dim", 0)), int(settings.get("precision", -1))
    if not 1 <= width <= _MOST_DIMENSIONS or not 0 <= digits <= 30:
        raise FormatError("declares no usable sizes", path=path, found=f"{width} dimensions, precision {digits}")
    with connected(path) as database:
        (rows,) = database.execute("SELECT count(*) FROM magnitude").fetchone()
        names = [row[1] for row in database.execute("PRAGMA table_info(magnitude)")]
    has_length = b"magnitude" in names
    columns = ", ".join(["key", *(f"dim_{number}" for number in range(width)), *(["magnitude"] if has_length else [])])

    def blocks(most: int) -> Iterator[Block]:
        with connected(path) as database:
            cursor = database.execute(f"SELECT {columns} FROM magnitude ORDER BY rowid")
            done = 0
            while some := cursor.fetchmany(max(1, min(most, (1 << 20) // width))):
                problems: dict[int, Problem] = {}
                keys = [row[0] if isinstance(row[0], bytes) else str(row[0]).encode() for row in some]
                numbers = np.full((len(some), width + has_length), np.nan)
                for at, row in enumerate(some):
                    if all(isinstance(value, (int, float)) for value in row[1:]):
                        numbers[at] = row[1:]
                    else:
                        problems[at] = Problem("not a number", f"row {done + at}: a value that is no number")
                vectors = numbers[:, :width] / 10.0**digits
                yield keys, vectors * numbers[:, width:] if has_length else vectors, problems
                done += len(some)

    dump = BlockDump(
        path,
        blocks,
        format="magnitude",
        rows=rows,
        dimensions=width,
        own_key_type="str",
        key_type=options.get("key_type"),
        dtype=f"whole numbers of {digits} digits",
    )
    dump.left_out = tuple(
        name for name in tables_of(path) if name.startswith("magnitude_") and name != "magnitude_format"
    )
    return dump


def _magnitude_settings(path: Path) -> dict[str, float]:
    with connected(path) as database:
        found = database.execute("SELECT key, value FROM magnitude_format LIMIT 100").fetchall()
    return {
        key.decode("utf-8", "replace"): value
        for key, value in found
        if isinstance(key, bytes) and isinstance(value, (int, float)) and abs(value) < 1e9
    }


def _sniff_magnitude(head: Head) -> float:
    return 1.0 if {"magnitude", "magnitude_format"} <= _tables_if_sqlite(head).keys() else 0.0


def _sniff_sqlite_vec(head: Head) -> float:
    return 1.0 if _vec_tables(_tables_if_sqlite(head)) else 0.0


# Chroma: a folder with a log of what was written, and segments with what has been taken out of the log since.


def _open_chroma(head: Head, options: ReadingOptions) -> Dump:
    path = head.path / "chroma.sqlite3" if head.names else head.path
    with connected(path) as database:
        query = "SELECT id, name, dimension FROM collections LIMIT 1000"
        collections = {
            name.decode("utf-8", "replace"): (ident.decode("utf-8", "replace"), width)
            for ident, name, width in database.execute(query)
        }
        name = _named(path, collections, options.get("array"), "collection", "array")
        ident, width = collections[name]
        topic = f"%/{ident}"
        last = "SELECT max(seq_id) FROM embeddings_queue WHERE topic LIKE ? AND vector IS NOT NULL GROUP BY id"
        living = "SELECT embedding_id FROM embeddings e JOIN segments s ON e.segment_id = s.id WHERE s.collection = ?"
        kept = f"seq_id IN ({last}) AND id IN ({living})"
        (rows,) = database.execute(f"SELECT count(*) FROM embeddings_queue WHERE {kept}", (topic, ident)).fetchone()
        (all_rows,) = database.execute(f"SELECT count(*) FROM ({living})", (ident,)).fetchone()
    if not isinstance(width, int) or not 1 <= width <= _MOST_DIMENSIONS:
        raise FormatError("the collection holds no vectors", path=path, where=f"collection {name!r}")
    if rows != all_rows:
        raise FormatError(
            f"{all_rows - rows} of {all_rows} vectors are no longer in Chroma's log but in its index; "
            "read that one: the file data_level0.bin of the segment is of hnswlib's kind",
            path=path,
            where=f"collection {name!r}",
        )

    def blocks(most: int) -> Iterator[Block]:
        with connected(path) as database:
            query = f"SELECT id, vector, encoding FROM embeddings_queue WHERE {kept} ORDER BY seq_id"
            cursor, done = database.execute(query, (topic, ident)), 0
            while some := cursor.fetchmany(most):
                problems: dict[int, Problem] = {}
                vectors = np.full((len(some), width), np.nan, np.float32)
                for at, (_, data, encoding) in enumerate(some):
                    if encoding == b"FLOAT32" and isinstance(data, bytes) and len(data) == 4 * width:
                        vectors[at] = np.frombuffer(data, "<f4")
                    else:
                        problems[at] = Problem("wrong number of numbers", f"row {done + at}: no {width} float32")
                yield [key if isinstance(key, bytes) else b"" for key, _, _ in some], vectors, problems
                done += len(some)

    dump = BlockDump(
        head.path,
        blocks,
        format="chroma",
        rows=rows,
        dimensions=width,
        own_key_type="str",
        key_type=options.get("key_type"),
    )
    dump.left_out = ("documents", "metadata", *(other for other in collections if other != name))
    return dump


def _sniff_chroma(head: Head) -> float:
    return 1.0 if "chroma.sqlite3" in head.names else 0.95 if "embeddings_queue" in _tables_if_sqlite(head) else 0.0


FORMATS = (
    Format(
        "magnitude",
        (".magnitude",),
        "Magnitude: its SQLite table of whole numbers; light, medium and heavy files alike",
        open=_open_magnitude,
        sniff=_sniff_magnitude,
    ),
    Format(
        "sqlite-vec",
        (".db", ".sqlite", ".sqlite3"),
        "SQLite with a table vec0 of sqlite-vec: float32 and int8 vectors; no extension is loaded",
        open=_open_sqlite_vec,
        sniff=_sniff_sqlite_vec,
        options=("array", "vector_column"),
    ),
    Format(
        "chroma",
        (".sqlite3",),
        "Chroma folder: a collection whose vectors are in its log",
        open=_open_chroma,
        sniff=_sniff_chroma,
        options=("array",),
    ),
)
