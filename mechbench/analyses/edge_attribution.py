"""Edge attribution: which connections between parts of the model matter, from gradients."""

from pathlib import Path

from mechbench.analyses.common.edges import edge_fields, pairs_and_metric
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress
from mechbench.discovery.attribution import EdgeMethod, attribute_edges, n_gradients
from mechbench.results.edge_attribution import EdgeAttribution
from mechbench.tasks.base import Task


def edge_attribution(
    model,
    task: Task,
    *,
    method: EdgeMethod = "eap-ig-inputs",
    steps: int = 5,
    corruption: str | None = None,
    positions: bool = False,
    keep_prompts: bool = True,
    batch_size: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> EdgeAttribution:
    """An estimate for every edge of what it costs the metric to corrupt it.

    Args:
        method: "eap", "eap-ig-inputs", "eap-ig-activations" or "clean-corrupted"; see
            ``mechbench.discovery.attribution.attribute_edges``.
        steps: gradients along the path, for the two integrated methods.
        corruption: one of the task's; its default where None.
        positions: score every edge at every position.
        keep_prompts: keep the scores of every prompt, beside their mean and interval.
        batch_size: runs at a time, where each gradient of a prompt is one; None chooses by the free
            memory.

    Raises:
        UnsupportedHookError: quantised weights, a metric without gradient, or heads that do not
            add up.
        TaskError: an unknown method or corruption, ``steps`` below 1, or a metric that is the same
            in both runs of every prompt.

    Source: Syed et al. 2023; Hanna et al. 2024; Mueller et al. 2025.
    """
    clock = Clock()
    pairs, metric = pairs_and_metric(task, corruption, seed=seed)
    found = attribute_edges(
        model,
        pairs,
        metric,
        method=method,
        steps=steps,
        positions=positions,
        batch_size=batch_size,
        progress=progress,
        checkpoint=checkpoint,
    )
    return EdgeAttribution(
        method=method,
        exact=False,
        steps=n_gradients(method, steps),
        **edge_fields(
            model,
            pairs,
            metric,
            found.graph,
            found.scores,
            clean=found.clean,
            corrupt=found.corrupt,
            keep_prompts=keep_prompts,
            seed=seed,
        ),
        provenance=clock.provenance(model, task, seed=seed),
    )
