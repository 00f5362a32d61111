"""Result of comparing attention to a letter with the logit that a head gives it."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result


@dataclass(frozen=True, kw_only=True, eq=False)
class CopyScatter(Result):
    """A straight line means copying: the more a head attends to C_j, the more it writes letter j.

    ``attention`` is the weight from the position that predicts letter i to C_j, ``written`` the
    logit that the head's output adds to letter j of that prompt (before the final norm's division,
    counted from the vocabulary's mean): axes (head answer word prompt). ``slope`` (logits per unit
    of attention) and ``correlation`` are of one line per head through all points, axes (estimate
    head), estimate being mean, low, high of a 95 % bootstrap interval over prompts. The controls
    are the same with the letters of another prompt.
    """

    heads: tuple[str, ...]
    attention: xr.DataArray
    written: xr.DataArray
    slope: xr.DataArray
    intercept: xr.DataArray
    correlation: xr.DataArray
    slope_control: xr.DataArray
    correlation_control: xr.DataArray
