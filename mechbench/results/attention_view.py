"""Result of looking at the attention of one layer's heads in one prompt."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result
from mechbench.shapes import HEAD

QUERY, KEY = "query", "key"
RUNS = ("clean", "corrupted")


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionView(Result):
    """Where the heads of ``layer`` look in prompt number ``prompt`` of the run ``run``.

    ``pattern`` (head query key) are attention weights; a row (query) sums to 1 over the keys. Heads
    are labelled "2.1". ``tokens`` (query) are the prompt's as text, position 0 included, and
    ``token_ids`` (query) their ids.
    """

    layer: int
    prompt: int
    run: str
    pattern: xr.DataArray
    tokens: xr.DataArray
    token_ids: xr.DataArray

    @property
    def heads(self) -> tuple[str, ...]:
        """The labels of the heads."""
        return tuple(str(head) for head in self.pattern[HEAD].values)
