"""Residual streams read through the final norm and the unembedding."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mechbench.analyses.common.norm_map import require_hooks
from mechbench.tasks.pairs import PromptPairs

_LOGITS_AT_ONCE = 1 << 25


@dataclass(frozen=True)
class Reading:
    """What one residual stream says.

    Attributes:
        log_prob, rank, shuffled: of the answers, and the log-probability of the next prompt's, at
            the answers' positions, ``[prompt answer]``.
        by_position: mean log-probability of the answers read anywhere, ``[pos answer]``.
        top_id, top_prob: the likeliest tokens of the first prompts, ``[shown pos]``.
    """

    log_prob: Tensor
    rank: Tensor
    shuffled: Tensor
    by_position: Tensor
    top_id: Tensor
    top_prob: Tensor


def residual_names(model) -> dict[str, str]:
    """Label ("0_pre") to hook name of every residual stream, in order."""
    middle = [] if model.cfg.parallel_attn_mlp else ["mid"]
    last = model.cfg.n_layers - 1
    names = {
        f"{layer}_{part}": f"blocks.{layer}.hook_resid_{part}"
        for layer in range(model.cfg.n_layers)
        for part in ["pre", *middle]
    }
    return {**names, "final_post": f"blocks.{last}.hook_resid_post"}


@torch.inference_mode()
def residual_streams(model, tokens: Tensor) -> dict[str, Tensor]:
    """Every residual stream ``[prompt pos d_model]`` by label.

    Raises:
        UnsupportedHookError: a model without such hook points.
    """
    labels = residual_names(model)
    require_hooks(model, list(labels.values()))
    seen: dict[str, Tensor] = {}

    def keep(value: Tensor, hook) -> None:
        seen[hook.name] = value.clone()

    hooks = [(name, keep) for name in labels.values()]
    model.run_with_hooks(tokens, return_type=None, fwd_hooks=hooks)
    return {label: seen[name] for label, name in labels.items()}


@torch.inference_mode()
def read_residual(model, resid: Tensor, pairs: PromptPairs, n_shown: int) -> Reading:
    """Log-probabilities and ranks of the answers, some prompts at a time."""
    n, length, _ = resid.shape
    size = max(1, _LOGITS_AT_ONCE // (length * model.cfg.d_vocab))
    other = pairs.answers.roll(-1, 0)
    found: list[tuple[Tensor, ...]] = []
    tops: list[tuple[Tensor, Tensor]] = []
    for start in range(0, n, size):
        rows = slice(start, start + size)
        log_probs = model.read_answers(resid[rows]).log_softmax(-1)
        answers = pairs.answers[rows]
        everywhere = log_probs.gather(-1, answers[:, None].expand(-1, length, -1))
        at = torch.take_along_dim(log_probs, pairs.answer_positions[rows][..., None], dim=1)
        own = at.gather(-1, answers[..., None])
        shuffled = at.gather(-1, other[rows][..., None])[..., 0]
        found.append((own[..., 0], (at > own).sum(-1), shuffled, everywhere))
        if start < n_shown:
            best = log_probs[: n_shown - start].max(-1)
            tops.append((best.indices, best.values.exp()))
    log_prob, rank, shuffled, everywhere = (torch.cat(parts) for parts in zip(*found, strict=True))
    ids, probs = (torch.cat(parts) for parts in zip(*tops, strict=True))
    return Reading(log_prob, rank, shuffled, everywhere.mean(0), ids, probs)
