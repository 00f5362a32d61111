"""Exchanging what tells two words apart by position: position embeddings, attention to BOS."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mechbench.analyses.common.attention import pattern_name
from mechbench.analyses.common.heads import Head
from mechbench.errors import UnsupportedHookError

_POSITIONS = "hook_pos_embed"


def require_position_embedding(model) -> None:
    """Raises UnsupportedHookError where the model has no learned position embedding."""
    if _POSITIONS not in model.hook_dict:
        raise UnsupportedHookError(
            f"{model.cfg.model_name!r} has no {_POSITIONS!r}: exchanging positions needs learned "
            "absolute position embeddings, as in GPT-2."
        )


def position_hook(a: int, b: int) -> tuple[str, Callable]:
    """A hook that exchanges the position embeddings of positions ``a`` and ``b`` in one run."""

    def exchange(embedding: Tensor, hook) -> Tensor:
        return exchanged(embedding, 1, a, b)

    return _POSITIONS, exchange


def column_swapped(pattern: Tensor, a: int, b: int, key: int = 0) -> Tensor:
    """``pattern [prompt head query key]`` with rows ``a`` and ``b`` exchanged in one column.

    The rows then no longer sum to 1. Source: Garcia-Carrasco et al. 2024.
    """
    swapped = pattern.clone()
    swapped[..., key] = exchanged(pattern[..., key], -1, a, b)
    return swapped


def column_hooks(patterns: Mapping[int, Tensor], heads: tuple[Head, ...]) -> list:
    """Hooks that write column 0 of ``patterns`` (by layer) for these heads.

    Every row's entry is written, so the column keeps the value of the run it was cached on even
    where an earlier change of the run would have moved it.
    """

    def writer(layer: int, chosen: list[int]):
        def write(pattern: Tensor, hook) -> Tensor:
            pattern = pattern.clone()
            pattern[:, chosen, :, 0] = patterns[layer][:, chosen, :, 0]
            return pattern

        return write

    by_layer: dict[int, list[int]] = {}
    for layer, head in heads:
        by_layer.setdefault(layer, []).append(head)
    return [(pattern_name(layer), writer(layer, chosen)) for layer, chosen in by_layer.items()]


def exchanged(x: Tensor, dim: int, a: int, b: int) -> Tensor:
    """``x`` with entries ``a`` and ``b`` of an axis exchanged."""
    order = torch.arange(x.shape[dim], device=x.device)
    order[a], order[b] = b, a
    return x.index_select(dim, order)
