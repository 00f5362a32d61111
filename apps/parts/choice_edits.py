"""The tab edits of Multiple choice: candidates in a table, and what the chosen edits change."""

from typing import Any

import streamlit as st

from apps.common import state
from apps.common.answers import answer, answer_figure
from apps.common.copying import show_copies
from apps.common.figures import show_figure
from apps.common.frame import framed
from apps.common.text import plain
from apps.components.choice_table import tickable, ticked
from apps.parts.choice import (
    EDITS,
    LAMBDA1,
    LAMBDA2,
    MOST,
    ON,
    PAPER,
    edit_spec,
    neuron_names,
    vectors_spec,
)
from mechbench.errors import UnsupportedHookError
from mechbench.experiments.spec import ExperimentSpec
from mechbench.experiments.summary import headline
from mechbench.figures.edited_choices import edited_choices_figure
from mechbench.figures.spec import FigureSpec, Table
from mechbench.results.choices import (
    ARGMAXES,
    FAILING,
    NOT_FIRST,
    NOTHING_ADDED,
    OTHERS_MEAN,
    RIGHT_LABEL,
    always,
)
from mechbench.results.edited_choices import EditedChoices
from mechbench.results.value_vectors import ValueVectors

_TABLE = "value-vector-table"


def items_control() -> str:
    return state.select(
        "Prompts looked at",
        state.Choice("items", (FAILING, NOT_FIRST), FAILING),
        help="failing: the right option is a later one and the first label is answered "
        f"({PAPER}). gold later: all whose right option is a later one, failing or not.",
    )


def search_controls() -> dict[str, Any]:
    """How value vectors are searched for, from controls."""
    columns = st.columns(4)
    with columns[0]:
        items = items_control()
    with columns[1]:
        k = state.number(
            "Neurons per layer",
            state.Whole("k", 1, 100, 10),
            help=f"The largest by |activation| times norm at the last position ({PAPER}: 10).",
        )
    with columns[2]:
        threshold = state.slider(
            "Threshold",
            state.Real("threshold", 0.0, 10.0, 4.0),
            help=f"Lens gap, in logits, above which a neuron is kept ({PAPER}: 4).",
            step=0.5,
        )
    with columns[3]:
        shown = state.number(
            "Rows", state.Whole("shown", 1, 100, 12), help="The strongest candidates, found or not."
        )
    return {"items": items, "k": k, "threshold": threshold, "n_shown": shown}


@st.fragment
def show_edits(model: str, part: dict[str, Any], labels: tuple[str, ...]) -> None:
    """The table and what the chosen edits do; a tick draws these again and not the whole page."""
    neurons = _chosen()
    framed(lambda: _table(model, part, neurons))
    framed(lambda: _outcome(model, part, labels, neurons))


def _chosen() -> tuple[str, ...]:
    """The neurons in the field above the table, which ticks fill in."""
    text = state.field(
        "Edited neurons",
        EDITS,
        help="layer.neuron with commas between, in the table or not; edited all together.",
    )
    try:
        return neuron_names(EDITS.parse(text))
    except ValueError as error:
        st.warning(plain(f"Edited neurons: {text!r} was given, expected: {error}."))
        state.write(edits=None)
        return ()


def _keep() -> None:
    state.follow(edits=",".join(ticked(_TABLE)))


def _table(model: str, part: dict[str, Any], neurons: tuple[str, ...]) -> None:
    with st.expander("How candidates are found"):
        spec = vectors_spec(model, part, **search_controls())
    result = answer(spec)
    assert isinstance(result, ValueVectors)
    numbers, tokens = (p for p in answer_figure(spec).panels if isinstance(p, Table))
    tickable(numbers, tokens, key=_TABLE, selected=neurons, most=MOST, on_choice=_keep)
    st.caption(
        plain(
            f"Tick rows to edit their value vectors. {len(result.neurons)} found on "
            f"{result.n_items} {result.items} prompts; means with 95 % bootstrap intervals. The "
            "control, random active neurons, is on the tab value vectors."
        )
    )


def _outcome(
    model: str, part: dict[str, Any], labels: tuple[str, ...], neurons: tuple[str, ...]
) -> None:
    target, argmax = _edit_controls(labels)
    if not neurons:
        st.info("Tick a row, or write a neuron such as 1.163, to see what its edit does.")
        return
    spec = edit_spec(model, part, neurons, target)
    try:
        lines, figure = _told(spec.model_dump_json(), argmax)
    except UnsupportedHookError as error:
        st.warning(plain(str(error)))
        return
    for line in lines:
        st.write(plain(line))
    show_figure(figure, spec.name)
    show_copies(spec)


@st.cache_resource(show_spinner=False, max_entries=128)
def _told(spec_json: str, argmax: str) -> tuple[list[str], FigureSpec]:
    """What an edit changes, in sentences and as a figure."""
    result = answer(ExperimentSpec.model_validate_json(spec_json))
    assert isinstance(result, EditedChoices)
    return headline({"edit": result}), edited_choices_figure(result, argmax=argmax)


def _edit_controls(labels: tuple[str, ...]) -> tuple[str, str]:
    """The target of the edit and how answers are read; the other controls write the address."""
    columns = st.columns([3, 3, 3, 3, 2])
    with columns[0]:
        kinds = (RIGHT_LABEL, NOTHING_ADDED, OTHERS_MEAN, *map(always, labels[1:]))
        target = state.select(
            "Target",
            state.Choice("target", kinds, OTHERS_MEAN),
            help=f"What is put in. right label: each prompt's own ({PAPER}), which tells the "
            "answer. The others could be applied without it: nothing, the mean of the later "
            "labels offered, or one label for all prompts.",
        )
    with columns[1]:
        argmax = state.select(
            "Answer",
            state.Choice("argmax", ARGMAXES, ARGMAXES[0]),
            help=f"The likeliest token of the vocabulary ({PAPER}), or of the labels offered.",
        )
    with columns[2]:
        state.slider(
            "λ1: first label out",
            LAMBDA1,
            help=f"Times its unembedding, off the value vector ({PAPER}: 1).",
            step=0.25,
        )
    with columns[3]:
        state.slider(
            "λ2: target in",
            LAMBDA2,
            help=f"Times its unembedding, onto the value vector ({PAPER}: 8).",
            step=0.25,
        )
    with columns[4]:
        state.toggle(
            "On",
            ON,
            help="Whether the neurons are edited. Off sets λ1 and λ2 to 0, so nothing changes.",
        )
    return target, argmax
