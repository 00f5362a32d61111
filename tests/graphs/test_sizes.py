"""Areas by hand and against scipy."""

import numpy as np
import pytest
from scipy.integrate import trapezoid

from mechbench.errors import CircuitError
from mechbench.graphs.sizes import MIB_SIZES, area, edges_at


def test_numbers_of_edges():
    assert [edges_at(s, 32491) for s in MIB_SIZES] == [
        32, 64, 162, 324, 649, 1624, 3249, 6498, 16245, 32491
    ]  # fmt: skip
    assert edges_at(0.29, 100) == 29 and edges_at(0.001, 900) == 0


def test_areas():
    f = np.random.default_rng(0).random((3, 10))
    np.testing.assert_allclose(area(f, MIB_SIZES), trapezoid(f, MIB_SIZES, axis=-1))
    np.testing.assert_allclose(area(np.ones(10), MIB_SIZES), 0.999)
    np.testing.assert_allclose(area(np.ones(10), MIB_SIZES, log=True), 1.0)
    np.testing.assert_allclose(area(np.array([0.0, 1.0, 1.0]), [0.01, 0.1, 1.0], log=True), 0.75)


@pytest.mark.parametrize("sizes", [[0.1], [0.2, 0.1], [0.0, 1.0], [0.5, 1.5]])
def test_sizes_that_are_none(sizes):
    with pytest.raises(CircuitError, match="growing shares"):
        area(np.ones(len(sizes)), sizes)
