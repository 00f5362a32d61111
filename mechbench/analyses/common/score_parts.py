"""The content and the position part of attention scores: what they say, and what hangs on them.

Suffixes: B prompt, H head, Q query, K key.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mechbench.analyses.common.inspections import cannot_inspect
from mechbench.results.latent_attention import BOTH, CONTENT, LEVELLED, POSITION
from mechbench.tasks.metrics import Metric

_NAMES = {CONTENT: "attn.hook_scores_content", POSITION: "attn.hook_scores_rope"}


def require_score_parts(model) -> None:
    """Raises UnsupportedHookError where scores have no content and position part."""
    if part_name(CONTENT, 0) in model.hook_dict:
        return
    raise cannot_inspect(model, "latent_attention", "scores of a content and a position part")


def part_name(part: str, layer: int) -> str:
    """The hook point of a part, ``[prompt head query key]``, 0 where a key is not seen."""
    return f"blocks.{layer}.{_NAMES[part]}"


def hooked_parts(part: str) -> tuple[str, ...]:
    """The hook points' parts that a part of the result means."""
    return (CONTENT, POSITION) if part == BOTH else (part,)


@dataclass(frozen=True)
class PartsRead:
    """What the parts of a batch's scores say, in float64 on the CPU.

    Attributes:
        variance: summed over queries, ``[part prompt layer head]``: of content, of position, and
            twice their covariance.
        attention: to wanted keys, the mean over queries that have some (NaN where none has), of the
            whole score and of each part alone, ``[form kind prompt layer head]``.
    """

    variance: Tensor
    attention: Tensor


@torch.inference_mode()
def read_parts(model, tokens: Tensor, wanted: Tensor) -> PartsRead:
    """The parts of every head's scores; ``wanted [kind prompt query key]``."""
    tokens, wanted = tokens.to(model.cfg.device), wanted.to(model.cfg.device)
    held: dict[str, Tensor] = {}
    variances, attentions = [], []

    def read_content(value: Tensor, hook) -> None:
        held[CONTENT] = value.double()

    def read_position(value: Tensor, hook) -> None:
        content, position = held.pop(CONTENT), value.double()
        variances.append(_variances(content, position).cpu())
        forms = (content + position, content, position)
        attentions.append(torch.stack([_attention(form, wanted).cpu() for form in forms]))

    hooks: list[tuple[str, Callable]] = []
    for layer in range(model.cfg.n_layers):
        hooks += [(part_name(CONTENT, layer), read_content)]
        hooks += [(part_name(POSITION, layer), read_position)]
    model.run_with_hooks(tokens, return_type=None, fwd_hooks=hooks)
    return PartsRead(torch.stack(variances, dim=-2), torch.stack(attentions, dim=-2))


def _seen(like: Tensor) -> Tensor:
    """Whether a query sees a key, ``[query key]``."""
    return torch.ones(like.shape[-2:], dtype=torch.bool, device=like.device).tril()


def _level(part_BHQK: Tensor) -> Tensor:
    """The part's mean over the keys that a query sees, there; 0 elsewhere."""
    seen = _seen(part_BHQK).to(part_BHQK)
    return (part_BHQK * seen).sum(-1, keepdim=True) / seen.sum(-1, keepdim=True) * seen


def _variances(content: Tensor, position: Tensor) -> Tensor:
    """``[part prompt head]``, summed over queries."""
    seen = _seen(content)
    a, b = (part * seen - _level(part) for part in (content, position))
    products = torch.stack([a * a, b * b, 2 * a * b])
    return (products.sum(-1) / seen.sum(-1)).sum(-1)


def _attention(scores_BHQK: Tensor, wanted: Tensor) -> Tensor:
    """Attention to wanted keys, ``[kind prompt head]``."""
    pattern = scores_BHQK.masked_fill(~_seen(scores_BHQK), float("-inf")).softmax(-1)
    found = torch.einsum("bhqk,mbqk->mbh", pattern, wanted.to(pattern))
    return found / wanted.any(-1).sum(-1).to(pattern)[..., None]


# --- changing a part ------------------------------------------------------------------------------


def changed(change: str, heads: int | slice) -> Callable:
    """A hook that changes a part of some heads: levels it, or takes that of the next prompt."""

    def hook_fn(value: Tensor, hook) -> Tensor:
        value = value.clone()
        own = value[:, heads]
        value[:, heads] = _level(own) if change == LEVELLED else own.roll(1, 0)
        return value

    return hook_fn


@torch.inference_mode()
def metric_under(
    model, resid: Tensor, layer: int, metric: Metric, hooks: Sequence[tuple[str, Callable]]
) -> Tensor:
    """The metric per prompt, the mean over answers, from the stream ``resid`` before a layer."""
    with model.hooks(hooks):
        for block in model.blocks[layer:]:
            resid = block(resid)
    at = torch.take_along_dim(resid, metric.positions[..., None], dim=1)
    return metric(model.read_answers(at, metric.vocab)).mean(-1).double().cpu()
