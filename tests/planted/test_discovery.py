"""Every discovery method is scored on circuits that are known because they were planted."""

import numpy as np
import pytest

from mechbench.analyses.acdc import acdc
from mechbench.analyses.circuit_tests import circuit_tests
from mechbench.analyses.edge_attribution import edge_attribution
from mechbench.analyses.edge_patching import edge_patching
from mechbench.analyses.node_attribution import node_attribution
from mechbench.analyses.path_patching import path_patching
from mechbench.graphs.recovery import auroc, auroc_at_sizes, exact_recovery
from mechbench.planted.registry import PLANTED

N = 16
GRADIENT_METHODS = ("eap", "clean-corrupted", "eap-ig-inputs", "eap-ig-activations")
MISLEADING = "planted-even-gate"  # made so that gradients believe in edges that do nothing
HONEST = sorted(set(PLANTED) - {MISLEADING})


@pytest.fixture(scope="module")
def planted():
    made = {}

    def find(name):
        if name not in made:
            made[name] = PLANTED[name](n=N)
            made[name].model.double()
        return made[name]

    return find


def found_and_true(result, planted):
    graph = result.graph()
    return graph, np.abs(result.scores.values), graph.values(graph.mask(planted.edges))


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_exact_patching_finds_every_true_edge_and_no_other(planted, name):
    graph, scores, true = found_and_true(
        edge_patching(planted(name).model, planted(name).task), planted(name)
    )
    assert auroc(scores, true) == 1 and exact_recovery(scores, true)
    assert scores[~true].max() < 1e-9 * scores[true].min()


@pytest.mark.parametrize("method", GRADIENT_METHODS)
@pytest.mark.parametrize("name", HONEST)
def test_gradients_find_them_too(planted, name, method):
    result = edge_attribution(planted(name).model, planted(name).task, method=method)
    graph, scores, true = found_and_true(result, planted(name))
    assert auroc(scores, true) == 1 and exact_recovery(scores, true)
    assert auroc_at_sizes(graph, scores, true) > 0.5


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("eap", 0.981),
        ("clean-corrupted", 0.981),
        ("eap-ig-inputs", 0.988),
        ("eap-ig-activations", 0.997),
    ],
)
def test_gradients_are_misled_where_effects_cancel(planted, method, expected):
    """What was measured, so that a change of a method shows: edges that do nothing rank high."""
    gate = planted(MISLEADING)
    result = edge_attribution(gate.model, gate.task, method=method)
    _, scores, true = found_and_true(result, gate)
    assert auroc(scores, true) == pytest.approx(expected, abs=0.003)
    assert not exact_recovery(scores, true)


@pytest.mark.parametrize("compare", ["metric", "kl"])
@pytest.mark.parametrize("name", sorted(PLANTED))
def test_acdc_keeps_the_true_edges(planted, name, compare):
    result = acdc(planted(name).model, planted(name).task, threshold=0.01, compare=compare)
    assert set(result.kept) == planted(name).edges
    _, scores, true = found_and_true(result, planted(name))
    assert auroc(scores, true) == 1


@pytest.mark.parametrize("method", ["nap", "nap-ig"])
@pytest.mark.parametrize("name", HONEST)
def test_node_attribution_finds_the_nodes(planted, name, method):
    result = node_attribution(planted(name).model, planted(name).task, method=method)
    scores = np.abs(result.scores.values)
    nodes = result.scores["node"].values.tolist()
    true = np.array([node == "input" or node in planted(name).nodes for node in nodes])
    assert auroc(scores, true) == 1 and exact_recovery(scores, true)


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_path_patching_finds_the_heads_that_write_the_answer(planted, name):
    known = planted(name)
    effect = path_patching(known.model, known.task, receivers=["logits"]).effect
    mean = np.abs(effect.mean([d for d in effect.dims if d not in ("layer", "head")]))
    heads = [(layer, head) for layer in range(mean.shape[0]) for head in range(mean.shape[1])]
    true = np.array([f"a{layer}.h{head}->logits" in known.edges for layer, head in heads])
    scores = np.array([float(mean[head]) for head in heads])
    if true.any():
        assert exact_recovery(scores, true)
    else:
        assert scores.max() < 1e-9


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_the_true_edges_pass_the_tests_of_a_circuit(planted, name):
    """Chosen from exact scores: faithful, complete, and nothing of it can be left out."""
    known = planted(name)
    scores = edge_patching(known.model, known.task)
    result = circuit_tests(
        known.model, known.task, scores=scores, n_edges=len(known.edges), n_random=20, n_subsets=4
    )
    assert set(result.edges) == known.edges
    mean = {"estimate": "mean", "ablation": "patching"}
    assert float(result.faithfulness.sel(mean)) == pytest.approx(1, abs=0.01)
    assert abs(float(result.completeness.sel(mean))) < 0.01
    assert result.removable == ()
    assert float(result.p_value.sel(null="uniform", ablation="patching")) == pytest.approx(1 / 21)
