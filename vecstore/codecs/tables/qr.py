"""Quotient and remainder: rows share several small tables, and digits of the row number say which entries they take."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import combinations, pairwise
from math import gcd, prod
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Arrays, Codes, Floats, frozen, named
from vecstore.codecs.dataset import Block, Dataset
from vecstore.codecs.members import Among, Whole
from vecstore.codecs.packing import number_bytes, whole_numbers
from vecstore.codecs.product.pq import group_edges
from vecstore.codecs.tables.balanced import balanced_slots
from vecstore.codecs.tables.incidence import Incidence
from vecstore.codecs.tables.least_squares import fit_table
from vecstore.codecs.tables.table import Law, TableQuantizer, TrainedTable
from vecstore.errors import CodecError
from vecstore.keys.packed import PackedKeys

__all__ = ["QR", "Digits", "TrainedQR"]

OPERATIONS = ("add", "mult", "concat")
OPTIONS = {**{name: ("operation", name) for name in OPERATIONS}, "crt": ("scheme", "crt"),
           "learned": ("order", "learned"), "dlrm": ("compat", "dlrm")}  # fmt: skip
SIZES, MOST_SIZES = Whole(1), 64
ROUNDS = 8
CODE_BYTES = 8  # at most, of a learned number
NEAR_ZERO = 1e-6  # an entry of a product whose partners are all but zero keeps its value


@dataclass(frozen=True)
class QR(TableQuantizer):
    """Represent row i by entries of k tables: one for each digit of i.

    Shi, Mudigere, Naumov & Yang, Compositional embeddings using complementary partitions, KDD 2020. Digits are those of
    a mixed radix (two of them: quotient and remainder), or with ``crt`` the remainders by moduli without a common
    divisor, which are different for all rows by the Chinese remainder theorem. The entries are added, multiplied or put
    side by side; the tables have the least squared error, products by alternating least squares. ``learned`` numbers
    the rows anew, so that alike rows share entries; each row then keeps its new number, as its code.

    ``dlrm`` takes quotients as Facebook's DLRM does, by dividing in float32: wrong above 2**24, as there.
    """

    sizes: str
    operation: Annotated[str, Among(*OPERATIONS)] = "add"
    scheme: Annotated[str, Among("radix", "crt")] = "radix"
    order: Annotated[str, Among("row", "learned")] = "row"
    compat: Annotated[str, Among("", "dlrm")] = ""

    name = "qr"
    summary = "tables shared by all rows, an entry for each digit of the row number"
    usage = "qr:M (remainders) or qr:AxBxC, then add, mult or concat, crt, learned, dlrm, such as qr:4 or qr:50x40:mult"

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = self._sizes()
        if self.scheme == "crt" and (len(sizes) < 2 or any(gcd(a, b) > 1 for a, b in combinations(sizes, 2))):
            raise CodecError(f"qr: {self.sizes}: moduli are two or more without a common divisor, such as 251x256")
        if self.compat and (len(sizes) > 2 or self.scheme != "radix"):
            raise CodecError("qr: DLRM has a quotient and a remainder, no more")

    def _sizes(self) -> list[int]:
        sizes = [self.integer(size) for size in self.sizes.split("x")]
        if len(sizes) > MOST_SIZES or not all(map(SIZES.holds, sizes)):
            choice = f"at most {MOST_SIZES} of {SIZES.described()}"
            raise CodecError(f"qr: sizes={self.sizes!r:.40}; choose {choice} ({self.usage})")
        return sizes

    @classmethod
    def from_arguments(cls, *arguments: str) -> Self:
        unknown = [text for text in arguments[1:] if text not in OPTIONS]
        if not arguments or unknown:
            raise CodecError(f"qr{''.join(f': {text!r} is no option' for text in unknown[:1])}: {cls.usage}")
        return cls(arguments[0], **dict(OPTIONS[text] for text in arguments[1:]))

    def __str__(self) -> str:
        more = [self.operation if self.operation != "add" else "", "crt" if self.scheme == "crt" else ""]
        more += ["learned" if self.order == "learned" else "", self.compat]
        return ":".join([self.name, self.sizes, *filter(None, more)])

    def law(self, total: int, dimensions: int) -> Law | None:
        if self.order == "learned":
            return None
        sizes = np.array(self.digits(total).sizes)
        if self.operation == "concat":
            widths = np.diff(group_edges(dimensions, len(sizes)))
            return Law(4 * float(sizes @ widths) / total, float(np.minimum(sizes / total, 1) @ widths) / dimensions)
        kept = (sizes.sum() - len(sizes) + 1) / total
        return Law(4 * float(sizes.sum()) * dimensions / total, min(float(kept), 1.0))

    def digits(self, total: int) -> Digits:
        """Return how row numbers below `total` are taken apart."""
        sizes = self._sizes()
        if len(sizes) == 1:
            sizes = [-(-total // sizes[0]), *sizes]
        if prod(sizes) < total:
            raise CodecError(f"qr: {'x'.join(map(str, sizes))} tells {prod(sizes):,} rows apart, there are {total:,}")
        return Digits(tuple(sizes), self.scheme == "crt", bool(self.compat))

    def fit_dataset(self, z: Floats, dataset: Dataset, *, seed: int) -> TrainedQR:
        digits = self.digits(dataset.total)
        slots = balanced_slots(dataset, digits.sizes[-1]) if self.order == "learned" else None

        def entries(block: Block) -> NDArray[np.int64]:
            return digits.of(block.rows if slots is None else slots[block.rows])

        if self.operation == "add":
            firsts = np.concatenate([[0], np.cumsum(digits.sizes)])
            table, _ = fit_table(dataset, lambda block: Incidence.equal(entries(block) + firsts[:-1]), int(firsts[-1]))
            tables: list[NDArray[Any]] = np.split(table, firsts[1:-1])
        elif self.operation == "concat":
            edges = group_edges(z.shape[1], len(digits.sizes))
            tables = _means(dataset, entries, digits.sizes, edges)
        else:
            tables = _products(dataset, entries, digits.sizes, z.shape[1])
        return TrainedQR(self, digits, tables, slots)

    def restore(self, dimensions: int, arrays: Arrays) -> TrainedQR:
        own = self._sizes()
        count = max(len(own), 2)
        (sizes,) = named(arrays, dtype="<i8", sizes=(count,))
        if (sizes < 1).any() or sizes[-len(own) :].tolist() != own:
            raise CodecError(f"the codec's array 'sizes' is {sizes.tolist()}, which does not fit {self}")
        found = [arrays[f"table{j}"] for j in range(count) if f"table{j}" in arrays]
        widths = [table.shape[-1] for table in found if table.ndim == 2]
        whole = sum(widths) == dimensions if self.operation == "concat" else set(widths) == {dimensions}
        if len(widths) != count or not whole:
            raise CodecError(f"the codec's tables are {widths} wide, which does not make {dimensions} dimensions")
        digits = Digits(tuple(sizes.tolist()), self.scheme == "crt", bool(self.compat))
        pairs = enumerate(zip(digits.sizes, widths, strict=True))
        tables = [named({"table": arrays[f"table{j}"]}, table=shape)[0] for j, shape in pairs]
        return TrainedQR(self, digits, tables, None)


@dataclass(frozen=True)
class Digits:
    """The digits of row numbers, one for each table."""

    sizes: tuple[int, ...]
    crt: bool = False
    float32: bool = False

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the digits of rows: (n, tables). Those of a mixed radix come with the most significant first."""
        if len(rows) and (int(rows.min()) < 0 or int(rows.max()) >= prod(self.sizes)):
            raise CodecError(f"a row number beyond the {prod(self.sizes):,} that the tables tell apart")
        out = np.empty((len(rows), len(self.sizes)), np.int64)
        if self.crt:
            out[:] = rows[:, None] % np.array(self.sizes)
            return out
        left = rows
        for j in range(len(self.sizes) - 1, 0, -1):
            out[:, j] = left % self.sizes[j]
            left = left // self.sizes[j]
        out[:, 0] = (rows.astype(np.float32) / np.float32(self.sizes[-1])).astype(np.int64) if self.float32 else left
        return np.minimum(out, np.array(self.sizes) - 1)  # what float32 rounds up past the last entry


