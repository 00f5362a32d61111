"""A circuit as a caller gives it: itself, a file, a tested one, or scores with a size."""

from math import ceil, log
from pathlib import Path

from mechbench.analyses.common.chosen import facts_of_scores
from mechbench.analyses.common.edge_sets import EdgeSets
from mechbench.errors import CircuitError
from mechbench.graphs.circuit import Circuit
from mechbench.graphs.selection import Rank, Rule, select
from mechbench.graphs.wiring import model_facts
from mechbench.results.acdc import Acdc
from mechbench.results.circuit_files import load_circuit
from mechbench.results.circuit_tests import CircuitTests, circuit_of
from mechbench.results.edge_scores import EdgeScores

_GROWTH = 1.25


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


def chosen_circuit(
    scores: EdgeScores, *, n: int, rule: Rule, rank: Rank, how_many: str | None = None
) -> Circuit:
    """The pruned circuit that a rule makes of scores; ``how_many`` says how ``n`` was chosen.

    Raises:
        CircuitError: an unknown rule, an impossible number of edges, or too few for a path.
    """
    graph = scores.graph()
    selected = select(graph, scores.scores.values, rule=rule, n=n, rank=rank)
    edges = graph.names(selected.mask)
    if not edges:
        raise CircuitError(
            f"No edge is left: the {n} best edges by rule {rule!r} join no path from the input to "
            "the logits. Use more edges, or rule='greedy'."
        )
    values = scores.scores.sel(edge=list(edges)).values.tolist()
    return Circuit(
        edges=edges,
        model=scores.model_facts,
        task=facts_of_scores(scores),
        scores=dict(zip(edges, values, strict=True)),
        selection={**selected.rule, **({"size": how_many} if how_many else {})},
        seed=scores.provenance.seed,
        source={"method": scores.method, "exact": scores.exact, "corruption": scores.corruption},
        n_positions=scores.n_positions,
    )


def kept_circuit(found: Acdc) -> Circuit:
    """The circuit that ACDC left, with the scores of its tests."""
    values = found.scores.sel(edge=list(found.kept)).values.tolist()
    return Circuit(
        edges=found.kept,
        model=found.model_facts,
        task=facts_of_scores(found),
        scores=dict(zip(found.kept, values, strict=True)),
        selection={"rule": "acdc", "threshold": found.threshold, "compare": found.compare},
        seed=found.provenance.seed,
        source={"method": found.method, "exact": found.exact, "corruption": found.corruption},
        n_positions=found.n_positions,
    )


def numbers_to_try(n_edges: int) -> list[int]:
    """Numbers of edges, each about a quarter more than the one before, up to all."""
    n_steps = ceil(log(n_edges) / log(_GROWTH))
    return sorted({min(n_edges, round(_GROWTH**i)) for i in range(n_steps + 1)})


def fewest_edges(
    sets: EdgeSets, scores: EdgeScores, *, target: float, rule: Rule, rank: Rank
) -> tuple[int, str]:
    """The first of ``numbers_to_try`` whose circuit has ``target`` faithfulness, and in words."""
    zero, one = sets.nothing.double().mean(), sets.full.double().mean()
    numbers = numbers_to_try(sets.graph.n_edges)
    for n in numbers:
        mask = select(sets.graph, scores.scores.values, rule=rule, n=n, rank=rank).mask
        found = (sets.values([mask]).double().mean() - zero) / (one - zero)
        if found >= target:
            break
    return n, f"the fewest, in steps of a quarter, that are {target:g} faithful on these prompts"
