"""Products that rank as other scores do."""

from __future__ import annotations

import numpy as np
import pytest

from vecstore.errors import ShapeError
from vecstore.search.maps import diagonal_queries, gaussian_queries, gaussian_rows


def test_products_rank_by_divergence() -> None:
    rng = np.random.default_rng(0)
    m, v = rng.normal(size=(50, 5)), rng.uniform(0.3, 3, (50, 5))
    mq, vq = rng.normal(size=(7, 5)), rng.uniform(0.3, 3, (7, 5))
    divergence = 0.5 * (np.log(v / vq[:, None]) - 1 + (vq[:, None] + (mq[:, None] - m) ** 2) / v).sum(axis=2)
    products = gaussian_queries(mq, vq).astype(np.float64) @ gaussian_rows(m, v).T
    own = (np.log(vq) + 1).sum(axis=1)[:, None]  # of the query alone
    np.testing.assert_allclose(products, -2 * divergence - own, rtol=1e-5, atol=1e-4)


def test_products_are_bilinear() -> None:
    rng = np.random.default_rng(0)
    x, relation, rows = rng.normal(size=(3, 8)), rng.normal(size=8), rng.normal(size=(20, 8))
    np.testing.assert_allclose(
        diagonal_queries(x, relation) @ rows.T, np.einsum("qd,d,nd->qn", x, relation, rows), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("variance", [[[1.0, 0.0]], [[1.0, np.nan]], [[1.0]], 1.0])
def test_what_is_refused(variance: object) -> None:
    with pytest.raises(ShapeError):
        gaussian_rows([[0.0, 1.0]], variance)
    with pytest.raises(ShapeError, match="same dimensions"):
        diagonal_queries(np.ones(3), np.ones(4))
