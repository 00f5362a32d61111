"""The controls that the views of the page Heads and tokens share: a head, and a prompt."""

import streamlit as st

from apps.common import state
from apps.common.figures import show_figure
from apps.common.text import plain
from apps.parts.heads import HeadOrder, Part, prompt_texts
from mechbench.figures.spec import FigureSpec
from mechbench.results.attention_view import RUNS

_LONGEST = 90


def pick_head(order: HeadOrder) -> str:
    """The label of the head that is looked at; at first the most important one."""
    state.forget_unless("head", order.labels)
    return state.select(
        "Head",
        state.Choice("head", order.labels, order.labels[0]),
        words=order.words.__getitem__,
        help="layer.head, the one with the largest effect first: of a patching sweep, where the "
        "address names its run, or else of direct attribution (Elhage et al. 2021).",
    )


def pick_prompt(model: str, part: Part) -> tuple[int, str]:
    """The number of a prompt, and which of its pair."""
    left, right = st.columns([4, 1])
    with right:
        which = state.select(
            "Of the pair",
            state.Choice("of", RUNS, "clean"),
            help="The corrupted prompt lacks what the answer needs (Zhang and Nanda 2024).",
        )
    texts = prompt_texts(model, part, which)
    numbers = [str(i) for i in range(len(texts))]
    state.forget_unless("prompt", numbers)
    with left:
        number = state.select(
            "Prompt",
            state.Choice("prompt", numbers, "0"),
            words=lambda i: f"{i}: {_short(texts[int(i)])}",
            help="Which of the task's prompts is shown.",
        )
    return int(number), which


def maybe_figure(figure: FigureSpec, key: str) -> None:
    """The figure where the switch is on: drawing it takes longer than the view above it."""
    if state.toggle(
        "Show as a figure",
        state.Flag("figure"),
        help="As in a paper: with its caption, its downloads and where it comes from.",
    ):
        show_figure(figure, key)
    else:
        st.caption(plain(figure.caption))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else "…" + text[1 - _LONGEST :]
