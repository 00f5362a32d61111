"""Result of patching several cells of a sweep at once."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

CELL = "cell"


@dataclass(frozen=True, kw_only=True, eq=False)
class JointPatch(Result):
    """Effects of patching ``site`` at several cells, one by one and together.

    ``cell`` is labelled "layer.place", where ``place`` is the axis "head" or "position". ``single``
    (cell prompt) and ``joint`` (prompt) are the metric patched minus unpatched, the mean over
    answers, in its own units. ``single_summary`` (estimate cell), ``joint_summary``, ``total``
    (estimate), the sum of the single effects, ``beyond`` (estimate), joint minus that sum, and
    ``control`` (estimate), random directions of the same lengths at all cells together, are means
    with 95 % bootstrap intervals over prompts. ``beyond`` is zero where the cells add up; with
    ``joint`` nearer to zero than ``total`` they do the same work, farther, they need each other.
    """

    site: str
    place: str
    direction: str
    metric_name: str
    single: xr.DataArray
    joint: xr.DataArray
    single_summary: xr.DataArray
    joint_summary: xr.DataArray
    total: xr.DataArray
    beyond: xr.DataArray
    control: xr.DataArray
