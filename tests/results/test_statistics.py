"""Bootstrap intervals against scipy's own bootstrap."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from mechbench.results.statistics import bootstrap_interval, bootstrap_means, interval


def _values(n_prompts: int = 9) -> xr.DataArray:
    values = np.random.default_rng(5).gamma(2.0, size=(3, n_prompts, 2))
    return xr.DataArray(
        values,
        dims=("layer", "prompt", "head"),
        coords={"layer": [4, 5, 6]},
        attrs={"units": "logits"},
    )


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_bounds_equal_scipys(level):
    values = _values()
    low, high = bootstrap_interval(values, n=400, seed=3, level=level)
    expected = stats.bootstrap(
        (values.values,),
        np.mean,
        axis=1,
        n_resamples=400,
        confidence_level=level,
        method="percentile",
        random_state=np.random.default_rng(3),
    ).confidence_interval
    np.testing.assert_allclose(low.values, expected.low, rtol=1e-12)
    np.testing.assert_allclose(high.values, expected.high, rtol=1e-12)
    assert low.dims == ("layer", "head") and list(low.layer) == [4, 5, 6]
    assert low.attrs == {"units": "logits"}


def test_interval_of_means_is_the_interval_of_the_mean():
    values = _values()
    for ours, theirs in zip(
        interval(bootstrap_means(values, n=300, seed=1)),
        bootstrap_interval(values, n=300, seed=1),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_two_calls_draw_the_same_prompts():
    values = _values()
    difference = bootstrap_means(values) - bootstrap_means(values + 1.0)
    np.testing.assert_allclose(difference, -1.0, rtol=1e-9)


def test_nan_stays_in_its_own_cell():
    values = _values()
    values[0, 2, 1] = np.nan
    low, _ = bootstrap_interval(values)
    assert np.isnan(low.values).sum() == 1 and np.isnan(low.values[0, 1])


def test_one_prompt_has_no_interval():
    low, high = bootstrap_interval(_values(n_prompts=1))
    assert np.isnan(low).all() and np.isnan(high).all()


def test_many_cells_are_chunked_without_effect():
    wide = xr.DataArray(np.random.default_rng(0).normal(size=(4, 5000)), dims=("prompt", "cell"))
    low, _ = bootstrap_interval(wide, n=50)
    alone, _ = bootstrap_interval(wide[:, 4990:], n=50)
    np.testing.assert_allclose(low[4990:], alone, rtol=1e-12)
