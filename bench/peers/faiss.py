"""faiss: every quantizer that it has for flat codes, built by its factory strings or classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.peers.peer import Peer, Rows

from vecstore.codecs.kmeans import matrix_products
from vecstore.codecs.transforms.normalize import unit
from vecstore.errors import require

__all__ = ["Faiss"]

Floats = NDArray[np.float32]
SLOW = {"RQ": 32, "LSQ": 16}  # bytes up to which training them takes minutes, not hours
QUICK_BYTES = 192  # beyond, PQ trains and RaBitQ encodes for longer than a quick bench has
TURBO = {1: "QT_1bit_tqmse", 2: "QT_2bit_tqmse", 3: "QT_3bit_tqmse", 4: "QT_4bit_tqmse", 8: "QT_8bit_tqmse"}


class Faiss(Peer):
    """Indexes over inner products (l2 for that metric), trained on rows that are not searched.

    Settings after its documentation: OPQ before PQ, twice the sample that its k-means asks for where there is one,
    FastScan with an exact reordering layer (``RFlat`` costs floats, so here ``Refine(SQ8)``). ``unit`` lines rank by
    q . x / |x| of what the code decodes to, which faiss does not do by itself, but which costs no byte; their
    speed is not measured. Training compares by matrix products also in narrow groups, which faiss by itself does not.
    """

    name = "faiss"
    package, module = "faiss-cpu", "faiss"

    @classmethod
    def configurations(cls, budget: int, dimensions: int) -> Sequence[dict[str, Any]]:
        """Return the settings of at most `budget` bytes a row that come nearest to it."""
        found: list[dict[str, Any]] = []
        divisors = [m for m in range(1, dimensions + 1) if dimensions % m == 0]
        groups = max(m for m in divisors if m <= budget)
        if groups * 2 > budget:  # else the next smaller budget has it already
            found += [_factory(f"PQ{groups}np"), _factory(f"OPQ{groups},PQ{groups}np")]
            if groups <= 192:
                found.append(_factory(f"OPQ{groups},PQ{groups}np", unit=True))
        fine = max(m for m in divisors if m <= 2 * budget)
        if fine % 2 == 0 and fine > budget:
            found.append(_factory(f"OPQ{fine},PQ{fine}x4fs"))
        left = budget - dimensions  # what a refining layer of a byte a dimension leaves
        coarse = max((m for m in divisors if m % 2 == 0 and m <= 2 * left), default=0)
        if coarse and budget < 2 * dimensions:
            found.append(_factory(f"OPQ{coarse},PQ{coarse}x4fs,Refine(SQ8)"))
        if budget <= SLOW["RQ"]:
            found += [_factory(f"RQ{budget}x8"), _factory(f"RQ{budget}x8", unit=True)]
        if budget <= SLOW["LSQ"]:
            found.append(_factory(f"LSQ{budget}x8"))
        return [*found, *_scalars(budget, dimensions)]

    @classmethod
    def quick(cls, budget: int, dimensions: int) -> Sequence[dict[str, Any]]:
        """Return PQ, FastScan, and what is not trained: no OPQ, no RQ, no LSQ; of large codes faiss' plain numbers."""
        found: list[dict[str, Any]] = []
        divisors = [m for m in range(1, dimensions + 1) if dimensions % m == 0]
        groups = max(m for m in divisors if m <= budget)
        if groups * 2 > budget and groups <= QUICK_BYTES:
            found.append(_factory(f"PQ{groups}np"))
        fine = max(m for m in divisors if m <= 2 * budget)
        if fine % 2 == 0 and budget < fine <= QUICK_BYTES:
            found.append(_factory(f"PQ{fine}x4fs"))
        scalars = _scalars(budget, dimensions)
        return [*found, *(own for own in scalars if "factory" in own or budget <= QUICK_BYTES)]

    def fit(self, train: Floats) -> None:
        """Train the index."""
        faiss: Any = require(self.module, purpose="the peer faiss")
        metric = faiss.METRIC_L2 if self.metric == "l2" else faiss.METRIC_INNER_PRODUCT
        d = train.shape[1]
        if "rabitq" in self.settings:
            self._index = faiss.index_factory(d, f"RR{d},RaBitQ{self.settings['rabitq']}", metric)
        elif "scalar" in self.settings:
            kind = getattr(faiss.ScalarQuantizer, self.settings["scalar"])
            rotation = faiss.RandomRotationMatrix(d, d)
            self._inner = faiss.IndexScalarQuantizer(d, kind, metric)  # held: the chain does not own it
            self._index = faiss.IndexPreTransform(rotation, self._inner)
            self._rotation = rotation
        else:
            self._index = faiss.index_factory(d, self.settings["factory"], metric)
        with matrix_products(faiss):
            self._index.train(train)
        self._faiss = faiss

    def add(self, base: Floats) -> None:
        """Encode the rows."""
        empty = len(self._bytes())
        self._index.add(base)
        self.row_bytes = (len(self._bytes()) - empty) / len(base)
        if "fs" not in self.settings.get("factory", ""):  # FastScan pads to blocks; others say what a code takes
            self.row_bytes = float(self._index.sa_code_size())
        self.model_bytes = empty
        self._decoded = self._reconstructed(len(base)) if self.settings.get("unit") else None

    def search(self, queries: Floats, k: int) -> tuple[Rows, Floats]:
        """Search the codes; the rescaled rows for a ``unit`` line."""
        if self._decoded is not None:
            scores, rows = self._faiss.knn(queries, self._decoded, k, metric=self._faiss.METRIC_INNER_PRODUCT)
            return rows, scores
        if "Refine" in self.settings.get("factory", ""):
            parameters = self._faiss.IndexRefineSearchParameters(k_factor=10.0)
            scores, rows = self._index.search(queries, k, params=parameters)
        else:
            scores, rows = self._index.search(queries, k)
        return rows, -scores if self.metric == "l2" else scores

    def decode(self) -> Floats | None:
        """Return what the codes reconstruct to, where the index can."""
        if "rabitq" in self.settings:
            return None  # what it reconstructs leaves out the further bits
        return self._decoded if self._decoded is not None else self._reconstructed(self._index.ntotal)

    def save(self, folder: Path) -> bool:
        """Write the index."""
        self._faiss.write_index(self._index, str(folder / "index.faiss"))
        return True

    def _reconstructed(self, rows: int) -> Floats | None:
        try:
            found: Floats = self._index.reconstruct_n(0, rows)
        except RuntimeError:  # what the index does not implement
            return None
        return unit(found) if self.settings.get("unit") else found

    def _bytes(self) -> Any:
        return self._faiss.serialize_index(self._index)


