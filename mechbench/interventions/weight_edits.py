"""Value vectors: rows of an MLP's output weights, changed for a while and put back bit for bit."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mechbench.errors import UnsupportedHookError
from mechbench.models.registry import VARIANTS


@dataclass(frozen=True, eq=False)
class ValueVectorEdit:
    """``add [d_model]`` on the value vector of one neuron: row ``neuron`` of its layer's W_out."""

    layer: int
    neuron: int
    add: Tensor


@contextmanager
def edited(model, edits: Sequence[ValueVectorEdit]) -> Iterator[None]:
    """The model with these edits in place, until the context ends, however it ends.

    The rows are put back as copies of what they were, so every bit is as before; contexts may be
    nested, several edits may name one row (they add up), and layers may share their weights (an
    edit then acts in all of them).

    Raises:
        UnsupportedHookError: a layer, neuron or width that the model does not have, or MLPs
            without such weights. Nothing has been changed then.
    """
    rows = [_row(model, edit) for edit in edits]
    kept: list[Tensor] = []
    try:
        with torch.no_grad():
            for row, edit in zip(rows, edits, strict=True):
                kept.append(row.clone())
                row += edit.add.to(row)
        yield
    finally:
        with torch.no_grad():
            for row, before in reversed(list(zip(rows, kept, strict=False))):
                row.copy_(before)


def output_weight(model, layer: int) -> Float[Tensor, "d_mlp d_model"]:
    """The output weights of a layer's MLP as the model holds them, not a copy; rows are neurons.

    Raises:
        UnsupportedHookError: a layer out of range, or an MLP that has no such weights.
    """
    n_layers = model.cfg.n_layers
    if not 0 <= layer < n_layers:
        raise UnsupportedHookError(
            f"{model.cfg.model_name!r} has no layer {layer}: its layers are 0..{n_layers - 1}."
        )
    found = _stored_weight(model, layer)
    if found is None:
        raise UnsupportedHookError(
            f"The MLP of layer {layer} of {model.cfg.model_name!r} has no neurons with one value "
            "vector each (mlp.hook_post and W_out). Use a model of one of these architectures: "
            f"{', '.join(_able())}; or a Hugging Face model with such MLPs."
        )
    return found.detach()


def output_bias(model, layer: int) -> Float[Tensor, " d_model"]:
    """The output bias of a layer's MLP; zeros where there is none."""
    weight = output_weight(model, layer)
    bias = model.blocks[layer].mlp.b_out
    return weight.new_zeros(weight.shape[1]) if bias is None else bias.detach()


def layers_sharing(model, layer: int) -> tuple[int, ...]:
    """All layers whose MLP writes with the very weights of this one, itself included."""
    own = output_weight(model, layer).data_ptr()
    weights = {other: _stored_weight(model, other) for other in range(model.cfg.n_layers)}
    return tuple(i for i, W in weights.items() if W is not None and W.data_ptr() == own)


def _row(model, edit: ValueVectorEdit) -> Tensor:
    """The row that an edit means, as a view of the model's own weights."""
    weight = output_weight(model, edit.layer)
    d_mlp, d_model = weight.shape
    if not 0 <= edit.neuron < d_mlp:
        raise UnsupportedHookError(
            f"Layer {edit.layer} of {model.cfg.model_name!r} has no neuron {edit.neuron}: its "
            f"neurons are 0..{d_mlp - 1}."
        )
    if edit.add.shape != (d_model,):
        raise UnsupportedHookError(
            f"An edit of neuron {edit.layer}.{edit.neuron} adds a vector of shape "
            f"{list(edit.add.shape)}, and value vectors of {model.cfg.model_name!r} have "
            f"[{d_model}]."
        )
    return weight[edit.neuron]


def _stored_weight(model, layer: int) -> Tensor | None:
    if f"blocks.{layer}.mlp.hook_post" not in model.hook_dict:
        return None
    try:
        weight = model.blocks[layer].mlp.W_out
    except AttributeError:  # an MLP of another kind
        return None
    return weight if weight.dim() == 2 else None  # several experts have a matrix each


def _able() -> list[str]:
    """Architectures in which every layer has value vectors."""
    able = []
    for spec in VARIANTS:
        config = next(c for name, c in spec.presets.items() if name.startswith("tiny"))
        with torch.device("meta"):
            model = spec.build(config)
        if all(_stored_weight(model, layer) is not None for layer in range(config.n_layers)):
            able.append(spec.name)
    return able
