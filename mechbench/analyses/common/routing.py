"""Models whose tokens go through or past a block: what analyses of their routers share."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from mechbench.analyses.common.inspections import cannot_inspect
from mechbench.models.base import HookedModel
from mechbench.models.variants.mod import MoD
from mechbench.tasks.metrics import AnswerLogProb
from mechbench.tasks.pairs import PromptPairs

_PROMPTS_AT_ONCE = 16


def require_routers(model: HookedModel) -> MoD:
    """The model, which has routed blocks.

    Raises:
        UnsupportedHookError: it has none.
    """
    if not isinstance(model, MoD) or not model.routers:
        raise cannot_inspect(model, "router_map", "blocks that tokens may go past")
    return model


@contextmanager
def routed_by(
    model: MoD,
    mode: str,
    *,
    capacity: float | None = None,
    threshold: float = 0.0,
    seed: int = 0,
) -> Iterator[None]:
    """The model in another route mode, and with another capacity or threshold, for a while."""
    routers = model.routers.values()
    before = [(r.seed, r.threshold, r.capacity) for r in routers]
    own = model.route_mode
    try:
        model.set_route_mode(mode, seed=seed, threshold=threshold)
        if capacity is not None:
            model.set_capacity(capacity)
        yield
    finally:
        model.set_route_mode(own)
        for router, (seed, threshold, share) in zip(routers, before, strict=True):
            router.seed, router.threshold, router.capacity = seed, threshold, share


@torch.inference_mode()
def routes(model: MoD, tokens: Tensor) -> Tensor:
    """Whether each token goes through each routed block, ``[prompt layer pos]``."""
    names = [f"blocks.{layer}.mod.hook_selected_mask" for layer in model.routers]
    cache = model.run_with_cache(
        tokens, names_filter=names, return_type=None, return_cache_object=False
    )[1]
    return torch.stack([cache[name] for name in names], dim=1)


def next_token_metric(pairs: PromptPairs) -> AnswerLogProb:
    """The log-probability of every token but the first, read at the position before it, nats."""
    n_read = pairs.n_positions - 1
    positions = torch.arange(n_read, device=pairs.clean.device).expand(len(pairs), n_read)
    return AnswerLogProb(positions, pairs.clean[:, 1:])


@torch.inference_mode()
def next_token_losses(model: HookedModel, pairs: PromptPairs) -> Tensor:
    """The cross-entropy of every token but the first at the position before it, ``[prompt pos]``.

    In nats; some prompts at a time.
    """
    found = []
    for start in range(0, len(pairs), _PROMPTS_AT_ONCE):
        part = pairs.select(slice(start, start + _PROMPTS_AT_ONCE))
        metric = next_token_metric(part)
        found.append(-metric(model.answer_logits(part.clean, metric.positions)))
    return torch.cat(found)


def other_way(mask: Tensor) -> Tensor:
    """Through where it was past, and past where it was through."""
    return ~mask
