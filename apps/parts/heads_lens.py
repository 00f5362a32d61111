"""The logit lens on one prompt, as the page Heads and tokens shows it."""

import streamlit as st

from apps.common import state
from apps.common.answers import answer
from apps.common.copying import show_copies
from apps.common.frame import framed
from apps.components.lens import cell_now, lens_table
from apps.parts.heads import Part, lens_spec
from apps.parts.heads_controls import maybe_figure, pick_prompt
from mechbench.figures.lens_view import lens_view_figure
from mechbench.figures.tokens import shown_token
from mechbench.results.lens_view import RESIDUAL, LensView
from mechbench.shapes import ANSWER, POSITION

_KEY = "heads-lens"


@st.fragment
def draw_lens(model: str, part: Part) -> None:
    """The view; a click draws it anew by itself."""
    framed(lambda: _view(model, part))


def _view(model: str, part: Part) -> None:
    prompt, which = pick_prompt(model, part)
    spec = lens_spec(model, part, prompt, which)
    found = answer(spec)
    assert isinstance(found, LensView)
    wanted = _answer(found)
    streams = [str(label) for label in found.answer_rank[RESIDUAL].values]
    usual = int(found.read_at.values[wanted])
    stream = state.read(state.Choice("stream", streams, streams[-1]))
    last = found.tokens.sizes[POSITION] - 1
    position = state.read(state.Whole("position", 0, last, usual))
    given = "position" in st.query_params  # else it is that of the answer, also of another answer
    state.write(stream=stream, position=position if given else None)
    st.caption(
        "Cells: the likeliest token, coloured by its probability (white 0, dark blue 1), and the "
        "rank of the answer (1 is the top). Rows from the embedding, at the bottom, to the last "
        "stream. Underlined above: where the task reads the answer. The lens is the raw one: "
        "streams are read by the model's own final norm and unembedding."
    )
    selected = (stream, position)
    lens_table(found, key=_KEY, answer=wanted, selected=selected, on_cell=_keep_cell)
    figure = lens_view_figure(found, answer=wanted, position=position, residual=stream)
    maybe_figure(figure, "lens")
    show_copies(spec)


def _answer(found: LensView) -> int:
    """The number of the answer whose rank is shown."""
    labels = [str(label) for label in found.answers[ANSWER].values]
    texts = {
        label: f"{label}: {shown_token(str(text))}"
        for label, text in zip(labels, found.answers.values, strict=True)
    }
    state.forget_unless("answer", labels)
    chosen = state.select(
        "Answer",
        state.Choice("answer", labels, labels[0]),
        words=texts.__getitem__,
        help="Whose rank is told: the correct answer to the clean prompt. The lens is that of "
        "nostalgebraist 2020, raw: nothing is trained for it.",
    )
    return labels.index(chosen)


def _keep_cell() -> None:
    stream, position = cell_now(_KEY)
    state.follow(stream=stream, position=position)
