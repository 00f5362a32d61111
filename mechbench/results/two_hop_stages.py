"""Result of dating the stages of two-hop queries."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

STAGE, EVENT = "stage", "event"
STAGES = (
    "first hop resolved",
    "information propagates",
    "second hop resolved",
    "prediction extracted",
)
EVENTS = (
    "e2 decoded at t1",
    "attention from t2 to t1 matters",
    "attention writes e2 at t2",
    "e2 decoded at t2",
    "e3 decoded at t2",
    "MLP writes the prediction at t2",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class TwoHopStages(Result):
    """The layer at which each stage of a query is first seen, if it is seen at all.

    ``events`` (event prompt) is the first layer of each event, NaN where it was not found, and
    ``layers`` (stage prompt) that of each stage: of the second one the mean of the three events
    that were found. ``sets`` (prompt) says which group a query is in, ``counts`` how many there
    are.

    ``detected`` (estimate group stage) is the share of queries in which a stage was seen at all,
    ``control`` (estimate group stage) the same with the entities, tokens and positions of the
    events' controls, ``mean`` (estimate group stage) the mean layer where it was, ``median`` (group
    stage) its median. A stage that is not seen is not absent, and missing ones are in no mean: read
    ``detected`` beside it. All intervals are 95 % bootstrap intervals over prompts.
    """

    prompt: str
    decoding: str
    method: str
    window: int
    n_layers: int
    counts: dict[str, int]
    sets: xr.DataArray
    events: xr.DataArray
    layers: xr.DataArray
    detected: xr.DataArray
    control: xr.DataArray
    mean: xr.DataArray
    median: xr.DataArray
