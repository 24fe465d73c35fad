"""What training of a model needs beside vectors: batches, and classes as numbers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.codecs.base import Floats
from vecstore.errors import OptionError

__all__ = ["MagnitudeUtils"]


class MagnitudeUtils:
    """Magnitude's functions for training."""

    @staticmethod
    def download_model(model: str, *args: Any, **kwargs: Any) -> str:
        """Raise `OptionError`: nothing is downloaded here."""
        raise OptionError(
            f"download_model: {model!r:.80} is not fetched; download the vectors that it was made from, "
            "and convert them: vecstore convert"
        )

    @staticmethod
    def batchify(X: Any, y: Any, batch_size: int) -> Iterator[tuple[Any, Any]]:
        """Return an iterator over parts of X and y, `batch_size` of each at a time, again and again."""
        starts = range(0, len(X), batch_size)
        return cycle([(X[at : at + batch_size], y[at : at + batch_size]) for at in starts])

    @staticmethod
    def class_encoding() -> tuple[Callable[[Hashable], int], Callable[[Hashable], int], Callable[[int], Hashable]]:
        """Return three functions: number a class, class to number, number to class."""
        numbers: dict[Hashable, int] = {}
        classes: list[Hashable] = []

        def add_class(name: Hashable) -> int:
            if name not in numbers:
                numbers[name] = len(classes)
                classes.append(name)
            return numbers[name]

        return add_class, numbers.__getitem__, classes.__getitem__

    @staticmethod
    def to_categorical(y: ArrayLike, num_classes: int | None = None) -> Floats:
        """Return a row for each class number, zeros but for a 1 in its place: (..., classes) float32."""
        numbers = np.asarray(y, np.int64)
        shape = numbers.shape[:-1] if numbers.ndim > 1 and numbers.shape[-1] == 1 else numbers.shape
        count = num_classes or int(numbers.max()) + 1
        return np.eye(count, dtype=np.float32)[numbers.ravel()].reshape(*shape, count)

    @staticmethod
    def from_categorical(categorical: ArrayLike) -> NDArray[np.int64]:
        """Return the class number of each row: (n,)."""
        return np.argmax(categorical, axis=1)
