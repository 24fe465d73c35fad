from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from samples import glove

from vecstore.codecs.base import named
from vecstore.codecs.codec import codec
from vecstore.codecs.product.vaq import VAQ, unequal_edges
from vecstore.errors import CodecError
from vecstore.measure.spectrum import distortion_bound


@pytest.mark.parametrize(("m", "bits"), [(1, 4), (2, 4), (3, 8), (7, 4), (9, 8)])
@pytest.mark.parametrize("falloff", [0.5, 0.05, 0.9])
def test_runs_are_the_cheapest_of_all(m, bits, falloff):
    variances = falloff ** np.arange(9.0)
    edges = unequal_edges(variances, m, bits)

    def cost(cuts: tuple[int, ...]) -> float:
        runs = [distortion_bound(variances[a:b], bits / 8) for a, b in pairwise(cuts)]
        return sum(runs) + variances[cuts[-1] :].sum()

    every = min(cost((0, *ends)) for ends in combinations(range(1, 10), m))
    assert edges[0] == 0 and (np.diff(edges) >= 1).all() and edges[-1] <= 9
    assert cost(tuple(edges.tolist())) == pytest.approx(every, rel=1e-9)


def test_no_variance_leaves_groups_all_the_same():
    assert (np.diff(unequal_edges(np.zeros(5), 3, 8)) >= 1).all()


def test_loses_less_than_even_groups_where_the_spectrum_falls_off():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(3000, 32)) * 0.8 ** np.arange(32)).astype(np.float32)
    errors = {}
    for spec in ("pq:4", "vaq:4"):
        fitted = codec(spec).fit(x[:2000], seed=0)
        errors[spec] = ((fitted.decode(fitted.encode(x[2000:])) - x[2000:]) ** 2).sum()
    assert errors["vaq:4"] < 0.6 * errors["pq:4"]


@pytest.mark.parametrize("widths", [[0, 4, 4], [60, 1, 1], [2**31, 2**31, 2**31]])
def test_a_file_with_impossible_groups_is_refused(widths):
    trained = VAQ(3).fit(glove()[0][:500], seed=0)
    arrays = {**trained.arrays, "widths": np.array(widths, "<u4")}
    with pytest.raises(CodecError, match="damaged"):
        VAQ(3).restore(50, arrays)
    assert named(trained.arrays, dtype="<u4", widths=(3,))


def test_more_groups_than_dimensions():
    with pytest.raises(CodecError, match="choose 1 to 50"):
        codec("vaq:51").fit(glove()[0][:500])
