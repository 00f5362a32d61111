"""Agreement of circuits, by hand and by simulation."""

import json

import numpy as np
import pytest

from mechbench.analyses.circuit_agreement import circuit_agreement
from mechbench.analyses.edge_attribution import edge_attribution
from mechbench.errors import CircuitError, UnsupportedHookError
from mechbench.graphs.circuit import Circuit
from mechbench.graphs.eap_ig import to_eap_ig
from mechbench.graphs.selection import select
from mechbench.graphs.wiring import model_facts, wire
from mechbench.results.circuit_files import save_circuit

ONE = ("input->a0.h1<q>", "a0.h1->m1", "m1->logits", "input->logits")
OTHER = ("input->a0.h1<q>", "a0.h1->m2", "m2->logits", "a1.h0->logits")


@pytest.fixture
def make(model):
    def make_circuit(edges, **options):
        return Circuit(edges=tuple(edges), model=model_facts(model), task={}, **options)

    return make_circuit


@pytest.fixture
def scores(model, task):
    return edge_attribution(model, task)


def test_edges_and_nodes_by_hand(model, task, make):
    result = circuit_agreement(model, task, one=make(ONE), other=make(OTHER))
    assert result.levels == ("edges", "nodes") and result.recall is None
    found = result.iou.sel(kind="found")
    assert found.sel(level="edges") == pytest.approx(1 / 7)
    assert found.sel(level="nodes") == pytest.approx(1 / 4)  # a0.h1 of m1, m2, a1.h0 too
    assert result.members["nodes"] == {
        "both": ("a0.h1",), "one": ("m1",), "other": ("a1.h0", "m2")
    }  # fmt: skip
    assert result.candidates == {"edges": wire(model).graph.n_edges, "nodes": 15}


def test_chance_agrees_with_a_simulation(model, task, make):
    heads = ["0.1", "0.2", "1.0", "2.3"], ["0.1", "1.0", "2.2"]
    result = circuit_agreement(model, task, one=heads[0], other=heads[1])
    assert result.levels == ("heads",)
    rng = np.random.default_rng(0)
    shared = np.array([(rng.permutation(12)[:4] < 3).sum() for _ in range(20000)])
    simulated = (shared / (7 - shared)).mean()
    assert float(result.iou.sel(kind="by chance")[0]) == pytest.approx(simulated, abs=0.006)
    assert float(result.p_value[0]) == pytest.approx((shared >= 2).mean(), abs=0.012)
    assert float(result.iou.sel(kind="found")[0]) == 2 / 5


def test_recall_in_a_ranking(model, task, make, scores):
    graph = wire(model).graph
    result = circuit_agreement(model, task, one=scores, other=make(OTHER), n_edges=40)
    order = np.argsort(-np.abs(scores.scores.values), kind="stable")
    names = [graph.edge_names[i] for i in order]
    for k in result.recall.k.values:
        expected = len(set(names[:k]) & set(OTHER)) / 4
        at = result.recall.sel(k=k)
        assert at.sel(kind="found") == expected and at.sel(kind="by chance") == k / graph.n_edges
    assert result.recall[0, -1] == 1.0
    chosen = select(graph, scores.scores.values, rule="greedy", n=40)
    members = result.members["edges"]
    assert set(members["both"]) | set(members["one"]) == set(graph.names(chosen.mask))


def test_heads_are_ranked_by_the_strongest_edge_that_leaves_them(model, task, make):
    values = {"a0.h1->m1": 0.5, "a0.h2->m1": -2.0, "a0.h1->logits": -3.0, "m0->m1": 9.0}
    one = make(values, scores=values)
    for rank, first in (("absolute", "0.1"), ("signed", "0.1")):
        result = circuit_agreement(model, task, one=one, other=[first], ks=[1, 2], rank=rank)
        np.testing.assert_array_equal(result.recall.sel(kind="found"), [1, 1])
    result = circuit_agreement(model, task, one=one, other=["0.2"], ks=[1, 2])
    np.testing.assert_array_equal(result.recall.sel(kind="found"), [0, 1])
    assert result.recall_level == "heads"


def test_every_form_of_a_circuit(model, task, make, tmp_path):
    ours = save_circuit(make(ONE), tmp_path / "ours.json")
    theirs = tmp_path / "theirs.json"
    theirs.write_text(to_eap_ig(make(ONE), wire(model).graph))
    result = circuit_agreement(model, task, one=ours, other=str(theirs))
    np.testing.assert_array_equal(result.iou.sel(kind="found"), 1.0)
    published = {
        "name": "p",
        "model": {"n_layers": 3, "n_heads": 4, "display": "tiny"},
        "heads": [{"head": "0.1", "role": "r"}, {"head": "2.2", "role": "r"}],
    }
    (tmp_path / "circuit.json").write_text(json.dumps(published))
    result = circuit_agreement(model, task, one=make(ONE), other=tmp_path)
    assert result.levels == ("heads",) and result.other["published"] == "p"
    assert float(result.iou.sel(kind="found")[0]) == 1 / 2


def test_what_cannot_be_compared(model, task, make, tmp_path):
    with pytest.raises(CircuitError, match="give other="):
        circuit_agreement(model, task, one=["0.1"])
    with pytest.raises(UnsupportedHookError, match="no head 9.9"):
        circuit_agreement(model, task, one=["0.1"], other=["9.9"])
    with pytest.raises(CircuitError, match="no writer 'm9'"):
        circuit_agreement(model, task, one=make(["m9->logits"]), other=["0.1"])
    facts = {**model_facts(model), "n_heads": 9}
    with pytest.raises(CircuitError, match="n_heads is 9 in the circuit and 4"):
        circuit_agreement(model, task, one=Circuit(edges=(), model=facts, task={}), other=["0.1"])
    (tmp_path / "circuit.json").write_text(
        json.dumps({"heads": [{"head": "8.1"}], "model": {"n_layers": 12}})
    )
    with pytest.raises(CircuitError, match="n_layers is 12 in the circuit and 3"):
        circuit_agreement(model, task, one=["0.1"], other=tmp_path)
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(CircuitError, match="not JSON"):
        circuit_agreement(model, task, one=["0.1"], other=tmp_path / "broken.json")
    scored = make(ONE, scores={"m1->logits": 1.0})
    with pytest.raises(CircuitError, match="ks="):
        circuit_agreement(model, task, one=scored, other=make(OTHER), ks=[0])
    with pytest.raises(CircuitError, match="rule='best'"):
        circuit_agreement(model, task, one=scored, other=make(OTHER), rule="best")
