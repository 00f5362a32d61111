"""EAP-IG's files: there and back, shared keys, and files of other models."""

import json

import numpy as np
import pytest

from mechbench.errors import CircuitError
from mechbench.graphs.circuit import Circuit
from mechbench.graphs.eap_ig import from_eap_ig, to_eap_ig
from mechbench.graphs.topology import transformer_graph
from tests.graphs.shapes import SHAPES


def circuit_on(graph, seed=0):
    rng = np.random.default_rng(seed)
    scores = dict(zip(graph.edge_names, rng.normal(size=graph.n_edges).tolist(), strict=True))
    edges = tuple(e for e in graph.edge_names if scores[e] > 1)
    return Circuit(edges=edges, model={"d_model": 16}, task={"name": "t"}, scores=scores)


@pytest.mark.parametrize("name", SHAPES)
def test_there_and_back(name):
    graph = transformer_graph(SHAPES[name])
    circuit = circuit_on(graph)
    text = to_eap_ig(circuit, graph)
    again = from_eap_ig(text, "g.json", graph, model=circuit.model, task=circuit.task)
    assert again.edges == circuit.edges and "joined" not in again.source
    assert again.scores == pytest.approx(circuit.scores)
    assert to_eap_ig(again, graph) == text


def test_the_file_is_laid_out_as_eap_ig_lays_it_out():
    graph = transformer_graph(SHAPES["plain"])
    circuit = Circuit(
        edges=("input->a0.h1<q>", "a0.h1->logits"),
        model={"d_model": 16},
        task={},
        scores={"a0.h1->logits": -2.0},
    )
    data = json.loads(to_eap_ig(circuit, graph))
    assert data["cfg"] == {"n_layers": 3, "n_heads": 2, "parallel_attn_mlp": False, "d_model": 16}
    assert data["edges"]["a0.h1->logits"] == {"score": -2.0, "in_graph": True}
    assert data["edges"]["m0->m1"] == {"score": 0.0, "in_graph": False}
    assert set(data["edges"]) == set(graph.edge_names)
    inside = {node for node, said in data["nodes"].items() if said["in_graph"]}
    assert inside == {"input", "a0.h1", "logits"} and set(data["nodes"]) == set(graph.nodes)


def test_shared_keys_become_an_edge_per_query_head():
    graph = transformer_graph(SHAPES["shared keys"])
    edge = "a0.h0->a1.g1<k>"
    circuit = Circuit(edges=(edge,), model={"d_model": 16}, task={}, scores={edge: 3.0})
    data = json.loads(to_eap_ig(circuit, graph))
    copies = {name: said for name, said in data["edges"].items() if said["in_graph"]}
    part = {"score": 1.5, "in_graph": True}
    assert copies == {"a0.h0->a1.h2<k>": part, "a0.h0->a1.h3<k>": part}
    assert data["nodes"]["logits"]["in_graph"]  # as EAP-IG has it, with or without edges
    assert {n for n, said in data["nodes"].items() if said["in_graph"]} >= {"a1.h2", "a1.h3"}
    per_writer = [name for name in data["edges"] if name.startswith("input->")]
    assert len(per_writer) == 3 * (3 * 4 + 1) + 1


def test_copies_that_disagree_are_joined_and_told():
    graph = transformer_graph(SHAPES["shared keys"])
    edge = "a0.h0->a1.g1<k>"
    circuit = Circuit(edges=(edge,), model={"d_model": 16}, task={}, scores={edge: 3.0})
    data = json.loads(to_eap_ig(circuit, graph))
    data["edges"]["a0.h0->a1.h3<k>"] = {"score": 0.25, "in_graph": False}
    found = from_eap_ig(json.dumps(data), "g.json", graph, model={}, task={})
    assert found.edges == (edge,) and found.scores[edge] == 1.75
    assert found.source["joined"].startswith("1 edges") and edge in found.source["joined"]


def test_mlps_of_an_attention_only_model_are_passed_over():
    plain, graph = (transformer_graph(SHAPES[n]) for n in ("plain", "attention only"))
    circuit = Circuit(edges=("a0.h0->logits",), model={"d_model": 16}, task={})
    text = to_eap_ig(circuit, plain)
    assert from_eap_ig(text, "g", graph, model={}, task={}).edges == circuit.edges
    with_mlp = to_eap_ig(Circuit(edges=("m0->logits",), model={"d_model": 16}, task={}), plain)
    with pytest.raises(CircuitError, match="no writer 'm0'"):
        from_eap_ig(with_mlp, "g", graph, model={}, task={})


def test_files_that_do_not_fit():
    graph = transformer_graph(SHAPES["plain"])
    text = to_eap_ig(circuit_on(graph), graph)

    def read(text, of=graph):
        return from_eap_ig(text, "g.json", of, model={}, task={})

    with pytest.raises(CircuitError, match="n_heads is 2 in the file and 4 in the model"):
        read(text, transformer_graph(SHAPES["shared keys"]))
    with pytest.raises(CircuitError, match="not JSON"):
        read("{")
    with pytest.raises(CircuitError, match="not a graph file"):
        read("{}")
    data = json.loads(text)
    data["edges"]["m0->a0.h0<q>"] = {"score": 1.0, "in_graph": True}
    with pytest.raises(CircuitError, match="m0 is written after"):
        read(json.dumps(data))
    data["edges"] = {"m0->m1": {"score": 1.0}}
    with pytest.raises(CircuitError, match="without 'score' and 'in_graph'"):
        read(json.dumps(data))
    with pytest.raises(CircuitError, match="no positions"):
        read(text, transformer_graph(SHAPES["plain"], 3))
    with pytest.raises(CircuitError, match="d_model"):
        to_eap_ig(Circuit(edges=(), model={}, task={}), graph)
