"""Which sets of edges the tests of a circuit need."""

import numpy as np

from mechbench.errors import CircuitError
from mechbench.graphs.circuit import Circuit
from mechbench.graphs.random_circuits import NULLS, random_circuits
from mechbench.graphs.topology import INPUT, LOGITS, Graph

MOST_SINGLE_EDGES = 100  # of larger circuits, nodes are removed


class CircuitPlan:
    """The sets of edges to evaluate, by what they are for; ``masks`` are all of them in order."""

    def __init__(self, graph: Graph, circuit: Circuit, n_random: int, n_subsets: int, seed: int):
        mask = circuit.mask(graph)
        if not mask.any():
            raise CircuitError("The circuit has no edges, so there is nothing to test.")
        single = len(circuit.edges) <= MOST_SINGLE_EDGES
        self.removed_kind = "edge" if single else "node"
        parts = {e: graph.mask([e]) for e in circuit.edges} if single else _nodes(graph, mask)
        subsets = _subsets(graph, mask, n_subsets, seed)
        draws = {
            null: random_circuits(graph, mask, n_random, null=null, seed=seed) for null in NULLS
        }
        self.matched_overlap = float(
            np.mean([(d & mask).sum() for d in draws["matched"]]) / mask.sum()
        )
        self.removed = list(parts)
        groups = {
            "circuit": [mask],
            "rest": [~mask],
            "removed": [mask & ~part for part in parts.values()],
            "circuit without": [mask & ~k for k in subsets],
            "model without": [~k for k in subsets],
            **draws,
        }
        self.at: dict[str, slice] = {"full": slice(0, 1), "nothing": slice(1, 2)}
        self.masks: list[np.ndarray] = []
        for name, masks in groups.items():
            start = 2 + len(self.masks)
            self.at[name] = slice(start, start + len(masks))
            self.masks += masks


def _nodes(graph: Graph, mask: np.ndarray) -> dict[str, np.ndarray]:
    """The circuit's edges at each of its nodes but the two ends, both in and out."""
    names = [*(w.name for w in graph.writers), *(r.name.partition("<")[0] for r in graph.readers)]
    writers, readers = (
        np.array(n) for n in (names[: len(graph.writers)], names[len(graph.writers) :])
    )
    touching = {
        name: mask & ((writers == name)[:, None] | (readers == name))
        for name in dict.fromkeys(names)
        if name not in (INPUT, LOGITS)
    }
    return {name: edges for name, edges in touching.items() if edges.any()}


def _subsets(graph: Graph, mask: np.ndarray, n: int, seed: int) -> list[np.ndarray]:
    generator = np.random.default_rng([seed, len(NULLS)])
    at = np.argwhere(mask)
    subsets = []
    for _ in range(n):
        size = int(generator.integers(1, len(at) + 1))
        subset = np.zeros_like(mask)
        subset[tuple(at[generator.permutation(len(at))[:size]].T)] = True
        subsets.append(subset)
    return subsets
