"""Prompts: pairs of a task, or your own, aligned by token, with what the model answers to each."""

from typing import Any

import streamlit as st

from apps.common import state
from apps.common.answers import answer_figure
from apps.common.catalogue import GENERATED, models
from apps.common.copying import show_copies
from apps.common.figures import show_figure
from apps.common.frame import framed
from apps.common.prompts import pairs_spec, show_chips
from apps.common.specs import OWN, PAIRS, prompts_file, task_part
from apps.common.text import plain
from mechbench.errors import TaskError
from mechbench.tasks.typed_pairs import TypedPair, keep_pairs, kept_pairs, typed_pairs

_EXAMPLE = [
    TypedPair("The Chief Executive Officer (", "The Chief Marketing Officer (", "C"),
]
_FIELDS = {
    "clean": ("Clean prompts", "One a line. The answer is what follows the last token."),
    "corrupted": (
        "Corrupted prompts",
        "As many lines, each with as many tokens as its clean prompt: activations are exchanged "
        "position by position (Zhang and Nanda 2024 on choosing corruptions).",
    ),
    "answer": ("Answers", "One token each, written as it follows the prompt, often with a space."),
    "wrong": (
        "Wrong answers",
        "May be left empty. With them the metric is the logit difference (Wang et al. 2022), "
        "without them the log-probability of the answer.",
    ),
}


def draw() -> None:
    """The page."""
    st.title("Prompts")
    left, right = st.columns(2)
    with left:
        model = state.select(
            "Model",
            state.Choice("model", list(models()), "acronyms-gpt2"),
            help="Whose tokenizer splits the prompts, and whose answers are shown.",
        )
    with right:
        task = state.select(
            "Task",
            state.Choice("task", [OWN, *GENERATED], "acronyms"),
            help="pairs: your own. The others generate prompts, for tokenizers that know them.",
        )
    part = _own() if task == OWN else _generated(task)
    if part is None:
        return
    spec = pairs_spec(model, part)
    figure = answer_figure(spec)
    show_chips(figure)
    show_figure(figure, "pairs")
    st.page_link(
        "views/patching.py",
        label="Patch between these prompts",
        query_params={
            name: str(value)
            for name, value in {
                "model": model,
                "task": task,
                "pairs": state.read(PAIRS) if task == OWN else None,
                "n": spec.task.n,
                "seed": spec.task.seed,
            }.items()
            if value is not None
        },
    )
    show_copies(spec)


def _generated(task: str) -> dict[str, Any]:
    """The task part of a spec, from the controls."""
    n = state.number("Prompts", state.Whole("n", 2, 512, 32), help="More give narrower intervals.")
    seed = state.number(
        "Seed of the prompts", state.Whole("seed", 0, 99999, 0), help="Which are drawn."
    )
    return task_part(task, n, seed, "")


def _own() -> dict[str, Any] | None:
    """The task part of a spec on the pairs in the editor, once they are kept; None before."""
    pairs_id = state.read(PAIRS)
    try:
        given = kept_pairs(prompts_file(pairs_id)) if pairs_id else _EXAMPLE
    except TaskError as error:
        st.warning(plain(str(error)))
        pairs_id, given = None, _EXAMPLE
    texts = {}
    with st.form("editor"):
        for column, (name, (label, help)) in zip(st.columns(4), _FIELDS.items(), strict=True):
            text = "\n".join(getattr(pair, name) for pair in given)
            texts[name] = column.text_area(label, text, key=f"typed-{name}", help=help, height=200)
        kept = st.form_submit_button("Keep and check", help="The address then names these pairs.")
    if kept:
        path = keep_pairs(typed_pairs(**texts), prompts_file("x").parent)
        pairs_id = path.stem
        state.write(pairs=pairs_id)
    if not pairs_id:
        st.info("Write at least two pairs, and keep them to see what the model answers.")
        return None
    return task_part(OWN, 0, 0, pairs_id)


framed(draw)
