"""Random circuits keep their size, and matched ones their classes."""

import re
from collections import Counter

import numpy as np
import pytest

from mechbench.errors import CircuitError
from mechbench.graphs.random_circuits import random_circuits
from mechbench.graphs.topology import transformer_graph
from tests.graphs.shapes import SHAPES


def classes(graph, mask):
    """Kind and layer of both ends, read from the names."""
    return Counter(re.sub(r"\.[hg]\d+", "", edge) for edge in graph.names(mask))


@pytest.mark.parametrize("positions", [None, 3])
@pytest.mark.parametrize("name", SHAPES)
def test_matched_draws_have_as_many_edges_of_every_class(name, positions):
    graph = transformer_graph(SHAPES[name], positions)
    mask = (np.random.default_rng(1).random(graph.exists.shape) < 0.2) & graph.exists
    draws = random_circuits(graph, mask, 3, null="matched", seed=0)
    assert all(classes(graph, draw) == classes(graph, mask) for draw in draws)
    assert not any((draw == mask).all() for draw in draws)
    uniform = random_circuits(graph, mask, 3, null="uniform", seed=0)
    assert all(draw.sum() == mask.sum() and not (draw & ~graph.exists).any() for draw in uniform)
    assert any(classes(graph, draw) != classes(graph, mask) for draw in uniform)


@pytest.mark.parametrize("null", ["uniform", "matched"])
def test_draws_are_even_and_seeded(null):
    graph = transformer_graph(SHAPES["attention only"])
    mask = graph.mask(["input->a0.h0<q>", "a0.h1->a1.h0<k>"])
    draws = random_circuits(graph, mask, 4000, null=null, seed=2)
    again = random_circuits(graph, mask, 4000, null=null, seed=2)
    assert all((a == b).all() for a, b in zip(draws, again, strict=True))
    counts = graph.values(np.stack(draws)).sum(0)
    if null == "uniform":
        expected = 4000 * 2 / graph.n_edges
        assert (abs(counts - expected) < 5 * expected**0.5).all()
    else:
        drawn = {graph.edge_names[i]: counts[i] for i in np.flatnonzero(counts)}
        assert set(drawn) == {
            *(f"input->a0.h{h}<q>" for h in (0, 1)),
            *(f"a0.h{w}->a1.h{h}<k>" for w in (0, 1) for h in (0, 1)),
        }
        assert all(abs(drawn[f"input->a0.h{h}<q>"] - 2000) < 200 for h in (0, 1))


def test_a_class_that_is_held_whole_stays():
    graph = transformer_graph(SHAPES["plain"])
    mask = graph.mask(["input->m1", "m0->logits"])
    assert (random_circuits(graph, mask, 1, null="matched", seed=0)[0] == mask).all()


def test_an_unknown_null():
    graph = transformer_graph(SHAPES["plain"])
    with pytest.raises(CircuitError, match="uniform, matched"):
        random_circuits(graph, graph.exists, 1, null="even", seed=0)
