"""How one vector a row is coded, and what writes the codes."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.base import Floats
from vecstore.codecs.checks import as_array
from vecstore.codecs.codec import Codec
from vecstore.codecs.transforms.normalize import unit
from vecstore.container.container import ColumnWriter, ContainerWriter
from vecstore.errors import OptionError, ShapeError
from vecstore.fields.dense.encoding import Encoding
from vecstore.fields.dense.rows import CodedVectors, vectors_of
from vecstore.fields.multi.trained import TokenRows
from vecstore.metric import Metric
from vecstore.shard.field import FieldRows, FieldWriter, TrainedField
from vecstore.shard.layers import LayerWriter

__all__ = ["DenseWriter", "GivenVectors", "TokenVectors", "TrainedDense", "VectorRows"]

ENCODED_NUMBERS = 1 << 22  # of float32, at once


@dataclass(frozen=True, eq=False)
class TrainedDense(TrainedField):
    """Codes one vector a row.

    Attributes
    ----------
    codec : Codec
    metric : {"cosine", "dot", "l2"}
        What scores are, unless a search is told otherwise; of cosine, vectors are scaled to length one.
    of : str or None
        The field whose token vectors are encoded.
    encoding : Encoding or None
        What makes the vectors of these, and of queries.
    certificate : dict
        What coding costs, as it was measured.
    """

    codec: Codec
    metric: Metric = "cosine"
    of: str | None = None
    encoding: Encoding | None = None
    certificate: dict[str, Any] = field(default_factory=dict)

    kind = "dense"

    @property
    def code_bytes(self) -> int:
        """Bytes of a row's codes."""
        return sum(layer.code_bytes for layer in self.codec.layers)

    def rows(self, given: Any) -> VectorRows:
        if self.encoding is not None:
            raise OptionError(f"the field is made of {self.of!r}, and not given itself")
        return GivenVectors(self, as_rows(given))

    def derived(self, source: FieldRows) -> VectorRows:
        assert self.encoding is not None
        if not isinstance(source, TokenRows):
            raise OptionError(f"{self.of!r} has no token vectors to encode, as they were given")
        return TokenVectors(self, self.encoding, source)

    def empty(self, rows: int) -> CodedVectors:
        codes = tuple(np.zeros((rows, layer.code_bytes), np.uint8) for layer in self.codec.layers)
        return CodedVectors(np.zeros(rows, np.bool_), codes)

    def encode(self, x: Floats, there: NDArray[np.bool_]) -> CodedVectors:
        """Return vectors (n, d) coded, of the rows that have one."""
        found = self.empty(len(x))
        if there.any():
            own = self.scaled(x[there])
            for codes, layer in zip(found.codes, self.codec.layers, strict=True):
                codes[there] = layer.encode(own)
        return CodedVectors(there, found.codes)

    def scaled(self, x: Floats) -> Floats:
        """Return vectors as they are coded."""
        return unit(x) if self.metric == "cosine" else x

    def writer(self, container: ContainerWriter, prefix: str) -> DenseWriter:
        return DenseWriter(container, prefix, self)

    @property
    def model_bytes(self) -> int:
        return self.codec.model_bytes + (0 if self.encoding is None else self.encoding.size_bytes)


class VectorRows(FieldRows):
    """Vectors of rows that are not coded yet, and what codes them."""

    def __init__(self, trained: TrainedDense, rows: NDArray[np.int64]) -> None:
        self._trained, self._rows = trained, rows

    @abstractmethod
    def vectors(self, rows: NDArray[np.int64]) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the vectors of rows, as they were given first, and which have one; raises `ShapeError`."""

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def row_bytes(self) -> NDArray[np.int64]:
        return np.full(len(self), 1 + self._trained.code_bytes)

    def coded(self) -> CodedVectors:
        parts, step = [self._trained.empty(0)], max(ENCODED_NUMBERS // self._trained.codec.dimensions, 1)
        for start in range(0, len(self), step):
            parts.append(self._trained.encode(*self.vectors(self._rows[start : start + step])))
        return CodedVectors.joined(parts)


class GivenVectors(VectorRows):
    """An (n, d) array, which may be mapped."""

    def __init__(self, trained: TrainedDense, given: NDArray[Any], rows: NDArray[np.int64] | None = None) -> None:
        super().__init__(trained, np.arange(len(given)) if rows is None else rows)
        self._given = given

    def take(self, rows: NDArray[np.int64]) -> GivenVectors:
        return GivenVectors(self._trained, self._given, self._rows[rows])

    def vectors(self, rows: NDArray[np.int64]) -> tuple[Floats, NDArray[np.bool_]]:
        return vectors_of(self._given, rows, self._trained.codec.dimensions), np.ones(len(rows), np.bool_)


class TokenVectors(VectorRows):
    """The encodings of rows' token vectors."""

    def __init__(
        self, trained: TrainedDense, encoding: Encoding, tokens: TokenRows, rows: NDArray[np.int64] | None = None
    ) -> None:
        super().__init__(trained, np.arange(len(tokens)) if rows is None else rows)
        self._encoding, self._tokens = encoding, tokens

    def take(self, rows: NDArray[np.int64]) -> TokenVectors:
        return TokenVectors(self._trained, self._encoding, self._tokens, self._rows[rows])

    def vectors(self, rows: NDArray[np.int64]) -> tuple[Floats, NDArray[np.bool_]]:
        x, counts = self._tokens.vectors(rows)
        return self._encoding.documents(x, counts), counts > 0


class DenseWriter(FieldWriter):
    """Writes codes in the order of rows, and which rows have any, where some have not."""

    def __init__(self, container: ContainerWriter, prefix: str, trained: TrainedDense) -> None:
        self._container, self._prefix, self._trained = container, prefix, trained
        self._codes = [
            LayerWriter(container, f"{prefix}codes.{number}", layer)
            for number, layer in enumerate(trained.codec.layers)
        ]
        self._there: list[NDArray[np.bool_]] = []

    def add(self, rows: CodedVectors) -> None:
        self._there.append(rows.there)
        for writer, codes in zip(self._codes, rows.codes, strict=True):
            writer.add(codes)

    def close(self) -> dict[str, Any]:
        trained, encoding = self._trained, self._trained.encoding
        for writer in self._codes:
            writer.close()
        there = np.concatenate([np.empty(0, np.bool_), *self._there])
        missing = int(np.count_nonzero(~there))
        if missing:
            bits = ColumnWriter(self._container, f"{self._prefix}validity", "|u1")
            bits.add(np.packbits(there, bitorder="little"))
            bits.close()
        for name, array in trained.codec.arrays.items():
            self._container.put_array(f"{self._prefix}model.{name}", array)
        about: dict[str, Any] = {}
        if encoding is not None:
            about["muvera"] = {"of": trained.of, **encoding.put(self._container, f"{self._prefix}encoding.")}
        return {
            "dimensions": trained.codec.dimensions,
            "metric": trained.metric,
            "codec": trained.codec.spec.to_dict(),
            "missing": missing,
            **about,
            "certificate": trained.certificate,
        }


def as_rows(given: Any) -> NDArray[Any]:
    """Return what users give for rows as an array (n, d), mapped where it was; raises `ShapeError`."""
    if hasattr(given, "detach"):
        given = given.detach().cpu().numpy()
    found = as_array(given)
    if found.ndim != 2 or found.dtype.kind not in "fiub":
        raise ShapeError(f"a dense field is an (n, d) array of numbers, found shape {found.shape} of {found.dtype}")
    return found
