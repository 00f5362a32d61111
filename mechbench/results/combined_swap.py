"""Result of exchanging positions and attention to BOS together."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

CONDITIONS = ("clean", "POS", "BOS", "POS+BOS")


@dataclass(frozen=True, kw_only=True, eq=False)
class CombinedSwap(Result):
    """Attention from each answer position to C1, C2, ... and LD under four conditions.

    POS exchanges the position embeddings of C_a and C_b; BOS exchanges the two rows' attention to
    BOS in all heads where that costs more than ``threshold`` logits of any letter (``swapped`` is 1
    for these heads, axes (swap layer head)). ``attention`` (weights) has axes (head swap condition
    answer word prompt), ``attention_summary`` (estimate head swap condition answer word),
    ``logit_diff`` (logits) (swap condition prompt answer), ``logit_diff_summary`` (estimate swap
    condition answer). Estimate is mean, low, high of a 95 % bootstrap interval over prompts.
    ``control`` is the mean attention when as many other heads, drawn at random, are BOS-swapped
    (head swap answer word draw); NaN where too few other heads are left.
    """

    heads: tuple[str, ...]
    threshold: float
    against: str
    swapped: xr.DataArray
    attention: xr.DataArray
    attention_summary: xr.DataArray
    logit_diff: xr.DataArray
    logit_diff_summary: xr.DataArray
    control: xr.DataArray
