"""Where merged parameters lie among the experts, and how many experts a segment mixes.

Suffixes: N text, D domain, R text of a domain, L layer, S segment, E expert.
"""

from pathlib import Path

import torch
import xarray as xr
from torch import Tensor

from mechbench.analyses.common.estimates import estimate, labelled
from mechbench.analyses.common.expert_measures import effective_number
from mechbench.analyses.common.expert_weights import (
    DOMAINS,
    ROWS_AT_ONCE,
    Texts,
    expert_hooks,
    texts_for,
)
from mechbench.analyses.common.inspections import cannot_inspect
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.errors import TaskError
from mechbench.models.components.merged_mlp import MergedMLP
from mechbench.results.merged_experts import DOMAIN, EXPERT, MEAN, OTHER, TARGET, MergedExperts
from mechbench.shapes import LAYER, PROMPT
from mechbench.tasks.base import Task

SEGMENT = "segment"


@torch.no_grad()
def merged_experts(
    model,
    task: Task,
    *,
    on: str = DOMAINS,
    rows: int = 16,
    n_random: int = 200,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> MergedExperts:
    """Distances of merged parameters to the experts, and the effective number of experts.

    Args:
        on: "domains", ``rows`` texts of each task of the common corpus, or "task", the task's clean
            prompts, which are one domain.
        n_random: random weights, the control; at least 1.

    Raises:
        UnsupportedHookError: a model that does not merge experts.
        TaskError: an unknown ``on``, too many rows, no random weights, or texts that end in the
            first segment.
        TokenizerError: domains for a model of another vocabulary.

    Source: our choice; the weights by domain are in ``expert_load``.
    """
    clock = Clock()
    if n_random < 1:
        raise TaskError(f"n_random={n_random} must be at least 1: it is the control.")
    hooks = expert_hooks(model)
    experts = [_parameters(model, layer) for layer in hooks]
    texts = texts_for(model, task, on, rows)
    steps = Steps(2, progress, checkpoint)
    weights_NLSE = _segment_weights(model, texts, list(hooks.values())).double()
    steps.advance()
    n_experts = weights_NLSE.shape[-1]
    layers = {LAYER: list(hooks)}
    draw = torch.Generator().manual_seed(seed)
    odds = -torch.rand(n_random, 1, 1, n_experts, generator=draw).double().log()
    random = (odds / odds.sum(-1, keepdim=True)).expand(-1, len(hooks), -1, -1)
    names = [*map(str, range(n_experts)), MEAN]
    found = _by_domain(_distances(weights_NLSE[:, :, 1:], experts).mean(2), texts)
    effective = effective_number(weights_NLSE)
    apart = {"units": "1", "meaning": "distance"}
    number = {"units": "experts", "meaning": "effective number of experts"}
    texts_axis = {PROMPT: range(len(weights_NLSE))}
    domain_axes = {PROMPT: range(texts.ids.shape[1]), **layers, DOMAIN: texts.domains}
    control_axes = {PROMPT: range(n_random), **layers}
    result = MergedExperts(
        texts=texts.about,
        n_texts=len(weights_NLSE),
        segment_length=model.config.segment_length,
        distance=_estimated(found, {**domain_axes, TARGET: names}, apart, seed),
        distance_control=_estimated(
            _distances(random, experts).mean(2), {**control_axes, TARGET: names}, apart, seed
        ),
        experts_apart=labelled(
            torch.stack([_apart(flat) / flat.norm(dim=1).mean() for flat in experts]),
            {**layers, EXPERT: range(n_experts), OTHER: range(n_experts)},
            **apart,
        ),
        effective=_estimated(
            _by_domain(effective[:, :, 1:].mean(2), texts), domain_axes, number, seed
        ),
        effective_by_segment=_estimated(
            effective, {**texts_axis, **layers, SEGMENT: range(effective.shape[2])}, number, seed
        ),
        effective_control=_estimated(effective_number(random).mean(2), control_axes, number, seed),
        provenance=clock.provenance(model, task, seed=seed),
    )
    steps.finish()
    return result


def _distances(weights_NLSE: Tensor, experts: list[Tensor]) -> Tensor:
    """From merged parameters to each expert, then to their mean: ``[text layer segment target]``.

    In mean distances of two experts of the layer. ``experts`` has each layer's parameters
    ``[expert parameter]``. Weights must sum to 1.
    """
    found = []
    for layer, flat in enumerate(experts):
        n_experts = len(flat)
        # targets as weights too, so that only products of experts are needed
        even = flat.new_full((1, n_experts), 1 / n_experts)
        targets = torch.cat([torch.eye(n_experts, dtype=flat.dtype), even])
        away = weights_NLSE[:, layer, :, None] - targets
        centred = flat - flat.mean(0)
        squared = torch.einsum("nste,eo,nsto->nst", away, centred @ centred.T, away)
        apart = _apart(flat)[~torch.eye(n_experts, dtype=torch.bool)].mean()
        found.append(squared.clamp(min=0).sqrt() / apart)
    return torch.stack(found, dim=1)


def _parameters(model, layer: int) -> Tensor:
    """All parameters of each expert, ``[expert parameter]``, in double precision."""
    mlp = model.blocks[layer].mlp
    if not isinstance(mlp, MergedMLP):
        raise cannot_inspect(model, "merged_experts", "merged parameters of its experts")
    matrices = (mlp.W_gate, mlp.W_in, mlp.W_out)
    return torch.cat([matrix.flatten(1) for matrix in matrices], dim=1).double().cpu()


def _apart(flat: Tensor) -> Tensor:
    """Distances ``[expert expert]`` of rows."""
    return torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")


def _segment_weights(model, texts: Texts, names: list[str]) -> Tensor:
    """Weights ``[text layer segment expert]``."""
    parts = []
    for ids in texts.ids.flatten(0, 1).to(model.cfg.device).split(ROWS_AT_ONCE):
        cache = model.run_with_cache(ids, names_filter=names)[1]
        parts.append(torch.stack([cache[name] for name in names], dim=1).cpu())
    return torch.cat(parts)


def _by_domain(values: Tensor, texts: Texts) -> Tensor:
    """``[text layer ...]`` as ``[row layer domain ...]``."""
    return values.unflatten(0, texts.ids.shape[:2]).movedim(0, 2)


def _estimated(values: Tensor, axes: dict, about: dict[str, str], seed: int) -> xr.DataArray:
    return estimate(labelled(values, axes, **about), seed=seed)
