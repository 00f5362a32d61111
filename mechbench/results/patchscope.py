"""Result of reading states by what a model makes of them in another prompt."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result
from mechbench.results.query_groups import SOURCE_LAYER, TARGET_LAYER

SAMPLE, SHOWN = "sample", "shown"


@dataclass(frozen=True, kw_only=True, eq=False)
class Patchscope(Result):
    """What a target model says when a state of the source replaces its own, for pairs of layers.

    ``where`` is the position of the states, ``prompt`` the target prompt, ``target`` the model that
    reads it and ``mapping`` what stands between the two. ``method`` is "sample", "greedy" or
    "argmax" (the first token); continuations have at most ``n_new`` tokens.

    ``share`` (estimate source_layer target_layer) is the share of prompts whose continuation (any
    sample of it) says the task's answer, ``control`` the same for the answer of the next prompt.
    ``norms`` (target_layer) is the root mean square of the change that was written. ``texts``
    (sample source_layer target_layer shown) are continuations of the first prompts, ``read`` these
    prompts up to the state and ``answers`` their answers. ``n_patches`` continuations were run by
    ``how``. Intervals are 95 % bootstrap intervals over prompts.
    """

    where: str
    prompt: str
    target: str
    mapping: str
    method: str
    n_new: int
    how: str
    n_patches: int
    share: xr.DataArray
    control: xr.DataArray
    norms: xr.DataArray
    texts: xr.DataArray
    read: tuple[str, ...]
    answers: tuple[str, ...]

    def say(self, cell: tuple[int, int]) -> str:
        """The share of a pair of layers and its control, with intervals, in words.

        ``cell`` counts the rows and columns of ``share``.
        """
        parts = []
        for values in (self.share, self.control):
            at = values.isel({SOURCE_LAYER: cell[0], TARGET_LAYER: cell[1]})
            mean, low, high = (float(at.sel(estimate=e)) for e in ("mean", "low", "high"))
            parts.append(f"{mean:.2f} [{low:.2f}, {high:.2f}]")
        return f"Says the answer: {parts[0]}; the next prompt's answer: {parts[1]}."
