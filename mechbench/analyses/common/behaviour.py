"""What each head does, in numbers, and the role that the numbers suggest.

The thresholds are our choice; a result keeps the numbers, so that they can be read another way.
"""

from collections.abc import Sequence

import torch
import xarray as xr
from torch import Tensor

from mechbench.analyses.common.attention import head_activations, pattern_name
from mechbench.analyses.common.direct import direct_effects
from mechbench.analyses.common.estimates import ESTIMATE, estimate, labelled
from mechbench.analyses.common.frame import (
    CURRENT_WORD,
    PREVIOUS_LETTERS,
    PREVIOUS_WORDS,
    choose_letters,
    n_letters,
)
from mechbench.analyses.common.heads import Head, head_label
from mechbench.analyses.common.steps import Steps
from mechbench.analyses.common.weights import letter_scores
from mechbench.interventions.runs import Runs
from mechbench.interventions.sweeps import sweep
from mechbench.results.circuit_search import (
    DIRECT,
    DIRECT_LOW,
    EFFECT_LETTERS_AT_ANSWER,
    EFFECT_WORD,
    EFFECT_WORDS_AT_ANSWER,
    FEATURES,
    MOVER,
    OTHER,
    OV_DIAGONAL,
    PREVIOUS_TOKEN,
    PROPAGATOR,
    TO_EARLIER,
    TO_PREVIOUS,
    TO_WORD,
)
from mechbench.shapes import ANSWER, HEAD, LAYER, PROMPT
from mechbench.tasks.acronym_task import AcronymTask

_WORD = "letter mover: attention to the word, at least"
_DIRECT = "letter mover: share of all positive direct effects, at least"
_BEFORE = "previous token: attention to the token before, at least"
_EARLIER = "propagator: attention to earlier words and answers, at least"
_DAMAGE = "propagator: share of the largest damage at A_{i-1}, at least"
THRESHOLDS = {_WORD: 0.1, _DIRECT: 0.05, _BEFORE: 0.3, _EARLIER: 0.1, _DAMAGE: 0.05}


def head_roles(features: xr.DataArray, heads: Sequence[Head]) -> dict[str, str]:
    """A role for each head, by the first rule that holds.

    1. *letter mover*: attends from the position that predicts letter i to word i, or to the token
       before it, and its direct effect is positive (the interval too)
       and a fair share of all positive direct effects.
    2. *previous token*: attends to the token before, on average over words and letters.
    3. *propagator*: attends from the answer positions to the tails of earlier words and to earlier
       answers, and damages LD when it is corrupted at A_{i-1}.
    """
    fair = THRESHOLDS[_DIRECT] * float(features.sel(feature=DIRECT).clip(min=0).sum())
    at_answer = [EFFECT_WORDS_AT_ANSWER, EFFECT_LETTERS_AT_ANSWER]
    damage = -features.sel(feature=at_answer).min("feature")
    some_damage = THRESHOLDS[_DAMAGE] * float(damage.max())

    def role(layer: int, head: int) -> str:
        at = {LAYER: layer, HEAD: head}
        value = {name: float(features.sel(feature=name).isel(at)) for name in FEATURES}
        helps = value[DIRECT_LOW] > 0 and value[DIRECT] >= fair
        hurts = float(damage.isel(at)) > 0 and float(damage.isel(at)) >= some_damage
        if value[TO_WORD] >= THRESHOLDS[_WORD] and helps:
            return MOVER
        if value[TO_PREVIOUS] >= THRESHOLDS[_BEFORE]:
            return PREVIOUS_TOKEN
        return PROPAGATOR if value[TO_EARLIER] >= THRESHOLDS[_EARLIER] and hurts else OTHER

    return {head_label(head): role(*head) for head in heads}


@torch.inference_mode()
def head_features(
    model, task: AcronymTask, *, seed: int, method: str, steps: Steps
) -> xr.DataArray:
    """The numbers behind the roles: attention (weights), effects (logits), share of letters copied.

    Axes (feature layer head).
    """
    direct = estimate(direct_effects(model, task).mean(ANSWER), seed=seed)
    mean_effect = {
        EFFECT_WORD: _effect(model, task, CURRENT_WORD, False, seed, method, steps),
        EFFECT_WORDS_AT_ANSWER: _effect(model, task, PREVIOUS_WORDS, True, seed, method, steps),
        EFFECT_LETTERS_AT_ANSWER: _effect(model, task, PREVIOUS_LETTERS, True, seed, method, steps),
    }
    values = {
        **attention_features(model, task),
        DIRECT: direct.sel({ESTIMATE: "mean"}).values,
        DIRECT_LOW: direct.sel({ESTIMATE: "low"}).values,
        OV_DIAGONAL: letter_scores(model, task.spaced_capitals, task.capitals, mlp0=True),
        **mean_effect,
    }
    stacked = torch.stack([torch.as_tensor(values[name]).double().cpu() for name in FEATURES])
    axes = {LAYER: range(model.cfg.n_layers), HEAD: range(model.cfg.n_heads)}
    return labelled(
        stacked, {"feature": FEATURES, **axes}, units="mixed", meaning="attention, logits or share"
    )


def attention_features(model, task: AcronymTask) -> dict[str, Tensor]:
    """Mean attention ``[layer head]`` of the three kinds that the roles ask about."""
    tokens = task.clean.to(model.cfg.device)
    by_layer = head_activations(model, tokens, pattern_name, range(model.cfg.n_layers))
    pattern = torch.stack([by_layer[layer].mean(0) for layer in sorted(by_layer)])
    frame, n = task.frame, n_letters(task)
    rows = range(frame.capitals[0], len(frame.labels))
    to_word = [
        pattern[:, :, frame.answers[i], frame.words[i][0] - 1 : frame.words[i][-1] + 1].sum(-1)
        for i in range(n)
    ]
    to_earlier = [
        pattern[:, :, frame.answers[i], [*frame.tails[:i], *frame.answers[:i]]].sum(-1)
        for i in range(1, n)
    ]
    return {
        TO_WORD: torch.stack(to_word).mean(0),
        TO_PREVIOUS: torch.stack([pattern[:, :, p, p - 1] for p in rows]).mean(0),
        TO_EARLIER: torch.stack(to_earlier).mean(0) if to_earlier else torch.zeros_like(to_word[0]),
    }


def _effect(model, task, corruption, at_answer: bool, seed, method, steps: Steps) -> Tensor:
    """Mean effect ``[layer head]`` over the letters that the corruption reaches."""
    effects, n_cells = [], model.cfg.n_layers * model.cfg.n_heads
    for letter in choose_letters(None, task, corruption):
        pairs = task.pairs(corruption, letter=letter, method=method, seed=seed)
        swept = sweep(
            model,
            pairs,
            task.metric(),
            position=task.frame.answers[letter - 1] if at_answer else None,
            runs=Runs(model, pairs),
            **steps.call(f"role-{corruption}-{letter}", n_cells),
        )
        own = swept.effect.isel({ANSWER: letter - 1})
        effects.append(torch.from_numpy(own.mean(PROMPT).values))
    return torch.stack(effects).mean(0)
