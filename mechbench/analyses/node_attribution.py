"""Node attribution: which heads and MLPs matter, from gradients."""

from pathlib import Path

from mechbench.analyses.common.edges import node_fields, pairs_and_metric
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress
from mechbench.discovery.attribution import NodeMethod, attribute_nodes, n_gradients
from mechbench.results.node_attribution import NodeAttribution
from mechbench.tasks.base import Task


def node_attribution(
    model,
    task: Task,
    *,
    method: NodeMethod = "nap-ig",
    steps: int = 5,
    corruption: str | None = None,
    keep_prompts: bool = True,
    batch_size: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> NodeAttribution:
    """An estimate for the embedding, every head and every MLP of what it costs to corrupt it.

    Args:
        method: "nap", or "nap-ig" with ``steps`` gradients along the path of embeddings.
        corruption: one of the task's; its default where None.
        keep_prompts: keep the scores of every prompt, beside their mean and interval.
        batch_size: runs at a time, where each gradient of a prompt is one; None chooses by the free
            memory.

    Raises:
        UnsupportedHookError, TaskError: as ``edge_attribution``.

    Source: Nanda 2023 (attribution patching); Mueller et al. 2025 (NAP-IG).
    """
    clock = Clock()
    pairs, metric = pairs_and_metric(task, corruption, seed=seed)
    found = attribute_nodes(
        model,
        pairs,
        metric,
        method=method,
        steps=steps,
        batch_size=batch_size,
        progress=progress,
        checkpoint=checkpoint,
    )
    return NodeAttribution(
        method=method,
        steps=n_gradients(method, steps),
        **node_fields(
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
