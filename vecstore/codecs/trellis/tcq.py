"""Transform coding with a trellis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from vecstore.codecs.axes import Axes
from vecstore.codecs.base import Arrays, Floats, Quantizer, named
from vecstore.codecs.members import Among, UpToWidth
from vecstore.codecs.trellis.layout import PARITY, CodeLayout
from vecstore.codecs.trellis.quantizer import TrainedTCQ
from vecstore.errors import CodecError

__all__ = ["TCQ"]

STATES = 64
TRAINING_ROWS = 1 << 15


@dataclass(frozen=True)
class TCQ(Quantizer):
    """Code principal components by a path through a trellis, with bits where the variance is.

    Trellis-coded quantization: Marcellin & Fischer, IEEE Trans. Communications 38, 1990; on transform coefficients as
    in JPEG 2000 part 2. The trellis doubles the levels of each coefficient and lets a path choose, for every
    coefficient, which half of them can be reached: almost the quality of twice the levels without the bit.

    1. Rotate to principal axes.
    2. Reverse water-filling: bits go where they lower the weighted squared error most. The weight of a coefficient is
       a power of its variance, 2 * exponent, since queries are longest where the vectors are. The exponent is the one
       that keeps most of the nearest neighbours when errors of the expected size are added; 0 minimises the squared
       error.
    3. Find the best of all paths by Viterbi's algorithm; train the levels in turns with the paths.
    4. Stretch the trained levels so that a decoded coefficient has the variance that it had before. Means of what they
       stand for, as the least squared error wants them, are shorter where bits are few; but a query is no vector drawn
       at random: it lies near those that it looks for, and loses with them what is shortened. Between the estimate that
       is best for any query and the one that is unbiased for a query like the vector (longer by the square), this
       keeps most neighbours, for a twentieth more squared error at few bytes.

    `vecstore.codecs.trellis.layout.CodeLayout` says how a code is laid out. More states lower the error a little and
    slow down encoding in proportion; decoding and the size of the model do not depend on them.
    """

    size_bytes: Annotated[int, UpToWidth()]
    states: Annotated[int, Among(*PARITY)] = STATES

    name = "tcq"
    summary = "transform coding with a trellis, B bytes in all"
    usage = "tcq:B or tcq:B:S with S states, 4 to 256, such as tcq:48 or tcq:48:8"

    def __str__(self) -> str:
        return f"{self.name}:{self.size_bytes}" + ("" if self.states == STATES else f":{self.states}")

    def fit(self, z: Floats, *, seed: int) -> TrainedTCQ:
        from vecstore.codecs.trellis.training import train  # which opening a store can do without

        return train(z[:TRAINING_ROWS], self.size_bytes, self.states, seed=seed)

    def restore(self, dimensions: int, arrays: Arrays) -> TrainedTCQ:
        steps = (arrays["bits"].size if "bits" in arrays else 0,)
        bits, widths = named(arrays, dtype="|u1", bits=steps, widths=steps)
        head_bits = None  # in codes of before
        if "head_bits" in arrays:
            head_bits = int(named(arrays, dtype="|u1", head_bits=(1,))[0][0])
        layout = CodeLayout.checked(bits, widths, head_bits, self.size_bytes, dimensions)
        coefficients, entries = layout.coefficients, int(layout.starts[-1])
        (mean,) = named(arrays, dtype="<f4", mean=(dimensions,))
        axes = Axes.restore(arrays, (coefficients, dimensions))
        scale, stretch, dtype = None, None, "<f4"  # as files of before have it
        if "scale" in arrays:
            (scale,), dtype = named(arrays, dtype="<f4", scale=(1,)), "<f2"
        (levels,) = named(arrays, dtype=dtype, levels=(entries,))
        if "stretch" in arrays:
            (stretch,) = named(arrays, dtype=dtype, stretch=(coefficients,))
            if not (np.isfinite(stretch).all() and (stretch >= 1).all()):
                raise CodecError("tcq: the stretch of coefficients in the file is no number from 1 on; it is damaged")
        trained = TrainedTCQ(layout, self.states, mean, axes, levels, stretch, scale)
        if not all(np.isfinite(array).all() for array in (mean, trained.levels)):
            raise CodecError("tcq: numbers in the file are not finite; it is damaged")
        return trained
