"""Reading attention patterns and head outputs, also under hooks that change the run."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mechbench.analyses.common.heads import Head

Hooks = Sequence[tuple[str, Callable]]


def pattern_name(layer: int) -> str:
    return f"blocks.{layer}.attn.hook_pattern"


def z_name(layer: int) -> str:
    return f"blocks.{layer}.attn.hook_z"


@torch.inference_mode()
def head_activations(
    model, tokens: Tensor, name: Callable[[int], str], layers: Sequence[int], hooks: Hooks = ()
) -> dict[int, Tensor]:
    """Activations by layer, ``[prompt *axes]``, of a run under ``hooks``.

    ``hooks`` act first, so what is read is what they wrote.
    """
    seen: dict[int, Tensor] = {}

    def reader(layer: int):
        def read(activation: Tensor, hook) -> None:
            seen[layer] = activation.clone()

        return read

    readers = [(name(layer), reader(layer)) for layer in sorted(set(layers))]
    model.run_with_hooks(tokens, return_type=None, fwd_hooks=[*hooks, *readers])
    return seen


def rows_of(
    activations: dict[int, Tensor], heads: Sequence[Head], queries: Sequence[int]
) -> Tensor:
    """Pattern rows ``[head prompt query key]`` of ``heads`` at ``queries``."""
    return torch.stack([activations[layer][:, head][:, list(queries)] for layer, head in heads])
