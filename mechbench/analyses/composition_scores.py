"""Which heads read what which earlier heads write, from their weights alone."""

from pathlib import Path

import torch
from torch import Tensor

from mechbench.analyses.common.estimates import labelled
from mechbench.analyses.common.head_weights import LayerHeads, layer_heads, require_plain_heads
from mechbench.analyses.common.heads import all_heads, head_labels
from mechbench.analyses.common.low_rank import shrink_left, shrink_right
from mechbench.analyses.common.norm_map import centres
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.errors import TaskError
from mechbench.results.composition_scores import (
    MODE,
    MODES,
    RECEIVER,
    SENDER,
    CompositionScores,
)
from mechbench.tasks.base import Task

_NORMS = "ln1's scale and centring are part of what a head reads; its divisor is left out"


@torch.no_grad()
def composition_scores(
    model,
    task: Task,
    *,
    n_random: int = 100,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> CompositionScores:
    """Q-, K- and V-composition of every head with every head of a later layer.

    Args:
        task: for provenance only.
        n_random: pairs of heads of Gaussian weights, the control; at least 2.

    Raises:
        UnsupportedHookError: a model without such heads.
        TaskError: ``n_random`` below 2.

    Source: Elhage et al. 2021; the norms inside and the Gaussian control are our choice.
    """
    clock = Clock()
    if n_random < 2:
        raise TaskError(f"n_random={n_random} draws are no control: give at least 2.")
    require_plain_heads(model)
    n_layers, n_heads = model.cfg.n_layers, model.cfg.n_heads
    steps = Steps(n_layers + 1, progress, checkpoint)
    scores = torch.full((3, n_layers, n_heads, n_layers, n_heads), float("nan")).double()
    written: list[Tensor] = []  # of the layers so far, [head d_head d_model], norm 1
    for layer in range(n_layers):
        heads = layer_heads(model, layer)
        for mode, read in enumerate(_readings(heads)):
            for earlier, left in enumerate(written):
                scores[mode, earlier, :, layer] = _norms_of_products(left, read)
        written.append(_unit(_written(heads)))
        steps.advance()
    control = _gaussian(model, n_random, seed)
    steps.finish()
    labels = head_labels(all_heads(model))
    named = labelled(
        scores.flatten(3, 4).flatten(1, 2),
        {MODE: MODES, SENDER: labels, RECEIVER: labels},
        units="1",
        meaning="composition score",
    )
    return CompositionScores(
        norms=_NORMS,
        scores=named,
        excess=(named - float(control.mean())).assign_attrs(
            units="1", long_name="composition score above that of Gaussian heads"
        ),
        control=labelled(
            control, {"draw": range(n_random)}, units="1", meaning="score of Gaussian heads"
        ),
        provenance=clock.provenance(model, task, seed=seed, notes=("weights only, no prompts",)),
    )


def _written(heads: LayerHeads) -> Tensor:
    """``[head d_head d_model]`` with the Frobenius products of each head's OV circuit."""
    return torch.stack([shrink_left(*heads.ov(head)) for head in range(heads.n_heads)])


def _readings(heads: LayerHeads) -> list[Tensor]:
    """``[head d_model d_head]`` of norm 1 for each mode, query heads with their kv head."""
    every = range(heads.n_heads)
    circuits = {
        "Q": [heads.qk(head) for head in every],
        "K": [(B.T, A.T) for A, B in (heads.qk(head) for head in every)],
        "V": [heads.ov(head) for head in every],
    }
    return [_unit(torch.stack([shrink_right(A, B) for A, B in circuits[m]])) for m in MODES]


def _unit(factors: Tensor) -> Tensor:
    return factors / factors.flatten(1).norm(dim=1)[:, None, None]


def _norms_of_products(left: Tensor, right: Tensor) -> Tensor:
    """``[sender receiver]`` Frobenius norms of ``left[s] @ right[r]``, one sender at a time."""
    columns = right.transpose(0, 1).flatten(1)  # [d_model (receiver d_head)]
    rows = [(one @ columns).unflatten(1, (len(right), -1)).pow(2).sum((0, 2)) for one in left]
    return torch.stack(rows).sqrt()


def _gaussian(model, n: int, seed: int) -> Tensor:
    """Scores of ``n`` pairs of heads whose four weights are Gaussian noise."""
    generator = torch.Generator().manual_seed(seed)
    d_model, d_head = model.W_E.shape[1], model.cfg.d_head
    found = []
    for _ in range(n):
        A, B, C, D = torch.randn(4, d_model, d_head, generator=generator, dtype=torch.float64)
        if centres(model):
            B, C = B - B.mean(0), C - C.mean(0)
        left, right = _unit(shrink_left(A, B.T)[None]), _unit(shrink_right(C, D.T)[None])
        found.append(_norms_of_products(left, right)[0, 0])
    return torch.stack(found)
