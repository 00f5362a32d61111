"""Result of path patching."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

TO_LOGITS = "logits"


@dataclass(frozen=True, kw_only=True, eq=False)
class PathPatching(Result):
    """The effect of every head along its paths into chosen receivers.

    ``effect`` (answer layer head prompt) is the metric with the paths patched minus the clean
    metric, so negative is damage; 0 for heads that come after all receivers. ``summary`` and
    ``control`` have (estimate answer layer head), where estimate is mean, low, high of a 95 %
    bootstrap interval over prompts; ``base`` (prompt answer) is the metric of the clean run.
    ``control`` sends a random direction of the same length; None where it was not asked for.

    ``receivers`` are inputs of heads such as "8.6.q", or "logits" alone. ``through_mlps`` says
    whether MLPs on the way saw the change. All are in units of ``metric``.
    """

    receivers: tuple[str, ...]
    through_mlps: bool
    metric: str
    corruption: str
    effect: xr.DataArray
    summary: xr.DataArray
    control: xr.DataArray | None
    base: xr.DataArray
