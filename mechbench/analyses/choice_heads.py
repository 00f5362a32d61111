"""Which heads bring the first label from the choices to the last position."""

from pathlib import Path

import torch

from mechbench.analyses.common.choices import answers_of, require_choices, some_items
from mechbench.analyses.common.estimates import estimate, labelled
from mechbench.analyses.common.gaps import GapReader, final_stream, last_activations
from mechbench.analyses.common.head_weights import require_plain_heads
from mechbench.analyses.common.label_attention import brought, places
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.results.choice_heads import PLACE, PLACES, ChoiceHeads
from mechbench.results.choices import FAILING, READING, READINGS
from mechbench.shapes import HEAD, LAYER, PROMPT
from mechbench.tasks.choice_task import ChoiceTask


@torch.inference_mode()
def choice_heads(
    model,
    task: ChoiceTask,
    *,
    items: str = FAILING,
    at: str = "label",
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> ChoiceHeads:
    """The gap between first and right label in what every head brings from the labels.

    Args:
        items: which prompts: those that are "failing", or all with "gold later".
        at: what a place is, the "label" or the end of the "option".

    Raises:
        TaskError: another task than multiple choice, fewer than two such prompts, or an unknown
            ``at``.
        UnsupportedHookError: a model whose heads do not write straight into the residual stream.

    Source: the lens of Li and Gao 2025; that it is read on the weighted output of one position, the
        direct reading and the control are our choice.
    """
    clock = Clock()
    task = require_choices(model, task)
    places(task, at, seed)  # refuses an unknown place before the model runs
    require_plain_heads(model)
    layers = range(model.cfg.n_layers)
    steps = Steps(1 + len(layers), progress, checkpoint)
    chosen = task.select(some_items(task, answers_of(model, task), items))
    where = places(chosen, at, seed)
    positions = torch.stack([where.first, where.right, where.random])
    stream = last_activations(model, chosen, [final_stream(model)])[final_stream(model)]
    reader = GapReader(model, chosen, stream)
    steps.advance()
    gaps, weights = [], []
    for layer in layers:
        vectors, weight = brought(model, chosen, layer, positions)
        gaps.append(reader.both(vectors.transpose(0, 1)))  # [reading prompt place head]
        weights.append(weight)
        steps.advance()
    axes = {
        PLACE: PLACES,
        LAYER: layers,
        HEAD: range(model.cfg.n_heads),
        PROMPT: range(len(chosen)),
    }
    gap = labelled(
        torch.stack(gaps, -1).permute(0, 2, 4, 3, 1),
        {READING: READINGS, **axes},
        units="logits",
        meaning="first label minus right label",
    )
    attention = labelled(
        torch.stack(weights).permute(1, 0, 3, 2), axes, units="attention", meaning="to the place"
    )
    return ChoiceHeads(
        items=items,
        n_items=len(chosen),
        at=at,
        gap=estimate(gap, seed=seed),
        attention=estimate(attention, seed=seed),
        provenance=clock.provenance(model, task, seed=seed),
    )
