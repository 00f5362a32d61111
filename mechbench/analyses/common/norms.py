"""LayerNorm without its division: the linear part that weight products can go through."""

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
