"""Estimates with their intervals, as text."""

import xarray as xr


def with_interval(estimate: xr.DataArray, digits: int = 2) -> str:
    """``mean [low, high]`` of an array whose only axis is ``estimate``."""
    mean, low, high = (float(estimate.sel(estimate=k)) for k in ("mean", "low", "high"))
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
