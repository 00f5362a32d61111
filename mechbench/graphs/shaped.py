"""A stored graph with the shape that files of plain transformers need."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mechbench.graphs.topology import Graph, Shape, transformer_graph

_SHAPE = ("n_layers", "n_heads", "n_kv_heads", "mlps", "parallel")


def shaped(graph: Graph, facts: Mapping[str, Any]) -> Graph:
    """The graph with its shape, where the facts of its model are those of a plain transformer.

    Any other graph is given back as it is.
    """
    if graph.shape is not None or not all(key in facts for key in _SHAPE):
        return graph
    shape = Shape(**{key: facts[key] for key in _SHAPE})
    plain = transformer_graph(shape, graph.n_positions)
    return replace(graph, shape=shape) if graph.joins_alike(plain) else graph
