"""Multiple choice: how biased the answers are, which value vectors say so, and what edits do."""

from typing import Any

import streamlit as st

from apps.common import state
from apps.common.answers import answer, answer_figure
from apps.common.catalogue import GENERATED
from apps.common.copying import show_copies
from apps.common.figures import show_figure
from apps.common.frame import framed
from apps.common.specs import one_step
from apps.common.text import plain
from apps.common.work import finished_result, named_run, run_button, show_state
from apps.parts.choice import (
    EDITS,
    PAPER,
    SIDE_EFFECTS,
    bias_spec,
    neuron_names,
    neurons_of,
    questions,
    side_effects_spec,
    vectors_spec,
)
from apps.parts.choice_edits import items_control, search_controls, show_edits
from mechbench.experiments.spec import ExperimentSpec
from mechbench.experiments.summary import headline
from mechbench.figures.edit_side_effects import edit_side_effects_figure
from mechbench.results.anchored_bias import AnchoredBias
from mechbench.results.edit_side_effects import EditSideEffects
from mechbench.results.run import Run

_VIEWS = ("edits", "bias", "value vectors", "side effects", "choice lens", "heads")
_VIEW = state.Choice("view", _VIEWS, "edits")


def draw() -> None:
    """The page."""
    st.title("Multiple choice")
    run = named_run([SIDE_EFFECTS])
    model, part = questions(run)
    spec = bias_spec(model, part)
    bias = answer(spec)
    assert isinstance(bias, AnchoredBias)
    for line in headline({"bias": bias}):
        st.write(plain(line))
    view, tab = state.tab(_VIEW)
    with tab:
        if view == "edits":
            show_edits(model, part, bias.own)
        elif view == "side effects":
            _side_effects(model, part, run)
        elif view == "bias":
            _figure(spec)
        elif view == "value vectors":
            framed(lambda: _figure(vectors_spec(model, part, **search_controls())))
        elif view == "choice lens":
            framed(lambda: _simple(model, part, "choice_lens", "Layers that say the first label"))
        else:
            framed(lambda: _simple(model, part, "choice_heads", "Heads that bring the first label"))


def _figure(spec: ExperimentSpec) -> None:
    show_figure(answer_figure(spec), spec.name)
    show_copies(spec)


def _simple(model: str, part: dict[str, Any], analysis: str, title: str) -> None:
    """An analysis that has no controls but which prompts it looks at."""
    name = analysis.replace("_", "-")
    _figure(one_step(name, title, model, part, analysis, items=items_control()))


def _side_effects(model: str, part: dict[str, Any], run: Run | None) -> None:
    """Other tasks and text with the edits that the address or the run names, as a job."""
    neurons = neuron_names(state.read(EDITS)) or neurons_of(run)
    if not neurons:
        st.info("Choose neurons on the tab edits first.")
        return
    left, right = st.columns([3, 1])
    with left:
        others = state.several(
            "Other tasks",
            state.Several("others", [t for t in GENERATED if t != "multiple_choice"], ("ioi",)),
            help=f"Whose accuracy is compared ({PAPER}: ioi); tasks whose words the model knows.",
        )
    with right:
        n_texts = state.number(
            "Texts",
            state.Whole("texts", 2, 512, 64),
            help="Questions without options, of which the right option's text is scored.",
        )
    spec = side_effects_spec(model, part, neurons, others, n_texts)
    params = spec.steps[0].params
    st.caption(
        plain(
            f"Neurons {', '.join(neurons)}, λ1 = {params['lambda1']:g}, λ2 = "
            f"{params['lambda2']:g}; once with each target that is the same for all prompts."
        )
    )
    run = run_button(spec, "Measure side effects") or run
    if run is None:
        show_copies(spec)
        return
    stored = ExperimentSpec.model_validate(run.spec)
    st.caption(plain(f"{run.run_id}: {stored.title}, {stored.model.name}, n={stored.task.n}"))
    if not show_state(run):
        result = finished_result(run, SIDE_EFFECTS)
        if isinstance(result, EditSideEffects):
            for line in headline({"side": result}):
                st.write(plain(line))
            show_figure(edit_side_effects_figure(result), run.run_id)
    show_copies(stored)


framed(draw)
