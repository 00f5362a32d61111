"""Attention from the last position to labels, and what it brings."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mechbench.analyses.common.attention import pattern_name
from mechbench.analyses.common.choices import chunks
from mechbench.analyses.common.norm_map import require_hooks
from mechbench.errors import TaskError
from mechbench.tasks.choice_task import ChoiceTask

AT = ("label", "option")


@dataclass(frozen=True)
class Places:
    """Positions ``[prompt]`` of the first label, of the right one, and of two random others."""

    first: Tensor
    right: Tensor
    random: Tensor
    random_too: Tensor


def places(task: ChoiceTask, at: str, seed: int) -> Places:
    """Where a task's labels (or the ends of its options) stand.

    Raises:
        TaskError: ``at`` is neither "label" nor "option".
    """
    if at not in AT:
        raise TaskError(f"at={at!r} is not known: use {' or '.join(AT)}.")
    positions = task.label_positions if at == "label" else task.option_positions
    rows = torch.arange(len(task))
    first, right = positions[:, task.anchor], positions[rows, task.gold]
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(task.clean.shape, generator=generator)
    # not BOS, the places themselves, the last position and what comes after
    draw[:, 0] = draw[rows, first] = draw[rows, right] = 2.0
    draw[torch.arange(draw.shape[1]) >= task.answer_positions[:, None]] = 2.0
    two = draw.topk(2, largest=False).indices
    return Places(first, right, two[:, 0], two[:, 1])


@torch.inference_mode()
def brought(model, task: ChoiceTask, layer: int, positions: Tensor) -> tuple[Tensor, Tensor]:
    """What each head of a layer brings from some positions to the last one.

    Args:
        positions: ``[place prompt]``.

    Returns:
        Vectors ``[place prompt head d_model]`` without biases, and weights ``[place prompt head]``.

    Raises:
        UnsupportedHookError: a layer without patterns or values.
    """
    names = [pattern_name(layer), f"blocks.{layer}.attn.hook_v"]
    require_hooks(model, names)
    device = model.cfg.device
    tokens, last = task.clean.to(device), task.answer_positions.to(device)
    vectors, weights = [], []
    for rows in chunks(model, task):
        _, cache = model.run_with_cache(
            tokens[rows], names_filter=names, return_cache_object=False, return_type=None
        )
        pattern, v = (cache[name] for name in names)
        each = torch.arange(len(pattern), device=device)
        keys = positions[:, rows].to(device)
        weight = pattern[each, :, last[rows]]  # [prompt head key]
        weight = torch.stack([weight[each, :, key] for key in keys])
        values = torch.stack([v[each, key] for key in keys])  # [place prompt kv_head d_head]
        values = values.repeat_interleave(weight.shape[-1] // values.shape[2], dim=2)
        W_O = model.blocks[layer].attn.W_O.detach()
        vectors.append(torch.einsum("sbh,sbhc,hcd->sbhd", weight, values, W_O))
        weights.append(weight)
    return torch.cat(vectors, 1), torch.cat(weights, 1)
