"""Result of attributing the answers' logits to components."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

COMPONENT = "component"


@dataclass(frozen=True, kw_only=True, eq=False)
class DirectAttribution(Result):
    """Direct parts in logits; positive means that the component favours the answer.

    ``parts`` has axes (component prompt answer) and sums over components to ``value`` (prompt
    answer), the model's own reading, up to ``largest_error``. ``reading`` says in words what was
    attributed. ``summary`` (estimate component) and ``heads`` (estimate layer head; None where
    whole attention layers were asked for) are means over answers with 95 % bootstrap intervals
    over prompts, and so are ``value_summary`` (estimate) and ``control`` (estimate component): the
    same parts towards the answers of the next prompt.
    """

    reading: str
    parts: xr.DataArray
    summary: xr.DataArray
    heads: xr.DataArray | None
    control: xr.DataArray
    value: xr.DataArray
    value_summary: xr.DataArray
    largest_error: float
