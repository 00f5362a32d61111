"""Products of weights restricted to letters, with LayerNorm as a linear map (no division)."""

import torch
from torch import Tensor

from mechbench.errors import UnsupportedHookError


def require_layer_norm(model) -> None:
    """Raises UnsupportedHookError where the model's norms do not subtract the mean."""
    kind = model.cfg.normalization_type
    if kind not in ("LN", "LNPre"):
        raise UnsupportedHookError(
            f"{model.cfg.model_name!r} normalises with {kind!r}; products of its weights are only "
            "defined here for LayerNorm ('LN') and folded LayerNorm ('LNPre')."
        )


def centre_and_scale(model, norm, x: Tensor) -> Tensor:
    """``x`` minus its mean, times the norm's learned scale: no shift, no division.

    Equal to a folded LayerNorm's weights, whether or not the model has been folded.
    """
    x = x - x.mean(-1, keepdim=True)
    return x * norm.w if model.cfg.normalization_type == "LN" else x


def readout(model, directions: Tensor) -> Tensor:
    """Residual-stream directions whose dot product is a combination of logits, before division.

    ``directions [... d_model]`` are combinations of unembedding columns. Adjoint of
    ``centre_and_scale`` at the final norm.
    """
    if model.cfg.normalization_type == "LN":
        directions = directions * model.ln_final.w
    return directions - directions.mean(-1, keepdim=True)


@torch.inference_mode()
def final_scale(model, resid: Tensor) -> Tensor:
    """The divisor ``[... 1]`` that the final norm applies to ``resid [... d_model]``."""
    seen = []
    with model.hooks(fwd_hooks=[("ln_final.hook_scale", lambda scale, hook: seen.append(scale))]):
        model.ln_final(resid)
    return seen[0]


def letter_readout(model, ids: Tensor) -> Tensor:
    """Directions ``[id d_model]`` whose dot product with a residual stream is each id's logit.

    Undivided by the final norm, and counted from the mean logit of the vocabulary, so they are the
    same whether or not LayerNorm was folded and the unembedding centred.
    """
    W_U = model.W_U.detach()
    return readout(model, (W_U[:, ids] - W_U.mean(1, keepdim=True)).T)


def value_output(model, layer: int, x: Tensor) -> Tensor:
    """What each head writes if it attends to ``x [row d_model]`` alone, ``[head row d_model]``.

    No biases, no division by ``ln1``.
    """
    attn = model.blocks[layer].attn
    W_V = attn.W_V.repeat_interleave(model.cfg.n_heads // len(attn.W_V), dim=0)
    read = centre_and_scale(model, model.blocks[layer].ln1, x)
    return read @ W_V @ attn.W_O


@torch.inference_mode()
def ov_blocks(model, source: Tensor, target: Tensor, *, mlp0: bool) -> Tensor:
    """``[layer head source target]``: the logit of each target that attending to a source writes.

    W_E W_V W_O W_U without biases and divisions, in float64. With ``mlp0`` the embedding passes the
    first block's MLP, without attention and positions.
    """
    x = model.W_E[source.to(model.cfg.device)]
    if mlp0:
        x = model.blocks[0].to_post(x[None])[0]
    directions = letter_readout(model, target.to(model.cfg.device)).T
    layers = [value_output(model, layer, x) @ directions for layer in range(model.cfg.n_layers)]
    return torch.stack(layers).double().cpu()


def diagonal_hits(blocks: Tensor) -> Tensor:
    """Whether the diagonal is the largest entry of each row, ``[... row]``."""
    return blocks.argmax(-1) == torch.arange(blocks.shape[-2])


def letter_scores(model, source: Tensor, target: Tensor, *, mlp0: bool) -> Tensor:
    """Share of the letters that each head copies, ``[layer head]``."""
    return diagonal_hits(ov_blocks(model, source, target, mlp0=mlp0)).double().mean(-1)
