"""From values per prompt to a mean with its bootstrap interval."""

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from mechbench.results.statistics import bootstrap_interval, bootstrap_means, interval
from mechbench.shapes import PROMPT

ESTIMATE = "estimate"
_NAMES = ["mean", "low", "high"]


def estimate(values: xr.DataArray, *, seed: int) -> xr.DataArray:
    """Mean over prompts and its 95 % bootstrap interval: dims ``(estimate, ...)``, same units."""
    low, high = bootstrap_interval(values, seed=seed)
    return _stacked(values.mean(PROMPT), low, high, values.attrs)


def estimate_share(part: xr.DataArray, zero: xr.DataArray, one: xr.DataArray, *, seed: int):
    """The share (part - zero) / (one - zero) of the means over prompts, with its interval.

    Dims ``(estimate, ...)``, no units: 0 where ``part`` equals ``zero``, 1 where it equals ``one``.
    The three are resampled together, prompt by prompt, so the interval is that of the ratio.
    """
    means = [v.mean(PROMPT) for v in (part, zero, one)]
    drawn = [bootstrap_means(v, seed=seed) for v in (part, zero, one)]
    low, high = interval(_share(*drawn))
    return _stacked(_share(*means), low, high, {"units": "share", "long_name": "share of LD"})


def _share(part, zero, one):
    gap = one - zero
    return (part - zero) / gap.where(gap != 0)


def _stacked(mean, low, high, attrs) -> xr.DataArray:
    parts = [mean, low.transpose(*mean.dims), high.transpose(*mean.dims)]
    stacked = xr.concat(
        [p.drop_attrs() for p in parts], dim=ESTIMATE, coords="minimal", compat="override"
    )
    return stacked.assign_coords({ESTIMATE: _NAMES}).assign_attrs(attrs)


def labelled(values: Tensor | np.ndarray, coords: dict, *, units: str, meaning: str):
    """``values`` with named, labelled axes; the keys of ``coords`` are the axes in order."""
    array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values
    return xr.DataArray(
        array,
        dims=tuple(coords),
        coords={k: list(v) for k, v in coords.items()},
        attrs={"units": units, "long_name": meaning},
    )
