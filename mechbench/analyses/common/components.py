"""What every component writes in the direction of the answers, with the final norm's divisor fixed.

Suffixes: B prompt, A answer, H head, C d_head, D d_model.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mechbench.analyses.common.answer_reading import AnswerReading
from mechbench.analyses.common.head_weights import agrees, final_norm
from mechbench.analyses.common.heads import head_label
from mechbench.analyses.common.norm_map import require_hooks
from mechbench.analyses.common.weights import final_scale
from mechbench.errors import UnsupportedHookError

EMBED, POS_EMBED, ATTN_BIAS = "embed", "pos_embed", "attention biases"
NORM_BIAS, UNEMBED_BIAS = "final norm's bias", "unembedding's bias"
Project = Callable[[Tensor], Tensor]  # directions [prompt answer d_model] to [part prompt answer]


@dataclass(frozen=True)
class Components:
    """Parts of a reading, in logits.

    Attributes:
        labels: one per part; heads are "3.1", MLPs "mlp 3", whole attention layers "attn 3".
        parts: ``[component prompt answer]``; they sum to ``value``.
        shuffled: the same components' parts of the reading of the next prompt's answers.
        value: the reading of the model's own logits, ``[prompt answer]``.
    """

    labels: list[str]
    parts: Tensor
    shuffled: Tensor
    value: Tensor


@torch.inference_mode()
def components(model, tokens: Tensor, reading: AnswerReading, *, heads: bool = True) -> Components:
    """Every component's part of the reading, on one run.

    Args:
        heads: each head by itself; else one part per attention layer.

    Raises:
        UnsupportedHookError: missing hook points, heads that do not write straight into the
            residual stream, or logits that the parts do not add up to.
    """
    device = model.cfg.device
    vocab = reading.vocab.to(device)
    seen = _run(model, tokens.to(device), reading.positions.to(device), heads)
    resid = seen[_final(model)]
    divisor, norm = final_scale(model, resid), final_norm(model)
    W_U, b_U = model.W_U.detach()[:, vocab].T, model.unembed.b_U.detach()[vocab]
    pieces = list(_pieces(model, seen, heads))
    found = []
    for one in (reading, reading.shuffled()):
        weights = one.weights.to(W_U)
        onto = weights @ W_U
        directions = norm.read(onto) / divisor
        fixed = torch.stack([onto @ norm.bias.to(onto), weights @ b_U])
        found.append(torch.cat([*(project(directions) for _, project in pieces), fixed]))
    value = reading.of(model.read_answers(resid, vocab))
    _require_sum(model, found[0], value)
    labels = [label for names, _ in pieces for label in names]
    return Components([*labels, NORM_BIAS, UNEMBED_BIAS], found[0], found[1], value)


def _run(model, tokens: Tensor, positions: Tensor, heads: bool) -> dict[str, Tensor]:
    """Activations at the answers' positions, ``[prompt answer ...]``, by hook name."""
    layers = range(model.cfg.n_layers)
    names = ["hook_embed", _final(model), *(f"blocks.{l}.hook_attn_out" for l in layers)]
    if "hook_pos_embed" in model.hook_dict:
        names.append("hook_pos_embed")
    if not model.cfg.attn_only:
        names += [f"blocks.{l}.hook_mlp_out" for l in layers]
    if heads:
        names += [f"blocks.{l}.attn.hook_z" for l in layers]
    require_hooks(model, [*names, "ln_final.hook_scale"])
    seen: dict[str, Tensor] = {}

    def keep(value: Tensor, hook) -> None:
        index = positions.reshape(*positions.shape, *[1] * (value.dim() - 2))
        seen[hook.name] = torch.take_along_dim(value, index, dim=1)

    model.run_with_hooks(tokens, return_type=None, fwd_hooks=[(name, keep) for name in names])
    return seen


def _final(model) -> str:
    return f"blocks.{model.cfg.n_layers - 1}.hook_resid_post"


def _pieces(model, seen: dict[str, Tensor], heads: bool) -> Iterator[tuple[list[str], Project]]:
    """Labels and projections of what is written, in model order, the attention biases last."""
    yield [EMBED], _one(seen["hook_embed"])
    if "hook_pos_embed" in seen:
        yield [POS_EMBED], _one(seen["hook_pos_embed"])
    biases = torch.zeros_like(seen[_final(model)])
    for layer in range(model.cfg.n_layers):
        attn_out = seen[f"blocks.{layer}.hook_attn_out"]
        if heads:
            z, W_O, bias = _heads(model, layer, seen, attn_out)
            biases = biases + bias
            yield [head_label((layer, h)) for h in range(len(W_O))], _by_head(z, W_O)
        else:
            yield [f"attn {layer}"], _one(attn_out)
        if not model.cfg.attn_only:
            yield [f"mlp {layer}"], _one(seen[f"blocks.{layer}.hook_mlp_out"])
    if heads:
        yield [ATTN_BIAS], _one(biases)


def _one(written: Tensor) -> Project:
    return lambda directions: (written * directions).sum(-1)[None]


def _by_head(z: Tensor, W_O: Tensor) -> Project:
    return lambda directions: torch.einsum(
        "bahc,bahc->hba", z, torch.einsum("hcd,bad->bahc", W_O, directions)
    )


def _heads(model, layer: int, seen: dict[str, Tensor], attn_out: Tensor):
    """``z``, ``W_O`` and the bias of a layer, checked to give what the layer writes."""
    attn, z = model.blocks[layer].attn, seen[f"blocks.{layer}.attn.hook_z"]
    bias = torch.zeros_like(attn_out) if attn.b_O is None else attn.b_O.expand_as(attn_out)
    if not agrees(torch.einsum("bahc,hcd->bad", z, attn.W_O) + bias, attn_out):
        raise UnsupportedHookError(
            f"The heads of {model.cfg.model_name!r}, layer {layer}, do not write straight into the "
            "residual stream (a norm or a scale follows them). Use heads=False, which attributes "
            "to whole attention layers."
        )
    return z, attn.W_O, bias


def _require_sum(model, parts: Tensor, value: Tensor) -> None:
    total = parts.sum(0)
    if not agrees(total, value):
        raise UnsupportedHookError(
            f"The components of {model.cfg.model_name!r} do not add up to its logits (they differ "
            f"by {float((total - value).abs().max()):.2g}): its logits are capped or scaled, or "
            "its blocks write something that no hook point shows."
        )
