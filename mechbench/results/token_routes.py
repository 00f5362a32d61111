"""Result of looking which tokens of which prompt go through which block."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

RUN = "run"
RUNS = ("clean", "corrupted")


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenRoutes(Result):
    """Which tokens go through which routed block, in both prompts of every pair.

    ``run`` is clean or corrupted. ``through`` (run prompt layer position) is the decision,
    ``weights`` (likewise) what the router multiplies the block's output by, whether or not it is
    used, and ``tokens`` (run prompt position) the text. ``n_tokens`` (run prompt layer) counts the
    tokens that go through a block and ``n_blocks`` (run prompt position) the blocks that a token
    goes through. ``share`` (estimate run layer) is the share of tokens that go through.

    ``agreement`` (estimate layer) is the share of positions at which both prompts of a pair are
    decided alike; ``agreement_other`` is the same for the clean prompts of two different pairs, the
    control. ``metric`` (run prompt) is the task's, with these routes. The prompts were routed in
    ``mode``, of which ``capacity`` (in "topk" and "random") and ``threshold`` (in "aux_threshold")
    are settings. Intervals are 95 % bootstrap intervals over prompts.
    """

    mode: str
    capacity: float
    threshold: float
    metric_name: str
    metric_units: str
    through: xr.DataArray
    weights: xr.DataArray
    tokens: xr.DataArray
    n_tokens: xr.DataArray
    n_blocks: xr.DataArray
    share: xr.DataArray
    agreement: xr.DataArray
    agreement_other: xr.DataArray
    metric: xr.DataArray
