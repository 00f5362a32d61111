"""A heat map whose cells can be clicked, or reached with the arrow keys and Enter.

Drawn on a canvas in the browser, because plotly reports no clicks on heat maps. Hovering never
asks the server. All text is set as text, never as markup.
"""

from collections.abc import Callable, Sequence

import numpy as np
import streamlit as st
from streamlit.components.v2 import component

from apps.components.scripts import script
from mechbench.figures.cell_colours import cell_colours
from mechbench.figures.limits import Range
from mechbench.figures.spec import Heatmap

_CSS = """
.box { font: 13px sans-serif; color: var(--st-text-color); }
canvas { width: 100%; display: block; cursor: pointer; outline-offset: 2px; }
.word { min-height: 1.5em; padding-top: 4px; }
"""
_HTML = """<div class="box"><canvas tabindex="0" role="application"></canvas>
<div class="word" role="status" aria-live="polite"></div></div>"""

Cell = tuple[int, int]

_mount = component(
    "mechbench_heatmap",
    html=_HTML,
    css=_CSS,
    js=script("heatmap"),
)


def clickable(
    panel: Heatmap,
    limits: Range,
    *,
    key: str,
    selected: Cell | None,
    on_choice: Callable[[], None],
    kept: Sequence[Cell] | None = None,
    on_collect: Callable[[], None] | None = None,
    interval: tuple[np.ndarray, np.ndarray] | None = None,
) -> None:
    """Draws the panel; ``chosen(key)`` and ``collected(key)`` say what was clicked.

    Args:
        kept: the collected cells, where the caller keeps them (as in the address).
        interval: low and high of each cell ``[row col]``, told beside its value.
    """
    _mount(
        key=key,
        data={
            "values": [[_number(v) for v in row] for row in panel.values.tolist()],
            "colours": cell_colours(panel, limits),
            "rows": list(panel.rows),
            "cols": list(panel.cols),
            "rowTitle": panel.y_title,
            "colTitle": panel.x_title,
            "unit": panel.value_title,
            "upward": panel.first_row == "bottom",
            "selected": list(selected) if selected else None,
            "kept": None if kept is None else [list(cell) for cell in kept],
            "interval": None
            if interval is None
            else [[[_number(v) for v in row] for row in bound.tolist()] for bound in interval],
        },
        default={"cell": None, "collected": []},
        on_cell_change=on_choice,
        on_collected_change=on_collect or _nothing,
    )


def chosen(key: str) -> Cell | None:
    """The cell (row, column) that was clicked last."""
    cell = st.session_state.get(key, {}).get("cell")
    return (int(cell[0]), int(cell[1])) if cell else None


def collected(key: str) -> list[Cell]:
    """The cells that were clicked with shift."""
    cells = st.session_state.get(key, {}).get("collected") or []
    return [(int(row), int(col)) for row, col in cells]


def _number(value: float) -> float | None:
    return value if value == value else None  # JSON has no NaN


def _nothing() -> None:
    return None
