"""A circuit graph for a view in which a threshold is moved: places once, edges by strength."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mechbench.errors import CircuitError
from mechbench.figures.circuit_graph import circuit_graph, fed_by
from mechbench.figures.graph import Graph
from mechbench.figures.graph_layout import MAX_SLOTS, Layout, lay_out

MOST_SENT = 30_000
_ROUTED = 150  # the strongest; their curves pass beside the nodes
_EDGE = re.compile(r"[\w.]{1,24}->[\w.]{1,24}(<\w{1,12}>)?")
_MOST_PARTS = 1000  # layers, or heads of one


@dataclass(frozen=True, kw_only=True, eq=False)
class CircuitView:
    """What the view is given. The edges at a threshold are the first ones, as many as reach it.

    ``edges`` are names and ``scores`` (edge) their scores, strongest first; ``writers`` (edge) are
    indices of nodes, ``readers`` (edge) of ``inputs``, which are (name, indices of the nodes that
    it feeds, port). ``panel`` holds the nodes, and ``layout`` their places and the curves of the
    strongest edges, those of ``panel``. Of ``n_graph_edges`` edges of the model, ``left_out`` edges
    of the circuit are too weak to be here.
    """

    edges: tuple[str, ...]
    scores: np.ndarray
    writers: np.ndarray
    readers: np.ndarray
    inputs: tuple[tuple[str, tuple[int, ...], str], ...]
    panel: Graph
    layout: Layout
    n_graph_edges: int
    left_out: int

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes' names, in the residual stream's order."""
        return tuple(node.id for node in self.panel.nodes)

    @property
    def high(self) -> float:
        """The greatest threshold with four digits that an edge reaches."""
        return _four_digits(float(np.abs(self.scores).max()), up=False)

    @property
    def least(self) -> float:
        """The smallest threshold with four digits above 0 at which all that reach it are here."""
        sizes = np.abs(self.scores)
        positive = sizes[sizes > 0]
        return _four_digits(float(positive.min()), up=self.left_out > 0) if len(positive) else 0.0

    @property
    def low(self) -> float:
        """The smallest threshold at which all edges that reach it are here."""
        return 0.0 if not self.left_out and (self.scores == 0).any() else self.least

    def n_at(self, threshold: float) -> int:
        """How many edges reach a threshold."""
        return int((np.abs(self.scores) >= threshold).sum())

    def threshold_of(self, n: int) -> float:
        """A threshold with four digits that the ``n`` strongest edges reach."""
        at = float(np.abs(self.scores[min(n, len(self.scores)) - 1]))
        return max(self.low, _four_digits(at, up=False))


def circuit_view(
    edges: Sequence[str],
    scores: Mapping[str, float],
    facts: Mapping[str, Any],
    *,
    n_graph_edges: int,
    most_edges: int = MOST_SENT,
) -> CircuitView:
    """The strongest ``most_edges`` of the edges, with places for all their nodes.

    Args:
        edges, scores, facts: as ``circuit_graph`` has them.
        n_graph_edges: how many edges the model has.

    Raises:
        CircuitError: edges that belong to positions, names that are no edges, or facts that lack
            what the graph is drawn from.
    """
    if any("@" in edge for edge in edges):
        raise CircuitError(
            "The circuit has edges per position, which this view does not draw: test and draw it "
            "with circuit_tests instead."
        )
    _check(edges, facts)
    values = np.array([float(scores.get(edge, 0.0)) for edge in edges])
    order = np.argsort(-np.abs(values), kind="stable")[:most_edges]
    shown = [edges[int(i)] for i in order]
    try:
        whole = circuit_graph(shown, scores, facts, most_edges=most_edges * facts["n_heads"])
        strongest = replace(whole, edges=whole.edges[:_ROUTED])
    except (KeyError, TypeError, ValueError) as error:
        raise CircuitError(
            f"The circuit cannot be drawn: its edges and what it says of its model do not fit "
            f"together ({error})."
        ) from error
    index = {node.id: i for i, node in enumerate(whole.nodes)}
    ends = [edge.split("->") for edge in shown]
    readers = {name: i for i, name in enumerate(dict.fromkeys(target for _, target in ends))}
    return CircuitView(
        edges=tuple(shown),
        scores=values[order],
        writers=np.array([index[source] for source, _ in ends]),
        readers=np.array([readers[target] for _, target in ends]),
        inputs=tuple(_input(name, index, facts) for name in readers),
        panel=strongest,
        layout=lay_out(strongest, _slots(whole)),
        n_graph_edges=n_graph_edges,
        left_out=len(edges) - len(shown),
    )


def _check(edges: Sequence[str], facts: Mapping[str, Any]) -> None:
    """Names and facts may come from a file that anybody wrote."""
    odd = [edge for edge in edges if not _EDGE.fullmatch(edge)]
    if odd or not edges:
        raise CircuitError(
            f"Not an edge such as 'a0.h1->m2' or 'a0.h1->a5.h3<q>': "
            f"{odd[0][:60] if odd else 'none given'!r}."
        )
    counts = [facts.get(key) for key in ("n_layers", "n_heads", "n_kv_heads")]
    if not all(type(n) is int and 0 < n <= _MOST_PARTS for n in counts):
        raise CircuitError(
            "The circuit cannot be drawn: its model must say n_layers, n_heads and n_kv_heads, "
            f"whole numbers from 1 to {_MOST_PARTS}."
        )


def _input(
    name: str, index: Mapping[str, int], facts: Mapping[str, Any]
) -> tuple[str, tuple[int, ...], str]:
    target, _, port = name.rstrip(">").partition("<")
    fed = tuple(index[node] for node in fed_by(target, facts) if node in index)
    return name, fed, port


def _slots(panel: Graph) -> int:
    """As many as the longest rank has nodes, within what can be read."""
    ranks = [node.rank for node in panel.nodes]
    return max(6, min(MAX_SLOTS, max(ranks.count(rank) for rank in set(ranks)) + 1))


def _four_digits(value: float, *, up: bool) -> float:
    if value <= 0:
        return 0.0
    near = float(f"{value:.3e}")
    step = math.pow(10, math.floor(math.log10(value)) - 3)
    off = step if up and near < value else -step if not up and near > value else 0.0
    return float(f"{near + off:.3e}")
