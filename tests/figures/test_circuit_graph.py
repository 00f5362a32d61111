"""A circuit as a graph panel."""

from mechbench.figures.circuit_graph import MOST_EDGES, circuit_graph

FACTS = {"n_layers": 2, "n_heads": 4, "n_kv_heads": 4, "parallel": False}


def drawn(panel):
    return {(e.source, e.target, e.port): e.score for e in panel.edges}


def test_nodes_stand_in_the_order_of_the_stream():
    edges = ("input->a0.h1<q>", "a0.h1->m0", "m0->a1.h2<v>", "a1.h2->m1", "m1->logits")
    panel = circuit_graph(edges, {"a0.h1->m0": -2.0}, FACTS, roles={"a0.h1": "mover"})
    assert {n.id: n.rank for n in panel.nodes} == {
        "input": 0, "a0.h1": 1, "m0": 2, "a1.h2": 3, "m1": 4, "logits": 5
    }  # fmt: skip
    assert {n.id: n.group for n in panel.nodes}["a0.h1"] == "mover"
    assert drawn(panel)["a0.h1", "m0", ""] == -2.0
    assert drawn(panel)["input", "a0.h1", "q"] == 0.0
    assert dict(panel.rank_labels)[3] == "heads 1"


def test_attention_and_mlp_side_by_side_share_a_rank():
    facts = {**FACTS, "parallel": True}
    panel = circuit_graph(("input->m0", "input->a0.h0<k>", "m0->m1"), {}, facts)
    assert {n.id: n.rank for n in panel.nodes} == {"input": 0, "a0.h0": 1, "m0": 1, "m1": 3}


def test_shared_keys_lead_to_the_heads_that_write():
    facts = {**FACTS, "n_kv_heads": 2}
    edges = ("input->a0.g1<k>", "a0.h3->logits", "input->a1.g0<v>")
    found = drawn(circuit_graph(edges, {"input->a0.g1<k>": 3.0}, facts))
    assert found == {
        ("input", "a0.h3", "k"): 3.0,
        ("a0.h3", "logits", ""): 0.0,
        ("input", "a1.h0", "v"): 0.0,
        ("input", "a1.h1", "v"): 0.0,
    }


def test_positions_add_up_and_the_strongest_are_drawn():
    found = drawn(circuit_graph(("m0->m1@1", "m0->m1@4"), {"m0->m1@1": 1, "m0->m1@4": -3}, FACTS))
    assert found == {("m0", "m1", ""): -2.0}
    facts = {**FACTS, "n_heads": 300, "n_kv_heads": 300}
    scores = {f"a0.h{h}->logits": float(h) for h in range(300)}
    panel = circuit_graph(tuple(scores), scores, facts)
    assert len(panel.edges) == MOST_EDGES and min(drawn(panel).values()) == 100.0
