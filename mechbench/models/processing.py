"""Rewriting weights so that a model is easier to read and computes the same probabilities.

- Folding LayerNorm moves each norm's scale and shift into the weights that read it, and takes out
  of those weights the direction that a centred input never has.
- Centring the writing weights takes out of everything added to the residual stream its mean over
  ``d_model``, which every norm subtracts anyway.
- Centring the unembedding subtracts from each logit the mean over the vocabulary, which the softmax
  ignores. Logits change by one number per position, log-probabilities not at all.

Source: the conventions of TransformerLens; the identities are elementary and tested as such.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mechbench.errors import SpecError
from mechbench.models.base import HookedModel
from mechbench.models.registry import spec_of
from mechbench.models.spec import WeightRoles


@dataclass(frozen=True, kw_only=True)
class Processing:
    """Which rewritings are asked for."""

    fold_ln: bool = False
    center_writing_weights: bool = False
    center_unembed: bool = False

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of those asked for, in the order in which they are done."""
        names = ("fold_ln", "center_writing_weights", "center_unembed")
        return tuple(name for name in names if getattr(self, name))


@torch.no_grad()
def process(model: HookedModel, processing: Processing) -> HookedModel:
    """A new model with rewritten weights; ``model`` is left as it is.

    Hook names stay. What hooks carry changes: a folded norm's ``hook_normalized`` has no scale and
    shift, a centred residual stream has mean 0 over ``d_model``.

    Raises:
        SpecError: the model's architecture does not declare how, or is processed already.
    """
    spec = spec_of(model)
    if spec is None or spec.roles is None:
        raise SpecError(
            f"The weights of {model.cfg.model_name!r} cannot be folded or centred: its "
            "architecture does not allow it without changing the model. Load it without fold_ln, "
            "center_writing_weights and center_unembed."
        )
    if processing.fold_ln and model.config.ln_folded:
        raise SpecError(f"LayerNorm of {model.cfg.model_name!r} is folded already.")
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weights.setdefault("unembed.W_U", model.W_U.clone())
    weights.setdefault("unembed.b_U", model.b_U.clone())
    if processing.fold_ln:
        _fold_ln(weights, spec.roles, model)
    if processing.center_writing_weights:
        for name in spec.roles.writes(model.config):
            weights[name] -= weights[name].mean(-1, keepdim=True)
    if processing.center_unembed:
        for name in ("unembed.W_U", "unembed.b_U"):
            weights[name] -= weights[name].mean(-1, keepdim=True)
    ln_folded = processing.fold_ln or model.config.ln_folded
    config = spec.roles.processed(model.config, ln_folded)
    new = spec.build_empty(config, model.cfg.model_name, model.cfg.dtype).to(model.cfg.device)
    new.load_state_dict(weights)
    new.tokenizer = model.tokenizer
    new.source = replace(model.source, processing=model.source.processing + processing.steps)
    return new


def _fold_ln(weights: dict[str, Tensor], roles: WeightRoles, model: HookedModel) -> None:
    for norm in roles.norms(model.config):
        scale, shift = weights.pop(f"{norm.norm}.w"), weights.pop(f"{norm.norm}.b")
        for weight, bias in norm.reads:
            weights[bias] += torch.einsum("d,...do->...o", shift, weights[weight])
            weights[weight] *= scale[:, None]
            weights[weight] -= weights[weight].mean(-2, keepdim=True)
