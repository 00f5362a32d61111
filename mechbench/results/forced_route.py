"""Result of forcing one token through or past one block."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

MEASURE, STATE, RANK = "measure", "state", "rank"
LOSS, METRIC = "next-token loss", "task metric"
MEASURES = (LOSS, METRIC)
OWN, FORCED = "own", "forced"
STATES = (OWN, FORCED)


@dataclass(frozen=True, kw_only=True, eq=False)
class ForcedRoute(Result):
    """One position of every prompt forced ``to`` go through or past the routed block ``layer``.

    ``to`` is "through", "past" or "other" (the other way than the router decides). ``state`` is the
    model's own routes or the forced ones; later routers decide again. ``measure`` is the mean
    "next-token loss" of a prompt (nats, positive change is damage) and the "task metric", whose
    name and units are ``metric_name`` and ``metric_units`` (negative change is damage). Prompts are
    those of ``run``, "clean" or "corrupted".

    ``through`` (prompt) is the router's own decision and ``weight`` (prompt) its weight at this
    position. ``values`` (measure state prompt) are measured with both; ``change`` (measure prompt)
    is forced minus own, NaN in prompts whose decision was the forced one already. ``summary``
    (estimate measure) is its mean over the ``n_changed`` others, with a 95 % bootstrap interval
    over them. ``random`` (estimate measure) is the control: the same turn at another position of
    the block that was decided alike, drawn ``n_random`` times for each prompt, over the
    ``n_compared`` prompts that have such a position. NaN where there are no such prompts, and
    without an interval where there is one.

    ``rerouted`` (layer) is the mean number of tokens whose route at later blocks changed. Of prompt
    number ``prompt``: ``tokens`` (position), its ``routes`` (state layer position), and
    ``top_token``, ``top_prob`` and ``top_logit`` (state rank) at its first answer's position.
    """

    mode: str
    capacity: float
    threshold: float
    layer: int
    position: int
    to: str
    run: str
    prompt: int
    n_changed: int
    n_random: int
    n_compared: int
    metric_name: str
    metric_units: str
    through: xr.DataArray
    weight: xr.DataArray
    values: xr.DataArray
    change: xr.DataArray
    summary: xr.DataArray
    random: xr.DataArray
    rerouted: xr.DataArray
    tokens: xr.DataArray
    routes: xr.DataArray
    top_token: xr.DataArray
    top_prob: xr.DataArray
    top_logit: xr.DataArray
