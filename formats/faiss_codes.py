"""How faiss codes vectors: what stands in its files of scalar and product quantizers, and how codes are decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.formats.binary_array import from_bfloat16
from vecstore.formats.byte_reader import ByteReader
from vecstore.formats.dump import Coded

__all__ = ["Codes", "flat_codes", "product_codes", "scalar_codes"]

_SQ8, _SQ4, _SQ8_UNIFORM, _SQ4_UNIFORM, _SQ16, _SQ8_DIRECT, _SQ6, _SQ16_BRAIN, _SQ8_SIGNED = range(9)
_BITS = {_SQ8: 8, _SQ8_UNIFORM: 8, _SQ4: 4, _SQ4_UNIFORM: 4, _SQ6: 6}


@dataclass(frozen=True)
class Codes:
    """Codes of one kind.

    Attributes
    ----------
    code_bytes : int
        Bytes a row.
    decode : callable
        Takes codes (n, code_bytes) uint8 and returns vectors.
    dtype : str
        What they are, for people.
    coded : Coded or None
        The codec of this package that has the same codes.
    """

    code_bytes: int
    decode: Callable[[NDArray[Any]], NDArray[Any]]
    dtype: str
    coded: Coded | None = field(default=None)


def flat_codes(d: int) -> Codes:
    """Return the codes of vectors that are kept whole."""
    return Codes(4 * d, lambda codes: np.ascontiguousarray(codes).view("<f4"), "float32")


def scalar_codes(reader: ByteReader, d: int) -> Codes:
    """Read a scalar quantizer. A level stands for the middle of its interval: low + span * (level + 1/2) / highest."""
    kind, _, _, width, code_bytes = reader.unpack("iifQQ")
    trained = reader.vector("<f4")
    sizes = {_SQ16: 2 * d, _SQ16_BRAIN: 2 * d, _SQ8_DIRECT: d, _SQ8_SIGNED: d}
    sizes |= {each: -(-d * bits // 8) for each, bits in _BITS.items()}
    expected = {_SQ8_UNIFORM: 2, _SQ4_UNIFORM: 2}.get(kind, 2 * d if kind in _BITS else 0)
    if width != d or sizes.get(kind) != code_bytes or len(trained) != expected:
        raise reader.bad("a scalar quantizer that is not read", found=f"type {kind}, {code_bytes} bytes")
    if kind == _SQ16:
        return Codes(code_bytes, lambda codes: np.ascontiguousarray(codes).view("<f2"), "float16", Coded("f16", {}))
    if kind == _SQ16_BRAIN:
        return Codes(code_bytes, lambda codes: from_bfloat16(np.ascontiguousarray(codes).view("<u2")), "bfloat16")
    if kind == _SQ8_DIRECT:
        return Codes(code_bytes, lambda codes: codes, "uint8")
    if kind == _SQ8_SIGNED:
        return Codes(code_bytes, lambda codes: codes.astype(np.int16) - 128, "int8")
    return _intervals(_BITS[kind], code_bytes, *np.broadcast_to(trained.reshape(2, -1), (2, d)))


def _intervals(bits: int, code_bytes: int, low: NDArray[Any], span: NDArray[Any]) -> Codes:
    d, highest = len(low), np.float32((1 << bits) - 1)

    def decode(codes: NDArray[Any]) -> NDArray[Any]:
        return low + span * ((_levels(codes, bits, d) + np.float32(0.5)) / highest)

    with np.errstate(all="ignore"):
        steps, lowest = span / highest, low + np.float32(0.5) * span / highest
    sound = np.isfinite(steps).all() and np.isfinite(lowest).all() and (steps >= 0).all()
    arrays = {"0.0.lowest": lowest.astype("<f4"), "0.0.steps": np.where(steps > 0, steps, 1).astype("<f4")}
    return Codes(code_bytes, decode, f"{bits}-bit codes", Coded(f"sq:{bits}", arrays) if sound else None)


def _levels(codes: NDArray[Any], bits: int, d: int) -> NDArray[Any]:
    """Return the numbers of `bits` bits each that lie one behind the other, lowest bit first: (n, d)."""
    if bits == 8:
        return codes
    if bits == 4:
        return np.stack([codes & 15, codes >> 4], axis=2).reshape(len(codes), -1)[:, :d]
    ones = np.unpackbits(codes, axis=1, bitorder="little")[:, : bits * d].reshape(len(codes), d, bits)
    return np.packbits(ones, axis=2, bitorder="little")[:, :, 0]


def product_codes(reader: ByteReader, d: int) -> Codes:
    """Read a product quantizer."""
    width, parts, bits = reader.unpack("QQQ")
    centroids = reader.vector("<f4")
    if width != d or not 1 <= parts <= d or d % parts or bits not in (4, 8):
        raise reader.bad("a product quantizer that is not read", found=f"{parts} parts of {bits} bits")
    if len(centroids) != d << bits:
        raise reader.bad("has other codebooks", expected=str(d << bits), found=str(len(centroids)))
    books = centroids.reshape(parts, 1 << bits, d // parts)  # books[m, code]: a part of a vector

    def decode(codes: NDArray[Any]) -> NDArray[Any]:
        groups = _levels(codes, bits, parts)
        return np.stack([books[m, groups[:, m]] for m in range(parts)], axis=1).reshape(len(codes), d)

    spec = f"pq:{parts}" if bits == 8 else f"pq:{parts}x4"
    coded = Coded(spec, {"0.0.codebooks": books}) if np.isfinite(books).all() else None
    return Codes(-(-parts * int(bits) // 8), decode, f"{bits}-bit codes", coded)
