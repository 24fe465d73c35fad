"""Cut token vectors, dense vectors and sparse terms of real texts down to what tests need: multi.npz.

    python tests/data/make_multi.py fixture_150.npz

`fixture_150.npz` holds 150 documents and 30 queries in float16; `README.md` says of what. Every second token is kept,
and 32 of its dimensions, which are in order of their energy. Numbers are whole: scores here are those of the cut data.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

D = 32


def whole(x: np.ndarray) -> np.ndarray:
    """Return vectors in 127ths of the largest number of each."""
    x = x.astype(np.float32)
    return np.rint(x / np.abs(x).max(axis=1, keepdims=True) * 127).astype(np.int8)


def main() -> None:
    """Write multi.npz beside this script."""
    given = np.load(sys.argv[1])
    ends = np.cumsum(given["docs_counts"].astype(np.int64))
    items = [item[::2, :D] for item in np.split(given["docs_tokens"], ends[:-1])]
    made = {
        "docs_tokens": whole(np.concatenate(items)),
        "docs_counts": np.array([len(item) for item in items], np.uint16),
        "queries_tokens": whole(given["queries_tokens"][:, :D]),
        "queries_counts": given["queries_counts"],
        "relevant": given["queries_relevant_row"].astype(np.uint16),
        "docs_dense": whole(given["docs_dense"]),
        "queries_dense": whole(given["queries_dense"]),
    }
    for side in ("docs", "queries"):
        made[f"{side}_terms"] = given[f"{side}_sparse_indices"].astype(np.uint16)
        made[f"{side}_weights"] = np.ceil(given[f"{side}_sparse_data"] / 3 * 255).astype(np.uint8)  # they reach 2.83
        made[f"{side}_indptr"] = given[f"{side}_sparse_indptr"].astype(np.uint16)
    np.savez_compressed(Path(__file__).parent / "multi.npz", **made)


if __name__ == "__main__":
    main()
