"""Result of reading a model's answers to both prompts of each pair."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

RUN = "run"
RUNS = ("clean", "corrupted")


@dataclass(frozen=True, kw_only=True, eq=False)
class PairLogits(Result):
    """What the model says to clean and to corrupted prompts.

    ``metric`` is (run prompt), the mean over a prompt's answers, in its own units; ``summary``
    (estimate run) and ``change`` (estimate), clean minus corrupted, have 95 % bootstrap intervals
    over prompts. ``log_prob`` is (run prompt answer) of the answers, in nats, and ``shuffled`` that
    of the next prompt's answers, the control. Texts: ``tokens`` (run prompt position), ``answers``
    (prompt answer), ``top_token`` (run prompt answer), the likeliest, with its ``top_prob``.
    """

    metric_name: str
    metric: xr.DataArray
    summary: xr.DataArray
    change: xr.DataArray
    log_prob: xr.DataArray
    shuffled: xr.DataArray
    tokens: xr.DataArray
    answers: xr.DataArray
    top_token: xr.DataArray
    top_prob: xr.DataArray

    @property
    def difference(self) -> xr.DataArray:
        """Clean minus corrupted metric of each prompt, (prompt), in the metric's units."""
        clean, corrupted = (self.metric.sel({RUN: run}, drop=True) for run in RUNS)
        return (clean - corrupted).assign_attrs(units=self.metric.attrs["units"])
