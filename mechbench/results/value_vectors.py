"""Result of looking for the neurons that write the first label where it is wrong."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

RANK, WHICH, TOP, RANDOM = "rank", "which", "largest", "random active"
ABOVE, MEAN_LENS, MEAN_DIRECT = "above threshold", "lens gap", "direct gap"


@dataclass(frozen=True, kw_only=True, eq=False)
class ValueVectors(Result):
    """Neurons "layer.neuron" whose value vectors pull to the first label at the last position.

    In each layer and prompt the ``k`` neurons with the largest |activation| * norm of the value
    vector are looked at; those whose lens gap logit(first label) - logit(right label), of
    activation * value vector + the MLP's output bias, is above ``threshold`` logits are kept.
    ``neurons`` are those kept in at least ``min_share`` of the ``n_items`` prompts (which
    ``items`` names), most often kept first; there may be none.

    The axis ``neuron`` lists the strongest candidates, found or not: ``kept`` (estimate neuron) is
    the share of prompts in which one is kept; ``lens`` and ``direct`` (estimate neuron), in logits,
    are its lens gap and its part of the run's own gap (with the final norm's divisor of the run;
    these add up), ``activation`` (estimate neuron) its activation, over all the prompts; ``norm``
    (neuron) that of its value vector; ``promoted`` (neuron rank) the tokens that its value vector
    raises most. A negative activation turns them round.

    ``by_layer`` (estimate measure which layer) sets the k largest neurons beside as many random
    active ones (the control): share of them above the threshold, mean lens gap and mean direct gap.

    Intervals are 95 % bootstrap intervals over prompts.
    """

    items: str
    n_items: int
    k: int
    threshold: float
    min_share: float
    neurons: tuple[str, ...]
    kept: xr.DataArray
    lens: xr.DataArray
    direct: xr.DataArray
    activation: xr.DataArray
    norm: xr.DataArray
    promoted: xr.DataArray
    by_layer: xr.DataArray
