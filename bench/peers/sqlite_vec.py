"""sqlite-vec: int8 and bit vectors in a table of SQLite, scanned by its extension."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.peers.peer import Peer, Rows

from vecstore.errors import require

__all__ = ["SqliteVec"]

Floats = NDArray[np.float32]
WIDTHS = {"float": 32, "int8": 8, "bit": 1}


class SqliteVec(Peer):
    """A ``vec0`` table; int8 by its ``vec_quantize_int8(..., 'unit')``, bits by its ``vec_quantize_binary``."""

    name = "sqlite-vec"
    package, module = "sqlite-vec", "sqlite_vec"

    @classmethod
    def configurations(cls, budget: int, dimensions: int) -> Sequence[dict[str, Any]]:
        """Return the element types that fit the budget and would not fit half of it."""
        return [
            {"label": kind, "type": kind}
            for kind, bits in WIDTHS.items()
            if dimensions * bits // 8 <= budget < 2 * dimensions * bits // 8 and dimensions % 8 == 0
        ]

    def fit(self, train: Floats) -> None:
        """Do nothing: there is nothing to train."""

    def add(self, base: Floats) -> None:
        """Fill the table."""
        kind, d = self.settings["type"], base.shape[1]
        self._folder = tempfile.TemporaryDirectory()
        self._connection = _connection(Path(self._folder.name) / "rows.db")
        self._value = {"float": "?", "int8": "vec_quantize_int8(?, 'unit')", "bit": "vec_quantize_binary(?)"}[kind]
        distance = "" if kind == "bit" else f" distance_metric={'l2' if self.metric == 'l2' else 'cosine'}"
        run = self._connection.cursor().execute
        run(f"create virtual table rows using vec0(vector {kind}[{d}]{distance})")
        run("begin")
        for row, vector in enumerate(base):
            run(f"insert into rows(rowid, vector) values (?, {self._value})", (row, vector.tobytes()))
        run("commit")
        self.row_bytes = d * WIDTHS[kind] / 8

    def search(self, queries: Floats, k: int) -> tuple[Rows, Floats]:
        """Ask the table, one query at a time."""
        rows = np.full((len(queries), k), -1, np.int64)
        scores = np.full((len(queries), k), np.nan, np.float32)
        statement = f"select rowid, distance from rows where vector match {self._value} and k = ? order by distance"
        for i, query in enumerate(queries):
            found = list(self._connection.cursor().execute(statement, (query.tobytes(), k)))
            rows[i, : len(found)] = [row for row, _ in found]
            scores[i, : len(found)] = [-distance for _, distance in found]
        return rows, scores

    def save(self, folder: Path) -> bool:
        """Copy the database, which lies on disk as it is."""
        import shutil

        shutil.copy(Path(self._folder.name) / "rows.db", folder)
        return True


def _connection(path: Path) -> Any:
    """Open a database that loads extensions: Python's own module where it was built to, else apsw."""
    import sqlite3

    sqlite_vec: Any = require("sqlite_vec", purpose="the peer sqlite-vec")
    if hasattr(sqlite3.Connection, "enable_load_extension"):
        plain = sqlite3.connect(path, isolation_level=None)
        plain.enable_load_extension(True)
        sqlite_vec.load(plain)
        return plain
    apsw: Any = require("apsw", purpose="the peer sqlite-vec, whose extension this Python cannot load,")
    connection = apsw.Connection(str(path))
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    return connection
