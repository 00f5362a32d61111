"""Shapes and words of a graph panel that both renderers share."""

import math

import numpy as np

from mechbench.figures import palette
from mechbench.figures.graph import Edge, Graph, Node
from mechbench.figures.limits import edge_widths, legend_scores, score_limit

TINT = 0.18
_CUT = 0.28
_PORT_DASHES = {
    "": palette.SOLID,
    "v": palette.SOLID,
    "q": palette.DASHED,
    "k": palette.DOTTED,
}


def _superellipse() -> list[tuple[float, float]]:
    angles = np.linspace(0, 2 * math.pi, 32, endpoint=False)
    xy = np.column_stack([np.cos(angles), np.sin(angles)])
    return [tuple(p) for p in (np.sign(xy) * np.sqrt(np.abs(xy))).tolist()]


# Outlines in the square from -1 to 1; nearly as wide at the bottom, where edges enter.
_SHAPES: tuple[list[tuple[float, float]], ...] = (
    [(-1, -1), (1, -1), (1, 1), (-1, 1)],
    _superellipse(),
    [(-1 + _CUT, -1), (1 - _CUT, -1), (1, 0), (1 - _CUT, 1), (-1 + _CUT, 1), (-1, 0)],
    [(-1, -1), (1 - _CUT, -1), (1, 1), (-1 + _CUT, 1)],
    [(-1, -1), (1, -1), (1 - _CUT, 1), (-1 + _CUT, 1)],
    [(-1 + _CUT, -1), (1, -1), (1 - _CUT, 1), (-1, 1)],
    [(-1 + _CUT, -1), (1 - _CUT, -1), (1, 1), (-1, 1)],
    [(-1, -1), (1, -1), (1 - _CUT / 2, 0), (1, 1), (-1, 1), (-1 + _CUT / 2, 0)],
)


def outline(index: int) -> np.ndarray:
    """Corners ``[corner, xy]`` of the shape of the group at ``index``; they repeat after eight."""
    return np.array(_SHAPES[index % len(_SHAPES)], dtype=np.float64)


def dashes(port: str, width: float) -> tuple[float, ...]:
    """Lengths on and off, in points, of an edge to ``port``; empty for an unbroken line.

    An edge to a v and one to a part with a single input are unbroken: their ends tell them apart.
    """
    pattern = _PORT_DASHES.get(port, palette.DASH_DOT)
    return tuple(length * max(0.8 * width, 1.0) for length in pattern)


def drawing_order(panel: Graph) -> list[int]:
    """Indices of edges, the strongest last, on top."""
    return sorted(range(len(panel.edges)), key=lambda e: (abs(panel.edges[e].score), e))


def line_legend(panel: Graph) -> list[tuple[str, float, tuple[float, ...], str]]:
    """What the legend says of edges: (colour, width in points, dashes, words) of sample lines."""
    if not panel.edges:
        return []
    scores, what = [edge.score for edge in panel.edges], panel.score_title
    entries: list[tuple[str, float, tuple[float, ...], str]] = []
    if max(scores) > 0:
        entries.append((palette.POSITIVE, 1.8, (), f"{what} > 0, up to {max(scores):.2g}"))
    if min(scores) < 0:
        least = f"{min(scores):.2g}".replace("-", "−")
        entries.append((palette.NEGATIVE, 1.8, (), f"{what} < 0, down to {least}"))
    beyond = max(map(abs, scores)) > score_limit(panel)
    samples = legend_scores(panel)
    for k, (sample, width) in enumerate(zip(samples, edge_widths(panel, samples), strict=True)):
        sign = "≥" if k == 0 and beyond else "="
        entries.append((palette.GREY, width, (), f"|{what}| {sign} {sample:g}"))
    sides = {3: ("left", "middle", "right"), 2: ("left", "right"), 1: ("middle",)}
    for port, side in zip(
        panel.ports, sides.get(len(panel.ports), ("",) * len(panel.ports)), strict=True
    ):
        words = f"to {port} ({side})" if side else f"to {port}"
        entries.append((palette.GREY, 1.2, dashes(port, 1.2), words))
    return entries


def node_words(node: Node) -> list[str]:
    """Lines of the hover text of ``node``."""
    weight = [] if node.weight is None else [f"weight: {node.weight:.4g}"]
    return [node.label, *([node.group] if node.group else []), *weight]


def edge_words(panel: Graph, edge: Edge) -> list[str]:
    """Lines of the hover text of ``edge``."""
    label = {node.id: node.label for node in panel.nodes}
    port = f" <{edge.port}>" if edge.port else ""
    ends = f"{label[edge.source]} → {label[edge.target]}{port}"
    return [ends, f"{panel.score_title}: {edge.score:.4g}"]
