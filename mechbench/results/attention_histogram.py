"""Result of reading attention at the positions that predict the letters."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionHistogram(Result):
    """Attention weights (0 to 1) of heads at the answer positions, over keys, BOS included.

    ``pattern`` has axes (head answer key prompt); ``summary`` (estimate head answer key), estimate
    being mean, low, high of a 95 % bootstrap interval over prompts; ``spread`` the standard
    deviation over prompts (head answer key). ``control`` is the mean over all other heads of the
    model (answer key).
    """

    heads: tuple[str, ...]
    pattern: xr.DataArray
    summary: xr.DataArray
    spread: xr.DataArray
    control: xr.DataArray
