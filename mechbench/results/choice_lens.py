"""Result of reading what MLPs and attention write at the last position of failing prompts."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

PART, MLP, ATTENTION = "part", "mlp", "attention"


@dataclass(frozen=True, kw_only=True, eq=False)
class ChoiceLens(Result):
    """Gaps logit(first label) - logit(right label), in logits: positive pulls to the first label.

    The axis ``part`` is what a layer's MLP, or its attention, writes at the last position. The
    axis ``reading`` tells two readings apart: "lens" puts the vector alone through the final norm
    and the unembedding, biases included, so it is normalised by its own size and the parts do not
    add up; "direct" keeps the final norm's divisor of the run, so the parts are parts of the run's
    own gap ``total`` (estimate).

    ``gap`` (estimate reading part layer) is the mean over ``n_items`` prompts, those that ``items``
    names ("failing" or "gold later"), and ``values`` (reading part layer prompt) are its entries;
    ``prompt`` holds their indices in the task. Controls: ``permuted`` is the gap against another
    prompt's right label; ``not_failing`` that of the ``n_others`` prompts whose right option is a
    later one and that were not looked at; None where there are fewer than two.

    Intervals are 95 % bootstrap intervals over prompts.
    """

    items: str
    n_items: int
    n_others: int
    gap: xr.DataArray
    permuted: xr.DataArray
    not_failing: xr.DataArray | None
    values: xr.DataArray
    total: xr.DataArray
