"""LanceDB: IVF_PQ and IVF_RQ on disk, every partition probed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.peers.peer import Peer, Rows

from vecstore.errors import require

__all__ = ["Lancedb"]

Floats = NDArray[np.float32]
PARTITIONS = 16


class Lancedb(Peer):
    """A table with a vector index, all of whose partitions are probed, without refining, which would read the floats.

    It trains on the rows that it searches. A code is its bytes of PQ, or a bit a dimension of RQ; the table keeps the
    floats as well, which are not counted as code, and show in what is stored.
    """

    name = "lancedb"
    package, module = "lancedb", "lancedb"
    trains_on_base = True

    @classmethod
    def configurations(cls, budget: int, dimensions: int) -> Sequence[dict[str, Any]]:
        """Return the PQ that fits: groups have to divide the dimensions."""
        groups = max(m for m in range(1, dimensions + 1) if dimensions % m == 0 and m <= budget)
        found: list[dict[str, Any]] = []
        if groups * 2 > budget and groups <= dimensions // 2:
            found.append({"label": f"IVF_PQ {groups}", "index_type": "IVF_PQ", "num_sub_vectors": groups})
        size = dimensions // 8 + 8
        if size <= budget < 2 * size and dimensions % 8 == 0:
            found.append({"label": "IVF_RQ 1 bit", "index_type": "IVF_RQ", "num_bits": 1})
        return found

    def fit(self, train: Floats) -> None:
        """Do nothing: it trains on what it searches."""

    def add(self, base: Floats) -> None:
        """Write the table and its index."""
        lancedb: Any = require("lancedb", purpose="the peer lancedb")
        pyarrow: Any = require("pyarrow", purpose="the peer lancedb")
        self._folder = tempfile.TemporaryDirectory()
        d = base.shape[1]
        vectors = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(base.ravel()), d)
        rows = pyarrow.table({"row": pyarrow.array(np.arange(len(base))), "vector": vectors})
        self._table = lancedb.connect(self._folder.name).create_table("rows", rows)
        distance = "l2" if self.metric == "l2" else "dot" if self.metric == "dot" else "cosine"
        options = {name: value for name, value in self.settings.items() if name != "label"}
        self._table.create_index(
            metric=distance, num_partitions=PARTITIONS, vector_column_name="vector", replace=True, **options
        )
        self.row_bytes = options.get("num_sub_vectors", d / 8 + 8)
        self.model_bytes = 4 * 256 * d if "num_sub_vectors" in options else 4 * d

    def search(self, queries: Floats, k: int) -> tuple[Rows, Floats]:
        """Search all partitions; it takes one query at a time."""
        rows = np.full((len(queries), k), -1, np.int64)
        scores = np.full((len(queries), k), np.nan, np.float32)
        for i, query in enumerate(queries):
            found = self._table.search(query).nprobes(PARTITIONS).limit(k).select(["row", "_distance"]).to_arrow()
            rows[i, : len(found)] = found["row"].to_numpy()
            scores[i, : len(found)] = -found["_distance"].to_numpy()
        return rows, 1 + scores if self.metric != "l2" else scores

    def save(self, folder: Path) -> bool:
        """Copy the table, which lies on disk as it is."""
        import shutil

        shutil.copytree(self._folder.name, folder / "rows")
        return True
