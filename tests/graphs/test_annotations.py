"""Notes on circuits, and circuit files that are read strictly."""

import json

import pytest

from mechbench.errors import CircuitError
from mechbench.graphs.annotations import Annotations, Group, annotations_from
from mechbench.graphs.circuit import Circuit, circuit_from_json


def test_groups_share_no_node_and_no_label():
    notes = Annotations().group("movers", ["a1.h0", "a1.h1"]).group("first", ["a0.h0", "a1.h1"])
    assert notes.groups == (Group("movers", ("a1.h0",)), Group("first", ("a0.h0", "a1.h1")))
    assert notes.roles == {"a1.h0": "movers", "a0.h0": "first", "a1.h1": "first"}
    assert notes.ungroup("first").groups == (Group("movers", ("a1.h0",)),)
    assert notes.group("all", ["a1.h0", "a0.h0", "a1.h1"]).groups[0].label == "all"
    with pytest.raises(CircuitError, match="already"):
        notes.group("movers", ["m0"])
    with pytest.raises(CircuitError, match="no nodes"):
        notes.group("empty", [])


def test_labels_are_trimmed_and_taken_away():
    notes = Annotations().label("m0", "  copies <b> ").pin(["m0", "m0"])
    assert notes.labels == {"m0": "copies <b>"} and notes.pinned == ("m0",)
    assert notes.label("m0", "  ").labels == {}
    with pytest.raises(CircuitError, match="1 to 80"):
        notes.label("m0", "x" * 81)


def test_they_are_part_of_the_circuit_file():
    notes = Annotations(pinned=("m0",), labels={"m0": "mine"}).group("both", ["m0", "m1"])
    circuit = Circuit(edges=("m0->m1",), model={}, task={}, annotations=notes)
    data = json.loads(circuit.to_json())["annotations"]
    assert data == {
        "pinned": ["m0"], "labels": {"m0": "mine"},
        "groups": [{"label": "both", "nodes": ["m0", "m1"]}],
    }  # fmt: skip
    assert circuit_from_json(circuit.to_json(), "c").annotations == notes


@pytest.mark.parametrize(
    "bad",
    [
        5,
        {"colour": 1},
        {"pinned": "m0"},
        {"pinned": [1]},
        {"labels": {"m0": 1}},
        {"labels": {"m0": "x" * 81}},
        {"groups": [{"label": "a"}]},
        {"groups": [{"label": "", "nodes": ["m0"]}]},
        {"groups": [{"label": "a", "nodes": []}]},
        {"pinned": ["m0"] * 2001},
    ],
)
def test_other_annotations_are_refused(bad):
    with pytest.raises(CircuitError):
        annotations_from(bad, "c.json")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"edges": 5}, "'edges'"),
        ({"edges": ["a", 1]}, "'edges'"),
        ({"edges": ["m0->m1", "m0->m1"]}, "different edges"),
        ({"model": []}, "'model'"),
        ({"scores": {"m0->m1": "1"}}, "finite"),
        ({"scores": {"m0->m1": float("nan")}}, "finite"),
        ({"scores": {"m0->m1": True}}, "finite"),
        ({"scores": {"m0->m1": 10**400}}, "finite"),
        ({"roles": {"m0": 1}}, "'roles'"),
        ({"seed": "1"}, "'seed'"),
        ({"n_positions": 1.5}, "'n_positions'"),
        ({"selection": "top"}, "'selection'"),
        ({"annotations": []}, "annotations"),
        ({"edges": ["\ud800"]}, "not JSON"),
    ],
)
def test_entries_of_another_type_are_refused(change, told):
    data = {"format": 1, "edges": ["m0->m1"], "model": {}, "task": {}} | change
    with pytest.raises(CircuitError, match=told):
        circuit_from_json(json.dumps(data), "c.json")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format": ' + "1" * 5000 + "}", "", "NaN", "[]"])
def test_texts_that_are_no_circuit(text):
    with pytest.raises(CircuitError):
        circuit_from_json(text, "c.json")
