"""One circuit's faithfulness, against the full tests and the curve of the same circuit."""

import numpy as np
import pytest

from mechbench.analyses.circuit_curve import circuit_curve
from mechbench.analyses.circuit_faithfulness import circuit_faithfulness
from mechbench.analyses.circuit_tests import circuit_tests
from mechbench.analyses.edge_attribution import edge_attribution
from mechbench.errors import CircuitError, TaskError
from mechbench.figures.circuit_faithfulness import circuit_faithfulness_figure
from mechbench.graphs.circuit import Circuit
from mechbench.graphs.selection import select
from mechbench.results.circuit_files import save_circuit
from mechbench.results.scored_circuits import cut, thresholded


@pytest.fixture
def scores(model, make_task):
    return edge_attribution(model, make_task(n=6, seed=8))


def at_rank(scores, n):
    """The threshold that n edges reach."""
    return float(np.sort(np.abs(scores.scores.values.astype(float)))[-n])


@pytest.mark.parametrize("prune", [False, True])
def test_the_circuit_is_what_the_threshold_leaves(model, task, scores, prune):
    at = at_rank(scores, 30)
    result = circuit_faithfulness(model, task, scores=scores, threshold=at, prune=prune, n_random=2)
    chosen = select(scores.graph(), np.abs(scores.scores.values), n=30, prune=prune)
    assert set(result.edges) == set(scores.graph().names(chosen.mask))
    assert result.selection["rule"] == "threshold" and result.selection["threshold"] == at
    assert result.selection["prune"] == prune and result.held_out


def test_it_agrees_with_the_full_tests(model, task, scores):
    circuit = thresholded(scores, at_rank(scores, 30))
    quick = circuit_faithfulness(model, task, circuit=circuit, n_random=4, seed=5)
    full = circuit_tests(model, task, circuit=circuit, n_random=4, n_subsets=1, seed=5)
    np.testing.assert_allclose(quick.faithfulness, full.faithfulness.isel(ablation=0), atol=1e-6)
    np.testing.assert_allclose(quick.complement, full.completeness.isel(ablation=0), atol=1e-6)
    np.testing.assert_allclose(quick.random, full.random.isel(ablation=0), atol=1e-6)
    np.testing.assert_allclose(quick.p_value, full.p_value.isel(ablation=0))
    assert quick.matched_overlap == full.matched_overlap
    summary = quick.random_summary
    np.testing.assert_allclose(summary.sel(statistic="least"), quick.random.min("draw"))
    np.testing.assert_allclose(summary.sel(statistic="greatest"), quick.random.max("draw"))


def test_it_is_a_point_of_the_curve(model, task, scores):
    curve = circuit_curve(model, task, scores=scores, sizes=[0.1, 0.3], prune=False, n_random=1)
    n = int(curve.asked[0])
    result = circuit_faithfulness(
        model, task, scores=scores, threshold=at_rank(scores, n), n_random=1
    )
    assert len(result.edges) == n
    on_curve = curve.faithfulness.sel(ranking="absolute").isel(size=0)
    np.testing.assert_allclose(result.faithfulness, on_curve, rtol=1e-4)
    rest = curve.complement_faithfulness.sel(ranking="absolute").isel(size=0)
    np.testing.assert_allclose(result.complement, rest, rtol=1e-4)


def test_a_file_is_measured_as_a_whole_or_cut(model, task, scores, tmp_path):
    circuit = thresholded(scores, at_rank(scores, 20))
    path = str(save_circuit(circuit, tmp_path / "c.json"))
    whole = circuit_faithfulness(model, task, circuit=path, n_random=1)
    assert whole.edges == circuit.edges and whole.selection == circuit.selection
    at = at_rank(scores, 7)
    less = circuit_faithfulness(model, task, circuit=path, threshold=at, n_random=1)
    assert set(less.edges) == set(thresholded(scores, at).edges)
    assert less.selection["cut_at"] == at and less.selection["n_edges"] == 7


def test_a_twentieth_of_the_edges_by_default(model, task, scores):
    result = circuit_faithfulness(model, task, scores=scores, n_random=1)
    assert len(result.edges) == int(0.05 * result.n_graph_edges)


def test_what_cannot_be_measured(model, task, scores):
    with pytest.raises(CircuitError, match="the largest is"):
        circuit_faithfulness(model, task, scores=scores, threshold=1e9)
    with pytest.raises(CircuitError, match="another model"):
        other = Circuit(edges=("m0->m1",), model={"n_layers": 7}, task={})
        circuit_faithfulness(model, task, circuit=other)
    with pytest.raises(TaskError, match="n_random=0"):
        circuit_faithfulness(model, task, scores=scores, n_random=0)
    with pytest.raises(CircuitError, match="No edge of the circuit"):
        cut(thresholded(scores, at_rank(scores, 5)), 1e9)


def test_the_figure_takes_labels_and_groups(model, task, scores):
    result = circuit_faithfulness(model, task, scores=scores, n_random=1)
    node = result.edges[0].partition("->")[0]
    figure = circuit_faithfulness_figure(result, labels={node: "mine"}, roles={node: "my group"})
    (found,) = [n for n in figure.panels[0].nodes if n.id == node]
    assert (found.label, found.group) == ("mine", "my group")
    assert "|score| ≥" in figure.caption and "not pruned" in figure.caption
    bars = figure.panels[1].series[0].values
    np.testing.assert_allclose(bars[:2], [result.faithfulness[0], result.complement[0]])
