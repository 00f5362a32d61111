"""A figure on a page: drawn, with its caption, its downloads and where it comes from.

Figures are drawn on white in the light and the dark theme, as they are in a paper.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import plotly.graph_objects as go
import streamlit as st

from apps.common.basket import basket_button
from apps.common.text import plain
from mechbench.figures.export import paper_bytes, to_html
from mechbench.figures.presets import PRESETS
from mechbench.figures.render_plotly import to_plotly
from mechbench.figures.spec import FigureSpec
from mechbench.figures.tidy import to_csv

_MIME = {"csv": "text/csv", "figure.json": "application/json", "html": "text/html"}


@st.cache_resource(show_spinner=False, max_entries=128)
def _drawn(figure: str) -> go.Figure:
    """The figure that the text describes; drawn once, for drawing takes longer than reading.

    Without its title, which is the heading above it.
    """
    return to_plotly(replace(FigureSpec.from_json(figure), title=""))


def show_figure(figure: FigureSpec, key: str) -> None:
    """One figure; ``key`` tells it from others on the page."""
    st.subheader(plain(figure.title), anchor=False)
    st.plotly_chart(_drawn(figure.to_json()), theme=None, key=f"{key}-figure")
    st.caption(plain(figure.caption))
    with st.container(horizontal=True):
        basket_button(figure, f"{key}-basket")
        with st.popover("Download"):
            _downloads(figure, key)
        with st.popover("Where it comes from"):
            st.json(figure.provenance, expanded=1)


def _downloads(figure: FigureSpec, key: str) -> None:
    """Files that are made when their button is clicked."""
    preset = st.radio(
        "Width of PDF, SVG and PNG",
        list(PRESETS),
        key=f"{key}-preset",
        horizontal=True,
        format_func=lambda name: f"{name} ({PRESETS[name].width_in:g} in)",
        help="One of two columns, or the whole text. What would be higher than a page as a column "
        "is drawn as wide as the text.",
    )
    makers: dict[str, Callable[[], str | bytes]] = {
        kind: partial(paper_bytes, figure, kind, preset=preset) for kind in ("pdf", "svg", "png")
    }
    makers |= {
        "html": partial(to_html, figure),
        "csv": partial(to_csv, figure),
        "figure.json": figure.to_json,
    }
    with st.container(horizontal=True):
        for kind, maker in makers.items():
            st.download_button(
                kind.upper() if "." not in kind else kind,
                data=maker,
                file_name=f"{figure.name}.{kind}",
                mime=_MIME.get(kind),
                on_click="ignore",
                key=f"{key}-{kind}",
            )
    st.caption("figure.json draws the figure again: mechbench export NAME.figure.json")
