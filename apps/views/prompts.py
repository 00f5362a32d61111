"""Prompts: pairs of a task, or your own, aligned by token, with what the model answers to each."""

from typing import Any

import streamlit as st

from apps.common import state
from apps.common.answers import answer, answer_figure
from apps.common.catalogue import CORRUPTIONS, GENERATED, models
from apps.common.copying import show_copies
from apps.common.figures import show_figure
from apps.common.frame import framed
from apps.common.specs import OWN, PAIRS, prompts_file, task_part
from apps.common.text import plain
from apps.parts.prompts import pairs_spec, show_misfits, show_pairs, typed_tokens
from mechbench.errors import TaskError
from mechbench.experiments.spec import ExperimentSpec
from mechbench.results.pair_logits import PairLogits
from mechbench.tasks.typed_pairs import MOST_PAIRS, TypedPair, keep_pairs, kept_pairs, typed_pairs
from mechbench.tasks.uploaded_pairs import KINDS, uploaded_pairs

_USUAL, _PER_PAGE = "usual", 10
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
        "May be left empty; several for a pair with | between them. With them the metric is the "
        "logit difference (Wang et al. 2022), without them the log-probability of the answer.",
    ),
}


def draw() -> None:
    """The page."""
    st.title("Prompts")
    columns = st.columns(3)
    with columns[0]:
        model = state.select(
            "Model",
            state.Choice("model", list(models()), "acronyms-gpt2"),
            help="Whose tokenizer splits the prompts, and whose answers are shown.",
        )
    with columns[1]:
        task = state.select(
            "Task",
            state.Choice("task", [OWN, *GENERATED], "acronyms"),
            help="pairs: your own. The others generate prompts, for tokenizers that know them.",
        )
    with columns[2]:
        corruption = _corruption(task)
    part = _own() if task == OWN else _generated(task)
    if part is None:
        return
    spec = pairs_spec(model, part, corruption)
    try:
        result = answer(spec)
    except TaskError as error:
        st.error(plain(str(error)))
        if task == OWN:
            show_misfits(typed_tokens(model, kept_pairs(prompts_file(state.read(PAIRS)))))
        return
    assert isinstance(result, PairLogits)
    _answers(spec, result)
    _link_to_patching(model, task, spec)
    show_copies(spec)


def _corruption(task: str) -> str | None:
    """Which corruption of the task; None for its usual one."""
    known = (_USUAL, *CORRUPTIONS[task])
    state.forget_unless("corruption", known)
    chosen = state.select(
        "Corruption",
        state.Choice("corruption", known, _USUAL),
        help="How the corrupted prompt differs from the clean one; usual: what the task's paper "
        "uses (Zhang and Nanda 2024 on the choice).",
    )
    return None if chosen == _USUAL else chosen


@st.fragment
def _answers(spec: ExperimentSpec, result: PairLogits) -> None:
    """Turning a page draws this again and not the editor."""
    framed(lambda: _page(spec, result))


def _page(spec: ExperimentSpec, result: PairLogits) -> None:
    """The pairs of one page, and the figure of all where it is asked for."""
    n = result.metric.sizes["prompt"]
    n_pages = -(-n // _PER_PAGE)
    left, right = st.columns([1, 3], vertical_alignment="bottom")
    with left:
        number = state.number(
            f"Page, of {n_pages}",
            state.Whole("page", 1, n_pages, 1),
            help=f"{n} pairs, {_PER_PAGE} on a page.",
        )
    with right:
        as_figure = state.toggle(
            "Show as a figure", state.Flag("figure"), help="With its caption and downloads."
        )
    figure = answer_figure(spec)
    st.caption(plain(figure.caption))
    show_pairs(result, (number - 1) * _PER_PAGE, number * _PER_PAGE)
    if as_figure:
        show_figure(figure, "pairs")


def _link_to_patching(model: str, task: str, spec: ExperimentSpec) -> None:
    given = {
        "model": model,
        "task": task,
        "pairs": state.read(PAIRS) if task == OWN else None,
        "n": spec.task.n,
        "seed": spec.task.seed,
        "corruption": spec.steps[0].params.get("corruption"),
    }
    st.page_link(
        "views/patching.py",
        label="Patch between these prompts",
        query_params={name: str(value) for name, value in given.items() if value is not None},
    )


def _generated(task: str) -> dict[str, Any]:
    """The task part of a spec, from the controls."""
    left, right = st.columns(2)
    with left:
        n = state.number(
            "Prompts", state.Whole("n", 2, 512, 32), help="More give narrower intervals."
        )
    with right:
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
    uploaded = _uploaded()
    texts = {}
    with st.form("editor"):
        for column, (name, (label, help)) in zip(st.columns(4), _FIELDS.items(), strict=True):
            field = "wrong_line" if name == "wrong" else name
            text = "\n".join(getattr(pair, field) for pair in given)
            texts[name] = column.text_area(
                label, text, key=f"typed-{name}{pairs_id or ''}", help=help, height=200
            )
        kept = st.form_submit_button("Keep and check", help="The address then names these pairs.")
    pairs = typed_pairs(**texts) if kept else uploaded
    if pairs is not None:
        pairs_id = keep_pairs(pairs, prompts_file("x").parent).stem
        state.write(pairs=pairs_id, page=None)
        if uploaded is not None and not kept:
            st.rerun()
    if not pairs_id:
        st.info("Write at least two pairs, and keep them to see what the model answers.")
        return None
    return task_part(OWN, 0, 0, pairs_id)


def _uploaded() -> list[TypedPair] | None:
    """The pairs of a file that was uploaded just now; a file is read once."""
    with st.expander("Upload pairs"):
        file = st.file_uploader(
            "A JSON, JSONL or CSV file",
            type=list(KINDS),
            key="upload",
            max_upload_size=1,
            help="Objects or columns clean, corrupted, answer and, where there are any, wrong. The "
            f"file is read as data and never executed; at most {MOST_PAIRS} pairs in 1 MB.",
        )
    if file is None or st.session_state.get("read-upload") == file.file_id:
        return None
    st.session_state["read-upload"] = file.file_id
    return uploaded_pairs(file.name, file.getvalue())


framed(draw)
