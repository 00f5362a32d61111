"""Heads and tokens: where heads look, what they write, and what each stream already says."""

import streamlit as st

from apps.common import state
from apps.common.answers import answer, answer_figure
from apps.common.copying import show_copies
from apps.common.frame import framed
from apps.common.specs import SWEEP
from apps.common.subject import subject
from apps.common.text import plain
from apps.common.work import named_run
from apps.components.attention import attention_tokens, head_now, pinned_now
from apps.components.bars import bars, row_now
from apps.components.heatmap import chosen, clickable
from apps.parts.heads import HeadOrder, Part, attention_spec, attribution_spec, head_order
from apps.parts.heads_circuits import draw_circuits
from apps.parts.heads_controls import maybe_figure, pick_head, pick_prompt
from apps.parts.heads_lens import draw_lens
from mechbench.figures.attention_view import attention_view_figure
from mechbench.figures.limits import colour_limits
from mechbench.figures.spec import FigureSpec, Heatmap
from mechbench.results.attention_view import QUERY, AttentionView
from mechbench.results.direct_attribution import DirectAttribution
from mechbench.results.ranking import ranked

_VIEWS = {
    "attention": "Attention",
    "circuits": "OV and QK",
    "attribution": "Direct attribution",
    "lens": "Logit lens",
}
_TOKENS, _ROWS, _GRID = "heads-tokens", "heads-rows", "heads-grid"


def draw() -> None:
    """The page."""
    st.title("Heads and tokens")
    run = named_run([SWEEP])
    view = state.radio(
        "View",
        state.Choice("view", list(_VIEWS), "attention"),
        words=_VIEWS.__getitem__,
        help="Attention: where a head looks. OV and QK: what it looks for and writes (Elhage et "
        "al. 2021). Direct attribution: what each part writes into the logits. Logit lens: what "
        "each residual stream already says (nostalgebraist 2020).",
    )
    model, part = subject(run)
    if view == "attribution":
        _attribution(model, part)
    elif view == "lens":
        draw_lens(model, part)
    elif view == "circuits":
        draw_circuits(model, part, head_order(model, part, run))
    else:
        _attention(model, part, head_order(model, part, run))


@st.fragment
def _attention(model: str, part: Part, order: HeadOrder) -> None:
    """Tokens and heads; a click draws these anew and not the whole page."""
    framed(lambda: _tokens(model, part, order))


def _tokens(model: str, part: Part, order: HeadOrder) -> None:
    left, right = st.columns([2, 5])
    with left:
        head = pick_head(order)
    with right:
        prompt, which = pick_prompt(model, part)
    st.caption(plain(order.origin))
    spec = attention_spec(model, part, head, prompt, which)
    found = answer(spec)
    assert isinstance(found, AttentionView)
    pinned = state.read(state.Whole("token", 0, found.tokens.sizes[QUERY] - 1))
    state.write(token=pinned)
    st.caption(
        "Hover or focus a token to see what it looks at; a click pins it. Hover a map to look "
        "through another head of this layer; a click chooses it (views after Vig 2019)."
    )
    attention_tokens(
        found, key=_TOKENS, head=head, pinned=pinned, on_pin=_keep_pin, on_head=_keep_head
    )
    maybe_figure(attention_view_figure(found, heads=(head,)), f"attention-{head}")
    show_copies(spec)


def _attribution(model: str, part: Part) -> None:
    """What each component writes into the logits. A click goes to another view: all is redrawn."""
    whole = state.toggle(
        "Whole attention layers",
        state.Flag("whole"),
        help="One part for each attention layer instead of one for each head: also for models "
        "whose heads do not write straight into the residual stream.",
    )
    spec = attribution_spec(model, part, by_head=not whole)
    found, figure = answer(spec), answer_figure(spec)
    assert isinstance(found, DirectAttribution)
    rows = ranked(found.summary)
    control = {row.label: row.mean for row in ranked(found.control)}
    st.caption(
        f"Direct part of the {found.reading}, in logits: means over prompts with 95 % intervals, "
        "red for the answer, blue against it. The orange mark is the same part of the next "
        "prompt's answer, the control. Click a head to see where it looks (Elhage et al. 2021)."
    )
    left, right = st.columns([2, 3])
    with left:
        _grid(figure)
    with right:
        opens = {} if found.heads is None else {row.label: row.label for row in ranked(found.heads)}
        bars(rows, control, key=_ROWS, opens=opens, on_row=_open_row)
    maybe_figure(figure, "attribution")
    show_copies(spec)


def _grid(figure: FigureSpec) -> None:
    """The map of the heads, where there is one."""
    panel = figure.panels[0]
    if not isinstance(panel, Heatmap):
        st.caption("Whole layers have no map of heads.")
        return
    limits = colour_limits(figure)[0]
    clickable(panel, limits, key=_GRID, selected=None, on_choice=_open_cell)
    st.caption(plain(f"Colours from {limits[0]:.3g} to {limits[1]:.3g}: {panel.value_title}."))


def _keep_pin() -> None:
    state.follow(token=pinned_now(_TOKENS))


def _keep_head() -> None:
    state.follow(head=head_now(_TOKENS))


def _open_row() -> None:
    state.follow(head=row_now(_ROWS), view="attention")


def _open_cell() -> None:
    cell = chosen(_GRID)
    if cell is not None:
        state.follow(head=f"{cell[0]}.{cell[1]}", view="attention")


framed(draw)
