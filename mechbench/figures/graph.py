"""The panel of a circuit: nodes in the order of the residual stream and scored edges."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal

WidthScale = Literal["sqrt", "linear"]
_FIRST_PORTS = ("q", "k", "v")


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """A part of the model. ``rank`` is its depth in the residual stream, 0 (the input) lowest.

    ``group`` (a role, or a kind of part) gives colour and shape; ``weight`` is shown on hover.
    """

    id: str
    label: str
    rank: int
    group: str = ""
    weight: float | None = None

    def __post_init__(self) -> None:
        for name in ("id", "label", "group"):
            object.__setattr__(self, name, str(getattr(self, name)))
        if not isinstance(self.rank, Integral):
            raise TypeError(f"rank of node {self.id!r} must be a whole number, not {self.rank!r}")
        object.__setattr__(self, "rank", int(self.rank))
        if self.weight is not None:
            weight = _finite(self.weight, f"weight of node {self.id!r}")
            object.__setattr__(self, "weight", weight)


@dataclass(frozen=True, kw_only=True, eq=False)
class Edge:
    """What ``source`` writes and ``target`` reads, with a signed ``score``.

    ``port`` is the input that reads it: "q", "k" or "v" of a head, "" where there is but one.
    """

    source: str
    target: str
    score: float
    port: str = ""

    def __post_init__(self) -> None:
        for name in ("source", "target", "port"):
            object.__setattr__(self, name, str(getattr(self, name)))
        object.__setattr__(self, "score", _finite(self.score, f"score of {self.name}"))

    @property
    def name(self) -> str:
        """The edge in words, for messages."""
        return f"edge {self.source!r} -> {self.target!r}" + (f" <{self.port}>" if self.port else "")


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """A layered graph, the lowest rank at the bottom; every edge leads to a higher rank.

    An edge's colour is the sign of its score, its width grows with |score| up to ``score_limit``
    (None: the largest |score|), by the square root or in proportion. ``rank_labels`` (rank to
    text) stand at the left of the rows; labels of ranks without nodes are not shown.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    rank_labels: Mapping[int, str] | tuple[tuple[int, str], ...] = ()
    title: str = ""
    score_title: str = "score"
    score_limit: float | None = None
    width_scale: WidthScale = "sqrt"

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(self.nodes))
        object.__setattr__(self, "edges", tuple(self.edges))
        labels = sorted((int(rank), str(text)) for rank, text in dict(self.rank_labels).items())
        object.__setattr__(self, "rank_labels", tuple(labels))
        if not self.nodes:
            raise ValueError("a graph needs at least one node")
        self._check_nodes_and_edges()
        if self.score_limit is not None:
            limit = _finite(self.score_limit, "score_limit of the graph")
            if limit <= 0:
                raise ValueError(f"score_limit of the graph must be above zero, not {limit:g}")
            object.__setattr__(self, "score_limit", limit)
        if self.width_scale not in ("sqrt", "linear"):
            raise ValueError(f"width_scale must be 'sqrt' or 'linear', not {self.width_scale!r}")

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups of nodes in order of appearance."""
        return tuple(dict.fromkeys(node.group for node in self.nodes))

    @property
    def ports(self) -> tuple[str, ...]:
        """Named ports of edges: q, k, v, then others in order of appearance."""
        found = dict.fromkeys(edge.port for edge in self.edges if edge.port)
        first = tuple(port for port in _FIRST_PORTS if port in found)
        return first + tuple(port for port in found if port not in first)

    def _check_nodes_and_edges(self) -> None:
        twice = [repr(k) for k, n in Counter(node.id for node in self.nodes).items() if n > 1]
        if twice:
            raise ValueError(f"graph: node ids must differ, given twice: {', '.join(twice)}")
        rank = {node.id: node.rank for node in self.nodes}
        seen = set()
        for edge in self.edges:
            for end in (edge.source, edge.target):
                if end not in rank:
                    raise ValueError(f"{edge.name}: the graph has no node {end!r}")
            if rank[edge.source] >= rank[edge.target]:
                raise ValueError(
                    f"{edge.name} must lead to a higher rank, not from {rank[edge.source]} to "
                    f"{rank[edge.target]}"
                )
            key = (edge.source, edge.target, edge.port)
            if key in seen:
                raise ValueError(f"{edge.name} is given twice")
            seen.add(key)


def _finite(value: Any, what: str) -> float:
    if not isinstance(value, Real) and getattr(value, "shape", None) != ():
        raise TypeError(f"{what} must be a number, not {type(value).__name__}")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{what} must be finite, not {number}")
    return number
