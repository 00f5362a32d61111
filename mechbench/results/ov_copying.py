"""Result of restricting OV circuits to the capital letters."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

TOGETHER = "sum"


@dataclass(frozen=True, kw_only=True, eq=False)
class OVCopying(Result):
    """How far heads copy letters, in logits before the final norm's division.

    ``blocks`` has axes (source target member letter_from letter_to): what attending to a letter
    adds to each letter's logit. ``source`` and ``target`` are "X" or "␠X" (with a space); the
    members are heads and their "sum". ``hits`` is 1 where the diagonal is the largest of its row,
    and ``score`` (estimate source target member) the share of such rows, with a 95 % bootstrap
    interval over letters. ``head_scores`` has every head (source target layer head). ``control``
    is the score of the sum over as many random heads (draw source target).
    """

    heads: tuple[str, ...]
    embedding: str
    layer_norm: str
    blocks: xr.DataArray
    hits: xr.DataArray
    score: xr.DataArray
    head_scores: xr.DataArray
    control: xr.DataArray
