"""Which layers write the first label at the last position, read by the logit lens and directly."""

from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from mechbench.analyses.common.choices import (
    answers_of,
    item_masks,
    require_choices,
    some_items,
)
from mechbench.analyses.common.estimates import estimate, labelled
from mechbench.analyses.common.gaps import GapReader, final_stream, last_activations, permuted_gold
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.results.choice_lens import ATTENTION, MLP, PART, ChoiceLens
from mechbench.results.choices import FAILING, NOT_FIRST, READING, READINGS
from mechbench.shapes import LAYER, PROMPT
from mechbench.tasks.choice_task import ChoiceTask

_HOOKS = {MLP: "hook_mlp_out", ATTENTION: "hook_attn_out"}


@torch.inference_mode()
def choice_lens(
    model,
    task: ChoiceTask,
    *,
    items: str = FAILING,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> ChoiceLens:
    """The gap between first and right label in what every MLP and attention layer writes.

    Args:
        items: which prompts: those that are "failing", or all with "gold later".

    Raises:
        TaskError: another task than multiple choice, or fewer than two such prompts.
        UnsupportedHookError: a model whose blocks are not attention and MLP, or unknown norms.

    Source: Li and Gao 2025 (the lens on mlp_out); attention, the direct reading and the controls
        are our choice.
    """
    clock = Clock()
    task = require_choices(model, task)
    steps = Steps(2, progress, checkpoint)
    answers = answers_of(model, task)
    steps.advance()
    at = some_items(task, answers, items)
    later = item_masks(task, answers)[NOT_FIRST]
    later[at] = False
    others = later.nonzero().flatten()
    chosen = task.select(at)
    written, stream = _written(model, chosen)
    values = _gaps(model, chosen, written, stream, chosen.gold, at)
    permuted = _gaps(model, chosen, written, stream, permuted_gold(chosen, seed), at)
    steps.finish()
    return ChoiceLens(
        items=items,
        n_items=len(at),
        n_others=len(others),
        gap=estimate(values, seed=seed),
        permuted=estimate(permuted, seed=seed),
        not_failing=_others(model, task, others, seed),
        values=values,
        total=_total(model, chosen, stream, seed),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _written(model, task: ChoiceTask) -> tuple[Tensor, Tensor]:
    """What layers write at the last position ``[prompt part layer d_model]``, and the stream."""
    layers = range(model.cfg.n_layers)
    names = [[f"blocks.{layer}.{hook}" for layer in layers] for hook in _HOOKS.values()]
    seen = last_activations(model, task, [*names[0], *names[1], final_stream(model)])
    parts = torch.stack([torch.stack([seen[name] for name in row], 1) for row in names], 1)
    return parts, seen[final_stream(model)]


def _gaps(
    model, task: ChoiceTask, written: Tensor, stream: Tensor, gold: Tensor, at: Tensor
) -> xr.DataArray:
    """Axes (reading part layer prompt)."""
    gaps = GapReader(model, task, stream, gold).both(written).movedim(1, -1)
    axes = {
        READING: READINGS,
        PART: list(_HOOKS),
        LAYER: range(model.cfg.n_layers),
        PROMPT: at.tolist(),
    }
    return labelled(gaps, axes, units="logits", meaning="first label minus right label")


def _others(model, task: ChoiceTask, others: Tensor, seed: int) -> xr.DataArray | None:
    if len(others) < 2:
        return None
    chosen = task.select(others)
    written, stream = _written(model, chosen)
    return estimate(_gaps(model, chosen, written, stream, chosen.gold, others), seed=seed)


def _total(model, task: ChoiceTask, stream: Tensor, seed: int) -> xr.DataArray:
    logits = model.read_answers(stream[:, None], task.label_ids.to(stream.device))[:, 0]
    logits = logits.double().cpu().numpy()
    right = logits[np.arange(len(task)), task.gold.numpy()]
    axes = {PROMPT: range(len(task))}
    gap = logits[:, task.anchor] - right
    return estimate(
        labelled(gap, axes, units="logits", meaning="first label minus right label"), seed=seed
    )
