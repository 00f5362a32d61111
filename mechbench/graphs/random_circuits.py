"""Random circuits: what a circuit has to beat."""

from typing import Literal

import numpy as np

from mechbench.errors import CircuitError
from mechbench.graphs.topology import Graph

Null = Literal["uniform", "matched"]
NULLS = ("uniform", "matched")


def random_circuits(
    graph: Graph, mask: np.ndarray, n: int, *, null: Null, seed: int
) -> list[np.ndarray]:
    """``n`` random circuits of the size of ``mask``, in the shape of ``graph.exists``.

    Args:
        null: ``"uniform"`` draws evenly from all edges. Few of those lie on a path from input to
            logits, so this null is easily beaten. ``"matched"`` has as many edges as ``mask`` in
            every class of edges: from the embedding, heads or MLP of one layer into the queries,
            keys, values or MLP of one layer or into the logits (and at one position, where edges
            belong to positions). It asks whether the circuit's choice within a class matters; a
            class that the circuit holds whole is always drawn.

    Raises:
        CircuitError: an unknown null.

    Source: our choice.
    """
    if null not in NULLS:
        raise CircuitError(f"null={null!r} is not known: use {', '.join(NULLS)}.")
    chosen = graph.values(mask)
    classes = np.zeros(len(chosen), dtype=np.int64) if null == "uniform" else edge_classes(graph)
    generator = np.random.default_rng([seed, NULLS.index(null)])
    return [_draw(graph, chosen, classes, generator) for _ in range(n)]


def edge_classes(graph: Graph) -> np.ndarray:
    """A number per edge, equal for edges of one kind and layer pair, ``[edge]``."""
    writer = _numbered([f"{w.name[0]}{w.time}" for w in graph.writers])
    kinds = [r.name.partition("<")[2] or r.name[0] for r in graph.readers]
    reader = _numbered([f"{k}{r.time}" for k, r in zip(kinds, graph.readers, strict=True)])
    *position, at_writer, at_reader = graph.edge_indices
    pair = writer[at_writer] * len(graph.readers) + reader[at_reader]
    n_pairs = len(graph.writers) * len(graph.readers)
    return pair + n_pairs * position[0] if position else pair


def _numbered(labels: list[str]) -> np.ndarray:
    return np.unique(labels, return_inverse=True)[1]


def _draw(
    graph: Graph, chosen: np.ndarray, classes: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Within each class, the edges with the smallest of random keys."""
    order = np.lexsort((generator.random(len(classes)), classes))
    grouped = classes[order]
    place = np.arange(len(grouped)) - np.searchsorted(grouped, grouped)  # within the class
    wanted = np.bincount(classes, weights=chosen, minlength=int(classes.max()) + 1)
    drawn = np.zeros(len(classes), dtype=bool)
    drawn[order] = place < wanted[grouped]
    mask = np.zeros(graph.exists.shape, dtype=bool)
    mask[tuple(i[drawn] for i in graph.edge_indices)] = True
    return mask
