"""Exact edge patching: which connections between parts of the model matter, measured one by one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mechbench.analyses.common.edges import edge_fields, pairs_and_metric
from mechbench.analyses.common.frame import check_size
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.discovery.both_runs import both_runs
from mechbench.discovery.edge_patches import patch_edges
from mechbench.graphs.wiring import wire
from mechbench.results.edge_patching import EdgePatching
from mechbench.tasks.base import Task


def edge_patching(
    model,
    task: Task,
    *,
    corruption: str | None = None,
    edges: Sequence[str] | None = None,
    positions: bool = False,
    keep_prompts: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> EdgePatching:
    """How much the metric falls when one edge carries the corrupted activation, for every edge.

    Each edge is one run from its reader on, so this is slow where a model has many: give ``edges``
    to check the strongest ones of an approximation.

    Args:
        corruption: one of the task's; its default where None.
        edges: names such as "a0.h1->a2.h3<q>" to measure; the others become NaN.
        positions: measure every edge at every position; names then end with "@position".
        keep_prompts: keep the scores of every prompt, beside their mean and interval.

    Raises:
        CircuitError: an edge that the model does not have.
        TaskError: an unknown corruption, fewer than two prompts, or a metric that is the same in
            both runs of every prompt.
        UnsupportedHookError: a model whose heads do not add up, or whose readers are not formed in
            the usual way.

    Source: the definition of an edge's effect in Hanna et al. 2024, with q, k and v apart.
    """
    clock = Clock()
    check_size(task, 2)
    pairs, metric = pairs_and_metric(task, corruption, seed=seed)
    wiring = wire(model, n_positions=pairs.n_positions if positions else None)
    graph = wiring.graph
    names = graph.edge_names if edges is None else tuple(edges)
    for name in names:
        graph.edge_index(name)
    clean, corrupt = both_runs(model, pairs, metric)
    steps = Steps(len(names), progress, checkpoint)
    found = patch_edges(model, pairs, metric, wiring, edges=names, chunks=steps.call)
    steps.finish()
    scores = np.full((len(pairs), *graph.exists.shape), np.nan)
    at = tuple(np.array([graph.edge_index(name) for name in names]).T)
    scores[(slice(None), *at)] = found.numpy()
    return EdgePatching(
        method="exact",
        exact=True,
        measured=None if edges is None else names,
        **edge_fields(
            model,
            pairs,
            metric,
            graph,
            scores,
            clean=clean,
            corrupt=corrupt,
            keep_prompts=keep_prompts,
            seed=seed,
        ),
        provenance=clock.provenance(model, task, seed=seed),
    )
