"""A circuit as a caller gives it: itself, a file, a tested one, or scores with a size."""

from math import ceil, log
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from mechbench.analyses.common.edge_sets import EdgeSets
from mechbench.analyses.common.estimates import ESTIMATE
from mechbench.errors import CircuitError
from mechbench.graphs.circuit import Circuit
from mechbench.graphs.selection import Rule, select
from mechbench.graphs.wiring import model_facts
from mechbench.results.acdc import Acdc
from mechbench.results.circuit_files import load_circuit
from mechbench.results.circuit_tests import CircuitTests, circuit_of
from mechbench.results.edge_scores import EdgeScores
from mechbench.results.scored_circuits import scored_circuit

_GROWTH = 1.25

Ranking = Literal["signed", "absolute", "certain"]
RANKINGS: tuple[str, ...] = get_args(Ranking)


def read_circuit(given: Circuit | CircuitTests | Acdc | Path | str, model) -> Circuit:
    """The circuit, checked against the model.

    Raises:
        CircuitError: another model's, naming every difference, or a file that holds no circuit.
        StoreError: a file that cannot be read.
    """
    if isinstance(given, CircuitTests):
        given = circuit_of(given)
    if isinstance(given, Acdc):
        given = kept_circuit(given)
    circuit = given if isinstance(given, Circuit) else load_circuit(given)
    circuit.check(model_facts(model))
    return circuit


def order_of(scores: EdgeScores, rank: Ranking) -> np.ndarray:
    """What edges are ordered by, highest first.

    ``"signed"`` is the mean score, ``"absolute"`` its absolute value, and ``"certain"`` how far the
    95 % bootstrap interval over prompts stays away from 0, which is 0 where it holds 0.

    Raises:
        CircuitError: an unknown ranking.

    Source: the first two as in MIB; bootstrapped scores were proposed in arXiv 2510.25786, and
    this form of it is our choice.
    """
    if rank not in RANKINGS:
        raise CircuitError(f"rank={rank!r} is not known: use {', '.join(RANKINGS)}.")
    if rank != "certain":
        values = scores.scores.values
        return np.abs(values) if rank == "absolute" else values
    low, high = (scores.summary.sel({ESTIMATE: end}).values for end in ("low", "high"))
    return np.maximum(0.0, np.maximum(low, -high))


def chosen_circuit(
    scores: EdgeScores, *, n: int, rule: Rule, rank: Ranking, how_many: str | None = None
) -> Circuit:
    """The pruned circuit that a rule makes of scores; ``how_many`` says how ``n`` was chosen.

    Raises:
        CircuitError: an unknown rule, an impossible number of edges, or too few for a path.
    """
    graph = scores.graph()
    selected = select(graph, order_of(scores, rank), rule=rule, n=n, rank="signed")
    edges = graph.names(selected.mask)
    if not edges:
        raise CircuitError(
            f"No edge is left: the {n} best edges by rule {rule!r} join no path from the input to "
            "the logits. Use more edges, or rule='greedy'."
        )
    rule_in_words = {**selected.rule, "rank": rank, **({"size": how_many} if how_many else {})}
    return scored_circuit(scores, edges, rule_in_words)


def kept_circuit(found: Acdc) -> Circuit:
    """The circuit that ACDC left, with the scores of its tests."""
    chosen_by = {"rule": "acdc", "threshold": found.threshold, "compare": found.compare}
    return scored_circuit(found, found.kept, chosen_by)


def numbers_to_try(n_edges: int) -> list[int]:
    """Numbers of edges, each about a quarter more than the one before, up to all."""
    n_steps = ceil(log(n_edges) / log(_GROWTH))
    return sorted({min(n_edges, round(_GROWTH**i)) for i in range(n_steps + 1)})


def fewest_edges(
    sets: EdgeSets, scores: EdgeScores, *, target: float, rule: Rule, rank: Ranking
) -> tuple[int, str]:
    """The first of ``numbers_to_try`` whose circuit has ``target`` faithfulness, and in words."""
    zero, one = sets.nothing.double().mean(), sets.full.double().mean()
    numbers, values = numbers_to_try(sets.graph.n_edges), order_of(scores, rank)
    for n in numbers:
        mask = select(sets.graph, values, rule=rule, n=n, rank="signed").mask
        found = (sets.values([mask]).double().mean() - zero) / (one - zero)
        if found >= target:
            break
    return n, f"the fewest, in steps of a quarter, that are {target:g} faithful on these prompts"
