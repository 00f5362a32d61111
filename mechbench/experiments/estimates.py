"""Estimates with their intervals, as text."""

from typing import SupportsFloat

import xarray as xr


def with_interval(estimate: xr.DataArray, digits: int = 2) -> str:
    """``mean [low, high]`` of an array whose only axis is ``estimate``."""
    mean, low, high = (number(estimate.sel(estimate=k), digits) for k in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def number(value: SupportsFloat, digits: int = 2) -> str:
    """A number with so many decimals; what rounds to zero has no sign."""
    text = f"{float(value):.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text
