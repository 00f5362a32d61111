"""Result of exchanging attention between the first and the right label."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

SWAP, HEADS = "swap", "heads"
UNCHANGED, LABELS_SWAPPED = "unchanged", "first and right label"
RANDOM_HEADS, OTHERS_SWAPPED = "random heads", "two other positions"


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionRecalibration(Result):
    """Answers when heads exchange their attention to two positions, at the last position.

    ``heads`` are the strongest first, given or ``chosen`` on ``n_calibration`` other failing
    prompts by the direct gap logit(first label) - logit(right label) of what they bring from the
    first label ("gap" (heads), logits; none where they were given). The axis ``heads`` is how many
    of them are swapped together. ``at`` says whether positions are of the "label" or the end of
    the "option".

    ``rates`` (estimate measure swap heads argmax items) are shares of the test prompts: "accuracy"
    and "answered first label", on those that fail, whose right option is the first, a later one,
    and all; ``n`` (items) counts them. Swaps: unchanged; the first and the right label's
    attention; the same in as many random heads (``n_random`` draws, averaged); and that of two
    other random positions in the heads themselves. ``probability`` (estimate swap heads items) is
    that of the right label. ``attention`` (estimate place heads) is the mean weight that each of
    the heads gives the first and the right label of failing test prompts. Swapping uses the right
    label: ``statement`` says so. Intervals are 95 % bootstrap intervals over the prompts that a
    number is about.
    """

    heads: tuple[str, ...]
    chosen: bool
    gap: xr.DataArray | None
    n_calibration: int
    n_random: int
    at: str
    statement: str
    rates: xr.DataArray
    probability: xr.DataArray
    attention: xr.DataArray
    n: xr.DataArray
