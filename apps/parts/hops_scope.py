"""Multi-hop, what a state says: a map of layers, and the continuations of a clicked pair."""

from typing import Any

import streamlit as st

from apps.common import state
from apps.common.answers import answer, answer_figure
from apps.common.copying import show_copies
from apps.common.figures import show_figure
from apps.common.frame import framed
from apps.common.text import plain
from apps.components.heatmap import chosen, clickable
from apps.parts.hops import N_SHOWN, scope_spec
from mechbench.experiments.spec import ExperimentSpec
from mechbench.figures.limits import colour_limits
from mechbench.figures.patchscope import said_rows
from mechbench.figures.spec import Heatmap
from mechbench.results.patchscope import Patchscope
from mechbench.results.run import Run

_MAP = "scope-map"
_WHERE = ("t1", "t2", "e1", "r1", "r2")
_PROMPTS = ("composition", "second_hop", "words", "lens", "description", "repeat")
_DECODINGS = ("argmax", "greedy", "sample")


def scope_view(model: str, part: dict[str, Any], run: Run | None) -> None:
    """The controls, the map, and the texts of one pair of layers."""
    columns = st.columns([2, 3, 2, 2, 5])
    with columns[0]:
        where = state.select(
            "State at",
            state.Choice("where", _WHERE, _WHERE[0]),
            help="t1: the end of the first hop's phrase. t2: the last token. e1, r1, r2: the last "
            "tokens of the entity and of the relations (Biran et al. 2024).",
        )
    with columns[1]:
        prompt = state.select(
            "Target prompt",
            state.Choice("scope_prompt", _PROMPTS, _PROMPTS[0]),
            help="composition and second_hop: each query's own prompt, the state in place of e1 "
            "or e2. words: the task's entities, repeated. lens: the state is unembedded. "
            "description, repeat: few-shot lines of real names (Ghandeharioun et al. 2024), for "
            "models of natural text.",
        )
    with columns[2]:
        method = state.select(
            "Decoding",
            state.Choice("scope_method", _DECODINGS, _DECODINGS[0]),
            help="argmax: the first token. greedy: a text. sample: three texts at temperature 1.",
        )
    with columns[3]:
        tokens = state.number(
            "New tokens",
            state.Whole("scope_tokens", 1, 40, 5),
            help="Of greedy and sample.",
        )
    with columns[4]:
        own = state.field(
            "Own target prompt",
            state.Text("own_prompt"),
            help="Used instead of the named one where it is not empty: a text whose last word x "
            "is the placeholder that the state replaces.",
        )
    spec = scope_spec(
        model, part, where=where, prompt=own or prompt, method=method, max_new_tokens=tokens
    )
    _map(spec)
    show_copies(spec)


@st.fragment
def _map(spec: ExperimentSpec) -> None:
    framed(lambda: _cells(spec))


def _cells(spec: ExperimentSpec) -> None:
    result, figure = answer(spec), answer_figure(spec)
    assert isinstance(result, Patchscope)
    panel = figure.panels[0]
    assert isinstance(panel, Heatmap)
    row = state.read(state.Whole("from", 0, len(panel.rows) - 1))
    col = state.read(state.Whole("into", 0, len(panel.cols) - 1))
    cell = None if row is None or col is None else (row, col)
    left, right = st.columns([9, 11])
    with left:
        limits = colour_limits(figure)[0]
        clickable(panel, limits, key=_MAP, selected=cell, on_choice=_keep_cell)
        st.caption(
            plain(
                f"Share of {result.provenance.n_prompts} prompts whose continuation says the "
                f"answer, colours from {limits[0]:.2g} to {limits[1]:.2g}."
            )
        )
    with right:
        if cell is None:
            st.caption("Click a pair of layers to read what the states say there.")
        else:
            columns, rows = said_rows(result, *cell)
            st.table(
                [dict(zip(columns, map(plain, line), strict=True)) for line in rows],
                hide_index=True,
            )
            st.caption(
                plain(
                    f"Block {panel.rows[cell[0]]}'s output, written behind block "
                    f"{panel.cols[cell[1]]} of the target prompt; the first {N_SHOWN} prompts at "
                    f"most. {result.say(cell)}"
                )
            )
    if st.toggle("Show it as a figure", help="With its control, caption and downloads."):
        show_figure(figure, "hops-scope")


def _keep_cell() -> None:
    cell = chosen(_MAP)
    if cell is not None:
        state.write(**{"from": cell[0], "into": cell[1]})
