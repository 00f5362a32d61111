"""Result of following a circuit's heads over training."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result


@dataclass(frozen=True, kw_only=True, eq=False)
class CircuitFormation(Result):
    """The same heads, measured in each training snapshot (axis ``step``, in optimiser steps).

    ``accuracy`` (estimate step answer) is the share of prompts whose letter has the largest logit
    of the 26 capitals. ``logit_diff`` (estimate part step answer), in logits, is LD of the intact
    model ("full"), with only the circuit's heads kept ("circuit") and with all heads mean-ablated
    ("nothing"). ``effect`` (estimate step head answer), in logits, is LD with one head mean-ablated
    minus LD: negative means that the head helps; ``effect_control`` (step answer) is the mean over
    all other heads. ``copying`` (step head) is the share of letters that a head's OV circuit copies
    (␠X to X, through MLP 0), ``copying_control`` (step) the mean over all other heads.
    ``attention`` (kind step head) is mean attention to the word and to the token before. The answer
    "all letters" is the mean over letters. Estimate is mean, low, high of a 95 % bootstrap interval
    over prompts.
    """

    heads: tuple[str, ...]
    roles: dict[str, str]
    chosen_by: str
    accuracy: xr.DataArray
    logit_diff: xr.DataArray
    effect: xr.DataArray
    effect_control: xr.DataArray
    copying: xr.DataArray
    copying_control: xr.DataArray
    attention: xr.DataArray
