"""Entries of an estimate by size."""

import numpy as np
import xarray as xr

from mechbench.results.ranking import ranked


def test_heads_by_the_size_of_their_effect():
    mean = np.array([[1.0, -3.0], [np.nan, 2.0], [0.0, -1.0]])
    summary = xr.DataArray(
        np.stack([mean, mean - 1, mean + 2]),
        dims=("estimate", "layer", "head"),
        coords={"estimate": ["mean", "low", "high"], "layer": [0, 1, 2], "head": [0, 1]},
    )
    found = ranked(summary.transpose("layer", "estimate", "head"))
    assert [r.label for r in found] == ["0.1", "1.1", "0.0", "2.1", "2.0", "1.0"]
    assert (found[0].mean, found[0].low, found[0].high) == (-3.0, -4.0, -1.0)


def test_one_axis_keeps_its_labels():
    summary = xr.DataArray(
        [[0.5, 0.5, -2.0], [0.1, 0.2, -3.0], [0.7, 0.8, -1.0]],
        dims=("estimate", "component"),
        coords={"estimate": ["mean", "low", "high"], "component": ["embed", "1.0", "mlp 3"]},
    )
    assert [r.label for r in ranked(summary)] == ["mlp 3", "embed", "1.0"]
