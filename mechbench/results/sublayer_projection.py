"""Result of reading what attention and MLPs write at the last token of two-hop prompts."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

SUBLAYER, READING = "sublayer", "reading"


@dataclass(frozen=True, kw_only=True, eq=False)
class SublayerProjection(Result):
    """Whether e2, e3 or the model's own prediction ranks first in a sublayer's output.

    ``sublayer`` is "attention" or "mlp", ``reading`` "e2", "e3" or "prediction". ``cells``
    (estimate group sublayer reading layer) is the share of queries in whose layer a token of the
    reading ranks first, ``share`` (estimate group sublayer reading) that of queries with any such
    layer, ``first`` (sublayer reading prompt) the first of them, NaN where there is none.
    ``control_cells`` and ``control_share`` are the same with the tokens of another query. All
    intervals are 95 % bootstrap intervals over prompts.
    """

    counts: dict[str, int]
    cells: xr.DataArray
    control_cells: xr.DataArray
    share: xr.DataArray
    control_share: xr.DataArray
    first: xr.DataArray
