"""Result of patching one site everywhere."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result


@dataclass(frozen=True, kw_only=True, eq=False)
class PatchSweep(Result):
    """Effects of patching ``site`` at every layer and every ``place``: head or position.

    ``direction`` is "noise" (corrupted into clean) or "denoise" (clean into corrupted). ``effect``
    (layer place prompt) is the metric patched minus unpatched, the mean over a prompt's answers.
    ``summary`` and ``control`` are (estimate layer place), where estimate is mean, low, high of a
    95 % bootstrap interval over prompts; the control writes a random direction of the same length,
    None where it was not asked for. ``share`` is the summary of effect / (other run - unpatched
    run): 0 nothing, 1 as far as the other run. ``base`` and ``other`` are the metric of the
    unpatched and the other run, (prompt). Layers that are not done yet are NaN.
    """

    site: str
    direction: str
    corruption: str
    metric_name: str
    effect: xr.DataArray
    summary: xr.DataArray
    share: xr.DataArray
    control: xr.DataArray | None
    base: xr.DataArray
    other: xr.DataArray

    @property
    def place(self) -> str:
        """The axis beside the layers: "head" or "position"."""
        return str(self.effect.dims[1])

    @property
    def done(self) -> bool:
        """True once every layer is."""
        return not bool(self.effect.isnull().any())
