"""Result of rewriting the value vectors that say the first label."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

EDITED, TOGETHER, LAMBDA2 = "edited", "all together", "lambda2"


@dataclass(frozen=True, kw_only=True, eq=False)
class ValueVectorUpdate(Result):
    """Answers after v <- v - lambda1 W_U[first label] + lambda2 target, for some neurons.

    The axis ``edit`` says what the target is: each prompt's "right label" (which tells the model
    the answer), nothing, one later label for all prompts ("always B"), the mean of the later
    labels that a prompt offers, or the right label on random active neurons of the same layers
    (``n_random`` draws, averaged); "no edit" is the model itself. ``uses_right_label`` says of
    each edit whether it is told the right label, and ``statement`` what that means. The axis
    ``edited`` holds each neuron ("layer.neuron") by itself, and all of them together.

    ``rates`` (estimate measure edit edited argmax items) are shares of prompts: "accuracy", and
    "answered first label"; ``items`` are the prompts that fail without an edit, those whose right
    option is the first, a later one, and all; ``n`` (items) counts them. ``probability`` (estimate
    edit edited items) is the mean probability of the right label. ``curve`` (estimate measure
    lambda2 edited argmax items) is the right-label edit as lambda2 grows. ``confusion`` (estimate
    edit argmax gold answered) are shares of answers by right option under the edits of all neurons
    together.

    Edits were computed by adding activation * change to what the MLPs write; on ``n_checked``
    prompts they were also written into the weights one prompt at a time, which gave the labels'
    log-probabilities to ``largest_difference`` nats, and afterwards every weight was ``restored``
    bit for bit.

    Intervals are 95 % bootstrap intervals over the prompts that a number is about.
    """

    neurons: tuple[str, ...]
    lambda1: float
    lambda2: float
    n_random: int
    uses_right_label: dict[str, bool]
    statement: str
    rates: xr.DataArray
    probability: xr.DataArray
    n: xr.DataArray
    curve: xr.DataArray
    confusion: xr.DataArray
    n_checked: int
    largest_difference: float
    restored: bool
