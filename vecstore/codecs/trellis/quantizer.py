"""The trained form of `tcq`: paths through a trellis, behind a rotation."""

from __future__ import annotations

from functools import cached_property, reduce
from operator import xor
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecstore.codecs.axes import Axes
from vecstore.codecs.base import Arrays, Codes, Floats, TrainedQuantizer, frozen
from vecstore.codecs.products import FEW_ROWS, decoded_products, row_products
from vecstore.codecs.trellis.layout import CodeLayout, means, subsets, taps
from vecstore.errors import CodecError
from vecstore.kernels import entries
from vecstore.kernels.arguments import Decoding
from vecstore.parallel import over_slices

__all__ = ["TrainedTCQ"]

ENCODED_ROWS = 4096
DECODED_ROWS = 1024
TILE_ROWS = 2048  # large, so that the first bytes of a tile's rows are one run that a scan of them reads alone
Array: TypeAlias = NDArray[Any]
Plan: TypeAlias = tuple[Array, Array, Array, Array, tuple[Array, Array, Array, Array]]
GATHERING = np.uint64(0x0102040810204080)  # times eight bytes that are 0 or 1: these bits in the highest byte


class TrainedTCQ(TrainedQuantizer):
    """A trellis behind a rotation: ``decode(codes) == coefficients(codes) @ axes + mean``.

    One that reads the first bytes of codes is given the `whole` of which it does.

    Attributes
    ----------
    layout : CodeLayout
    states : int
    mean : (d,) float32
    levels : (layout.starts[-1],) float32
        The levels of all coefficients, one coefficient after the other. Given as they are stored: with a `scale`,
        float16 times that.
    stretch : (coefficients,) float32
        By how much levels are longer than the coefficients that they stand for, 1 or more. Encoding divides by it.
    """

    tile_rows = TILE_ROWS
    code_kind = "trellis"

    def __init__(
        self,
        layout: CodeLayout,
        states: int,
        mean: Floats,
        axes: Axes,
        levels: Array,
        stretch: Array | None = None,
        scale: Floats | None = None,
        *,
        whole: TrainedTCQ | None = None,
    ) -> None:
        self.layout, self.states, self._whole = layout, states, whole
        stretch = np.ones(layout.coefficients, levels.dtype) if stretch is None else stretch
        self._stored = {"levels": frozen(levels), "stretch": frozen(stretch)}
        if scale is not None:
            self._stored["scale"] = frozen(scale)
        with np.errstate(over="ignore", invalid="ignore"):  # what a damaged file holds
            self.levels = frozen(levels if scale is None else levels.astype("<f4") * scale)
        self.stretch = frozen(stretch.astype("<f4"))
        self._nearest = frozen(self.levels / self.stretch.repeat(np.diff(layout.starts)))
        self._axes, self.mean = axes, frozen(mean)
        self.dimensions, self.code_bytes = len(mean), layout.code_bytes
        self._subsets, self._taps = subsets(states), taps(states)

    def encode(self, z: Floats) -> Codes:
        if self._whole is not None:
            return np.ascontiguousarray(self._whole.encode(z)[:, : self.code_bytes])
        out = np.empty((len(z), self.code_bytes), np.uint8)
        for start in range(0, len(z), ENCODED_ROWS):
            block, codes = self.project(z[start : start + ENCODED_ROWS]), out[start : start + ENCODED_ROWS]

            def encode_part(part: slice, block: Floats = block, codes: Codes = codes) -> None:
                entries.encode_trellis(block[part], *self._plan(self._nearest), self._subsets, codes[part])

            over_slices(encode_part, len(block), at_least=256)
        return out

    def project(self, z: Floats) -> Floats:
        """Return the coefficients of vectors before quantization: (n, coefficients) float32."""
        return row_products(z - self.mean, self.axes.T)

    def decode(self, codes: Codes) -> Floats:
        if len(codes) < FEW_ROWS:
            return decoded_products(self._few_coefficients(codes), self.axes) + self.mean
        out = np.empty((len(codes), self.dimensions), np.float32)
        z = np.ones((len(self.axes) + 1, min(len(codes), DECODED_ROWS)), np.float32)  # z[coefficient, row], then ones
        for start in range(0, len(codes), DECODED_ROWS):
            block = codes[start : start + DECODED_ROWS]
            self._decode_coefficients(block, z[:-1, : len(block)])
            out[start : start + DECODED_ROWS] = row_products(z[:, : len(block)].T, self._affine)
        return out

    def coefficients(self, codes: Codes) -> Floats:
        """Return the quantized coefficients of codes: (n, coefficients) float32, a coefficient's numbers together."""
        if len(codes) < FEW_ROWS:
            return self._few_coefficients(codes)
        out = np.empty((self.layout.coefficients, len(codes)), np.float32)
        self._decode_coefficients(codes, out)
        return out.T

    def _decode_coefficients(self, codes: Codes, out: Floats) -> None:
        plan = self.decoding
        over_slices(lambda part: entries.decode_trellis(codes[part], *plan, out[:, part]), len(codes), at_least=512)

    def _few_coefficients(self, codes: Codes) -> Floats:
        """Do what the kernel does without its import: a few rows are sooner done than compiled code is loaded."""
        bits = np.unpackbits(codes, axis=1, count=8 * self.code_bytes + 1, bitorder="little")  # one bit beyond is 0
        eights = bits.take(self._places, axis=1).view("<u8")[:, :, 0]
        path, upper = bits.take(self._path_places, axis=1).swapaxes(0, 1), len(self._taps[0])
        numbers = (eights * GATHERING >> 56 << 2).view(np.int64)
        numbers += 2 * reduce(xor, path[:upper]) + reduce(xor, path[upper:])
        return self.levels.take(numbers.take(self._steps, axis=1) + self.layout.starts[:-1])

    @property
    def trellis(self) -> TrainedTCQ:
        return self

    def first_bytes(self, size_bytes: int) -> TrainedTCQ:
        layout = self.layout.first(size_bytes) if 1 <= size_bytes <= self.code_bytes else None
        if layout is None or not len(layout.bits):
            least = next(size for size in range(1, self.code_bytes + 1) if len(self.layout.first(size).bits))
            raise CodecError(f"tcq: {size_bytes} bytes of each code; choose {least} to {self.code_bytes}")
        levels = means(layout, self.levels[: layout.starts[-1]], layout.known_bits, layout.known_paths)
        axes, stretch = self._axes.first(layout.coefficients), self.stretch[: layout.coefficients]
        return TrainedTCQ(layout, self.states, self.mean, axes, levels, stretch, whole=self)

    def with_levels(self, levels: Floats) -> TrainedTCQ:
        """Return a quantizer of the same codes that takes other levels for them."""
        return TrainedTCQ(self.layout, self.states, self.mean, self._axes, levels, whole=self._whole)

    @property
    def axes(self) -> Floats:
        """Orthonormal rows (coefficients, d) float32, so that lengths and products can be taken among coefficients."""
        return self._axes.matrix

    @cached_property
    def _affine(self) -> Floats:
        """The axes, and the mean as one more, so that a product adds it on its way."""
        return frozen(np.concatenate([self.axes, self.mean[None]]))

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """The places in a code of each step's sub-index bits, filled up with the place beyond the last: (steps, 8)."""
        subs = self.layout.bit_places[1]
        return np.pad(subs, ((0, 0), (0, 8 - subs.shape[1])), constant_values=8 * self.code_bytes)

    @cached_property
    def _path_places(self) -> NDArray[np.int64]:
        """The places of the path bits whose parities are the upper, then the lower bit of a subset: (taps, steps)."""
        path = np.pad(self.layout.bit_places[0], (self.states, 0), constant_values=8 * self.code_bytes)
        return np.stack([path[self.states - back : len(path) - back] for backs in self._taps for back in backs])

    @cached_property
    def _steps(self) -> NDArray[np.int64]:
        """The step of each coefficient."""
        return np.repeat(np.arange(len(self.layout.widths)), self.layout.widths)

    @cached_property
    def decoding(self) -> Decoding:
        """What kernels that decode need to know."""
        high, low = (np.array(backs) for backs in self._taps)
        return Decoding(*self._plan(self.levels), high, low, self.states.bit_length() - 1)

    def _plan(self, levels: Floats) -> Plan:
        """Return what both kernels need to know, in their order."""
        layout = self.layout
        places = layout.paths, layout.heads, layout.rests, layout.uppers
        return layout.bits, layout.firsts, layout.starts, levels, places

    @property
    def arrays(self) -> Arrays:
        return {
            "mean": self.mean,
            **self._axes.arrays,
            "bits": self.layout.bits,
            "widths": self.layout.widths,
            **({"head_bits": np.array([self.layout.head_bits], np.uint8)} if self.layout.head_bits else {}),
            **self._stored,
        }
