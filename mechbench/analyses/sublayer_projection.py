"""At which layers attention and MLPs write e2, e3 or the prediction at the last token."""

from pathlib import Path

import torch

from mechbench.analyses.common.estimates import labelled
from mechbench.analyses.common.projections import READINGS, SUBLAYERS, check_sublayers, project
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.query_groups import (
    by_group,
    check_groups,
    first_layer,
    n_label_steps,
    query_groups,
)
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.results.sublayer_projection import READING, SUBLAYER, SublayerProjection
from mechbench.shapes import LAYER, PROMPT
from mechbench.tasks.two_hop import TwoHopTask


@torch.inference_mode()
def sublayer_projection(
    model,
    task: TwoHopTask,
    *,
    labels: str | None = None,
    most: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> SublayerProjection:
    """Which tokens rank first when a sublayer's output at t2 is unembedded by itself.

    The output of attention or of the MLP goes through the final norm and the unembedding. Of e2 and
    e3 the first token of every name counts, also in lower case and without a space.

    Args:
        labels: "argmax" or "generate": look at the correct and the incorrect set, as ``hop_labels``
            finds them; None (null) looks at all queries.
        most: at most so many queries of each group, drawn by the seed.

    Raises:
        TaskError: no query in either set.
        UnsupportedHookError: layers without attention or MLP outputs of their own.

    Source: Biran et al. 2024; the control is our choice.
    """
    clock = Clock()
    check_groups(model, task, labels, most)
    check_sublayers(model)
    n_layers = model.cfg.n_layers
    n_steps = n_label_steps(task, labels) + len(SUBLAYERS) * n_layers
    steps = Steps(n_steps, progress, checkpoint)
    groups = query_groups(model, task, labels=labels, most=most, seed=seed, steps=steps)
    found = project(model, groups.task, steps)
    axes = {
        SUBLAYER: SUBLAYERS,
        READING: READINGS,
        LAYER: range(n_layers),
        PROMPT: range(len(groups.task)),
    }
    first, control = (
        labelled(values, axes, units="share", meaning="ranks first")
        for values in (found.first, found.control)
    )
    return SublayerProjection(
        counts=groups.counts,
        cells=by_group(first, groups, seed=seed),
        control_cells=by_group(control, groups, seed=seed),
        share=by_group(first.any(LAYER, keep_attrs=True), groups, seed=seed),
        control_share=by_group(control.any(LAYER, keep_attrs=True), groups, seed=seed),
        first=first_layer(first),
        provenance=clock.provenance(model, groups.task, seed=seed),
    )
