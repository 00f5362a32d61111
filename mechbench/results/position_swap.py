"""Result of exchanging the position embeddings of two words."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

CONDITIONS = ("clean", "C rows swapped", "T rows swapped")


@dataclass(frozen=True, kw_only=True, eq=False)
class PositionSwap(Result):
    """Attention from each answer position to C1, C2, ... and LD, with positions exchanged.

    The axis ``condition`` is "clean", "C rows swapped" (position embeddings of C_a and C_b) and, as
    the control, "T rows swapped" (of the last tail tokens of the same words). ``attention``
    (weights) has axes (head swap condition answer word prompt) and ``attention_summary`` (estimate
    head swap condition answer word); ``logit_diff`` (logits) has (swap condition prompt answer) and
    ``logit_diff_summary`` (estimate swap condition answer). Estimate is mean, low, high of a 95 %
    bootstrap interval over prompts.
    """

    heads: tuple[str, ...]
    against: str
    attention: xr.DataArray
    attention_summary: xr.DataArray
    logit_diff: xr.DataArray
    logit_diff_summary: xr.DataArray
