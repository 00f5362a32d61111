"""Tests of a circuit, by hand from the circuit's forward pass."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mechbench.analyses.acdc import acdc
from mechbench.analyses.circuit_agreement import circuit_agreement
from mechbench.analyses.circuit_tests import circuit_tests
from mechbench.analyses.common.circuit_plan import CircuitPlan
from mechbench.analyses.common.given_circuit import fewest_edges
from mechbench.analyses.edge_attribution import edge_attribution
from mechbench.discovery.circuit_forward import CircuitForward
from mechbench.errors import CircuitError, TaskError
from mechbench.graphs.circuit import Circuit
from mechbench.graphs.selection import select
from mechbench.graphs.wiring import model_facts, wire
from mechbench.results.circuit_files import save_circuit
from mechbench.results.circuit_tests import circuit_of

FEW = {"n_random": 3, "n_subsets": 3}


@pytest.fixture
def scores(model, make_task):
    return edge_attribution(model, make_task(n=6, seed=8))


@pytest.fixture
def share(model, task):
    """Faithfulness of a mask under patching."""
    run = CircuitForward(model, wire(model), task.pairs("all", seed=0), task.metric())
    full, nothing = run.clean.double().mean(), run.ablated.double().mean()
    return lambda mask: float((run(mask).double().mean() - nothing) / (full - nothing))


def mean(values):
    return values.sel(estimate="mean").isel(ablation=0)


def test_the_four_numbers_by_hand(model, task, scores, share):
    result = circuit_tests(model, task, scores=scores, n_edges=30, **FEW)
    graph = wire(model).graph
    chosen = select(graph, scores.scores.values, rule="greedy", n=30)
    circuit = graph.mask(result.edges)
    assert (circuit == chosen.mask).all() and result.selection == chosen.rule
    whole = share(circuit)
    np.testing.assert_allclose(mean(result.faithfulness), whole, atol=1e-5)
    np.testing.assert_allclose(mean(result.completeness), share(~circuit), atol=1e-5)
    assert result.removed_kind == "edge" and len(result.minimality.removed) == len(result.edges)
    for edge in result.edges[::7]:
        lost = whole - share(circuit & ~graph.mask([edge]))
        np.testing.assert_allclose(mean(result.minimality).sel(removed=edge), lost, atol=1e-5)
    plan = CircuitPlan(graph, circuit_of(result), 3, 3, 0)
    pairs = zip(
        plan.masks[slice(*(i - 2 for i in _ends(plan, "circuit without")))],
        plan.masks[slice(*(i - 2 for i in _ends(plan, "model without")))],
        strict=True,
    )
    apart = []
    for less_circuit, less_model in pairs:
        k = graph.exists & ~less_model
        assert k.any() and not (k & ~circuit).any() and (less_circuit == circuit & ~k).all()
        apart.append(abs(share(less_circuit) - share(less_model)))
    found = mean(result.incompleteness)
    np.testing.assert_allclose(found, [np.mean(apart), max(apart)], atol=1e-5)
    drawn = plan.masks[slice(*(i - 2 for i in _ends(plan, "matched")))]
    random = result.random.sel(null="matched").isel(ablation=0)
    np.testing.assert_allclose(random, [share(d) for d in drawn], atol=1e-5)
    as_good = sum(share(d) >= whole for d in drawn)
    np.testing.assert_allclose(result.p_value.sel(null="matched"), (1 + as_good) / 4)


def _ends(plan, name):
    return plan.at[name].start, plan.at[name].stop


def test_nodes_of_large_circuits_are_removed_with_all_their_edges(model, task, scores, share):
    result = circuit_tests(model, task, scores=scores, n_edges=200, **FEW)
    assert result.removed_kind == "node" and len(result.edges) > 100
    removed = result.minimality.removed.values
    assert set(removed) == set(result.nodes) - {"input", "logits"}
    graph, node = wire(model).graph, str(removed[3])
    touching = [
        e for e in result.edges
        if node in (e.split("->")[0], e.split("->")[1].partition("<")[0])
    ]  # fmt: skip
    circuit = graph.mask(result.edges)
    plan = CircuitPlan(graph, circuit_of(result), 1, 1, 0)
    removed_mask = plan.masks[plan.at["removed"].start - 2 + 3]
    assert (removed_mask == circuit & ~graph.mask(touching)).all()
    lost = share(circuit) - share(removed_mask)
    np.testing.assert_allclose(mean(result.minimality).sel(removed=node), lost, atol=1e-5)


def circuit(model, edges, **changes):
    facts = {**model_facts(model), **changes}
    return Circuit(edges=tuple(edges), model=facts, task={"name": "acronyms", "seed": 1})


def test_a_circuit_that_says_little_of_its_model_is_completed(model, task):
    bare = Circuit(edges=("input->logits",), model={"n_layers": 3}, task={})
    result = circuit_tests(model, task, circuit=bare, **FEW)
    assert circuit_of(result).model == model_facts(model) and not result.held_out


def test_an_edge_that_leads_nowhere_is_removable(model, task):
    edges = ("input->logits", "input->m0", "m0->logits", "a0.h1->m1")
    result = circuit_tests(model, task, circuit=circuit(model, edges), **FEW)
    assert mean(result.minimality).sel(removed="a0.h1->m1") == pytest.approx(0, abs=1e-6)
    assert "a0.h1->m1" in result.removable
    expected = mean(result.minimality) <= result.tolerance
    assert [e in result.removable for e in edges] == expected.values.tolist()


def test_a_null_that_can_only_draw_the_circuit_is_not_beaten(model, task):
    edges = ("input->m0", "m0->m1", "m1->logits", "input->logits")
    result = circuit_tests(model, task, circuit=circuit(model, edges), n_random=5, n_subsets=1)
    assert result.matched_overlap == 1.0
    np.testing.assert_array_equal(result.p_value.sel(null="matched"), 1.0)
    every = circuit(model, wire(model).graph.edge_names)
    result = circuit_tests(model.double(), task, circuit=every, n_random=5, n_subsets=1)
    np.testing.assert_array_equal(result.p_value, 1.0)
    np.testing.assert_allclose(mean(result.faithfulness), 1.0, atol=1e-12)


def test_all_ablations_are_each_alone(model, task, scores):
    options = {"scores": scores, "n_edges": 6, **FEW}
    every = circuit_tests(model, task, ablation="all", **options)
    assert list(every.faithfulness.ablation.values) == ["patching", "zero", "mean", "resample"]
    for name in ("zero", "resample"):
        alone = circuit_tests(model, task, ablation=name, **options)
        for field in ("faithfulness", "completeness", "minimality", "incompleteness", "random"):
            one, all_ = getattr(alone, field), getattr(every, field)
            np.testing.assert_allclose(all_.sel(ablation=name), one.sel(ablation=name), atol=1e-9)


@pytest.mark.parametrize("target", [0.6])
def test_by_default_as_few_edges_as_are_faithful(model, task, scores, share, target):
    result = circuit_tests(model, task, scores=scores, target=target, **FEW)
    assert (
        mean(result.faithfulness) >= target and f"{target:g} faithful" in result.selection["size"]
    )
    n, graph = result.selection["n"], wire(model).graph
    fewer = max(m for m in (round(1.25**i) for i in range(60)) if m < n)
    assert share(select(graph, scores.scores.values, rule="greedy", n=fewer).mask) < target


def test_a_circuit_survives_its_file(model, task, scores, tmp_path):
    first = circuit_tests(model, task, scores=scores, n_edges=25, **FEW)
    path = save_circuit(circuit_of(first), tmp_path / "circuit.json")
    again = circuit_tests(model, task, circuit=str(path), **FEW)
    assert again.faithfulness.identical(first.faithfulness) and again.edges == first.edges
    assert again.chosen_on == first.chosen_on == {"name": "acronyms", "seed": 8, "n_prompts": 6}
    assert again.held_out and again.edge_scores == first.edge_scores


def test_circuits_that_do_not_fit(model, task):
    with pytest.raises(CircuitError, match="n_layers is 7 in the circuit and 3 in the model"):
        circuit_tests(model, task, circuit=circuit(model, ["m0->m1"], n_layers=7))
    with pytest.raises(CircuitError, match="no writer 'm9'"):
        circuit_tests(model, task, circuit=circuit(model, ["m9->logits"]))
    with pytest.raises(CircuitError, match="no edges"):
        circuit_tests(model, task, circuit=circuit(model, []))
    with pytest.raises(TaskError, match="3 positions"):
        at = replace(circuit(model, ["m0->m1@2"]), n_positions=3)
        circuit_tests(model, task, circuit=at)


@pytest.mark.parametrize("options", [{"n_random": 0}, {"n_subsets": 0}, {"target": 1.5}])
def test_impossible_requests(model, task, scores, options):
    with pytest.raises(TaskError, match="at least 1"):
        circuit_tests(model, task, scores=scores, **options)


def test_too_few_edges_for_a_path(model, task, scores):
    with pytest.raises(CircuitError, match="No edge is left"):
        circuit_tests(model, task, scores=scores, n_edges=0, **FEW)


def test_what_acdc_left_is_a_circuit(make_model, task, make_task):
    model = make_model(n_layers=1, n_heads=2)
    found = acdc(model, make_task(n=4, seed=8), threshold=0.02, n_random=1)
    result = circuit_tests(model, task, scores=found, **FEW)
    assert result.edges == found.kept and result.selection["rule"] == "acdc"
    fewer = circuit_tests(model, task, scores=found, n_edges=3, **FEW)
    assert len(fewer.edges) <= 3 and fewer.selection["rule"] == "greedy"
    same = circuit_agreement(model, task, one=found, other=result)
    np.testing.assert_array_equal(same.iou.sel(kind="found"), 1.0)


class ShareOfEdges:
    """Sets of edges that are as faithful as they are large."""

    full, nothing = torch.ones(2, 1), torch.zeros(2, 1)

    def __init__(self, graph):
        self.graph = graph

    def values(self, masks):
        shares = torch.tensor([m.sum() / self.graph.n_edges for m in masks])
        return shares[:, None, None].expand(-1, 2, 1)


@pytest.mark.parametrize("target", [0.2, 0.95, 1.0])
def test_the_fewest_edges_reach_the_target(model, scores, target):
    graph = wire(model).graph
    how = {"rule": "greedy", "rank": "absolute"}
    n, said = fewest_edges(ShareOfEdges(graph), scores, target=target, **how)
    sizes = [select(graph, scores.scores.values, n=m, **how).n_edges for m in (n, int(n / 1.26))]
    assert sizes[0] >= target * graph.n_edges > sizes[1] and f"{target:g} faithful" in said
