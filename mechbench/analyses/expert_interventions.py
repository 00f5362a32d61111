"""What each expert is needed for: taken out, swapped with another, given everything."""

from pathlib import Path

import torch
from torch import Tensor

from mechbench.analyses.common.expert_actions import actions
from mechbench.analyses.common.expert_runs import (
    MeasuredRows,
    losses_by_domain,
    metric_over_prompts,
    task_metric,
    text_losses,
)
from mechbench.analyses.common.expert_weights import DOMAINS, expert_hooks, texts_for
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.errors import TaskError
from mechbench.results.expert_interventions import ACTION, ExpertInterventions
from mechbench.shapes import LAYER
from mechbench.tasks.base import Task


@torch.no_grad()
def expert_interventions(
    model,
    task: Task,
    *,
    on: str = DOMAINS,
    rows: int = 8,
    n_random: int = 2,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> ExpertInterventions:
    """The change in loss and in the task's metric when a layer's expert weights are rewritten.

    Args:
        on: where the loss is taken: "domains", ``rows`` texts of each task of the common corpus, or
            "task", the task's clean prompts. The metric is always the task's.
        n_random: draws of random experts for each kind of action, the control; at least 1.

    Raises:
        UnsupportedHookError: a model without experts.
        TaskError: an unknown ``on``, too many rows, no random draws, or texts that are too long or
            end in a first segment.
        TokenizerError: domains for a model of another vocabulary.

    Source: our choice.
    """
    clock = Clock()
    if n_random < 1:
        raise TaskError(f"n_random={n_random} must be at least 1: it is the control.")
    hooks = expert_hooks(model)
    texts = texts_for(model, task, on, rows)
    losses = MeasuredRows(model, texts.ids.flatten(0, 1), text_losses(model, texts), hooks)
    metrics = MeasuredRows(model, task.pairs().clean, task_metric(model, task), hooks)
    listed = list(actions(losses.n_experts))
    steps = Steps(len(hooks) * len(listed), progress, checkpoint)
    draw = torch.Generator().manual_seed(seed)
    changes: dict[MeasuredRows, list[Tensor]] = {losses: [], metrics: []}
    for layer in hooks:
        for action in listed:
            repeats = n_random if action.experts is None else 1
            for measured, found in changes.items():
                n_experts = measured.n_experts
                after = [
                    measured.after(
                        layer, action.kind, action.chosen(len(measured), n_experts, draw)
                    )
                    for _ in range(repeats)
                ]
                found.append(torch.stack(after).mean(0) - measured.base)
            steps.advance()
    axes = {LAYER: list(hooks), ACTION: [action.label for action in listed]}
    shape = (len(hooks), len(listed))
    loss, metric = (torch.stack(found).unflatten(0, shape) for found in changes.values())
    units = task.metric().units
    return ExpertInterventions(
        texts=texts.about,
        n_texts=len(losses.base),
        n_random=n_random,
        metric_name=task.metric().name,
        loss=losses_by_domain(loss, axes, texts, seed),
        base_loss=losses_by_domain(losses.base, {}, texts, seed),
        metric=metric_over_prompts(metric, axes, units, seed),
        base_metric=metric_over_prompts(metrics.base, {}, units, seed),
        provenance=clock.provenance(model, task, seed=seed),
    )
