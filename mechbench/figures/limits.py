"""Ranges of colours and axes, worked out once so that both renderers use the same numbers."""

import math
from collections.abc import Iterable

import numpy as np

from mechbench.figures.graph import Graph
from mechbench.figures.palette import colour_map
from mechbench.figures.spec import (
    Bars,
    Boxes,
    BoxSeries,
    Diverging,
    FigureSpec,
    Heatmap,
    Histogram,
    Lines,
    Points,
    Reference,
    Scale,
    Series,
    Table,
)

Range = tuple[float, float]
_MARGIN = 0.05
_WIDEST, _NARROWEST = 3.0, 0.5  # edges of a graph, in points


def colour_limits(spec: FigureSpec) -> dict[int, Range]:
    """Index of each heatmap panel to the (low, high) of its colours.

    With ``spec.shared_colour`` the heatmaps of one colour map share the widest range.
    """
    maps = {i: p for i, p in enumerate(spec.panels) if isinstance(p, Heatmap)}
    own = {i: _own_colours(panel) for i, panel in maps.items()}
    if not spec.shared_colour:
        return own
    shared = {}
    for i, panel in maps.items():
        group = [
            own[j] for j, p in maps.items() if colour_map(p.colour) == colour_map(panel.colour)
        ]
        shared[i] = (min(low for low, _ in group), max(high for _, high in group))
    return shared


def one_colour_bar(spec: FigureSpec) -> bool:
    """True where one colour bar serves the whole figure: all heat maps are alike but for values.

    Beside them the figure has at most tables.
    """
    maps = [p for p in spec.panels if isinstance(p, Heatmap)]
    alike = {(colour_map(p.colour), p.value_title) for p in maps}
    others = [p for p in spec.panels if not isinstance(p, Heatmap | Table)]
    return spec.shared_colour and not others and len(alike) == 1


def x_limits(panel: Lines | Points | Histogram | Bars | Boxes) -> Range:
    """The range of the horizontal axis."""
    references = _references(panel.references, "x")
    if isinstance(panel, Bars | Boxes):
        return (-0.6, len(panel.groups) - 0.4)
    if isinstance(panel, Histogram):
        return _padded([panel.edges, references], margin=0.0)
    if isinstance(panel, Lines):
        return _padded([panel.x, references], margin=0.03, scale=panel.x_scale)
    return _padded([panel.x, references], margin=_MARGIN)


def y_limits(panel: Lines | Points | Histogram | Bars | Boxes) -> Range:
    """The range of the vertical axis; bars, boxes and histograms always include zero."""
    references = _references(panel.references, "y")
    if isinstance(panel, Points):
        return _padded([panel.y, references], margin=_MARGIN)
    if not isinstance(panel, Histogram) and panel.y_limits is not None:
        return panel.y_limits
    values = [*_series_values(panel.series), references]
    if isinstance(panel, Lines):
        return _padded(values, margin=_MARGIN, scale=panel.y_scale)
    low, high = _padded([*values, np.zeros(1)], margin=0.0)
    room = _MARGIN * (high - low)
    return (low - room if low < 0 else 0.0, high + room if high > 0 else 0.0)


def score_limit(panel: Graph) -> float:
    """The |score| at which edges reach their greatest width; 1 where all scores are zero."""
    if panel.score_limit is not None:
        return panel.score_limit
    return max((abs(edge.score) for edge in panel.edges), default=0.0) or 1.0


def edge_widths(panel: Graph, scores: Iterable[float]) -> list[float]:
    """Widths in points of edges with ``scores``, never too thin to be seen."""
    limit = score_limit(panel)
    parts = [min(abs(score) / limit, 1.0) for score in scores]
    if panel.width_scale == "sqrt":
        parts = [math.sqrt(part) for part in parts]
    return [max(_WIDEST * part, _NARROWEST) for part in parts]


def legend_scores(panel: Graph) -> list[float]:
    """The |score| of the edges in the legend: the limit, rounded down, then less and less."""
    limit = score_limit(panel)
    unit = math.pow(10, math.floor(math.log10(limit)) - 1)
    top = math.floor(limit / unit + 1e-9) * unit
    return [float(f"{top * part:.2g}") for part in (1.0, 0.25, 0.05)]


def _own_colours(panel: Heatmap) -> Range:
    finite = panel.values[np.isfinite(panel.values)]
    if isinstance(panel.colour, Diverging):
        limit = panel.colour.limit
        if limit is None:
            limit = float(np.abs(finite).max()) if finite.size else 0.0
        return (-limit, limit) if limit > 0 else (-1.0, 1.0)
    low, high = panel.colour.low, panel.colour.high
    low = low if low is not None else float(finite.min()) if finite.size else 0.0
    high = high if high is not None else float(finite.max()) if finite.size else 1.0
    return (low, high) if high > low else (low, low + 1.0)


def _series_values(series: Iterable[Series | BoxSeries]) -> list[np.ndarray]:
    parts = [(s.values, s.low, s.high) for s in series]
    return [p for three in parts for p in three if p is not None]


def _references(references: Iterable[Reference], axis: str) -> np.ndarray:
    return np.array([r.value for r in references if r.axis == axis], dtype=np.float64)


def _padded(parts: list[np.ndarray], *, margin: float, scale: Scale = "linear") -> Range:
    values = np.concatenate([p.ravel() for p in parts])
    values = values[np.isfinite(values)]
    if scale == "log":
        values = np.log10(values[values > 0])
    if not values.size:
        return (1.0, 10.0) if scale == "log" else (0.0, 1.0)
    low, high = float(values.min()), float(values.max())
    room = margin * (high - low) if high > low else max(abs(low) * 0.05, 0.05)
    low, high = low - room, high + room
    return (math.pow(10, low), math.pow(10, high)) if scale == "log" else (low, high)
