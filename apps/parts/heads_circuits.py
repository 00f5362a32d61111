"""OV and QK of one head, as the page Heads and tokens shows them."""

import streamlit as st

from apps.common import state
from apps.common.answers import answer, answer_figure
from apps.common.copying import show_copies
from apps.common.frame import framed
from apps.common.text import plain
from apps.components.heatmap import clickable
from apps.parts.heads import (
    HeadOrder,
    Part,
    attention_spec,
    circuits_spec,
    composition_spec,
)
from apps.parts.heads_controls import maybe_figure, pick_head, pick_prompt
from mechbench.figures.limits import colour_limits
from mechbench.figures.spec import FigureSpec, Heatmap, Table
from mechbench.results.attention_view import AttentionView
from mechbench.results.composition_scores import CompositionScores


@st.fragment
def draw_circuits(model: str, part: Part, order: HeadOrder) -> None:
    """The view; another head draws it anew by itself."""
    framed(lambda: _view(model, part, order))


def _view(model: str, part: Part, order: HeadOrder) -> None:
    left, right = st.columns([2, 5])
    with left:
        head = pick_head(order)
    with right:
        between = _between()
    st.caption(plain(order.origin))
    seen = _prompt(model, part, head) if between == "prompt" else None
    spec = circuits_spec(model, part, head, seen)
    figure = answer_figure(spec)
    maps = [panel for panel in figure.panels if isinstance(panel, Heatmap)]
    limits = colour_limits(figure)
    asked = ("What it looks for: QK", "What it writes: OV")
    for number, (column, panel) in enumerate(zip(st.columns(2), maps, strict=True)):
        with column:
            st.subheader(asked[number], anchor=False)
            key = f"heads-{panel.title}"
            clickable(panel, limits[number], key=key, selected=None, on_choice=_nothing)
            low, high = limits[number]
            st.caption(plain(f"Colours from {low:.3g} to {high:.3g}: {panel.value_title}."))
    _vectors(figure)
    _composition(model, part, head)
    maybe_figure(figure, f"circuits-{head}")
    show_copies(spec)


def _between() -> str:
    words = {"answers": "the task's answers", "prompt": "the tokens of one prompt"}
    return state.select(
        "Between",
        state.Choice("between", list(words), "answers"),
        words=words.__getitem__,
        help="Both circuits are matrices over the whole vocabulary (Elhage et al. 2021); shown is "
        "the part between these tokens.",
    )


def _prompt(model: str, part: Part, head: str) -> AttentionView:
    prompt, which = pick_prompt(model, part)
    found = answer(attention_spec(model, part, head, prompt, which))
    assert isinstance(found, AttentionView)
    return found


def _vectors(figure: FigureSpec) -> None:
    """The tokens at both ends of the leading singular vectors."""
    tables = [panel for panel in figure.panels if isinstance(panel, Table)]
    for column, table in zip(st.columns(2), tables, strict=True):
        with column:
            st.caption(plain(f"Tokens along the leading singular vectors: {table.title}"))
            st.dataframe(
                [dict(zip(table.columns, row, strict=True)) for row in table.rows],
                hide_index=True,
            )


def _composition(model: str, part: Part, head: str) -> None:
    spec = composition_spec(model, part)
    found = answer(spec)
    assert isinstance(found, CompositionScores)
    rows = [
        {
            "mode": pair.mode,
            "from": pair.sender,
            "to": pair.receiver,
            "score": f"{pair.score:.3f}",
            "× Gaussian": f"{pair.times:.1f}",
        }
        for pair in found.partners(head)
    ]
    with st.expander("Which heads it composes with"):
        st.caption(
            "How far what one head writes lies in what the other reads as its query, key or value "
            "(Elhage et al. 2021), and how many times that of Gaussian weights. Weights only."
        )
        if rows:
            st.dataframe(rows, hide_index=True)
        else:
            st.write("With none: this model has one layer.")
        show_copies(spec)


def _nothing() -> None:
    return None
