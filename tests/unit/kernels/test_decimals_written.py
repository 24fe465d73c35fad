"""Numbers as text: the shortest that read back, as NumPy's own algorithm finds them."""

from __future__ import annotations

import io
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from vecstore.formats.text_writer import write_rows


def decimals(vectors: np.ndarray, separator: bytes = b" ") -> list[bytes]:
    file = io.BytesIO()
    write_rows(file, [b"a:", b""] * (len(vectors) // 2) + [b"key"] * (len(vectors) % 2), vectors, separator=separator)
    lines = file.getvalue().split(b"\n")
    assert lines.pop() == b"" and len(lines) == len(vectors)
    return [line.removeprefix(b"a:").removeprefix(b"key") for line in lines]


def digits_of(text: str) -> int:
    """Return how many digits a decimal needs."""
    return len(Decimal(text).normalize().as_tuple().digits)


def check(numbers: np.ndarray) -> None:
    written = [text.decode() for text in decimals(numbers[:, None])]
    np.testing.assert_array_equal(np.array(written, np.float64).astype(np.float32), numbers)
    np.testing.assert_array_equal(np.signbit(np.array(written, np.float64)), np.signbit(numbers))
    for text, number in zip(written, numbers, strict=True):
        shortest = np.format_float_scientific(number, unique=True)
        if np.isfinite(number) and digits_of(text) != digits_of(shortest):
            # Fewer digits lie half way between two float32: readers may take either.
            half = np.abs(np.spacing(number).astype(np.float64)) / 2
            assert abs(float(shortest) - float(number)) == half or abs(float(shortest) - float(number)) == half / 2


@given(hnp.arrays(np.float32, 50, elements=st.floats(width=32, allow_nan=False)))
def test_shortest_and_exact(numbers):
    check(numbers)


@pytest.mark.parametrize("seed", range(3))
def test_all_bit_patterns(seed):
    numbers = np.random.default_rng(seed).integers(0, 2**32, 3000, np.uint32).view(np.float32)
    check(numbers[~np.isnan(numbers)])
    check(np.random.default_rng(seed).normal(size=3000).astype(np.float32))


def test_how_they_look():
    row = np.float32([[0, -0.0, 1, -2.5, 0.1, 1 / 3, 1e-4, 1e-5, 1.5e-7, 123456789, 16777216, 1e20, 9.999999e8]])
    shown = decimals(row)[0].decode().split()
    assert shown == [
        *("0", "-0", "1", "-2.5", "0.1", "0.33333334", "0.0001", "1e-05", "1.5e-07", "123456790", "16777216", "1e+20"),
        "999999900",
    ]
    assert decimals(np.float32([[1, np.nan], [2, 3]]), b",") == [b"1.0,nan", b"2,3"]
    assert decimals(np.empty((0, 3), np.float32)) == [] and decimals(np.float32([[3.4e38]])) == [b"3.4e+38"]
