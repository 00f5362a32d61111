"""Where the nodes and edges of a graph stand, worked out once for both renderers.

Unit of x: one slot, the place of one node; of y: one row, with row 0 at the bottom. Order within
rows: barycentre sweeps (Sugiyama, Tagawa and Toda 1981), the places with the fewest
crossings are kept.
"""

import math
from dataclasses import dataclass

import numpy as np

from mechbench.figures.graph import Graph
from mechbench.figures.graph_routes import (
    CLEAR,
    HALF_HEIGHT,
    HALF_WIDTH,
    MARGIN,
    kept_apart,
    routes,
)

MAX_SLOTS = 13
_BERTH = 0.8  # wanted between the middle of a node and an edge that passes it
_SWEEPS = 40
_COUNTED = 500  # edges whose crossings are counted; of more, every second, third, ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """Places of what a graph panel shows.

    ``nodes [node xy]`` are centres; ``edges`` has for each edge the points of a chain of cubic
    Bezier curves, ``[3 * pieces + 1, xy]``, from the top of a node to the bottom of another.
    ``row_labels`` are (y, text).
    """

    slots: int
    n_rows: int
    nodes: np.ndarray
    edges: tuple[np.ndarray, ...]
    row_labels: tuple[tuple[float, str], ...]

    @property
    def x_limits(self) -> tuple[float, float]:
        """The range of the horizontal axis."""
        return (-MARGIN, self.slots + MARGIN)

    @property
    def y_limits(self) -> tuple[float, float]:
        """The range of the vertical axis."""
        return (-HALF_HEIGHT - 0.1, self.n_rows - 1 + HALF_HEIGHT + 0.1)


def slots_within(room: float, node_width: float) -> int:
    """How many slots a panel ``room`` wide has when its nodes should be ``node_width`` wide."""
    return max(2, min(MAX_SLOTS, int(room / (node_width / (2 * HALF_WIDTH)) - 2 * MARGIN)))


def lay_out(panel: Graph, slots: int) -> Layout:
    """Nodes and edges of ``panel`` in rows of at most ``slots`` nodes; longer ranks are folded."""
    row_of, labels = _rows(panel, slots)
    index = {node.id: k for k, node in enumerate(panel.nodes)}
    ends = np.array(
        [(index[e.source], index[e.target]) for e in panel.edges], dtype=np.int64
    ).reshape(-1, 2)
    x = _spread_out(_placed(row_of, ends, slots), slots)
    places = np.column_stack([x, row_of.astype(np.float64)])
    return Layout(
        slots=slots,
        n_rows=int(row_of.max()) + 1,
        nodes=places,
        edges=tuple(routes(panel, places, row_of, ends, slots)),
        row_labels=labels,
    )


def _rows(panel: Graph, slots: int) -> tuple[np.ndarray, tuple[tuple[float, str], ...]]:
    """The row of each node, and the labels of rows; a rank that is too long takes several rows."""
    ranks = np.array([node.rank for node in panel.nodes])
    row_of, labels, row = np.zeros(len(ranks), dtype=np.int64), [], 0
    texts = dict(panel.rank_labels)
    for rank in np.unique(ranks):
        members = np.flatnonzero(ranks == rank)
        n_rows = math.ceil(len(members) / slots)
        row_of[members] = row + np.arange(len(members)) % n_rows
        if rank in texts:
            labels.append((row + (n_rows - 1) / 2, texts[rank]))
        row += n_rows
    return row_of, tuple(labels)


def _placed(row_of: np.ndarray, ends: np.ndarray, slots: int) -> np.ndarray:
    """x of each node: near its neighbours, and beside the edges that pass its row."""
    members = [np.flatnonzero(row_of == r) for r in range(row_of.max() + 1)]
    x = np.zeros(len(row_of))
    for nodes in members:
        x[nodes] = (np.arange(len(nodes)) + 0.5) * slots / len(nodes)
    best, fewest = x.copy(), np.inf
    for sweep in range(_SWEEPS):
        upward, both = sweep % 2 == 0, sweep >= _SWEEPS // 2
        for nodes in members if upward else members[::-1]:
            below, above = upward or both, not upward or both
            wanted = _barycentres(nodes, x, row_of, ends, below=below, above=above)
            if both:
                wanted += _pushes(nodes, wanted, x, row_of, ends)
            order = np.argsort(wanted, kind="stable")
            x[nodes[order]] = kept_apart(wanted[order], _pitch(len(nodes), slots), 0.5, slots - 0.5)
        badness = _crossings(x, row_of, ends) + _run_over(members, x, row_of, ends)
        if badness < fewest:
            best, fewest = x.copy(), badness
    return best


def _pitch(count: int, slots: int) -> float:
    """Distance kept between neighbours in a row, at least one slot."""
    return max(1.0, min(1.6, slots / count))


def _barycentres(
    nodes: np.ndarray,
    x: np.ndarray,
    row_of: np.ndarray,
    ends: np.ndarray,
    *,
    below: bool,
    above: bool,
) -> np.ndarray:
    """Mean x of the neighbours of each of ``nodes``, nearer rows weighing more."""
    total, weight = np.zeros(len(x)), np.zeros(len(x))
    source, target = ends[:, 0], ends[:, 1]
    span = 1.0 / np.sqrt(np.maximum(row_of[target] - row_of[source], 1))
    if below:
        np.add.at(total, target, span * x[source])
        np.add.at(weight, target, span)
    if above:
        np.add.at(total, source, span * x[target])
        np.add.at(weight, source, span)
    return np.where(weight > 0, total / np.where(weight > 0, weight, 1.0), x)[nodes]


def _passing(row: int, x: np.ndarray, row_of: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """x at which the straight edges that pass ``row`` do so."""
    low, high = row_of[ends[:, 0]], row_of[ends[:, 1]]
    over = (low < row) & (row < high)
    part = (row - low[over]) / (high - low)[over]
    return x[ends[over, 0]] * (1 - part) + x[ends[over, 1]] * part


def _pushes(
    nodes: np.ndarray, wanted: np.ndarray, x: np.ndarray, row_of: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    """How far each of ``nodes`` should step aside for the edges that would run through it."""
    row = int(row_of[nodes[0]])
    off = wanted[:, None] - _passing(row, x, row_of, ends)[None]
    side = np.where(np.abs(off) > 1e-6, np.sign(off), 1.0 if row % 2 else -1.0)
    near = np.maximum(_BERTH - np.abs(off), 0.0)
    return (side * near).sum(1) / np.maximum((near > 0).sum(1), 1)


def _run_over(
    members: list[np.ndarray], x: np.ndarray, row_of: np.ndarray, ends: np.ndarray
) -> float:
    """How many times a straight edge runs through a node."""
    off = [np.abs(x[m][:, None] - _passing(r, x, row_of, ends)) for r, m in enumerate(members)]
    return float(sum((o < HALF_WIDTH + CLEAR).sum() for o in off))


def _crossings(x: np.ndarray, row_of: np.ndarray, ends: np.ndarray) -> float:
    """How many pairs of straight edges cross."""
    ends = ends[:: max(1, math.ceil(len(ends) / _COUNTED))]
    a = np.column_stack([x[ends[:, 0]], row_of[ends[:, 0]]])
    b = np.column_stack([x[ends[:, 1]], row_of[ends[:, 1]]])

    def side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        u, v = (q - p)[:, None], r[None] - p[:, None]
        return np.sign(np.round(u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0], 9))

    apart = side(a, b, a) * side(a, b, b) < 0
    return float((apart & apart.T).sum()) / 2


def _spread_out(x: np.ndarray, slots: int) -> np.ndarray:
    """``x`` moved to the middle and stretched, at most to double, to use the whole width."""
    low, high = float(x.min()), float(x.max())
    stretch = min(2.0, (slots - 1.0) / (high - low)) if high > low else 1.0
    return (x - (low + high) / 2) * stretch + slots / 2
