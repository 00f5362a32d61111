"""What a model answers before and after chosen value vectors are edited in its weights."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from mechbench.analyses.common.choices import (
    Answers,
    answers_of,
    joined,
    require_choices,
    shares,
)
from mechbench.analyses.common.confusions import confusion_counts, confusion_shares
from mechbench.analyses.common.label_edits import (
    by_items,
    item_counts,
    label_directions,
    masks_of,
    random_active,
    scored,
    targets,
)
from mechbench.analyses.common.mlp_values import (
    Neuron,
    neuron_label,
    parse_neurons,
    require_value_vectors,
)
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.analyses.value_vectors import value_vectors
from mechbench.errors import TaskError, did_you_mean
from mechbench.interventions.weight_edits import ValueVectorEdit, edited, output_weight
from mechbench.results.choices import (
    ARGMAX,
    EDIT,
    ITEMS,
    MEASURE,
    NO_EDIT,
    OTHERS_MEAN,
    RANDOM_NEURON,
    RIGHT_LABEL,
)
from mechbench.results.edited_choices import CHOSEN, EditedChoices
from mechbench.tasks.choice_task import ChoiceTask


@torch.inference_mode()
def edited_choices(
    model,
    task: ChoiceTask,
    *,
    neurons: Sequence[Any] | None = None,
    target: str = OTHERS_MEAN,
    lambda1: float = 1.0,
    lambda2: float = 8.0,
    n_random: int = 3,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> EditedChoices:
    """Confusions, accuracy and anchored rate before and after one edit, with its control.

    The edit is written into the weights, for prompts of one target at a time, and put back.

    Args:
        neurons: such as "9.1853", edited all together; by default those that ``value_vectors``
            finds on this task.
        target: "right label", "λ2 = 0", "mean of later", or "always B" and so on.
        lambda1: how much of the first label's unembedding is taken out.
        lambda2: how much of the target is put in.
        n_random: draws of the control with as many random active neurons of the same layers.

    Raises:
        TaskError: another task than multiple choice, an unknown target, no neurons, or no draws.
        UnsupportedHookError: a neuron outside the model, or a model without value vectors.

    Source: Li and Gao 2025 for "right label" with lambda1 = 1 and lambda2 = 8; the other targets
        and the control are our choice.
    """
    clock = Clock()
    task = require_choices(model, task)
    if n_random < 1:
        raise TaskError(f"n_random={n_random} must be at least 1: the control needs a draw.")
    add = _add(model, task, target, lambda1, lambda2)
    given = value_vectors(model, task, seed=seed).neurons if neurons is None else neurons
    chosen = parse_neurons(given, model)
    layers = sorted({layer for layer, _ in chosen})
    require_value_vectors(model, layers)
    before = {layer: output_weight(model, layer).clone() for layer in layers}
    steps = Steps(2 + n_random, progress, checkpoint)
    answers = {NO_EDIT: [answers_of(model, task)]}
    steps.advance()
    random = random_active(model, task, chosen, n_random, seed)
    for edit, draws in {CHOSEN: [list(chosen)], RANDOM_NEURON: random}.items():
        answers[edit] = []
        for draw in draws:
            answers[edit].append(_answers_under(model, task, draw, add))
            steps.advance()
    masks = masks_of(task, answers[NO_EDIT][0])
    return EditedChoices(
        neurons=_labels(chosen),
        target=target,
        lambda1=lambda1,
        lambda2=lambda2,
        uses_right_label=target == RIGHT_LABEL,
        random=tuple(_labels(draw) for draw in random),
        **_scores(answers, task, masks, seed),
        confusion=confusion_shares(answers, task, seed=seed),
        counts=confusion_counts(answers, task),
        n=item_counts(masks),
        restored=all(torch.equal(before[layer], output_weight(model, layer)) for layer in layers),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _add(model, task: ChoiceTask, target: str, lambda1: float, lambda2: float) -> Tensor:
    """What the edit adds to each value vector, ``[prompt d_model]``, or ``[1 d_model]`` for all."""
    known = targets(task, model.W_U)
    if target not in known:
        raise TaskError(f"target={target!r} is not known here. {did_you_mean(target, known)}")
    first = label_directions(task, model.W_U)[task.anchor]
    return lambda2 * known[target] - lambda1 * first


def _labels(neurons: Sequence[Neuron]) -> tuple[str, ...]:
    return tuple(neuron_label(neuron) for neuron in neurons)


def _answers_under(model, task: ChoiceTask, neurons: Sequence[Neuron], add: Tensor) -> Answers:
    """The answers with these neurons edited in the weights, all prompts of one ``add`` together."""
    rows, group = add.unique(dim=0, return_inverse=True)
    group = group.cpu().expand(len(task))
    parts, order = [], []
    for i in group.unique().tolist():
        at = (group == i).nonzero().flatten()
        with edited(model, [ValueVectorEdit(*neuron, rows[i]) for neuron in neurons]):
            parts.append(answers_of(model, task.select(at)))
        order.append(at)
    back = torch.cat(order).argsort()
    found = joined(parts)
    return Answers(*(getattr(found, field.name)[back] for field in fields(Answers)))


def _scores(
    answers: Mapping[str, Sequence[Answers]],
    task: ChoiceTask,
    masks: Mapping[str, Tensor],
    seed: int,
) -> dict[str, xr.DataArray]:
    """Rates, their change from no edit, and chosen minus random neurons, paired by prompt."""
    hits = xr.concat([scored(draws, task) for draws in answers.values()], dim=EDIT)
    hits = hits.assign_coords({EDIT: list(answers)})
    changed = hits.isel({EDIT: slice(1, None)}) - hits.sel({EDIT: NO_EDIT}, drop=True)
    beyond = hits.sel({EDIT: CHOSEN}, drop=True) - hits.sel({EDIT: RANDOM_NEURON}, drop=True)
    axes = ("estimate", MEASURE, EDIT, ARGMAX, ITEMS)

    def over_items(values: xr.DataArray, meaning: str) -> xr.DataArray:
        found = by_items(values, masks, seed=seed)
        return shares(found.transpose(*(axis for axis in axes if axis in found.dims)), meaning)

    return {
        "rates": over_items(hits, "share of prompts"),
        "change": over_items(changed, "share of prompts, minus that without an edit"),
        "beyond_random": over_items(beyond, "share of prompts, chosen minus random neurons"),
    }
