"""Result of searching for a circuit and testing it on other prompts."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

MOVER, PREVIOUS_TOKEN, PROPAGATOR, OTHER = (
    "letter mover",
    "previous token",
    "propagator",
    "other",
)
TO_WORD = "attention to C_i, T_i, T_{i-1}"
TO_PREVIOUS = "attention to the token before"
TO_EARLIER = "attention to earlier T_j and A_j"
DIRECT = "direct effect"
DIRECT_LOW = "direct effect, lower bound"
OV_DIAGONAL = "OV diagonal score"
EFFECT_WORD = "effect of the current word"
EFFECT_WORDS_AT_ANSWER = "effect of previous words at A_{i-1}"
EFFECT_LETTERS_AT_ANSWER = "effect of previous letters at A_{i-1}"
FEATURES = (
    TO_WORD,
    TO_PREVIOUS,
    TO_EARLIER,
    DIRECT,
    DIRECT_LOW,
    OV_DIAGONAL,
    EFFECT_WORD,
    EFFECT_WORDS_AT_ANSWER,
    EFFECT_LETTERS_AT_ANSWER,
)
ALL_LETTERS = "all letters"
PARTS = ("full", "nothing", "circuit", "rest")


@dataclass(frozen=True, kw_only=True, eq=False)
class CircuitSearch(Result):
    """A proposed circuit and its tests.

    ``heads`` are in the order they were added, with ``roles`` and the ``thresholds`` that gave
    them; ``features`` (feature layer head) are what the roles were read from. ``growth`` is the
    share of LD recovered on the search prompts (step answer); ``reached`` tells whether every
    letter recovered ``target_share`` there.

    The tests are on ``n_test`` other prompts. ``logit_diff`` (part prompt answer), in logits, is LD
    of the intact model ("full"), with all heads mean-ablated ("nothing"), with only the circuit
    kept ("circuit"), and with only the circuit ablated ("rest"). A share is LD counted from
    "nothing", over that of "full". ``faithfulness`` is the circuit's share (1 is the intact model),
    ``completeness`` that of the rest (0: nothing is left), both (estimate answer);
    ``minimality`` (estimate removed answer) how much of the share is lost when one head leaves the
    circuit. Estimate is mean, low, high of a 95 % bootstrap interval over prompts; the answer "all
    letters" is of the mean LD.

    Controls: ``random_faithfulness`` and ``random_completeness`` (draw answer) of random head sets
    of the same size, and ``p_value`` (test answer): how often they are as good, (1 + count) / (1 +
    draws).
    """

    heads: tuple[str, ...]
    roles: dict[str, str]
    thresholds: dict[str, float]
    features: xr.DataArray
    target_share: float
    reached: bool
    growth: xr.DataArray
    n_search: int
    n_test: int
    split: str
    method: str
    against: str
    logit_diff: xr.DataArray
    faithfulness: xr.DataArray
    completeness: xr.DataArray
    minimality: xr.DataArray
    random_faithfulness: xr.DataArray
    random_completeness: xr.DataArray
    p_value: xr.DataArray
