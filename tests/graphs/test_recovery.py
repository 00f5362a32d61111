"""AUROC against a count of pairs, and recovery by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mechbench.errors import CircuitError
from mechbench.graphs.recovery import auroc, auroc_at_sizes, exact_recovery
from mechbench.graphs.selection import select
from mechbench.graphs.topology import transformer_graph
from tests.graphs.shapes import SHAPES


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=30))
def test_auroc_counts_pairs(rows):
    scores = np.array([float(s) for s, _ in rows])
    true = np.array([t for _, t in rows])
    pairs = [(a > b) + (a == b) / 2 for a in scores[true] for b in scores[~true]]
    found = auroc(scores, true)
    assert math.isnan(found) if not pairs else abs(found - np.mean(pairs)) < 1e-12


def test_exact_recovery():
    true = np.array([True, False, True, False])
    assert exact_recovery(np.array([3.0, 1.0, 2.0, -4.0]), true)
    assert not exact_recovery(np.array([3.0, 2.5, 2.0, 0.0]), true)
    assert not exact_recovery(np.array([3.0, 2.0, 2.0, 0.0]), true)  # a tie
    assert exact_recovery(np.zeros(4), np.zeros(4, bool))


def test_the_curve_through_greedy_circuits():
    graph = transformer_graph(SHAPES["plain"])
    noise = np.random.default_rng(0).random(graph.n_edges)
    circuit = select(graph, noise, rule="greedy", n=8, rank="signed").mask
    true = graph.values(circuit)
    perfect = auroc_at_sizes(graph, noise + 10 * true, true)
    assert perfect > 0.97 and auroc(noise + 10 * true, true) == 1.0
    opposite = auroc_at_sizes(graph, 20 - (noise + 10 * true), true)
    assert opposite < 0.5 < perfect
    assert math.isnan(auroc_at_sizes(graph, noise, np.zeros_like(true)))


def test_the_curve_by_hand():
    """Two sizes: points (0, 0), one greedy edge into the logits, and all edges."""
    graph = transformer_graph(SHAPES["attention only"])
    direct = graph.edge_names.index("input->logits")
    scores, true = np.zeros(graph.n_edges), np.zeros(graph.n_edges, bool)
    scores[direct], true[direct] = 1.0, True
    one = 1 / graph.n_edges
    assert auroc_at_sizes(graph, scores, true, sizes=[one, 1.0]) == 1.0
    scores[0] = 2.0  # not joined to the logits, so the greedy circuit of one edge passes it over
    assert auroc_at_sizes(graph, scores, true, sizes=[one, 1.0]) == 1.0
    scores[0] = 0.0
    true[direct], true[0] = False, True  # the first edge is false: (1/(n-1), 0), then (1, 1)
    found = auroc_at_sizes(graph, scores, true, sizes=[one, 1.0])
    assert abs(found - (1 - one * graph.n_edges / (graph.n_edges - 1)) / 2) < 1e-12


def test_what_does_not_fit():
    with pytest.raises(CircuitError, match="one value per edge"):
        auroc(np.ones(3), np.ones(2, bool))
    with pytest.raises(CircuitError, match="bool"):
        exact_recovery(np.ones(2), np.ones(2))
    with pytest.raises(CircuitError, match="NaN"):
        auroc(np.array([np.nan, 1.0]), np.array([True, False]))
