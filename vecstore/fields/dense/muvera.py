"""A dense field that is made of token vectors: their fixed dimensional encodings."""

from __future__ import annotations

from typing import Any

import numpy as np

from vecstore.codecs.checks import check_seed
from vecstore.codecs.codec import Codec, CodecSpec
from vecstore.codecs.codec import codec as read_codec
from vecstore.errors import OptionError, ShapeError
from vecstore.fields.dense.dense import HELD_OUT, TRAINING_NUMBERS, trained_codec
from vecstore.fields.dense.encoding import MOST_PROJECTION, MOST_REPETITIONS, MOST_SIMHASH, Encoding
from vecstore.fields.dense.trained import TrainedDense
from vecstore.fields.field import Derived
from vecstore.fields.multi.tokens import as_items
from vecstore.fields.multi.trained import TokenRows

__all__ = ["Muvera"]

MOST_DIMENSIONS = 1 << 17


class Muvera(Derived):
    """One vector a row that stands for its token vectors, to find candidates for MaxSim by.

    The tokens of a row become a vector, those of a query another; the product of the two is about their MaxSim.

    Parameters
    ----------
    of : str
        The field of token vectors, in the same store.
    repetitions, simhash : int
        So often are the tokens put into cells, by so many random planes: 2**simhash cells.
    projection : int or None
        Of a cell's vector, so many dimensions are kept, at random; None keeps all. The encoding has repetitions times
        cells times projection dimensions.
    codec : str, CodecSpec or Codec
        Of the encodings.

    Notes
    -----
    Dhulipala and others, MUVERA: Multi-vector retrieval via fixed dimensional encodings, 2024. The store keeps what was
    drawn at random.

    Examples
    --------
    >>> tokens = [np.random.default_rng(i).normal(size=(5, 16)) for i in range(100)]
    >>> fde = vecstore.Muvera(of="tokens", codec="pca:32,sq:8")
    >>> fields = {"tokens": vecstore.Multi(tokens, codec="sq:8"), "fde": fde}
    >>> _ = vecstore.write("fde.vecs", np.array([x.mean(axis=0) for x in tokens]), codec="sq:8", fields=fields)
    >>> vecstore.open("fde.vecs").search(tokens[7], k=1, field="tokens", candidates=("fde", 20)).rows
    array([7])
    """

    def __init__(
        self,
        of: str = "tokens",
        *,
        repetitions: int = 20,
        simhash: int = 5,
        projection: int | None = 16,
        codec: str | CodecSpec | Codec = "pca:256,tcq:64",
    ) -> None:
        limits = {
            "repetitions": (1, MOST_REPETITIONS),
            "simhash": (0, MOST_SIMHASH),
            "projection": (1, MOST_PROJECTION),
        }
        given = {"repetitions": repetitions, "simhash": simhash, "projection": projection}
        for name, value in given.items():
            least, most = limits[name]
            if value is None and name == "projection":
                continue
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= most:
                raise OptionError(f"{name} is a whole number from {least} to {most}, found {value!r}")
        if not isinstance(of, str):
            raise OptionError(f"of= is the name of a field of token vectors, found {of!r:.60}")
        self.of, self._options = of, given
        self._codec = codec if isinstance(codec, Codec) else read_codec(codec)

    def fit(self, source: Any, *, seed: int = 0) -> TrainedDense:
        """Draw the planes, and train the codec on encodings of some rows' token vectors.

        Parameters
        ----------
        source : what `vecstore.Multi` takes
        seed : int

        Raises
        ------
        OptionError
            The encodings have more than 131,072 dimensions.
        CodecError, ShapeError
            As of `vecstore.Dense`.
        """
        check_seed(seed)
        items = source.items if isinstance(source, TokenRows) else as_items(source)
        order = np.random.default_rng(seed).permutation(len(items))
        order = order[items.counts(order) > 0]
        if not len(order):
            raise ShapeError(f"no row of {self.of!r} has a token vector to encode")
        options: dict[str, Any] = self._options
        encoding = Encoding.random(items.of(order[:1])[0].shape[1], **options, seed=seed)
        if encoding.dimensions > MOST_DIMENSIONS:
            raise OptionError(
                f"encodings of {encoding.dimensions:,} dimensions, {MOST_DIMENSIONS:,} at most: lower repetitions, "
                "simhash or projection"
            )
        most = max(TRAINING_NUMBERS // encoding.dimensions, 1)
        order = order[: most + HELD_OUT]
        held, rest = np.split(order, [min(HELD_OUT, len(order) // 5)])
        training, measured = (encoding.documents(*items.of(np.sort(own))) for own in (rest, held))
        return trained_codec(self._codec, training, measured, metric="dot", seed=seed, of=self.of, encoding=encoding)

    def __repr__(self) -> str:
        spec = self._codec.spec if isinstance(self._codec, Codec) else self._codec
        told = ", ".join(f"{name} {value}" for name, value in self._options.items())
        return f"<Muvera of {self.of!r}, {told}, {spec}>"
