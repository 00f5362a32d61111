"""A circuit as a graph with a threshold that is moved in the browser, without asking the server.

Drawn on a canvas. All text is set as text, never as markup.
"""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st
from streamlit.components.v2 import component

from apps.components.scripts import script
from mechbench.graphs.annotations import Annotations

_CSS = """
.box { font: 13px sans-serif; color: var(--st-text-color); }
.cut { display: flex; gap: 12px; align-items: center; flex-wrap: wrap; margin-bottom: 4px; }
.cut input { flex: 1 1 260px; accent-color: var(--st-primary-color); }
.count { flex: 0 1 auto; font-variant-numeric: tabular-nums; }
.columns { display: flex; gap: 14px; align-items: flex-start; }
.drawn { flex: 1 1 auto; min-width: 0; }
canvas { width: 100%; display: block; outline-offset: 2px; }
canvas.graph { cursor: pointer; }
.side { flex: 0 0 230px; max-height: 760px; overflow-y: auto; overflow-wrap: anywhere; }
.side h4, .side h5 { margin: 2px 0 4px; }
.side p { margin: 4px 0; opacity: 0.75; }
.side button { font: inherit; color: inherit; background: none; cursor: pointer; text-align: left;
  border: 1px solid transparent; border-radius: 4px; padding: 1px 4px; }
.side > button { border-color: var(--st-border-color); margin: 0 4px 4px 0; }
.side button:hover, .side button:focus-visible { border-color: var(--st-primary-color); }
.edges button { display: flex; justify-content: space-between; gap: 8px; width: 100%; }
.edges span:last-child { font-variant-numeric: tabular-nums; white-space: nowrap; }
.key { font-size: 12px; opacity: 0.85; }
.key span { display: inline-block; margin-right: 14px; }
.key i { display: inline-block; width: 20px; border-top: 3px solid; margin-right: 5px;
  vertical-align: middle; }
.word { min-height: 1.5em; padding: 4px 0; }
"""
_HTML = """<div class="box"><label class="cut"><span>Threshold</span>
<input type="range" min="0" max="1000" step="1"><span class="count"></span></label>
<div class="columns"><div class="drawn"><canvas class="graph" tabindex="0" role="application"
aria-label="Circuit graph. Arrow keys move between nodes, Enter pins one, Space chooses it, Shift
and Enter collects it."></canvas><div class="word" role="status" aria-live="polite"></div>
<div class="key edges-key"></div><canvas class="curve" role="img"
aria-label="Faithfulness by size of the circuit; a line marks the threshold."></canvas>
<div class="key curve-key"></div></div><div class="side"></div></div></div>"""

_mount = component(
    "mechbench_graph",
    html=_HTML,
    css=_CSS,
    js=script("graph_model", "graph_paint", "graph_curve", "graph_parts", "graph"),
)


def threshold_graph(
    graph: str,
    *,
    key: str,
    threshold: float,
    prune: bool,
    merged: bool,
    selected: str,
    picked: Sequence[str],
    notes: Annotations,
    exact: dict[str, float] | None,
    on: dict[str, Callable[[], None]],
) -> None:
    """Draws the graph that ``apps.parts.circuit_data`` describes.

    ``on`` has callbacks for "cut", "node", "pin" and "pick"; ``told(key, name)`` is then what was
    chosen. ``exact`` is what was measured at the threshold.
    """
    _mount(
        key=key,
        data={
            "graph": graph,
            "threshold": threshold,
            "prune": prune,
            "merged": merged,
            "selected": selected,
            "picked": list(picked),
            "pinned": list(notes.pinned),
            "labels": dict(notes.labels),
            "groups": [{"label": g.label, "nodes": list(g.nodes)} for g in notes.groups],
            "exact": exact,
        },
        on_cut_change=on["cut"],
        on_node_change=on["node"],
        on_pin_change=on["pin"],
        on_pick_change=on["pick"],
    )


def told(key: str, name: str) -> Any:
    """What the browser said last: a threshold for "cut", else the name of a node."""
    return st.session_state.get(key, {}).get(name)
