"""The states of prompts: what the blocks write at chosen positions."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mechbench.errors import TaskError

_MOST_ROWS = 64


@torch.inference_mode()
def block_outputs(
    model,
    prompts: Sequence[Int[Tensor, " pos"]],
    positions: Int[Tensor, "prompt place"],
) -> Float[Tensor, "prompt place layer d_model"]:
    """``resid_post`` of every block at some positions of each prompt, as the model's tensors.

    Prompts may have different lengths and stand unpadded; each length is run by itself.

    Raises:
        TaskError: a position outside its prompt.
    """
    lengths = torch.tensor([len(prompt) for prompt in prompts])[:, None]
    if bool(((positions < 0) | (positions >= lengths)).any()):
        worst = int(((positions < 0) | (positions >= lengths)).any(1).nonzero()[0])
        raise TaskError(
            f"Positions {positions[worst].tolist()} are not all inside prompt {worst}, which has "
            f"{int(lengths[worst])} tokens, counted from 0."
        )
    cfg = model.cfg
    model.check_length(int(lengths.max()))
    device = cfg.device
    out = model.W_E.new_empty(len(prompts), positions.shape[1], cfg.n_layers, cfg.d_model)
    groups: dict[int, list[int]] = defaultdict(list)
    for i, prompt in enumerate(prompts):
        groups[len(prompt)].append(i)
    names = [f"blocks.{layer}.hook_resid_post" for layer in range(cfg.n_layers)]
    for group in groups.values():
        for a in range(0, len(group), _MOST_ROWS):
            rows = group[a : a + _MOST_ROWS]
            tokens = torch.stack([prompts[i] for i in rows]).to(device)
            _, cache = model.run_with_cache(
                tokens,
                names_filter=names,
                return_cache_object=False,
                stop_at_layer=cfg.n_layers,
            )
            at = positions[rows].to(device)[..., None]
            for layer, name in enumerate(names):
                out[rows, :, layer] = torch.take_along_dim(cache[name], at, dim=1)
    return out
