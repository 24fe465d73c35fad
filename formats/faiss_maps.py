"""Linear maps before a faiss index, and how vectors are had back from behind them: OPQ, PCA and rotations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.byte_reader import ByteReader
from vecstore.formats.dump import Coded

__all__ = ["LinearMaps"]

_MOST_TRANSFORMS = 8


@dataclass(frozen=True)
class LinearMaps:
    """Maps in the order in which vectors go through them: the rows that each multiplies by, and what it adds."""

    maps: list[tuple[NDArray[Any], NDArray[Any] | None]]

    @classmethod
    def read(cls, reader: ByteReader) -> LinearMaps:
        """Read how many there are, and each."""
        (count,) = reader.unpack("i")
        if not 1 <= count <= _MOST_TRANSFORMS:
            raise reader.bad("no number of transforms", found=str(count))
        return cls([found for found in (_linear(reader) for _ in range(count)) if found is not None])

    def width_before(self, width: int, reader: ByteReader) -> int:
        """Return the dimensions of vectors that have `width` behind all maps."""
        for matrix, _ in reversed(self.maps):
            if len(matrix) != width:
                raise reader.bad("has transforms that do not follow one another", expected=str(width))
            width = matrix.shape[1]
        return width

    def undone(self, vectors: NDArray[Any]) -> NDArray[Any]:
        """Return vectors as they were before the maps."""
        found = vectors.astype(np.float64)  # or sums would differ with the rows at once
        for matrix, bias in reversed(self.maps):
            found = (found if bias is None else found - bias) @ matrix
        return found.astype(np.float32)

    def codec_before(self, coded: Coded | None) -> Coded | None:
        """Return the codec of codes behind the maps: a product quantizer behind one rotation is `opq`."""
        if not self.maps:
            return coded
        matrix, bias = self.maps[0]
        is_rotation = len(self.maps) == 1 and bias is None and matrix.shape[0] == matrix.shape[1]
        if coded is None or not is_rotation or not coded.spec.startswith("pq:"):
            return None
        return Coded("o" + coded.spec, {**coded.arrays, "0.0.rotation": np.ascontiguousarray(matrix.T)})


def _linear(reader: ByteReader) -> tuple[NDArray[Any], NDArray[Any] | None] | None:
    """Return the rows that a map multiplies by, and what it adds; None where vectors are only made as long as 1."""
    kind = reader.take(4).tobytes()
    if kind == b"VNrm":
        reader.unpack("f2iB")
        return None
    if kind not in (b"rrot", b"Pcam", b"LTra"):
        raise reader.bad("a transform that is not read (OPQ, PCA, rotations are)", found=repr(kind)[1:])
    if kind == b"Pcam":
        reader.unpack("ffBi")
        for _ in range(3):  # mean, variances, axes: the matrix below has what is needed of them
            reader.vector("<f4")
    (has_bias,) = reader.unpack("B")
    matrix, bias = reader.vector("<f4"), reader.vector("<f4")
    wide, narrow, _ = reader.unpack("iiB")
    if not (1 <= narrow <= wide <= 1 << 16 and len(matrix) == wide * narrow and len(bias) == has_bias * narrow):
        raise reader.bad("no linear map", found=f"{len(matrix)} numbers for {wide} x {narrow}")
    table = matrix.reshape(narrow, wide)
    with np.errstate(all="ignore"):
        # Of a few rows only: all of them could take minutes.
        lengths, some = np.einsum("ij,ij->i", table, table), table[:: max(narrow // 16, 1)]
        apart = some @ table.T
    apart[np.arange(len(some)), np.arange(0, narrow, max(narrow // 16, 1))] = 0
    if not (np.abs(lengths - 1) < 1e-3).all() or not (np.abs(apart) < 1e-3).all():
        raise reader.bad("a linear map that stretches vectors, so that they cannot be had back")
    return table, bias if has_bias else None
