"""A circuit view and its curve as the text that the graph component reads once."""

import json

import streamlit as st

from mechbench.figures import palette
from mechbench.figures.circuit_curve import circuit_curve_figure
from mechbench.figures.circuit_view import CircuitView
from mechbench.figures.graph_marks import TINT, outline
from mechbench.figures.limits import y_limits
from mechbench.figures.spec import Lines
from mechbench.results.circuit_curve import CircuitCurve

_STYLES = 7  # black, the eighth, is not seen on a dark page
_DARK = "#1B2130"


@st.cache_resource(show_spinner="Placing the nodes", max_entries=32)
def graph_text(key: str, _view: CircuitView, _curve: CircuitCurve | None, what: str) -> str:
    """The static part of the graph; ``what`` names its edges, ``key`` tells it from others."""
    layout, panel = _view.layout, _view.panel
    groups = list(panel.groups)
    data = {
        "id": key,
        "what": what,
        "nodes": [
            {"id": node.id, "x": x, "y": y, "group": groups.index(node.group)}
            for node, (x, y) in zip(panel.nodes, layout.nodes.tolist(), strict=True)
        ],
        "groups": [{"label": label} for label in groups],
        "styles": [_style(i) for i in range(_STYLES)],
        "scores": _view.scores.tolist(),
        "scored": _view.high > 0,
        "writers": _view.writers.tolist(),
        "readers": _view.readers.tolist(),
        "inputs": [list(found) for found in _view.inputs],
        "routes": _routes(_view),
        "xLimits": layout.x_limits,
        "yLimits": layout.y_limits,
        "rowLabels": layout.row_labels,
        "nGraphEdges": _view.n_graph_edges,
        "low": _view.low,
        "least": _view.least,
        "high": _view.high,
        "light": _colours(1.0),
        "dark": _colours(0.62),
        "curve": None if _curve is None else _lines(_curve),
    }
    return json.dumps(data, allow_nan=False)


def _routes(view: CircuitView) -> dict[str, list[float]]:
    """Points of the strongest edges' curves, by the edge's place and the node it is drawn to."""
    index = {node: i for i, node in enumerate(view.nodes)}
    at = {
        (view.nodes[writer], node, view.inputs[reader][2]): f"{e}:{node}"
        for e, (writer, reader) in enumerate(zip(view.writers, view.readers, strict=True))
        for node in view.inputs[reader][1]
    }
    keys = (at[edge.source, index[edge.target], edge.port] for edge in view.panel.edges)
    return {
        key: points.round(3).ravel().tolist()
        for key, points in zip(keys, view.layout.edges, strict=True)
    }


def _style(i: int) -> dict[str, object]:
    colour = palette.series_colour(i)
    return {
        "colour": colour,
        "light": palette.tint(colour, TINT),
        "dark": _DARK,
        "outline": outline(i).tolist(),
    }


def _colours(strength: float) -> dict[str, str]:
    return {
        "positive": palette.tint(palette.POSITIVE, strength),
        "negative": palette.tint(palette.NEGATIVE, strength),
        "grey": "#888888",
        "curve": palette.series_colour(0 if strength == 1.0 else 5),
        "rest": palette.series_colour(1),
    }


def _lines(curve: CircuitCurve) -> dict[str, object]:
    """The absolute ranking, random circuits and the rest, as the figure has them."""
    (panel,) = circuit_curve_figure(curve).panels
    assert isinstance(panel, Lines)
    _, own, random, _, rest = panel.series
    found = {
        "mean": own.values,
        "low95": own.low,
        "high95": own.high,
        "random": random.values,
        "randomLow": random.low,
        "randomHigh": random.high,
        "rest": rest.values,
    }
    lists = {name: values.tolist() for name, values in found.items() if values is not None}
    share = panel.x.tolist()
    words = [own.label, random.label, rest.label]
    return {"share": share, "low": share[0], "yLimits": y_limits(panel), "words": words, **lists}