def _scalars(budget: int, dimensions: int) -> list[dict[str, Any]]:
    """Return the settings that quantize each dimension by itself."""
    found: list[dict[str, Any]] = []
    for name, bits in (("SQ4", 4), ("SQ6", 6), ("SQ8", 8), ("SQfp16", 16)):
        if dimensions * bits // 8 <= budget < 2 * dimensions * bits // 8:
            found.append(_factory(name))
    for bits in range(1, 9):
        size = -(-dimensions * bits // 8) + 8 + (12 if bits > 1 else 0)
        if size <= budget < size + dimensions // 8:
            found.append({"label": f"RaBitQ {bits} bit", "rabitq": bits})
    for bits, kind in TURBO.items():
        if dimensions * bits // 8 <= budget < 2 * dimensions * bits // 8:
            found.append({"label": f"TurboQuant {bits} bit, unit", "scalar": kind, "unit": True, "timed": False})
    return found


def _factory(text: str, *, unit: bool = False) -> dict[str, Any]:
    # "np" leaves out polysemous training, minutes for something that only a prefilter by Hamming distance uses.
    label = text.removesuffix("np")
    return (
        {"label": f"{label}, unit", "factory": text, "unit": True, "timed": False}
        if unit
        else {"label": label, "factory": text}
    )
