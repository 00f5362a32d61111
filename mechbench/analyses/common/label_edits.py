"""Edits that take the first label out of value vectors and put another one in."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from mechbench.analyses.common.choices import Answers, item_masks, rate
from mechbench.analyses.common.edited_answers import PromptEdits
from mechbench.analyses.common.gaps import last_activations
from mechbench.analyses.common.mlp_values import Neuron, post_name
from mechbench.results.choices import (
    ACCURACY,
    ALL,
    ANSWERED_FIRST,
    ARGMAX,
    ARGMAXES,
    FAILING,
    GOLD_FIRST,
    ITEMS,
    MEASURE,
    NOT_FIRST,
    NOTHING_ADDED,
    OTHERS_MEAN,
    RIGHT_LABEL,
    always,
)
from mechbench.shapes import PROMPT
from mechbench.tasks.choice_task import ChoiceTask

SCORED = (FAILING, GOLD_FIRST, NOT_FIRST, ALL)


def targets(task: ChoiceTask, W_U: Tensor) -> dict[str, Tensor]:
    """What each kind of edit adds, ``[prompt d_model]`` or ``[1 d_model]``, before lambda2.

    The right label of each prompt; nothing; each later label, the same for all prompts; the mean
    of the later labels that a prompt offers.
    """
    directions = label_directions(task, W_U)
    later = [i for i in range(len(task.labels)) if i != task.anchor]
    offered = torch.arange(len(task.labels)) < task.n_options[:, None]
    weights = offered.to(directions).clone()
    weights[:, task.anchor] = 0
    return {
        RIGHT_LABEL: directions[task.gold.to(directions.device)],
        NOTHING_ADDED: torch.zeros_like(directions[:1]),
        OTHERS_MEAN: weights / weights.sum(-1, keepdim=True) @ directions,
        **{always(task.labels[i]): directions[i, None] for i in later},
    }


def label_directions(task: ChoiceTask, W_U: Tensor) -> Tensor:
    """The unembedding column of each label, ``[option d_model]``."""
    return W_U.detach()[:, task.label_ids.to(W_U.device)].T


def label_edits(
    neurons: Sequence[Neuron],
    directions: Tensor,
    anchor: int,
    target: Tensor,
    *,
    lambda1: float,
    lambda2: float,
) -> list[PromptEdits]:
    """v <- v - lambda1 W_U[first label] + lambda2 target, for each neuron.

    Source: Li and Gao 2025 for the target W_U[right label].
    """
    add = lambda2 * target - lambda1 * directions[anchor, None]
    return [PromptEdits(neuron, add) for neuron in neurons]


def random_active(
    model, task: ChoiceTask, neurons: Sequence[Neuron], n_draws: int, seed: int
) -> list[list[Neuron]]:
    """For each draw as many other neurons of the same layers, with a positive mean activation.

    Where a layer has too few that are active at the last position, any others are taken.
    """
    layers = sorted({layer for layer, _ in neurons})
    seen = last_activations(model, task, [post_name(layer) for layer in layers])
    generator = np.random.default_rng(seed)
    draws: list[list[Neuron]] = []
    for _ in range(n_draws):
        drawn: list[Neuron] = []
        for layer in layers:
            own = [n for at, n in neurons if at == layer]
            post = seen[post_name(layer)]
            others = np.setdiff1d(np.arange(post.shape[1]), own)
            active = others[(post.mean(0) > 0).cpu().numpy()[others]]
            pool = active if len(active) >= len(own) else others
            drawn += [(layer, int(n)) for n in generator.permutation(pool)[: len(own)]]
        draws.append(drawn)
    return draws


def scored(answers: Sequence[Answers], task: ChoiceTask) -> xr.DataArray:
    """Shares per prompt, axes (measure argmax prompt); a mean over several answers (draws)."""
    parts = [_hits(a, task) for a in answers]
    return sum(parts[1:], parts[0]) / len(parts)


def _hits(answers: Answers, task: ChoiceTask) -> xr.DataArray:
    chosen = answers.by_argmax(task)
    right = chosen == xr.DataArray(task.gold.numpy(), dims=PROMPT)
    hits = xr.concat([right, chosen == task.anchor], dim=MEASURE).astype(float)
    return hits.assign_coords({MEASURE: [ACCURACY, ANSWERED_FIRST], ARGMAX: list(ARGMAXES)})


def right_probability(answers: Sequence[Answers], task: ChoiceTask) -> xr.DataArray:
    """Probability of each prompt's right label, axis (prompt); a mean over several answers."""
    rows = torch.arange(len(task))
    values = torch.stack([a.log_probs[rows, task.gold].exp() for a in answers]).mean(0)
    return xr.DataArray(values.numpy(), coords={PROMPT: range(len(task))}, dims=PROMPT)


def by_items(values: xr.DataArray, masks: Mapping[str, Tensor], *, seed: int) -> xr.DataArray:
    """Estimates over the prompts of each kind, with the axis items last."""
    parts = [rate(values, masks[kind], seed=seed) for kind in SCORED]
    found = xr.concat(parts, dim=ITEMS).assign_coords({ITEMS: list(SCORED)})
    return found.transpose(..., ITEMS)


def masks_of(task: ChoiceTask, unedited: Answers) -> dict[str, Tensor]:
    """The kinds of prompts that edits are scored on, by the unedited model's answers."""
    masks = item_masks(task, unedited)
    return {kind: masks[kind] for kind in SCORED}


def item_counts(masks: Mapping[str, Tensor]) -> xr.DataArray:
    """How many prompts of each kind there are, axis (items)."""
    return xr.DataArray(
        np.array([int(mask.sum()) for mask in masks.values()]),
        coords={ITEMS: list(masks)},
        dims=ITEMS,
        attrs={"units": "prompts", "long_name": "prompts of each kind"},
    )
