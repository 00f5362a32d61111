"""How faithful exactly this circuit is, beside random circuits of its size and the rest."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from mechbench.analyses.common.chosen import held_out, pairs_of, scores_of
from mechbench.analyses.common.edge_sets import Ablation, EdgeSets, ablation_source, check_pairs
from mechbench.analyses.common.estimates import ESTIMATE, estimate_of, labelled, share
from mechbench.analyses.common.given_circuit import read_circuit
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.errors import TaskError
from mechbench.graphs.circuit import Circuit
from mechbench.graphs.random_circuits import NULLS, random_circuits
from mechbench.graphs.sizes import edges_at
from mechbench.graphs.wiring import model_facts, wire
from mechbench.results.acdc import Acdc
from mechbench.results.circuit_faithfulness import PARTS, CircuitFaithfulness
from mechbench.results.circuit_tests import CircuitTests
from mechbench.results.edge_scores import EdgeScores
from mechbench.results.scored_circuits import cut, thresholded
from mechbench.shapes import ANSWER, PROMPT

_BY_DEFAULT = 0.05  # of all edges, where no threshold is given
_ROUNDING = 1e-9


def circuit_faithfulness(
    model,
    task,
    *,
    circuit: Circuit | CircuitTests | Acdc | Path | str | None = None,
    scores: EdgeScores | None = None,
    threshold: float | None = None,
    prune: bool = False,
    ablation: Ablation = "patching",
    corruption: str | None = None,
    n_random: int = 20,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> CircuitFaithfulness:
    """Faithfulness of one circuit and of its complement, with random circuits of the same size.

    The quick part of ``circuit_tests``, for the edges at or above a threshold as they are.

    Args:
        circuit: a circuit or its file; by default the edges of ``scores`` at the threshold.
        scores: by default EAP-IG's, computed here on the same prompts.
        threshold: edges with a smaller absolute score are left out; by default none of a circuit,
            and all but a twentieth of the edges of scores.
        prune: of scores, also leave out edges on no path from the input to the logits.
        ablation: what edges outside the circuit carry, as ``circuit_curve`` has it.
        corruption: by default the one that was scored with, or the task's.
        n_random: random circuits of each null, the same as ``circuit_tests`` draws.

    Raises:
        CircuitError: a circuit or scores of another model, an edge that does not exist, or a
            threshold that leaves none.
        TaskError: fewer than two prompts, or a metric that the ablation does not change, so that
            faithfulness has no scale.

    Source: faithfulness and completeness of Wang et al. 2022, of edges; the nulls are our choice.
    """
    clock = Clock()
    ablation_source(ablation, seed=seed)
    if n_random < 1:
        raise TaskError(f"n_random={n_random} must be at least 1.")
    given = None if circuit is None else read_circuit(circuit, model)
    scored_with = given.source.get("corruption") if given else scores and scores.corruption
    pairs = pairs_of(task, corruption, scored_with, seed=seed)
    known = given or scores
    check_pairs(pairs, known and known.n_positions)
    if given is None:
        chosen = _from_scores(scores_of(model, task, scores, seed=seed), threshold, prune)
    else:
        chosen = given if threshold is None else cut(given, threshold)
    graph = wire(model, n_positions=chosen.n_positions).graph
    mask = chosen.mask(graph)
    steps = Steps(2 + len(NULLS) * n_random, progress, checkpoint)
    sets = EdgeSets(
        model,
        pairs,
        task.metric(),
        ablation=ablation,
        seed=seed,
        steps=steps,
        folder=None if checkpoint is None else Path(checkpoint),
        n_positions=chosen.n_positions,
    )
    draws = {null: random_circuits(graph, mask, n_random, null=null, seed=seed) for null in NULLS}
    units = task.metric().units
    found = _measured(sets, mask, draws, units, pairs.answer_labels, seed)
    steps.finish()
    return CircuitFaithfulness(
        **_described(chosen, model),
        n_graph_edges=graph.n_edges,
        held_out=held_out(chosen.task, task),
        metric=task.metric().name,
        corruption=str(pairs.source.get("corruption", corruption or scored_with)),
        ablation=ablation,
        matched_overlap=float(np.mean([(d & mask).sum() for d in draws["matched"]]) / mask.sum()),
        **found,
        provenance=clock.provenance(model, task, seed=seed),
    )


def _from_scores(scores: EdgeScores, threshold: float | None, prune: bool) -> Circuit:
    if threshold is None:
        sizes = np.sort(np.abs(scores.scores.values.astype(np.float64)))[::-1]
        threshold = float(sizes[max(1, edges_at(_BY_DEFAULT, len(sizes))) - 1])
    return thresholded(scores, threshold, prune=prune)


def _described(circuit: Circuit, model) -> dict[str, Any]:
    return {
        "edges": circuit.edges,
        "edge_scores": {e: float(circuit.scores[e]) for e in circuit.edges if e in circuit.scores},
        "roles": dict(circuit.roles),
        "selection": dict(circuit.selection),
        "circuit_source": dict(circuit.source),
        "chosen_on": dict(circuit.task),
        "model_facts": {**model_facts(model), **circuit.model},
        "n_positions": circuit.n_positions,
    }


def _measured(
    sets: EdgeSets,
    mask: np.ndarray,
    draws: dict[str, list[np.ndarray]],
    units: str,
    answers: tuple[str, ...],
    seed: int,
) -> dict[str, Any]:
    """All arrays of the result."""
    own = torch.cat([torch.stack([sets.full, sets.nothing]), sets.values([mask, ~mask])]).double()
    axes = {"part": PARTS, PROMPT: range(own.shape[1]), ANSWER: answers}
    values = labelled(own, axes, units=units, meaning="metric")
    full, nothing, circuit, complement = (
        values.sel(part=part, drop=True).mean(ANSWER) for part in PARTS
    )
    drawn = torch.stack([sets.values(masks).double().mean((1, 2)) for masks in draws.values()])
    n_random = drawn.shape[1]
    means = labelled(
        drawn, {"null": list(draws), "draw": range(n_random)}, units=units, meaning="metric"
    )
    random = share(means, nothing.mean(PROMPT), full.mean(PROMPT))
    shares = {
        name: estimate_of(share, [part, nothing, full], seed=seed).assign_attrs(
            units="share", long_name=f"faithfulness of the {name}"
        )
        for name, part in (("circuit", circuit), ("complement", complement))
    }
    mean = shares["circuit"].sel({ESTIMATE: "mean"}, drop=True)
    summary = xr.concat([random.mean("draw"), random.min("draw"), random.max("draw")], "statistic")
    summary = summary.assign_coords(statistic=["mean", "least", "greatest"])
    p_value = (1 + (random >= mean - _ROUNDING).sum("draw")) / (1 + n_random)
    what = "faithfulness of random circuits"
    return {
        "values": values,
        "faithfulness": shares["circuit"],
        "complement": shares["complement"],
        "random": random.assign_attrs(units="share", long_name=what),
        "random_summary": summary.transpose("null", "statistic").assign_attrs(
            units="share", long_name=what
        ),
        "p_value": p_value.assign_attrs(
            units="1", long_name="share of random circuits as faithful, (1 + count) / (1 + draws)"
        ),
    }
