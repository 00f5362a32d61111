"""What a view with a threshold is given."""

import json

import numpy as np
import pytest

from mechbench.errors import CircuitError
from mechbench.figures.circuit_view import circuit_view
from mechbench.figures.graph_layout import HALF_WIDTH
from mechbench.graphs.topology import Shape, transformer_graph

SHAPE = {"n_layers": 3, "n_heads": 4, "n_kv_heads": 4, "parallel": False}


def scored(seed=0, **facts):
    graph = transformer_graph(Shape(**{**SHAPE, **facts}))
    values = np.random.default_rng(seed).standard_cauchy(graph.n_edges) / 1e3
    return graph, dict(zip(graph.edge_names, values.tolist(), strict=True)), {**SHAPE, **facts}


def view_of(graph, scores, facts, **options):
    return circuit_view(graph.edge_names, scores, facts, n_graph_edges=graph.n_edges, **options)


def test_edges_come_strongest_first_with_their_ends():
    graph, scores, facts = scored()
    view = view_of(graph, scores, facts)
    sizes = np.abs(view.scores)
    assert (np.diff(sizes) <= 0).all() and sorted(view.edges) == sorted(graph.edge_names)
    for i in range(0, len(view.edges), 17):
        writer, reader = view.nodes[view.writers[i]], view.inputs[view.readers[i]]
        assert f"{writer}->{reader[0]}" == view.edges[i] and scores[view.edges[i]] == view.scores[i]
        assert [view.nodes[n] for n in reader[1]] == [reader[0].partition("<")[0]]
    assert view.nodes[0] == "input" and view.nodes[-1] == "logits"


@pytest.mark.parametrize("seed", range(5))
def test_thresholds_have_four_digits_and_hold_what_they_say(seed):
    graph, scores, facts = scored(seed)
    sizes = np.abs(np.array(list(scores.values())))
    view = view_of(graph, scores, facts)
    assert view.n_at(view.high) >= 1 and view.n_at(view.low) == graph.n_edges
    for n in (1, 10, 100):
        at = view.threshold_of(n)
        assert view.n_at(at) == (sizes >= at).sum() >= n and at == float(f"{at:g}")
    fewer = view_of(graph, scores, facts, most_edges=50)
    assert fewer.left_out == graph.n_edges - 50 and len(fewer.edges) == 50
    assert fewer.n_at(fewer.low) == (sizes >= fewer.low).sum() <= 50


def test_shared_keys_feed_all_heads_of_their_group():
    view = view_of(*scored(n_kv_heads=2))
    fed = {name: [view.nodes[n] for n in nodes] for name, nodes, _ in view.inputs}
    assert fed["a1.g1<k>"] == ["a1.h2", "a1.h3"] and fed["a1.h2<q>"] == ["a1.h2"]


def test_nodes_of_a_row_stand_apart():
    view = view_of(*scored())
    for row in np.unique(view.layout.nodes[:, 1]):
        x = np.sort(view.layout.nodes[view.layout.nodes[:, 1] == row, 0])
        assert (np.diff(x) > 2 * HALF_WIDTH).all()


def test_without_scores_everything_is_shown_at_zero():
    view = circuit_view(["input->m0", "m0->logits"], {}, SHAPE, n_graph_edges=9)
    assert view.low == view.high == view.least == view.threshold_of(5) == 0.0
    assert view.n_at(0.0) == 2
    some = circuit_view(["input->m0", "m0->logits"], {"m0->logits": 2.0}, SHAPE, n_graph_edges=9)
    assert (some.low, some.least, some.high) == (0.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("edges", "facts"),
    [
        ([], SHAPE),
        (["m0"], SHAPE),
        (["input->m0@3"], SHAPE),
        (["m1->m0"], SHAPE),
        (["input->m0"], {}),
        (["input->a0.g0<k>"], {"n_layers": 1, "n_heads": 0, "parallel": False}),
        (["input->m0"], {**SHAPE, "n_layers": "many"}),
        (["input->m0"], {**SHAPE, "feeds": 5}),
        (["input->m0"], {**SHAPE, "stages": [[]]}),
        (["input->a0.g0<k>"], {**SHAPE, "n_kv_heads": 0}),
        (["input->m0"], {**SHAPE, "n_layers": 10**9}),
        (["input->m" + "9" * 30], SHAPE),
        (["<script>->m0"], SHAPE),
    ],
)
def test_what_cannot_be_drawn_is_said(edges, facts):
    with pytest.raises(CircuitError):
        circuit_view(edges, {}, json.loads(json.dumps(facts)), n_graph_edges=9)
