"""Which heads copy letters, read from their weights alone."""

from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import torch
from torch import Tensor

from mechbench.analyses.common.controls import random_head_sets
from mechbench.analyses.common.estimates import estimate, labelled
from mechbench.analyses.common.heads import all_heads, head_labels
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.selection import given_or_strongest
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.analyses.common.weights import diagonal_hits, ov_blocks, require_layer_norm
from mechbench.results.ov_copying import TOGETHER, OVCopying
from mechbench.shapes import HEAD, LAYER
from mechbench.tasks.acronym_task import AcronymTask

_KINDS = ["X", "␠X"]
_LAYER_NORM = (
    "ln1 and the final norm centre and scale; neither divides, which multiplies a row by a "
    "positive number and leaves its largest entry where it is; biases are left out"
)


@torch.inference_mode()
def ov_copying(
    model,
    task: AcronymTask,
    *,
    heads: Sequence[Any] | None = None,
    mlp0: bool = False,
    n_random: int = 100,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> OVCopying:
    """The 26 x 26 blocks of W_E W_V W_O W_U for letters with and without a space.

    Args:
        heads: such as "9.9"; by default the strongest of the head sweep.
        mlp0: let the embedding pass the first block's MLP (without attention and positions): part
            of the real path, which raw embeddings understate.
        n_random: random sets of as many heads, the control of the sum.

    Raises:
        UnsupportedHookError: a head outside the model, or norms other than LayerNorm.

    Source: Garcia-Carrasco et al. 2024, Figs 9, 10; MLP 0 and control are our choice.
    """
    clock = Clock()
    require_layer_norm(model)
    steps = Steps(1, progress, checkpoint)
    chosen = given_or_strongest(heads, model, task, seed=seed)
    every = _blocks(model, task, mlp0)
    members = torch.stack([every[:, :, layer, head] for layer, head in chosen], 2)
    members = torch.cat([members, members.sum(2, keepdim=True)], 2)
    kinds = {"source": _KINDS, "target": _KINDS}
    names = [*head_labels(chosen), TOGETHER]
    letters = list(ascii_uppercase)
    hits = labelled(
        diagonal_hits(members).long(),
        {**kinds, "member": names, "letter_from": letters},
        units="1",
        meaning="diagonal is the largest of its row",
    )
    sets = random_head_sets(all_heads(model), len(chosen), n_random, seed=seed)
    summed = [torch.stack([every[:, :, *head] for head in drawn]).sum(0) for drawn in sets]
    random = [diagonal_hits(blocks).double().mean(-1) for blocks in summed]
    heads_axis = {LAYER: range(model.cfg.n_layers), HEAD: range(model.cfg.n_heads)}
    steps.finish()
    return OVCopying(
        heads=tuple(head_labels(chosen)),
        embedding="W_E through MLP 0" if mlp0 else "W_E",
        layer_norm=_LAYER_NORM,
        blocks=labelled(
            members,
            {**kinds, "member": names, "letter_from": letters, "letter_to": letters},
            units="logits",
            meaning="logit added by attending to a letter, undivided",
        ),
        hits=hits,
        score=estimate(hits, seed=seed, dim="letter_from"),
        head_scores=labelled(
            diagonal_hits(every).double().mean(-1),
            {**kinds, **heads_axis},
            units="share of rows",
            meaning="diagonal score of every head",
        ),
        control=labelled(
            torch.stack(random),
            {"draw": range(n_random), **kinds},
            units="share of rows",
            meaning="diagonal score of random heads, summed",
        ),
        provenance=clock.provenance(model, task, seed=seed, notes=("weights only, no prompts",)),
    )


def _blocks(model, task: AcronymTask, mlp0: bool) -> Tensor:
    """``[source target layer head from to]``."""
    ids = torch.cat([task.capitals, task.spaced_capitals])
    blocks = ov_blocks(model, ids, ids, mlp0=mlp0).unflatten(-1, (2, 26)).unflatten(2, (2, 26))
    return blocks.permute(2, 4, 0, 1, 3, 5)
