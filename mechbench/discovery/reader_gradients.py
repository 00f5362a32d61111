"""Gradients of the metric at hook points, on the way from the corrupted to the clean run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from mechbench.discovery.batches import Batch
from mechbench.errors import UnsupportedHookError


@dataclass(frozen=True)
class Entry:
    """An activation that is replaced by ``value``; the gradient is followed back to there.

    Attributes:
        hook_name: of the activation.
        value: ``[point prompt *axes]``.
        resid: the clean residual stream before the activation's block, ``[prompt pos d_model]``,
            to begin there; None to begin at the tokens.
    """

    hook_name: str
    value: Tensor
    resid: Tensor | None

    @property
    def n_points(self) -> int:
        return len(self.value)

    @property
    def layer(self) -> int:
        return int(self.hook_name.split(".")[1])


@dataclass(frozen=True)
class Backward:
    """What one run with gradients left behind, all ``[point prompt *axes]``.

    Attributes:
        metric: ``[point prompt]``.
        values, gradients: by hook name; a gradient is that of the metric of its own row.
    """

    metric: Tensor
    values: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]


def run_backward(
    model, batch: Batch, entry: Entry, *, gradients: Sequence[str], values: Iterable[str] = ()
) -> Backward:
    """Values and gradients of hook points while ``entry`` is written into the clean run.

    Call it within ``activation_gradients``.

    Raises:
        UnsupportedHookError: the metric does not depend on what was to be differentiated.
        NumericsError: NaN or infinite logits.
    """
    begin = entry.value.detach().flatten(0, 1).requires_grad_()
    kept: dict[str, Tensor] = {}

    def keep(tensor: Tensor, hook) -> Tensor:
        # An alias that only what follows the hook point uses: ``tensor`` may also be the skip
        # connection. Returned, because the bridge converts layouts around a hook.
        kept[hook.name] = tensor.view_as(tensor)
        return kept[hook.name]

    names = [*gradients, *(name for name in values if name not in set(gradients))]
    hooks = [(entry.hook_name, lambda tensor, hook: begin), *((name, keep) for name in names)]
    with model.hooks(hooks):
        metric = batch.values(_answer_logits(model, batch, entry))
    if not metric.requires_grad:
        raise UnsupportedHookError(
            f"{model.cfg.model_name!r} gave a metric without a gradient, and attribution needs "
            "one. Use a metric that is differentiable in the logits, or exact patching."
        )
    found = torch.autograd.grad(metric.sum(), [kept[n] for n in gradients], allow_unused=True)
    by_row = (entry.n_points, len(batch))
    differentiated: dict[str, Tensor] = {}
    for name, gradient in zip(gradients, found, strict=True):
        if gradient is None:
            raise UnsupportedHookError(
                f"The metric of {model.cfg.model_name!r} does not depend on {name!r}, so it has no "
                "gradient there. Use exact patching."
            )
        differentiated[name] = gradient.unflatten(0, by_row)
    return Backward(
        metric=metric.detach(),
        values={name: kept[name].detach().unflatten(0, by_row) for name in values},
        gradients=differentiated,
    )


def _answer_logits(model, batch: Batch, entry: Entry) -> Tensor:
    positions, vocab = batch.positions(entry.n_points), batch.metric.vocab
    if entry.resid is None:
        tokens = batch.pairs.clean.repeat(entry.n_points, 1)
        return model.answer_logits(tokens, positions, vocab)
    resid = entry.resid.repeat(entry.n_points, 1, 1)
    for block in model.blocks[entry.layer :]:
        resid = block(resid)
    return model.read_answers(torch.take_along_dim(resid, positions[..., None], dim=1), vocab)


@contextmanager
def activation_gradients(model, *, mlps: bool) -> Iterator[None]:
    """Gradients are recorded of activations and not of weights; ``hook_mlp_in`` fires.

    The model is left as it was.

    Raises:
        UnsupportedHookError: weights that are not floating point.
    """
    _require_floating(model)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    mlp_in = model.cfg.use_hook_mlp_in
    try:
        for weight in weights:
            weight.requires_grad_(False)
        if mlps and not mlp_in:
            model.set_use_hook_mlp_in(True)
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)
        if mlps and not mlp_in:
            model.set_use_hook_mlp_in(False)


def _require_floating(model) -> None:
    dtypes = {weight.dtype for weight in model.parameters() if not weight.is_floating_point()}
    if dtypes:
        found = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
        raise UnsupportedHookError(
            f"{model.cfg.model_name!r} has quantised weights ({found}), and attribution needs "
            "gradients through them. Load it with dtype float32 or bfloat16, or use exact patching."
        )
