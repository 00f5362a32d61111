"""Multi-hop, the texts: what the model says to some queries at one cell of the grid."""

from collections.abc import Sequence

import streamlit as st

from apps.common import state
from apps.common.answers import answer
from apps.common.text import plain
from apps.parts.hops import text_spec
from mechbench.experiments.spec import ExperimentSpec
from mechbench.figures.back_patched_text import text_rows
from mechbench.results.back_patched_text import BackPatchedText
from mechbench.results.back_patching import BackPatching

_ALL, _RIGHT, _WRONG = "all", "right here", "wrong here"


def texts_of_cell(
    stored: ExperimentSpec, result: BackPatching, at: dict[str, str], cell: tuple[int, int]
) -> ExperimentSpec | None:
    """What the model says to some queries at the cell, beside the unpatched run; its spec."""
    if cell[0] == cell[1]:
        st.info("On the diagonal nothing is changed: choose another cell for texts.")
        return None
    columns = st.columns(5)
    with columns[0]:
        which = state.select(
            "Texts of queries",
            state.Choice("which", (_ALL, _RIGHT, _WRONG), _ALL),
            help="Of the set above: all, or those that this cell makes right or leaves wrong.",
        )
    with columns[1]:
        first = state.number(
            "From number", state.Whole("first", 0, 9999, 0), help="How many of them are skipped."
        )
    with columns[2]:
        many = state.number(
            "How many", state.Whole("many", 1, 24, 6), help="How many queries are shown."
        )
    with columns[3]:
        tokens = state.number(
            "Tokens of a text",
            state.Whole("said", 1, 40, result.n_new),
            help="How long the texts below are; the grid keeps its own number.",
        )
    with columns[4]:
        temperature = state.slider(
            "Temperature",
            state.Real("temperature", 0.0, 2.0, 0.0),
            step=0.1,
            help="0 takes the likeliest token, as the grid does; more draws samples.",
        )
    wanted = {_ALL: None, _RIGHT: True, _WRONG: False}[which]
    places = {"rule": at["rule"], "position": at["position"], "cell": cell}
    found = result.queries(at["group"], right=wanted, **places)
    queries = list(found[first : first + many])
    if not queries:
        st.info(f"There are {len(found)} such queries, none of them from number {first} on.")
        return None
    spec = text_spec(
        stored,
        cell=cell,
        position=at["position"],
        queries=queries,
        tokens=tokens,
        temperature=temperature,
    )
    said = answer(spec)
    assert isinstance(said, BackPatchedText)
    show_texts(*text_rows(said))
    st.caption(
        plain(
            "✓: the text names the answer; (bridge): it names the bridge. patched: the cell; other "
            "query: that query's state in its place; noise: as long as the change; reversed: the "
            "two layers exchanged."
        )
    )
    return spec


def show_texts(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Texts as they are written, in lines that wrap."""
    st.table([dict(zip(columns, map(plain, row), strict=True)) for row in rows], hide_index=True)
