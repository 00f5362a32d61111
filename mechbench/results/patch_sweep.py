"""Result of patching one site everywhere."""

from dataclasses import dataclass

import numpy as np
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

    def at(self, layer: int, place: int) -> dict[str, tuple[float, float, float]]:
        """Mean, low and high of one cell's "change", "share" and, where it has one, "control"."""
        parts = {"change": self.summary, "share": self.share, "control": self.control}
        return {
            name: _three(values.isel({"layer": layer, self.place: place}))
            for name, values in parts.items()
            if values is not None
        }

    def interval(self, shown: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Low and high of "effect", "share" or "control", (layer place); None where it is not."""
        parts = {"effect": self.summary, "share": self.share, "control": self.control}
        values = parts[shown]
        if values is None:
            return None
        low, high = (values.sel(estimate=name).transpose("layer", self.place) for name in _ENDS)
        return low.values, high.values


_ENDS = ("low", "high")


def _three(values: xr.DataArray) -> tuple[float, float, float]:
    mean, low, high = (float(values.sel(estimate=name)) for name in ("mean", "low", "high"))
    return mean, low, high
