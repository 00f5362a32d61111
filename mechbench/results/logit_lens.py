"""Result of reading the residual stream after every block as if it were the last."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

RESIDUAL, SHOWN = "residual", "shown"


@dataclass(frozen=True, kw_only=True, eq=False)
class LogitLens(Result):
    """What the model would answer if it stopped early.

    The axis ``residual`` counts from the embedding: "0_pre", "0_mid", "1_pre", ..., "final_post"
    (no "mid" where attention and MLP run side by side). ``metric`` (the task's, in its units),
    ``log_prob`` of the answer (nats) and ``rank`` of its logit (0 is the largest) have axes
    (residual prompt answer) and are read at the answers' positions. ``metric_summary``,
    ``log_prob_summary`` and ``control`` (the log-probability of the next prompt's answers) are
    means over answers (estimate residual), with 95 % bootstrap intervals over prompts;
    ``median_rank`` is over prompts and answers (residual). ``by_position`` (residual position
    answer) is the mean log-probability of the answer read at any position. ``top_token`` and
    ``top_prob`` (shown residual position) are the likeliest tokens of the first prompts, whose
    tokens are ``tokens`` (shown position).
    """

    metric_name: str
    metric: xr.DataArray
    log_prob: xr.DataArray
    rank: xr.DataArray
    metric_summary: xr.DataArray
    log_prob_summary: xr.DataArray
    control: xr.DataArray
    median_rank: xr.DataArray
    by_position: xr.DataArray
    top_token: xr.DataArray
    top_prob: xr.DataArray
    tokens: xr.DataArray
