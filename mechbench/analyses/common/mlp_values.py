"""Neurons and their value vectors: which there are, what they promote, which are active."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from mechbench.analyses.common.head_weights import agrees
from mechbench.analyses.common.norm_map import require_hooks
from mechbench.analyses.common.token_labels import token_labels
from mechbench.errors import TaskError, UnsupportedHookError
from mechbench.interventions.weight_edits import output_bias, output_weight

Neuron: TypeAlias = tuple[int, int]  # layer, neuron

_WRITTEN = re.compile(r"\s*L?(\d+)\s*[.,N]\s*(\d+)\s*", re.IGNORECASE)


def post_name(layer: int) -> str:
    return f"blocks.{layer}.mlp.hook_post"


def neuron_label(neuron: Neuron) -> str:
    """``"9.1853"``: layer and neuron."""
    return f"{neuron[0]}.{neuron[1]}"


def parse_neurons(neurons: Iterable[Any], model) -> tuple[Neuron, ...]:
    """Neurons written "9.1853" or [9, 1853], as pairs that this model has.

    Raises:
        TaskError: none, one that cannot be read, or one named twice.
        UnsupportedHookError: one that the model does not have.
    """
    parsed = tuple(_parse(neuron) for neuron in neurons)
    if not parsed:
        raise TaskError(
            "No neurons were given, or none was found: name at least one, such as '9.1853', or "
            "lower the threshold of value_vectors."
        )
    if len(set(parsed)) < len(parsed):
        raise TaskError(f"Neurons must be named once each, got {', '.join(map(str, neurons))}.")
    for layer, neuron in parsed:
        d_mlp = len(output_weight(model, layer))
        if neuron >= d_mlp:
            raise UnsupportedHookError(
                f"Layer {layer} of {model.cfg.model_name!r} has no neuron {neuron}: its neurons "
                f"are 0..{d_mlp - 1}."
            )
    return parsed


def _parse(neuron: Any) -> Neuron:
    if isinstance(neuron, str) and (match := _WRITTEN.fullmatch(neuron)):
        return int(match[1]), int(match[2])
    if (
        isinstance(neuron, list | tuple)
        and len(neuron) == 2
        and all(type(i) is int for i in neuron)
    ):
        return neuron[0], neuron[1]
    hint = " A bare number loses its last zero." if isinstance(neuron, float) else ""
    raise TaskError(
        f"{neuron!r} is not a neuron.{hint} Write layer and neuron as text, '9.1853', or as "
        "[9, 1853]."
    )


@torch.no_grad()
def require_value_vectors(model, layers: Sequence[int]) -> None:
    """Raises UnsupportedHookError unless these MLPs write ``post @ W_out + b_out``.

    Measured on four tokens. Models that normalise or scale what an MLP writes fail.
    """
    weights = {layer: output_weight(model, layer) for layer in layers}
    names = [n for layer in layers for n in (post_name(layer), f"blocks.{layer}.hook_mlp_out")]
    require_hooks(model, names)
    probe = torch.arange(4, device=model.W_E.device)[None] * 7 % model.cfg.d_vocab
    _, cache = model.run_with_cache(probe, names_filter=names)
    for layer, weight in weights.items():
        written = cache[f"blocks.{layer}.hook_mlp_out"]
        if not agrees(cache[post_name(layer)] @ weight + output_bias(model, layer), written):
            raise UnsupportedHookError(
                f"The neurons of {model.cfg.model_name!r}, layer {layer}, do not write straight "
                "into the residual stream (a norm, a scale or a route follows them), so their "
                "value vectors cannot be read or edited one by one."
            )


@torch.inference_mode()
def promoted(
    model, layer: int, vectors: Float[Tensor, "neuron d_model"], n_tokens: int
) -> list[list[str]]:
    """The tokens that value vectors raise most: LN(v + b_out) W_U + b_U.

    Source: Li and Gao 2025, as in their code; the bias is what a folded norm's shift becomes.
    """
    x = (vectors + output_bias(model, layer))[None]
    logits = model.unembed(model.ln_final(x))[0]
    best = logits.topk(min(n_tokens, logits.shape[-1])).indices.cpu()
    return [token_labels(model, row) for row in best.tolist()]
