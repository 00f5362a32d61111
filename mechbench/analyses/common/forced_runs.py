"""Runs of a model whose tokens are forced through or past one block, some prompts at a time."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mechbench.models.variants.mod import MoD
from mechbench.results.forced_route import LOSS, METRIC
from mechbench.tasks.metrics import Metric

_PROMPTS_AT_ONCE = 16


@dataclass(frozen=True)
class RoutedRun:
    """What was seen in a run.

    Attributes:
        measures: the mean next-token loss and the metric of each prompt, ``[prompt]``, by name.
        through, weights: decisions and router weights, ``[prompt layer pos]``.
        first_answer: logits at the first answer's position, ``[prompt vocab]``.
    """

    measures: dict[str, Tensor]
    through: Tensor
    weights: Tensor
    first_answer: Tensor


def routed_run(
    model: MoD,
    tokens: Tensor,
    metric: Metric,
    *,
    layer: int | None = None,
    mask: Tensor | None = None,
) -> RoutedRun:
    """A run in which ``mask [prompt pos]`` are the decisions at block ``layer``; None: its own."""
    names = [
        [f"blocks.{at}.mod.{point}" for at in model.routers]
        for point in ("hook_selected_mask", "hook_router_weights")
    ]
    losses, answered, decided, weighed = [], [], [], []
    for start in range(0, len(tokens), _PROMPTS_AT_ONCE):
        part = slice(start, start + _PROMPTS_AT_ONCE)
        seen: dict[str, Tensor] = {}
        hooks = [] if mask is None else [(_mask_of(layer), _writing(mask[part]))]
        hooks += [(name, _keeping(seen, name)) for name in sum(names, [])]
        with model.hooks(fwd_hooks=hooks):
            logits = model(tokens[part])
        targets = tokens[part, 1:]
        terms = nn.functional.cross_entropy(logits[:, :-1].mT, targets, reduction="none")
        losses.append(terms.mean(1))
        answered.append(logits.take_along_dim(metric.positions[part][..., None], dim=1))
        decided.append(torch.stack([seen[name] for name in names[0]], dim=1))
        weighed.append(torch.stack([seen[name] for name in names[1]], dim=1))
    read = torch.cat(answered)
    values = metric(read if metric.vocab is None else read[..., metric.vocab])
    return RoutedRun(
        measures={LOSS: torch.cat(losses), METRIC: values.mean(-1)},
        through=torch.cat(decided),
        weights=torch.cat(weighed),
        first_answer=read[:, 0],
    )


def _mask_of(layer: int | None) -> str:
    return f"blocks.{layer}.mod.hook_selected_mask"


def _writing(mask: Tensor):
    def write(decisions: Tensor, hook) -> Tensor:
        return mask.to(decisions.device)

    return write


def _keeping(seen: dict[str, Tensor], name: str):
    def keep(values: Tensor, hook) -> None:
        seen[name] = values.clone()

    return keep
