"""Result of reading what heads bring from the labels to the last position."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

PLACE, AT_FIRST, AT_RIGHT, AT_RANDOM = "place", "first label", "right label", "random position"
PLACES = (AT_FIRST, AT_RIGHT, AT_RANDOM)


@dataclass(frozen=True, kw_only=True, eq=False)
class ChoiceHeads(Result):
    """What each head moves to the last position from three places of failing prompts.

    ``gap`` (estimate reading place layer head), in logits, is logit(first label) - logit(right
    label) of pattern * value @ W_O at one place: the "first label" of the choices, the "right
    label", or a "random position" before the last that is neither (the control). ``at`` says
    whether a place is the label itself ("label") or the end of the option's text ("option").
    Readings are "lens" (the vector alone through final norm and unembedding: a head that hardly
    attends there is blown up to full size) and "direct" (with the run's divisor; adds up).
    ``attention`` (estimate place layer head) is the weight itself. The means are over ``n_items``
    prompts, those that ``items`` names; intervals are 95 % bootstrap intervals over prompts.
    """

    items: str
    n_items: int
    at: str
    gap: xr.DataArray
    attention: xr.DataArray
