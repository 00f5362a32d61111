"""From values per prompt to a mean with its bootstrap interval."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from mechbench.results.statistics import bootstrap_interval, bootstrap_means, interval
from mechbench.shapes import PROMPT

ESTIMATE = "estimate"
_NAMES = ["mean", "low", "high"]


def estimate(values: xr.DataArray, *, seed: int, dim: str = PROMPT) -> xr.DataArray:
    """Mean over prompts and its 95 % bootstrap interval: dims ``(estimate, ...)``, same units."""
    low, high = bootstrap_interval(values, dim=dim, seed=seed)
    return _stacked(values.mean(dim), low, high).assign_attrs(values.attrs)


def estimate_of(
    function: Callable[..., xr.DataArray], values: Sequence[xr.DataArray], *, seed: int
) -> xr.DataArray:
    """``function`` of means over prompts, with its 95 % bootstrap interval.

    All of ``values`` are resampled together, prompt by prompt, so that the interval is that of the
    function (a ratio, a slope) and not of its parts. Dims ``(estimate, ...)``; attributes are the
    caller's to set.
    """
    low, high = interval(function(*(bootstrap_means(v, seed=seed) for v in values)))
    return _stacked(function(*(v.mean(PROMPT) for v in values)), low, high)


def estimate_share(
    part: xr.DataArray, zero: xr.DataArray, one: xr.DataArray, *, seed: int
) -> xr.DataArray:
    """The share (part - zero) / (one - zero) of the means over prompts, with its interval.

    Dims ``(estimate, ...)``, no units: 0 where ``part`` equals ``zero``, 1 where it equals ``one``.
    """
    found = estimate_of(share, [part, zero, one], seed=seed)
    return found.assign_attrs(units="share", long_name="share of LD")


def share(part: xr.DataArray, zero: xr.DataArray, one: xr.DataArray) -> xr.DataArray:
    """(part - zero) / (one - zero); NaN where the two ends are equal."""
    gap = one - zero
    return (part - zero) / gap.where(gap != 0)


def labelled(
    values: Tensor | np.ndarray, coords: dict, *, units: str, meaning: str
) -> xr.DataArray:
    """``values`` with named, labelled axes; the keys of ``coords`` are the axes in order."""
    array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values
    return xr.DataArray(
        array,
        dims=tuple(coords),
        coords={k: list(v) for k, v in coords.items()},
        attrs={"units": units, "long_name": meaning},
    )


def _stacked(mean: xr.DataArray, low: xr.DataArray, high: xr.DataArray) -> xr.DataArray:
    parts = [p.transpose(*mean.dims).drop_attrs() for p in (mean, low, high)]
    stacked = xr.concat(parts, dim=ESTIMATE, coords="minimal", compat="override")
    return stacked.assign_coords({ESTIMATE: _NAMES})
