from __future__ import annotations

import numpy as np
import pytest
from samples import glove

from vecstore.codecs.codec import codec
from vecstore.codecs.scalar.lvq import LVQ
from vecstore.errors import CodecError


def test_every_row_has_a_grid_of_its_own():
    """The error of a number is at most half a step of its row, whatever other rows hold."""
    x = glove()[0][:400] * np.geomspace(0.01, 1, 400, dtype=np.float32)[:, None]
    trained = LVQ(8).fit(x, seed=0)
    centred = x - trained.mean
    step = (centred.max(axis=1) - centred.min(axis=1)) / 255
    error = np.abs(trained.decode(trained.encode(x)) - x).max(axis=1)
    assert (error <= 0.7 * step + 1e-6).all()  # half of one, and what float16 loses of the step


def test_a_row_of_equal_numbers_is_kept():
    x = np.random.default_rng(0).normal(size=(100, 10)).astype(np.float32)
    trained = LVQ(4, 4).fit(x, seed=0)
    row = trained.mean[None] + np.float32(0.5) * trained.scale
    np.testing.assert_allclose(trained.decode(trained.encode(row)), row, atol=1e-3)


def test_second_level_refines_the_first():
    x = glove()[0][:2000]
    errors = []
    for spec in ("lvq:4", "lvq:4x2", "lvq:4x4", "lvq:4x8"):
        fitted = codec(spec).fit(x[:1000])
        errors.append(((fitted.decode(fitted.encode(x[1000:])) - x[1000:]) ** 2).mean())
    ratios = np.array(errors[:-1]) / errors[1:]
    assert ratios[0] > 6 and ratios[1] > 15 and ratios[2] > 50


@pytest.mark.parametrize(
    ("spec", "message"),
    [("lvq:9", "choose 1 to 8"), ("lvq:4x9", "choose 0 to 8"), ("lvq", "one argument"), ("lvq:4x", "not a whole")],
)
def test_what_is_no_specification(spec, message):
    with pytest.raises(CodecError, match=message):
        codec(spec)
