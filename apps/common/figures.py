"""A figure on a page: drawn, with its caption, its downloads and where it comes from.

Figures are drawn on white in the light and the dark theme, as they are in a paper.
"""

from functools import partial

import plotly.graph_objects as go
import streamlit as st

from apps.common.text import plain
from mechbench.figures.export import paper_bytes
from mechbench.figures.presets import PRESETS
from mechbench.figures.render_plotly import to_plotly
from mechbench.figures.spec import FigureSpec


@st.cache_resource(show_spinner=False, max_entries=128)
def _drawn(figure: str) -> go.Figure:
    """The figure that the text describes; drawn once, for drawing takes longer than reading."""
    return to_plotly(FigureSpec.from_json(figure))


def show_figure(figure: FigureSpec, key: str) -> None:
    """One figure; ``key`` tells it from others on the page."""
    st.subheader(plain(figure.title), anchor=False)
    st.plotly_chart(_drawn(figure.to_json()), theme=None, key=f"{key}-figure")
    st.caption(plain(figure.caption))
    with st.popover("Download"):
        preset = st.radio(
            "Width",
            list(PRESETS),
            key=f"{key}-preset",
            horizontal=True,
            help="column: 3.25 inches, for one of two columns. text: 6.75 inches, for both.",
        )
        for kind in ("pdf", "svg"):
            st.download_button(
                kind.upper(),
                data=partial(paper_bytes, figure, kind, preset=preset),
                file_name=f"{figure.name}.{kind}",
                on_click="ignore",
                key=f"{key}-{kind}",
            )
    with st.expander("Where this figure comes from"):
        st.json(figure.provenance, expanded=1)
