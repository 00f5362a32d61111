"""How the edges of a graph run: from port to port, through gaps between the nodes of each row."""

import numpy as np

from mechbench.figures.graph import Graph

HALF_WIDTH, HALF_HEIGHT = 0.4, 0.22  # of a node, in slots and in rows
MARGIN = 0.35  # beside the first and the last slot, for edges
CLEAR = 0.07  # kept between a node and an edge that passes it
_LANE = 0.13  # between two edges in the same gap, where there is room
_PULLS = 60


def routes(
    panel: Graph, places: np.ndarray, row_of: np.ndarray, ends: np.ndarray, slots: int
) -> list[np.ndarray]:
    """Bezier points ``[3 * pieces + 1, xy]`` of each edge, which meet no node but its own.

    ``places [node xy]`` and ``row_of [node]`` say where nodes stand; ``ends [edge 2]`` are the
    nodes that edges leave and enter.
    """
    starts, stops = _ports(panel, places, ends)
    gaps = [_gaps(places[row_of == r, 0], slots) for r in range(int(row_of.max()) + 1)]
    taken: dict[tuple[int, int], list[tuple[int, int]]] = {}
    passes: list[np.ndarray] = []
    bounds: list[np.ndarray] = []
    for e, (source, target) in enumerate(ends.tolist()):
        rows = np.arange(int(row_of[source]) + 1, int(row_of[target]))
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
        moved = kept_apart(wanted[order], lane, low, high)
        for place, at in zip(moved.tolist(), order.tolist(), strict=True):
            e, i = users[at]
            passes[e][i] = place
    return [
        _smooth(starts[e], stops[e], passes[e], bounds[e], int(row_of[source]))
        for e, (source, _) in enumerate(ends.tolist())
    ]


def kept_apart(wanted: np.ndarray, step: float, low: float, high: float) -> np.ndarray:
    """Places nearest to ``wanted`` (ascending), ``step`` apart and from ``low`` to ``high``."""
    steps = step * np.arange(len(wanted))
    return steps + np.clip(_ascending(wanted - steps), low, max(high - steps[-1], low))


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


def _gaps(x: np.ndarray, slots: int) -> np.ndarray:
    """Free ranges ``[gap, low high]`` of a row with nodes at ``x``."""
    x = np.sort(x)
    low = np.concatenate([[-MARGIN + CLEAR], x + HALF_WIDTH + CLEAR])
    high = np.concatenate([x - HALF_WIDTH - CLEAR, [slots + MARGIN - CLEAR]])
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
    for _ in range(_PULLS if len(bounds) else 0):
        before = x.copy()
        for half in (1, 2):  # odd points, then even ones: each between its neighbours
            at = np.arange(half, len(x) - 1, 2)
            x[at] = np.clip((x[at - 1] + x[at + 1]) / 2, bounds[at - 1, 0], bounds[at - 1, 1])
        if np.abs(x - before).max() < 1e-3:
            break
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
