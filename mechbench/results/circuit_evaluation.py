"""Result of adding heads one by one to an otherwise mean-ablated model."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

NOTHING = "nothing"


@dataclass(frozen=True, kw_only=True, eq=False)
class CircuitEvaluation(Result):
    """LD in logits while all heads outside a growing set are mean-ablated; MLPs are untouched.

    The axis ``step`` is "nothing" (all heads ablated), then the heads in the order they were
    added. ``values`` has axes (step prompt answer); ``summary`` (estimate step answer), estimate
    being mean, low, high of a 95 % bootstrap interval over prompts; ``spread`` the standard
    deviation over prompts (step answer). ``full`` and ``full_summary`` are the intact model,
    (prompt answer) and (estimate answer). ``control`` is mean LD with as many random heads added
    instead, (step draw answer).

    LD above the intact model's is not extra faithfulness: heads that oppose the answer are ablated.
    """

    order: tuple[str, ...]
    chosen_by: str
    against: str
    method: str
    values: xr.DataArray
    summary: xr.DataArray
    spread: xr.DataArray
    full: xr.DataArray
    full_summary: xr.DataArray
    control: xr.DataArray
