"""ACDC: the circuit that remains when edges that change little are taken out one after another."""

from pathlib import Path

import numpy as np
import torch

from mechbench.analyses.common.edges import edge_fields, pairs_and_metric
from mechbench.analyses.common.estimates import labelled
from mechbench.analyses.common.frame import check_size
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress
from mechbench.discovery.acdc import prune
from mechbench.discovery.both_runs import both_runs
from mechbench.discovery.circuit_forward import CircuitForward
from mechbench.discovery.divergence import negative_divergence
from mechbench.errors import TaskError, did_you_mean
from mechbench.graphs.wiring import wire
from mechbench.results.acdc import COMPARISONS, Acdc
from mechbench.shapes import PROMPT
from mechbench.tasks.base import Task


def acdc(
    model,
    task: Task,
    *,
    threshold: float = 0.01,
    compare: str = "metric",
    corruption: str | None = None,
    n_random: int = 20,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Acdc:
    """The circuit that ACDC finds, with the change that each test of an edge measured.

    From the logits backwards, an edge is taken out if the comparison with the circuit of that
    moment then gets worse by no more than ``threshold``; see ``mechbench.discovery.acdc.prune`` for
    the order. Edges that are out carry the corrupted run's activation.

    Args:
        threshold: of a change of the mean over prompts and answers, in units of the metric
            (``"metric"``) or in nats (``"kl"``).
        compare: "metric", any change of the task's metric, up or down; or "kl", a rise of
            KL(whole model || circuit) of the next-token distributions at the answers.
        corruption: one of the task's; its default where None.
        n_random: random sets of as many edges, as a control.

    Raises:
        CircuitError: a negative threshold.
        TaskError: an unknown comparison or corruption, fewer than two prompts, no random set, or a
            metric that is the same in both runs of every prompt.
        UnsupportedHookError: a model whose heads' inputs cannot be set one by one.

    Source: Conmy et al. 2023, whose comparison is "kl"; "metric" by absolute change is our default
    because it works with answers at several positions and with tasks that rank few tokens.
    """
    clock = Clock()
    check_size(task, 2)
    if compare not in COMPARISONS:
        raise TaskError(f"compare={compare!r} is not known. {did_you_mean(compare, COMPARISONS)}")
    if n_random < 1:
        raise TaskError(f"n_random={n_random} must be at least 1.")
    pairs, metric = pairs_and_metric(task, corruption, seed=seed)
    if compare == "kl":
        metric = negative_divergence(model, pairs)
    clean, corrupt = both_runs(model, pairs, metric)
    wiring = wire(model)
    graph = wiring.graph
    found = prune(
        model,
        pairs,
        metric,
        wiring,
        threshold=threshold,
        absolute=compare == "metric",
        progress=progress,
        checkpoint=None if checkpoint is None else Path(checkpoint) / "acdc.npz",
    )
    forward = CircuitForward(model, wiring, pairs, metric)
    draws = _random_sets(graph.n_edges, int(found.mask.sum()), n_random, seed)
    random = torch.stack([forward(_mask(graph, draw)).mean(-1) for draw in draws])
    scores = np.zeros((len(pairs), *graph.exists.shape))
    scores[(slice(None), *graph.edge_indices)] = found.changes
    prompts = {PROMPT: range(len(pairs))}
    name, units = metric.name, metric.units
    return Acdc(
        method="acdc",
        exact=True,
        threshold=float(threshold),
        compare=compare,
        kept=graph.names(found.mask),
        n_tests=found.n_tests,
        circuit=labelled(
            forward(found.mask).mean(-1), prompts, units=units, meaning=f"{name}, circuit"
        ),
        random=labelled(
            random,
            {"draw": range(n_random), **prompts},
            units=units,
            meaning=f"{name}, random edges",
        ),
        **edge_fields(model, pairs, metric, graph, scores, clean=clean, corrupt=corrupt, seed=seed),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _random_sets(n_edges: int, size: int, n: int, seed: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.permutation(n_edges)[:size] for _ in range(n)]


def _mask(graph, chosen: np.ndarray) -> np.ndarray:
    mask = np.zeros(graph.exists.shape, dtype=bool)
    mask[tuple(index[chosen] for index in graph.edge_indices)] = True
    return mask
