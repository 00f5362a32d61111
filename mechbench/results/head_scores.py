"""Result of scoring heads by what they attend to and whether they copy."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

KIND = "kind"
PREVIOUS, DUPLICATE, INDUCTION = "previous token", "duplicate token", "induction"
KINDS = (PREVIOUS, DUPLICATE, INDUCTION)
RANDOM, TASK = "random", "task"


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadScores(Result):
    """Attention and copying scores of every head.

    ``scores`` (estimate kind layer head) is the attention to a kind's keys, a mean over the queries
    that have such keys and over prompts, with a 95 % bootstrap interval over prompts; NaN where no
    query has any. ``control`` has the same axes: the same query and key positions on prompts that
    are not repeated (or on the task's corrupted prompts). ``uniform`` (kind) is what attention
    spread evenly over all visible tokens would score. ``detected`` (kind layer head) is the form of
    TransformerLens' head detector: the share of all attention, "mul", nothing excluded.

    ``copying`` (layer head) lies between -1 and 1: sum(Re λ) / sum(|λ|) over the eigenvalues of
    W_E W_V W_O W_U. ``copying_control`` (draw) has heads of Gaussian weights. ``copied`` (estimate
    layer head) is the share of ``n_tokens`` random tokens whose own logit is among the ``n_top``
    largest that attending to them writes, with an interval over tokens; None where not asked for.
    """

    on: str
    prompts: str
    n_scored: int
    n_tokens: int
    n_top: int
    scores: xr.DataArray
    control: xr.DataArray
    uniform: xr.DataArray
    detected: xr.DataArray
    copying: xr.DataArray
    copying_control: xr.DataArray
    copied: xr.DataArray | None
