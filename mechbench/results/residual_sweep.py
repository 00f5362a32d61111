"""Result of patching the residual stream by layer and position."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result


@dataclass(frozen=True, kw_only=True, eq=False)
class ResidualSweep(Result):
    """Effects in logits: LD patched minus LD clean, so negative is damage.

    ``effect`` has axes (answer layer position prompt); ``summary`` and ``control`` have
    (estimate answer layer position), where estimate is mean, low, high of a 95 % bootstrap
    interval over prompts; ``base`` is LD of the clean run (prompt answer). ``control`` patches a
    random direction of the same length; None where it was not asked for.
    """

    corruption: str
    method: str
    against: str
    effect: xr.DataArray
    summary: xr.DataArray
    control: xr.DataArray | None
    base: xr.DataArray