class TrainedQR(TrainedTable):
    """The tables, and which entries row numbers take."""

    def __init__(self, spec: QR, digits: Digits, tables: list[NDArray[Any]], slots: NDArray[np.int64] | None) -> None:
        self._operation, self._digits, self._slots = spec.operation, digits, slots
        self.tables_of = [frozen(np.asarray(table, "<f4")) for table in tables]
        widths = [table.shape[1] for table in tables]
        self.dimensions = sum(widths) if spec.operation == "concat" else widths[0]
        slot_bytes = -(-max((prod(digits.sizes) - 1).bit_length(), 1) // 8)
        self.code_bytes = slot_bytes if spec.order == "learned" else 0
        if self.code_bytes > CODE_BYTES:
            raise CodecError(f"{spec}: tables that tell more than 2**64 rows apart have no learned numbers; take fewer")
        self.most_rows = None if self.code_bytes else prod(digits.sizes)

    def encode_rows(self, z: Floats, rows: NDArray[np.int64], keys: PackedKeys | None = None) -> Codes:
        if not self.code_bytes:
            return np.zeros((len(z), 0), np.uint8)
        if self._slots is None:
            raise CodecError("qr:learned has numbered the rows that it was fitted to; it cannot encode others")
        slots = self._slots[rows]
        return number_bytes(slots, self.code_bytes)

    def decode_rows(self, codes: Codes, rows: NDArray[np.int64], keys: PackedKeys | None = None) -> Floats:
        digits = self._digits.of(whole_numbers(codes) if self.code_bytes else rows)
        parts = [table[digits[:, j]] for j, table in enumerate(self.tables_of)]
        if self._operation == "concat":
            return np.concatenate(parts, axis=1)
        return reduce(np.multiply if self._operation == "mult" else np.add, parts)

    @property
    def arrays(self) -> Arrays:
        tables = {f"table{j}": table for j, table in enumerate(self.tables_of)}
        return {"sizes": np.array(self._digits.sizes, "<i8"), **tables}


def _means(dataset: Dataset, entries: Any, sizes: tuple[int, ...], edges: NDArray[np.int64]) -> list[NDArray[Any]]:
    """Return tables put side by side: each entry is the mean of its rows in the table's dimensions."""
    sums = [np.zeros((size, int(width))) for size, width in zip(sizes, np.diff(edges), strict=True)]
    counts = [np.zeros(size) for size in sizes]
    for block in dataset.blocks():
        digits = entries(block)
        for j, (low, high) in enumerate(pairwise(edges.tolist())):
            np.add.at(sums[j], digits[:, j], block.vectors[:, low:high])
            np.add.at(counts[j], digits[:, j], 1)
    return [total / np.maximum(count, 1)[:, None] for total, count in zip(sums, counts, strict=True)]


def _products(dataset: Dataset, entries: Any, sizes: tuple[int, ...], d: int) -> list[NDArray[Any]]:
    """Return tables whose entries multiply, by alternating least squares: given the others, each table is exact."""
    tables = [np.ones((size, d)) for size in sizes]
    for _ in range(ROUNDS):
        for j, table in enumerate(tables):
            above, below = np.zeros_like(table), np.zeros_like(table)
            for block in dataset.blocks():
                digits = entries(block)
                others = [other[digits[:, i]] for i, other in enumerate(tables) if i != j]
                factor = reduce(np.multiply, others)
                np.add.at(above, digits[:, j], factor * block.vectors)
                np.add.at(below, digits[:, j], factor * factor)
            safe = below > NEAR_ZERO * max(float(below.mean()), 1e-300)
            tables[j] = np.where(safe, above / np.where(safe, below, 1), table)
    return tables
