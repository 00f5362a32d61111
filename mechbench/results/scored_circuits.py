"""Circuits that scores, or a threshold on them, make."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mechbench.errors import CircuitError
from mechbench.graphs.circuit import Circuit
from mechbench.graphs.selection import select
from mechbench.results.edge_scores import EdgeScores


def scored_circuit(
    scores: EdgeScores, edges: Sequence[str], selection: Mapping[str, Any]
) -> Circuit:
    """The circuit of these edges with their scores, and where the scores came from."""
    values = scores.scores.sel(edge=list(edges)).values.tolist()
    return Circuit(
        edges=tuple(edges),
        model=scores.model_facts,
        task=scores.prompts(),
        scores=dict(zip(edges, values, strict=True)),
        selection=dict(selection),
        seed=scores.provenance.seed,
        source={"method": scores.method, "exact": scores.exact, "corruption": scores.corruption},
        n_positions=scores.n_positions,
    )


def thresholded(scores: EdgeScores, threshold: float, *, prune: bool = False) -> Circuit:
    """The edges whose absolute score is at least ``threshold``.

    Args:
        prune: leave out edges on no path from the input to the logits.

    Raises:
        CircuitError: a threshold that leaves no edge, or scores that are not finite.
    """
    graph = scores.graph()
    values = scores.scores.values.astype(np.float64)  # so that a threshold is not rounded
    chosen = select(graph, values, rule="threshold", threshold=threshold, prune=prune)
    if not chosen.n_edges:
        joined = " on a path from the input to the logits" if prune else ""
        raise CircuitError(
            f"No edge{joined} has an absolute score of {threshold:g} or more: the largest is "
            f"{float(np.abs(values).max()):.4g}."
        )
    return scored_circuit(scores, graph.names(chosen.mask), chosen.rule)


def cut(circuit: Circuit, threshold: float) -> Circuit:
    """The circuit with only the edges whose absolute score is at least ``threshold``.

    Edges without a score count as 0.

    Raises:
        CircuitError: a threshold that leaves no edge.
    """
    edges = tuple(e for e in circuit.edges if abs(circuit.scores.get(e, 0.0)) >= threshold)
    if not edges:
        raise CircuitError(
            f"No edge of the circuit has an absolute score of {threshold:g} or more."
        )
    if len(edges) == len(circuit.edges):
        return circuit
    kept = {"cut_at": threshold, "n_edges": len(edges)}
    return replace(
        circuit,
        edges=edges,
        scores={e: circuit.scores[e] for e in edges if e in circuit.scores},
        selection={**circuit.selection, **kept},
    )
