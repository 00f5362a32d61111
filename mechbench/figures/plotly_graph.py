"""A graph panel in a cell of a plotly figure."""

import math
from html import escape

import numpy as np
import plotly.graph_objects as go

from mechbench.figures import palette
from mechbench.figures.graph import Graph
from mechbench.figures.graph_layout import (
    HALF_HEIGHT,
    HALF_WIDTH,
    Layout,
    lay_out,
    slots_within,
)
from mechbench.figures.graph_marks import (
    TINT,
    dashes,
    drawing_order,
    edge_words,
    line_legend,
    node_words,
    outline,
)
from mechbench.figures.labels import visible
from mechbench.figures.limits import edge_widths
from mechbench.figures.plotly_panels import Cell, texts

PIXELS = 4 / 3  # in a point
_CHARACTER = 6.2
_LONGEST = 90.0
_SYMBOLS = (
    "square",
    "circle",
    "hexagon2",
    "diamond-wide",
    "triangle-up",
    "triangle-down",
    "pentagon",
    "hourglass",
)


def plan(panel: Graph, width: float) -> Layout:
    """The layout of ``panel`` in ``width`` pixels."""
    longest = max(len(node.label) for node in panel.nodes) * _CHARACTER
    return lay_out(panel, slots_within(0.8 * width, min(longest, _LONGEST) + 10.0))


def height(layout: Layout) -> float:
    """The height of the axes in pixels."""
    low, high = layout.y_limits
    return max(48.0 * (high - low), 200.0)


def legend_lines(panel: Graph, width: float) -> int:
    """Lines of text of a level legend in ``width`` pixels."""
    words = [*filter(None, panel.groups), *(words for *_, words in line_legend(panel))]
    widest = max(map(len, words), default=0) * _CHARACTER + 45.0  # plotly's columns are alike
    return math.ceil(len(words) / max(int(width / widest), 1))


def add_graph(cell: Cell, panel: Graph, layout: Layout, *, legend: str) -> None:
    """One line for each edge, the strongest on top, then the nodes with their labels."""
    for e in drawing_order(panel):
        _add_edge(cell, panel, layout, e)
    labels = np.array(texts(tuple(_cut(node.label) for node in panel.nodes)), dtype=object)
    for i, group in enumerate(panel.groups):
        chosen = [k for k, node in enumerate(panel.nodes) if node.group == group]
        colours = {
            "fillcolor": palette.tint(palette.series_colour(i), TINT),
            "line": {"color": palette.series_colour(i), "width": 1.3},
        }
        shape = np.vstack([outline(i), outline(i)[:1], [[np.nan, np.nan]]])
        corners = layout.nodes[chosen][:, None] + shape * [HALF_WIDTH, HALF_HEIGHT]
        corners = corners.reshape(-1, 2)[:-1]
        silent = {"mode": "lines", "fill": "toself", "hoverinfo": "skip", "showlegend": False}
        cell.add(go.Scatter(x=corners[:, 0], y=corners[:, 1], **silent, **colours))
        cell.add(
            go.Scatter(
                x=layout.nodes[chosen, 0],
                y=layout.nodes[chosen, 1],
                mode="markers+text",
                marker={"size": 24, "opacity": 0, "color": palette.series_colour(i)},
                text=labels[chosen],
                textfont_size=10,
                hovertext=[_lines(node_words(panel.nodes[k])) for k in chosen],
                hoverinfo="text",
                showlegend=False,
            )
        )
        if group:
            mark = {
                "symbol": _SYMBOLS[i % len(_SYMBOLS)],
                "size": 11,
                "color": colours["fillcolor"],
                "line": {"color": palette.series_colour(i), "width": 1.3},
            }
            key = go.Scatter(x=[None], y=[None], mode="markers", marker=mark)
            cell.add(key.update({"name": escape(visible(group)), "legend": legend}))
    for colour, width, pattern, words in line_legend(panel):
        key = go.Scatter(x=[None], y=[None], mode="lines", line=_line(colour, width, pattern))
        cell.add(key.update({"name": escape(visible(words)), "legend": legend}))
    _set_axes(cell, layout)


def _add_edge(cell: Cell, panel: Graph, layout: Layout, index: int) -> None:
    edge = panel.edges[index]
    (width,) = edge_widths(panel, [edge.score])
    path = _sampled(layout.edges[index])
    cell.add(
        go.Scatter(
            x=path[:, 0],
            y=path[:, 1],
            mode="lines",
            line=_line(palette.sign_colour(edge.score), width, dashes(edge.port, width)),
            opacity=0.8,
            hoverinfo="text",
            hovertext=_lines(edge_words(panel, edge)),
            showlegend=False,
        )
    )


def _sampled(points: np.ndarray, steps: int = 6) -> np.ndarray:
    """Points on the chain of Bezier curves, ``steps`` for each curve."""
    t = np.arange(1, steps + 1)[:, None] / steps
    weights = np.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    curves = [(weights * points[k : k + 4, None]).sum(0) for k in range(0, len(points) - 1, 3)]
    return np.round(np.concatenate([points[:1], *curves]), 4)


def _line(colour: str, width: float, pattern: tuple[float, ...]) -> dict[str, object]:
    dash = ",".join(f"{length * PIXELS:.2f}px" for length in pattern) or "solid"
    return {"color": colour, "width": width * PIXELS, "dash": dash}


def _lines(words: list[str]) -> str:
    return "<br>".join(escape(visible(word)) for word in words)


def _cut(label: str) -> str:
    most = int(_LONGEST / _CHARACTER)
    return label if len(label) <= most else label[: most - 1] + "…"


def _set_axes(cell: Cell, layout: Layout) -> None:
    bare = {"showline": False, "ticks": ""}
    cell.axis("x", range=list(layout.x_limits), showticklabels=False, **bare)
    cell.axis(
        "y",
        range=list(layout.y_limits),
        tickvals=[y for y, _ in layout.row_labels],
        ticktext=texts(tuple(text for _, text in layout.row_labels)),
        **bare,
    )
