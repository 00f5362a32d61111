"""Result of editing chosen value vectors and asking the same questions again."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

CHOSEN = "chosen neurons"


@dataclass(frozen=True, kw_only=True, eq=False)
class EditedChoices(Result):
    """Answers before and after v <- v - lambda1 W_U[first label] + lambda2 target in the weights.

    ``neurons`` ("layer.neuron") are edited all together. ``target`` says what is put in: each
    prompt's "right label" (``uses_right_label``: the edit is then told the answer), nothing
    ("λ2 = 0"), the "mean of later" labels that a prompt offers, or one later label for all prompts
    ("always B"). The axis ``edit`` has "no edit", the "chosen neurons", and the control: as many
    "random neurons" of the same layers, active at the last position, under the same edit; they
    were drawn several times (``random`` names them), and their numbers are means over draws.

    ``rates`` (estimate measure edit argmax items) are shares of prompts: "accuracy" and "answered
    first label", which is the anchored rate where ``items`` are those with the "gold later"; the
    other items are those that fail without an edit, those whose right option is the first, and
    all; ``n`` (items) counts them. ``change`` (estimate measure edit argmax items) is that minus
    no edit, and ``beyond_random`` (estimate measure argmax items) chosen minus random neurons, both
    paired by prompt: positive accuracy helps, positive "answered first label" does not.
    ``confusion`` (estimate edit argmax gold answered) are shares of answers by right option, rows
    summing to 1 and NaN where no prompt has that right option; ``counts`` (edit argmax gold
    answered) are the prompts behind them. ``restored`` says whether every edited matrix was as
    before afterwards, bit for bit.

    Intervals are 95 % bootstrap intervals over the prompts that a number is about.
    """

    neurons: tuple[str, ...]
    target: str
    lambda1: float
    lambda2: float
    uses_right_label: bool
    random: tuple[tuple[str, ...], ...]
    rates: xr.DataArray
    change: xr.DataArray
    beyond_random: xr.DataArray
    confusion: xr.DataArray
    counts: xr.DataArray
    n: xr.DataArray
    restored: bool
