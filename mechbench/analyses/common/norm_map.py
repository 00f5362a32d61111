"""A norm as a linear map with its divisor held fixed, whatever class the norm is of."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mechbench.errors import UnsupportedHookError

_CENTRING = {"LN": True, "LNPre": True, "RMS": False, "RMSPre": False}


@dataclass(frozen=True)
class NormMap:
    """``norm(x) = centred(x) / divisor * weight + bias``, in float64 on the CPU.

    Attributes:
        centres: whether the mean over ``d_model`` is subtracted first.
        weight, bias: ``[d_model]``; ones and zeros where they were folded away.
    """

    centres: bool
    weight: Tensor
    bias: Tensor

    def read(self, directions: Tensor) -> Tensor:
        """Directions ``[... d_model]`` on the norm's output, as directions on its input.

        The dot product of the result with a residual stream is that of ``directions`` with the
        norm's output, times the divisor, without the bias.
        """
        return self.write(directions * self.weight.to(directions))

    def write(self, vectors: Tensor) -> Tensor:
        """``vectors [... d_model]`` without the mean that a centring norm never sees."""
        return vectors - vectors.mean(-1, keepdim=True) if self.centres else vectors


def centres(model) -> bool:
    """Whether the model's norms subtract the mean.

    Raises:
        UnsupportedHookError: norms that are neither LayerNorm nor RMSNorm.
    """
    kind = model.cfg.normalization_type
    if kind not in _CENTRING:
        raise UnsupportedHookError(
            f"{model.cfg.model_name!r} normalises with {kind!r}; its norms can be read as linear "
            f"maps only where they are one of {', '.join(_CENTRING)}."
        )
    return _CENTRING[kind]


@torch.no_grad()
def norm_map(model, norm: nn.Module, name: str) -> NormMap:
    """What a norm does to directions, measured on one probe and its negative.

    Measured, because weights of norms are stored in more than one way (some as ``1 + w``).

    Args:
        norm: such as ``model.ln_final``.
        name: its hook name, such as ``"ln_final"``.

    Raises:
        UnsupportedHookError: norms that are neither LayerNorm nor RMSNorm, or without a divisor
            that can be read.
    """
    centring = centres(model)
    probe = _probe(model.W_E.shape[1]).to(model.W_E)
    plus, divisor = _run(model, norm, name, probe)
    minus, _ = _run(model, norm, name, -probe)
    weight = (plus - minus) / 2 * divisor / probe.double().cpu()
    return NormMap(centring, weight, (plus + minus) / 2)


def require_hooks(model, names: list[str]) -> None:
    """Raises UnsupportedHookError where the model lacks one of these hook points."""
    missing = [name for name in names if name not in model.hook_dict]
    if missing:
        raise UnsupportedHookError(
            f"{model.cfg.model_name!r} has no hook point {missing[0]!r}"
            f"{f' and {len(missing) - 1} more' if len(missing) > 1 else ''}, which this analysis "
            "reads. Use a model whose blocks are attention and MLP between norms."
        )


def _probe(d_model: int) -> Tensor:
    """Entries of 1, -1 and at most one 2: mean zero, and none of them zero."""
    probe = torch.ones(d_model)
    probe[1::2] = -1
    if d_model % 2:
        probe[-2:] = torch.tensor([1.0, -2.0])
        probe[-3] = 1.0
    return probe


def _run(model, norm: nn.Module, name: str, x: Tensor) -> tuple[Tensor, Tensor]:
    seen: list[Tensor] = []
    scale = f"{name}.hook_scale"
    require_hooks(model, [scale])
    with model.hooks(fwd_hooks=[(scale, lambda value, hook: seen.append(value.clone()))]):
        out = norm(x[None, None])
    return out[0, 0].double().cpu(), seen[0].double().cpu().reshape(())
