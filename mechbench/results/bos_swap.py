"""Result of exchanging two words' attention to BOS, one head at a time."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result


@dataclass(frozen=True, kw_only=True, eq=False)
class BOSSwap(Result):
    """Effects in logits: LD swapped minus LD clean, so negative is damage.

    ``effect`` has axes (swap answer layer head prompt); ``summary`` and ``control`` have (estimate
    swap answer layer head), estimate being mean, low, high of a 95 % bootstrap interval over
    prompts; ``base`` is LD of the clean run (prompt answer). The control exchanges the same rows'
    attention to the token after BOS instead.
    """

    against: str
    effect: xr.DataArray
    summary: xr.DataArray
    control: xr.DataArray
    base: xr.DataArray
