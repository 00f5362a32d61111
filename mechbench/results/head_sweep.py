"""Result of patching head outputs by layer and head."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

WHERE = "where"
ALL_POSITIONS, AT_WORD, AT_ANSWER = "all positions", "C_i", "A_{i-1}"


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadSweep(Result):
    """Effects in logits: LD patched minus LD clean, so negative is damage.

    ``effect`` has axes (answer where layer head prompt); ``where`` is "all positions", "C_i" or
    "A_{i-1}". ``summary`` and ``control`` have (estimate answer where layer head), where estimate
    is mean, low, high of a 95 % bootstrap interval over prompts; ``base`` is LD of the clean run
    (prompt answer). ``control`` patches a random direction of the same length; None where it was
    not asked for.
    """

    corruption: str
    method: str
    against: str
    effect: xr.DataArray
    summary: xr.DataArray
    control: xr.DataArray | None
    base: xr.DataArray
