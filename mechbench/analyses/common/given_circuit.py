"""A circuit as a caller gives it: itself, a file, a tested one, or scores with a size."""

from pathlib import Path

from mechbench.analyses.common.chosen import facts_of_scores, scores_of
from mechbench.errors import CircuitError
from mechbench.graphs.circuit import Circuit
from mechbench.graphs.selection import select
from mechbench.graphs.wiring import model_facts
from mechbench.results.circuit_files import load_circuit
from mechbench.results.circuit_tests import CircuitTests, circuit_of
from mechbench.results.edge_scores import EdgeScores

SHARE = 0.05  # of all edges, where nobody says how many


def read_circuit(given: Circuit | CircuitTests | Path | str, model) -> Circuit:
    """The circuit, checked against the model.

    Raises:
        CircuitError: another model's, naming every difference, or a file that holds no circuit.
        StoreError: a file that cannot be read.
    """
    if isinstance(given, CircuitTests):
        given = circuit_of(given)
    circuit = given if isinstance(given, Circuit) else load_circuit(given)
    circuit.check(model_facts(model))
    return circuit


def chosen_circuit(
    model, task, scores: EdgeScores | None, *, n_edges: int | None, rule, rank, seed: int
) -> Circuit:
    """The pruned circuit that a rule makes of scores; by default of EAP-IG's, a twentieth of them.

    Raises:
        CircuitError: scores of another model, an unknown rule, or an impossible number of edges.
    """
    scores = scores_of(model, task, scores, seed=seed)
    graph = scores.graph()
    n = round(SHARE * graph.n_edges) if n_edges is None else n_edges
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
        selection=selected.rule,
        seed=scores.provenance.seed,
        source={"method": scores.method, "exact": scores.exact, "corruption": scores.corruption},
        n_positions=scores.n_positions,
    )
