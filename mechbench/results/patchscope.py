"""Result of reading states by what a model makes of them in another prompt."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

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
    (sample source_layer target_layer shown) are continuations of the first prompts. ``n_patches``
    continuations were run by ``how``. Intervals are 95 % bootstrap intervals over prompts.
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
