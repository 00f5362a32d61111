"""A figure's heat maps and tables drawn light: at once after a click, with one hover for all maps.

The figure itself, with its downloads, is ``apps.common.figures.show_figure``.
"""

from typing import Any

import streamlit as st
from streamlit.components.v2 import component

from apps.components.scripts import script
from mechbench.figures.cell_colours import cell_colours
from mechbench.figures.limits import Range, colour_limits
from mechbench.figures.spec import FigureSpec, Heatmap, Table

_CSS = """
.panels { font: 13px sans-serif; color: var(--st-text-color); }
.cell-title { font-size: 20px; font-weight: 600; padding-bottom: 6px; }
.maps { display: flex; gap: 8px; }
canvas { flex: 1 1 0; min-width: 0; width: 100%; display: block; outline-offset: 2px; }
.word { min-height: 1.5em; padding: 4px 0; }
table { border-collapse: collapse; width: 100%; margin-top: 6px; }
caption { text-align: left; font-weight: 600; padding: 2px 0; }
th, td { text-align: left; padding: 3px 8px; white-space: pre;
  border-bottom: 1px solid var(--st-border-color); font-weight: normal; }
th { font-weight: 600; }
"""

_mount = component(
    "mechbench_panels",
    html='<div class="panels"></div>',
    css=_CSS,
    js=script("panels"),
)


def show_panels(figure: FigureSpec, name: str, *, key: str) -> None:
    """Draws the heat maps and tables of a figure.

    Args:
        name: of the figure's content, the same for equal figures alone.
        key: the place on the page.
    """
    _mount(key=key, data=_content(name, figure))


@st.cache_data(show_spinner=False, max_entries=256)
def _content(name: str, _figure: FigureSpec) -> dict[str, Any]:
    limits = colour_limits(_figure)
    panels = list(enumerate(_figure.panels))
    return {
        "title": _figure.title,
        "maps": [_map(panel, limits[i]) for i, panel in panels if isinstance(panel, Heatmap)],
        "tables": [
            {"title": table.title, "columns": list(table.columns), "rows": list(table.rows)}
            for _, table in panels
            if isinstance(table, Table)
        ],
    }


def _map(panel: Heatmap, limits: Range) -> dict[str, Any]:
    return {
        "title": panel.title,
        "values": [[v if v == v else None for v in row] for row in panel.values.tolist()],
        "colours": cell_colours(panel, limits),
        "rows": list(panel.rows),
        "cols": list(panel.cols),
        "rowTitle": panel.y_title,
        "colTitle": panel.x_title,
        "unit": panel.value_title,
    }
