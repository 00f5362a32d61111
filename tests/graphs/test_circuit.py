"""Circuits: JSON, nodes, and circuits of other models."""

import json

import pytest

from mechbench.errors import CircuitError, StoreError
from mechbench.graphs.circuit import Circuit, circuit_from_json
from mechbench.graphs.topology import transformer_graph
from mechbench.results.circuit_files import load_circuit, save_circuit
from tests.graphs.shapes import SHAPES

CIRCUIT = Circuit(
    edges=("input->a0.h1<q>", "a0.h1->m1", "m1->logits"),
    model={"name": "tiny", "n_layers": 3, "n_heads": 2},
    task={"name": "acronyms", "seed": 1},
    roles={"a0.h1": "letter mover"},
    scores={"a0.h1->m1": -0.25},
    selection={"rule": "top", "n": 3, "n_edges": 3},
    seed=4,
    source={"paper": "none"},
)


def test_json_and_back(tmp_path):
    again = load_circuit(save_circuit(CIRCUIT, tmp_path / "c.json"))
    for name in ("edges", "model", "task", "roles", "scores", "selection", "seed", "source"):
        assert getattr(again, name) == getattr(CIRCUIT, name), name
    assert again.n_positions is None and again.to_json() == CIRCUIT.to_json()
    assert json.loads(CIRCUIT.to_json())["nodes"] == ["input", "a0.h1", "m1", "logits"]


def test_nodes_of_shared_keys_and_positions():
    edges = ("a0.h1->a1.g0<k>@3", "a0.h1->a1.g0<v>@2")
    assert Circuit(edges=edges, model={}, task={}).nodes == ("a0.h1", "a1.g0")


def test_mask_holds_the_edges():
    graph = transformer_graph(SHAPES["plain"])
    assert set(graph.names(CIRCUIT.mask(graph))) == set(CIRCUIT.edges)


def test_a_circuit_of_another_model_names_every_difference():
    with pytest.raises(CircuitError, match="n_layers is 3 .* and 4 .*n_heads is 2 .* and 8 "):
        CIRCUIT.check({"name": "tiny", "n_layers": 4, "n_heads": 8})
    CIRCUIT.check({"name": "tiny", "d_model": 16})  # what one side lacks is not compared


@pytest.mark.parametrize(
    "text, words",
    [
        ("{", "not JSON"),
        ("[]", "not a circuit file"),
        ('{"format": 2, "edges": []}', "not a circuit file"),
        ('{"format": 1, "edges": [], "model": {}}', "lacks task"),
        ('{"format": 1, "edges": [], "modle": {}}', "Did you mean 'model'"),
    ],
)
def test_what_is_no_circuit(text, words):
    with pytest.raises(CircuitError, match=words):
        circuit_from_json(text, "x.json")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(StoreError, match="no circuit at"):
        load_circuit(tmp_path / "none.json")
