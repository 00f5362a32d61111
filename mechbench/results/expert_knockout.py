"""Result of taking one expert out."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result


@dataclass(frozen=True, kw_only=True, eq=False)
class ExpertKnockout(Result):
    """What changes when one expert of one layer gets no weight, at all positions.

    The other experts share its part in proportion. Where experts are ``merged`` (their parameters
    are averaged for each segment) the expert is left out of the average; else tokens that chose it
    go to their other experts alone.

    ``loss`` (estimate scored domain) is the change of the mean cross-entropy in nats, positive
    where the model gets worse, over ``all tokens`` of a text or its ``answers``, from
    ``base_loss``; ``metric`` (estimate) is that of the task's ``metric_name``, negative where the
    model gets worse, from ``base_metric``. ``loss_random`` and ``metric_random`` are the same for
    another expert of the layer, drawn anew for each text and averaged over ``n_random`` draws: the
    control. ``loss_beyond`` and ``metric_beyond`` are the change minus the control, paired by text
    or prompt. Intervals are 95 % bootstrap intervals over the rows of a domain or the prompts.

    ``load`` (estimate domain) is the expert's mean share of a token's weights on the same texts,
    with an interval over rows; ``even_load`` is what an even load would give it.
    """

    layer: int
    expert: int
    n_experts: int
    merged: bool
    texts: str
    n_texts: int
    n_random: int
    metric_name: str
    even_load: float
    load: xr.DataArray
    loss: xr.DataArray
    loss_random: xr.DataArray
    loss_beyond: xr.DataArray
    base_loss: xr.DataArray
    metric: xr.DataArray
    metric_random: xr.DataArray
    metric_beyond: xr.DataArray
    base_metric: xr.DataArray
