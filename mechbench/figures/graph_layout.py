"""Where the nodes and edges of a graph stand, worked out once for both renderers.

Unit of x: one slot, the place of one node; of y: one row, with row 0 at the bottom. Order within
rows: barycentre sweeps (Sugiyama, Tagawa and Toda 1981), the places with the fewest
crossings are kept. Edges pass every row between two nodes, never through one: our choice.
"""

import math
from dataclasses import dataclass

import numpy as np

from mechbench.figures.graph import Graph

MAX_SLOTS = 13
HALF_WIDTH, HALF_HEIGHT = 0.4, 0.22  # of a node
MARGIN = 0.35  # beside the first and the last slot, for edges
_CLEAR = 0.07  # kept between a node and an edge that passes it
_LANE = 0.13  # between two edges in the same gap, where there is room
_BERTH = 0.8  # wanted between the middle of a node and an edge that passes it
_SWEEPS = 40
_PULLS = 60


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
    starts, stops = _ports(panel, places, ends)
    return Layout(
        slots=slots,
        n_rows=int(row_of.max()) + 1,
        nodes=places,
        edges=tuple(_routes(places, row_of, ends, starts, stops, slots)),
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
            x[nodes[order]] = _apart(wanted[order], _pitch(len(nodes), slots), slots)
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
    return float(sum((o < HALF_WIDTH + _CLEAR).sum() for o in off))


def _apart(wanted: np.ndarray, pitch: float, slots: int) -> np.ndarray:
    """Places nearest to ``wanted`` (ascending) that are ``pitch`` apart and within the slots."""
    steps = pitch * np.arange(len(wanted))
    return steps + np.clip(_ascending(wanted - steps), 0.5, max(slots - 0.5 - steps[-1], 0.5))


def _ascending(values: np.ndarray) -> np.ndarray:
    """The non-decreasing numbers nearest to ``values`` in squares (pool adjacent violators)."""
    blocks: list[tuple[float, int]] = []
    for value in values.tolist():
        mean, size = value, 1
        while blocks and blocks[-1][0] > mean:
            other, count = blocks.pop()
            mean, size = (mean * size + other * count) / (size + count), size + count
        blocks.append((mean, size))
    return np.array([mean for mean, size in blocks for _ in range(size)])


def _crossings(x: np.ndarray, row_of: np.ndarray, ends: np.ndarray) -> float:
    """How many pairs of straight edges cross."""
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


def _ports(panel: Graph, places: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x at which each edge leaves the top of its source and enters the bottom of its target.

    Edges to the ports q, k, v enter at the left, in the middle and at the right.
    """
    starts, stops = places[ends[:, 0], 0].copy(), places[ends[:, 1], 0].copy()
    ports, width = panel.ports, 2 * 0.62 * HALF_WIDTH
    for node in range(len(places)):
        leaving = np.flatnonzero(ends[:, 0] == node)
        starts[leaving] += _fanned(places[ends[leaving, 1], 0], width)
        entering = np.flatnonzero(ends[:, 1] == node)
        for port in dict.fromkeys(panel.edges[e].port for e in entering):
            chosen = np.array([e for e in entering if panel.edges[e].port == port])
            part = width / max(len(ports), 1) if port else width
            middle = (ports.index(port) - (len(ports) - 1) / 2) * part if port else 0.0
            room = 0.6 * part if port else part
            stops[chosen] += middle + _fanned(places[ends[chosen, 0], 0], room)
    return starts, stops


def _fanned(towards: np.ndarray, room: float) -> np.ndarray:
    """Offsets within ``room`` in the order of where the edges go, so that they do not cross."""
    step = min(room / max(len(towards) - 1, 1), 0.12)
    offsets = np.empty(len(towards))
    order = np.argsort(towards, kind="stable")
    offsets[order] = step * (np.arange(len(towards)) - (len(towards) - 1) / 2)
    return offsets


def _routes(
    places: np.ndarray,
    row_of: np.ndarray,
    ends: np.ndarray,
    starts: np.ndarray,
    stops: np.ndarray,
    slots: int,
) -> list[np.ndarray]:
    """Bezier points of each edge, through gaps of the rows between its ends."""
    gaps = [_gaps(places[row_of == r, 0], slots) for r in range(int(row_of.max()) + 1)]
    taken: dict[tuple[int, int], list[tuple[int, int]]] = {}
    passes: list[np.ndarray] = []
    bounds: list[np.ndarray] = []
    for e, (source, target) in enumerate(ends):
        rows = np.arange(row_of[source] + 1, row_of[target])
        chosen = _chosen_gaps(starts[e], stops[e], rows, gaps)
        free = np.array([gaps[r][k] for r, k in zip(rows, chosen, strict=True)]).reshape(-1, 2)
        bounds.append(free)
        passes.append(_pulled_tight(starts[e], stops[e], free))
        for i, (r, k) in enumerate(zip(rows.tolist(), chosen, strict=True)):
            taken.setdefault((r, k), []).append((e, i))
    for (r, k), users in taken.items():
        low, high = gaps[r][k]
        wanted = np.array([passes[e][i] for e, i in users])
        order = np.argsort(wanted, kind="stable")
        lane = min(_LANE, (high - low) / max(len(users) - 1, 1))
        steps = lane * np.arange(len(users))
        moved = steps + np.clip(_ascending(wanted[order] - steps), low, high - steps[-1])
        for place, at in zip(moved.tolist(), order.tolist(), strict=True):
            e, i = users[at]
            passes[e][i] = place
    return [
        _smooth(starts[e], stops[e], passes[e], bounds[e], int(row_of[source]))
        for e, (source, _) in enumerate(ends)
    ]


def _gaps(x: np.ndarray, slots: int) -> np.ndarray:
    """Free ranges ``[gap, low high]`` of a row with nodes at ``x``."""
    x = np.sort(x)
    low = np.concatenate([[-MARGIN + _CLEAR], x + HALF_WIDTH + _CLEAR])
    high = np.concatenate([x - HALF_WIDTH - _CLEAR, [slots + MARGIN - _CLEAR]])
    return np.column_stack([low, high])[high - low > 1e-6]


def _chosen_gaps(start: float, stop: float, rows: np.ndarray, gaps: list[np.ndarray]) -> list[int]:
    """For each row the gap to pass so that the edge strays and bends least from a straight one."""
    if not len(rows):
        return []
    line = start + (stop - start) * np.arange(1, len(rows) + 1) / (len(rows) + 1)
    cost, off, back = np.zeros(1), np.zeros(1), []
    for r, x in zip(rows, line, strict=True):
        here = np.clip(x, gaps[r][:, 0], gaps[r][:, 1]) - x
        steps = cost[None] + (here[:, None] - off[None]) ** 2 + 0.02 * np.abs(here)[:, None]
        back.append(steps.argmin(1))
        cost, off = steps.min(1), here
    chosen = [int((cost + off**2).argmin())]
    for previous in back[:0:-1]:
        chosen.append(int(previous[chosen[-1]]))
    return chosen[::-1]


def _pulled_tight(start: float, stop: float, bounds: np.ndarray) -> np.ndarray:
    """x at each row of a string from ``start`` to ``stop`` that stays within ``bounds``."""
    x = np.concatenate([[start], np.zeros(len(bounds)), [stop]])
    x[1:-1] = np.clip(np.linspace(start, stop, len(x))[1:-1], bounds[:, 0], bounds[:, 1])
    for _ in range(_PULLS):
        for half in (1, 2):  # odd points, then even ones: each between its neighbours
            at = np.arange(half, len(x) - 1, 2)
            x[at] = np.clip((x[at - 1] + x[at + 1]) / 2, bounds[at - 1, 0], bounds[at - 1, 1])
    return x[1:-1]


def _smooth(
    start: float, stop: float, passes: np.ndarray, bounds: np.ndarray, low: int
) -> np.ndarray:
    """Bezier points ``[3 * pieces + 1, xy]`` of a curve from row ``low`` through ``passes``.

    Beside nodes it stays within ``bounds``: it is monotone between the points set there.
    """
    inset = 0.9 * HALF_HEIGHT  # ends a little inside the nodes, which are drawn on top
    half = HALF_HEIGHT + 0.02
    n_rows = len(passes) + 1
    y = np.concatenate(
        [[inset], (np.arange(1, n_rows)[:, None] + [-half, half]).ravel(), [n_rows - inset]]
    )
    around = np.concatenate([[start], passes, [stop]])
    lean = (around[2:] - around[:-2]) / 2 * half
    beside = np.column_stack([passes - lean, passes + lean])
    beside = np.clip(beside, bounds[:, :1], bounds[:, 1:])
    x = np.concatenate([[start], beside.ravel(), [stop]])
    slope = _monotone_slopes(x, y)
    reach = np.diff(y) / 3
    points = np.empty((3 * (len(x) - 1) + 1, 2))
    points[::3] = np.column_stack([x, y])
    points[1::3] = np.column_stack([x[:-1] + reach * slope[:-1], y[:-1] + reach])
    points[2::3] = np.column_stack([x[1:] - reach * slope[1:], y[1:] - reach])
    return points + [0.0, float(low)]


def _monotone_slopes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """dx/dy at each point, upright at the ends (Fritsch and Butland 1984, harmonic means)."""
    width = np.diff(y)
    secant = np.diff(x) / width
    before, after = secant[:-1], secant[1:]
    turns = before * after <= 0
    w1, w2 = 2 * width[1:] + width[:-1], width[1:] + 2 * width[:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (w1 + w2) / (w1 / before + w2 / after)
    return np.concatenate([[0.0], np.where(turns, 0.0, mean), [0.0]])
