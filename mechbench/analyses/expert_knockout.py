"""What one expert is needed for: it alone taken out, beside other experts of its layer."""

from pathlib import Path

import torch
import xarray as xr
from torch import Tensor

from mechbench.analyses.common.estimates import estimate, labelled
from mechbench.analyses.common.expert_runs import (
    MeasuredRows,
    losses_by_domain,
    metric_over_prompts,
    task_metric,
    text_losses,
)
from mechbench.analyses.common.expert_weights import (
    DOMAINS,
    Texts,
    expert_hooks,
    position_weights,
    segment_length,
    shares,
    texts_for,
)
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.errors import TaskError
from mechbench.results.expert_interventions import DOMAIN, OUT
from mechbench.results.expert_knockout import ExpertKnockout
from mechbench.shapes import PROMPT
from mechbench.tasks.base import Task


@torch.no_grad()
def expert_knockout(
    model,
    task: Task,
    *,
    layer: int | None = None,
    expert: int = 0,
    on: str = DOMAINS,
    rows: int = 8,
    n_random: int = 4,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> ExpertKnockout:
    """The change in loss and in the task's metric without one expert, and without random others.

    Args:
        layer: that has experts; the first such layer where None.
        on: where the loss is taken: "domains", ``rows`` texts of each task of the common corpus, or
            "task", the task's clean prompts. The metric is always the task's.
        n_random: draws of another expert of the layer, the control; at least 1.

    Raises:
        UnsupportedHookError: a model without experts.
        TaskError: a layer without experts, an expert that is not there or has no other beside it,
            an unknown ``on``, too many rows, no random draws, or texts that are too long or end in
            a first segment.
        TokenizerError: domains for a model of another vocabulary.

    Source: our choice; ``expert_interventions`` does the same for every expert, and exchanges and
    forces them too.
    """
    clock = Clock()
    if n_random < 1:
        raise TaskError(f"n_random={n_random} must be at least 1: it is the control.")
    hooks = expert_hooks(model)
    at = next(iter(hooks)) if layer is None else layer
    if at not in hooks:
        raise TaskError(f"layer={at} has no experts. Layers with experts: {_listed(hooks)}.")
    texts = texts_for(model, task, on, rows)
    here = {at: hooks[at]}
    losses = MeasuredRows(model, texts.ids.flatten(0, 1), text_losses(model, texts), here)
    metrics = MeasuredRows(model, task.pairs().clean, task_metric(model, task), here)
    others = _others(expert, losses.n_experts, at)
    steps = Steps(1 + n_random, progress, checkpoint)
    draw = torch.Generator().manual_seed(seed)
    out = [
        measured.after(at, OUT, _same(expert, measured)) - measured.base
        for measured in (losses, metrics)
    ]
    steps.advance()
    drawn: list[list[Tensor]] = [[], []]
    for _ in range(n_random):
        for found, measured in zip(drawn, (losses, metrics), strict=True):
            index = torch.randint(len(others), (len(measured), 1), generator=draw)
            found.append(measured.after(at, OUT, others[index]) - measured.base)
        steps.advance()
    random = [torch.stack(found).mean(0) for found in drawn]
    units = task.metric().units
    about_loss = {
        name: losses_by_domain(values, {}, texts, seed)
        for name, values in _named("loss", out[0], random[0], losses.base).items()
    }
    about_metric = {
        name: metric_over_prompts(values, {}, units, seed)
        for name, values in _named("metric", out[1], random[1], metrics.base).items()
    }
    return ExpertKnockout(
        layer=at,
        expert=expert,
        n_experts=losses.n_experts,
        merged=segment_length(model) is not None,
        texts=texts.about,
        n_texts=len(losses),
        n_random=n_random,
        metric_name=task.metric().name,
        even_load=1 / losses.n_experts,
        load=_load(model, texts, list(hooks).index(at), expert, seed),
        **about_loss,
        **about_metric,
        provenance=clock.provenance(model, task, seed=seed),
    )


def _named(what: str, out: Tensor, random: Tensor, base: Tensor) -> dict[str, Tensor]:
    """The fields of a result about the loss or the metric."""
    changes = {what: out, f"{what}_random": random, f"{what}_beyond": out - random}
    return {**changes, f"base_{what}": base}


def _others(expert: int, n_experts: int, layer: int) -> Tensor:
    """The other experts of the layer."""
    if not 0 <= expert < n_experts or n_experts < 2:
        raise TaskError(
            f"expert={expert} of layer {layer} cannot be compared with others: there are "
            f"{n_experts}, counted from 0."
        )
    return torch.tensor([other for other in range(n_experts) if other != expert])


def _same(expert: int, rows: MeasuredRows) -> Tensor:
    return torch.full((len(rows), 1), expert)


def _load(model, texts: Texts, index: int, expert: int, seed: int) -> xr.DataArray:
    weights = position_weights(model, texts.ids.flatten(0, 1))[:, index]
    by_row = shares(weights)[..., expert].double().mean(1).unflatten(0, texts.ids.shape[:2])
    axes = {DOMAIN: texts.domains, PROMPT: range(by_row.shape[1])}
    named = labelled(by_row, axes, units="share", meaning="share of a token's weights")
    return estimate(named, seed=seed)


def _listed(hooks: dict[int, str]) -> str:
    return ", ".join(map(str, hooks))
