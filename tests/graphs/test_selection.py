"""Selection against brute force, and pruning against networkx."""

import networkx as nx
import numpy as np
import pytest

from mechbench.errors import CircuitError
from mechbench.graphs.selection import pruned, select
from mechbench.graphs.topology import LOGITS, transformer_graph
from tests.graphs.shapes import SHAPES


def scores_of(graph, seed=0):
    return np.random.default_rng(seed).normal(size=graph.n_edges)


def brute_greedy(graph, ranked, n):
    """Every step looks at all edges and takes the best whose reader is joined to the logits."""
    feeds = {r.name: set(r.feeds) for r in graph.readers}
    chosen, joined = [], set()
    ends = [name.partition("@")[0].split("->") for name in graph.edge_names]
    for _ in range(n):
        best = None
        for i, (_, reader) in enumerate(ends):
            fits = reader == LOGITS or feeds[reader] & joined
            if i not in chosen and fits and (best is None or ranked[i] > ranked[best]):
                best = i
        if best is None:
            break
        chosen.append(best)
        joined.add(ends[best][0])
    return {graph.edge_names[i] for i in chosen}


@pytest.mark.parametrize("rank", ["signed", "absolute"])
@pytest.mark.parametrize("name", SHAPES)
def test_greedy_is_brute_force(name, rank):
    graph = transformer_graph(SHAPES[name])
    scores = scores_of(graph)
    ranked = np.abs(scores) if rank == "absolute" else scores
    for n in (0, 1, 7, 40, graph.n_edges):
        mask = select(graph, scores, rule="greedy", n=n, rank=rank, prune=False).mask
        assert set(graph.names(mask)) == brute_greedy(graph, ranked, n)


def reachable(graph, mask):
    """Edges on a path from input to logits; a node joins the readers to the heads they feed."""
    net = nx.DiGraph()
    for edge in graph.names(mask):
        writer, reader = edge.partition("@")[0].split("->")
        net.add_edge(writer, f"in {reader}")
    for reader in graph.readers:
        net.add_edges_from((f"in {reader.name}", writer) for writer in reader.feeds)
    net.add_nodes_from(["input", f"in {LOGITS}"])
    after = nx.descendants(net, "input") | {"input"}
    before = nx.ancestors(net, f"in {LOGITS}") | {f"in {LOGITS}"}
    ends = {edge: edge.partition("@")[0].split("->") for edge in graph.names(mask)}
    return {e for e, (w, r) in ends.items() if w in after and f"in {r}" in before}


@pytest.mark.parametrize("positions", [None, 3])
@pytest.mark.parametrize("name", SHAPES)
def test_pruning_keeps_what_networkx_reaches(name, positions):
    graph = transformer_graph(SHAPES[name], positions)
    for seed, share in enumerate([0.02, 0.05, 0.1, 0.2, 0.5, 1.0]):
        drawn = np.random.default_rng(seed).random(graph.exists.shape) < share
        mask = drawn & graph.exists
        assert set(graph.names(pruned(graph, mask))) == reachable(graph, mask)


def test_the_top_edges_are_the_top_edges():
    graph = transformer_graph(SHAPES["plain"])
    scores = scores_of(graph)
    for rank, ranked in {"signed": scores, "absolute": np.abs(scores)}.items():
        found = select(graph, scores, n=9, rank=rank, prune=False)
        best = set(np.argsort(ranked)[-9:])
        assert {graph.edge_names[i] for i in best} == set(graph.names(found.mask))
    assert found.rule == {
        "rule": "top", "n": 9, "rank": "absolute", "prune": False, "n_edges": 9
    }  # fmt: skip


def test_ties_go_to_the_earlier_edge():
    graph = transformer_graph(SHAPES["plain"])
    found = select(graph, np.ones(graph.n_edges), n=5, prune=False)
    assert graph.names(found.mask) == graph.edge_names[:5]


def test_a_threshold_is_inclusive():
    graph = transformer_graph(SHAPES["plain"])
    scores = scores_of(graph)
    cut = float(np.sort(scores)[-6])
    found = select(graph, scores, rule="threshold", threshold=cut, rank="signed", prune=False)
    assert found.n_edges == 6 and found.rule["threshold"] == cut


def test_pruning_tells_how_many_are_left():
    graph = transformer_graph(SHAPES["plain"])
    found = select(graph, scores_of(graph), n=6)
    assert found.rule["n_edges"] == found.n_edges == found.mask.sum() < 6
    assert select(graph, scores_of(graph), n=graph.n_edges).n_edges == graph.n_edges


@pytest.mark.parametrize(
    "options, words",
    [
        ({"rule": "best", "n": 3}, "rule='best'"),
        ({"rank": "size", "n": 3}, "rank='size'"),
        ({"n": None}, "needs n from 0"),
        ({"n": 10**6}, "needs n from 0"),
        ({"rule": "threshold"}, "needs a threshold"),
    ],
)
def test_impossible_requests(options, words):
    graph = transformer_graph(SHAPES["plain"])
    with pytest.raises(CircuitError, match=words):
        select(graph, scores_of(graph), **options)


def test_scores_that_do_not_fit():
    graph = transformer_graph(SHAPES["plain"])
    with pytest.raises(CircuitError, match="one per edge"):
        select(graph, np.ones(3), n=1)
    with pytest.raises(CircuitError, match="NaN"):
        select(graph, np.full(graph.n_edges, np.nan), n=1)
