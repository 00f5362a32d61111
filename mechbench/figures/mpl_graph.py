"""A graph panel on matplotlib axes."""

from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.lines import Line2D
from matplotlib.path import Path

from mechbench.figures import palette
from mechbench.figures.graph import Graph
from mechbench.figures.graph_layout import (
    HALF_HEIGHT,
    HALF_WIDTH,
    Layout,
    lay_out,
    slots_within,
)
from mechbench.figures.graph_marks import TINT, dashes, drawing_order, line_legend, outline
from mechbench.figures.limits import edge_widths
from mechbench.figures.mpl_text import drawable, shortened, width_pt
from mechbench.figures.presets import Preset

_LONGEST = 60.0  # a node's label or a row's, in points


def plan(panel: Graph, width: float, preset: Preset) -> Layout:
    """The layout of ``panel`` where it and its row labels have ``width`` points."""
    shown = {node.rank for node in panel.nodes}
    texts = [text for rank, text in dict(panel.rank_labels).items() if rank in shown]
    rows = [width_pt(drawable(text), preset.tick_pt) for text in texts]
    room = width - min(max(rows, default=0.0), 0.25 * width) - 12.0
    labels = [width_pt(drawable(node.label), preset.token_pt) for node in panel.nodes]
    return lay_out(panel, slots_within(room, min(max(labels), _LONGEST) + 5.0))


def height(layout: Layout) -> float:
    """The height of the axes in points, which grows with the rows and edges of ``layout``."""
    crowd = len(layout.edges) / max(layout.n_rows - 1, 1)
    pitch = 22.0 + min(crowd, 10.0)
    low, high = layout.y_limits
    return min(pitch, 600.0 / (high - low)) * (high - low)


def draw_graph(ax: Axes, panel: Graph, layout: Layout) -> list[tuple[Artist, str]]:
    """Legend entries, after edges and the outlines of nodes are drawn; labels follow later."""
    order = drawing_order(panel)
    codes = [[Path.MOVETO] + [Path.CURVE4] * (len(layout.edges[e]) - 1) for e in order]
    edges = [panel.edges[e] for e in order]
    widths = edge_widths(panel, [edge.score for edge in edges])
    ax.add_collection(
        PathCollection(
            [Path(layout.edges[e], code) for e, code in zip(order, codes, strict=True)],
            facecolors="none",
            edgecolors=[palette.sign_colour(edge.score) for edge in edges],
            linewidths=widths,
            linestyles=[
                _line_style(dashes(edge.port, width), width)
                for edge, width in zip(edges, widths, strict=True)
            ],
            alpha=0.8,
            zorder=2,
        ),
        autolim=False,
    )
    entries: list[tuple[Artist, str]] = []
    for i, group in enumerate(panel.groups):
        chosen = [k for k, node in enumerate(panel.nodes) if node.group == group]
        shape = outline(i) * [HALF_WIDTH, HALF_HEIGHT]
        face, edge = _node_colours(i)
        corners = layout.nodes[chosen][:, None] + shape[None]
        ax.add_collection(
            PolyCollection(
                list(corners), facecolors=face, edgecolors=edge, linewidths=0.8, zorder=3
            ),
            autolim=False,
        )
        key = Line2D(
            [],
            [],
            linestyle="none",
            marker=Path(np.vstack([outline(i), outline(i)[:1]]) * [1.0, 0.5], closed=True),
            markersize=14.0,
            markerfacecolor=face,
            markeredgecolor=edge,
            markeredgewidth=0.8,
        )
        entries.append((key, group))
    ax.set(xlim=layout.x_limits, ylim=layout.y_limits, xticks=[])
    ax.spines[:].set_visible(False)
    for colour, width, pattern, words in line_legend(panel):
        style = _line_style(pattern, width)
        entries.append((Line2D([], [], color=colour, linewidth=width, linestyle=style), words))
    return entries


def label_rows(ax: Axes, layout: Layout, width: float, preset: Preset) -> None:
    """Labels of the rows at the left of axes ``width`` points wide."""
    texts = [shortened(text, 0.25 * width, preset.tick_pt) for _, text in layout.row_labels]
    ax.set_yticks([y for y, _ in layout.row_labels], texts)
    ax.tick_params(axis="y", labelsize=preset.tick_pt, length=0)


def label_nodes(ax: Axes, panel: Graph, layout: Layout, width: float, preset: Preset) -> None:
    """Labels within the nodes; the axes, ``width`` points wide, must have their final size."""
    low, high = layout.x_limits
    room = 2 * HALF_WIDTH * width / (high - low) - 4.0
    widest = max(width_pt(drawable(node.label), preset.token_pt) for node in panel.nodes)
    size = max(4.5, min(preset.token_pt, preset.token_pt * room / max(widest, 1.0)))
    for node, (x, y) in zip(panel.nodes, layout.nodes, strict=True):
        text = shortened(node.label, room, size)
        ax.text(x, y, text, ha="center", va="center_baseline", fontsize=size, zorder=4)


def _node_colours(index: int) -> tuple[str, str]:
    colour = palette.series_colour(index)
    return palette.tint(colour, TINT), colour


def _line_style(pattern: tuple[float, ...], width: float) -> Any:
    """``pattern``, in points, as matplotlib takes it: in units of the line's width."""
    return (0.0, tuple(length / width for length in pattern)) if pattern else "solid"
