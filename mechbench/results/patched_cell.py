"""Result of looking at one patch closely."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

RUN, RANK, QUERY, KEY = "run", "rank", "query", "key"
RUNS = ("clean", "corrupted", "patched")


@dataclass(frozen=True, kw_only=True, eq=False)
class PatchedCell(Result):
    """One patch: what it does to the metric, to attention and to the likeliest tokens.

    ``run`` is clean, corrupted or patched. ``metric`` is (run prompt), the mean over answers;
    ``change`` (estimate) is patched minus unpatched, in the metric's units, with a 95 % bootstrap
    interval over prompts. ``pattern`` (run query key) is the attention of ``attention_head`` in
    ``attention_layer`` for the prompt number ``prompt``; None where the model forms no pattern.
    ``tokens`` are that prompt's, (run query) as text. ``top_token``, ``top_logit`` and
    ``top_prob`` (run rank) are the likeliest at its first answer's position.
    """

    site: str
    layer: int
    place: str
    direction: str
    metric_name: str
    prompt: int
    attention_layer: int
    attention_head: int
    metric: xr.DataArray
    change: xr.DataArray
    pattern: xr.DataArray | None
    tokens: xr.DataArray
    top_token: xr.DataArray
    top_logit: xr.DataArray
    top_prob: xr.DataArray
