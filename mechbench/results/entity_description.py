"""Result of asking what states of two-hop prompts describe."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

SHOWN = "shown"


@dataclass(frozen=True, kw_only=True, eq=False)
class EntityDescription(Result):
    """Which entity of a query is decoded from a state, by position and by both layers.

    ``where`` names the position of the state in the main prompt: "t1" (the end of the first hop's
    phrase), "t2" (the last token), "e1", "r1" or "r2". ``method`` is "sample" (an entity is decoded
    where any of ``n_samples`` continuations describes it), "greedy" or "argmax" (the first token);
    ``prompt`` is the target prompt. ``counts`` says how many queries each group has.

    ``share`` (estimate group where entity) is the share of queries with at least one pair of
    layers that decodes the entity, and ``cells`` (estimate group where entity source_layer
    target_layer) that of each pair. ``first`` (where entity prompt) is the first such source layer,
    NaN where there is none, and ``first_share`` (estimate group where entity source_layer) the
    share of queries whose first it is. Not decoded is not absent: early states are under-detected.

    ``control_share`` and ``control_cells`` are the same continuations scored against the entities
    of another query. ``examples`` (where source_layer target_layer shown) are continuations of the
    first queries. All intervals are 95 % bootstrap intervals over prompts.
    """

    prompt: str
    method: str
    n_samples: int
    counts: dict[str, int]
    share: xr.DataArray
    control_share: xr.DataArray
    cells: xr.DataArray
    control_cells: xr.DataArray
    first: xr.DataArray
    first_share: xr.DataArray
    examples: xr.DataArray
