"""Result of keeping one position of two-hop prompts from looking at another."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

PAIR = "pair"


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionKnockout(Result):
    """What masking one attention entry does in all heads of a window of layers.

    ``pair`` says who may not look where: "t2 to t1" is the last token to the end of the first hop's
    phrase. The window of a ``layer`` reaches ``window`` layers to each side. ``method`` is
    "generate" (the greedy text of at most ``n_new`` tokens) or "argmax" (its first token).

    ``change`` (estimate group pair layer) is the answer's log-probability with the mask minus
    without, in nats, negative is damage; ``matters`` (estimate group pair layer) the share of
    queries whose answer changes, those that name e3 both times left out. ``anywhere`` (estimate
    group pair) is the share for which any layer matters, ``first`` (pair prompt) the first such
    layer, NaN where there is none. Names with ``control`` are the same for another key position,
    drawn by the seed. ``base`` (estimate group) is the log-probability without a mask. All
    intervals are 95 % bootstrap intervals over prompts.
    """

    method: str
    n_new: int
    window: int
    counts: dict[str, int]
    base: xr.DataArray
    change: xr.DataArray
    control_change: xr.DataArray
    matters: xr.DataArray
    control_matters: xr.DataArray
    anywhere: xr.DataArray
    control_anywhere: xr.DataArray
    first: xr.DataArray
