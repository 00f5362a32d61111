"""Architectures: all variants and bundled models, compared by their cards; no model is loaded."""

import streamlit as st

from apps.common import state
from apps.common.copying import show_copies
from apps.common.figures import show_figure
from apps.common.frame import framed
from apps.common.text import plain
from apps.common.work import finished_result, named_run, run_button, show_state
from apps.parts.architectures import (
    CACHES,
    accuracy_table,
    caches_spec,
    card,
    comparison,
    comparison_figure,
    config_table,
    entries,
    measured_table,
    model_table,
    parts,
    variant_table,
)
from mechbench.experiments.copies import model_comparison_script
from mechbench.experiments.spec import ExperimentSpec
from mechbench.figures.cache_sizes import cache_sizes_figure
from mechbench.results.cache_sizes import CacheSizes
from mechbench.results.run import Run

_USUAL = ("mixed-gpt2", "mixed-deepseek-v2", "mixed-yoco", "mixed-mod")


def draw() -> None:
    """The page."""
    st.title("Architectures")
    run = named_run([CACHES])
    names = [entry["name"] for entry in entries()]
    _tables()
    st.header("Compare models", anchor=False)
    chosen = state.several(
        "Models",
        state.Several("models", names, _USUAL),
        help="Two or more, at most 12. Nothing is loaded: numbers come from the models' cards, and "
        "caches from the formulas of their papers.",
    )
    if len(chosen) < 2:
        st.info("Choose two models or more to see them side by side.")
    else:
        _compared(chosen)
        framed(lambda: _caches(chosen, run))
    _one(names)


def _tables() -> None:
    """All architectures and all bundled models."""
    st.header("Bundled models", anchor=False)
    st.caption(
        "Measured here, when each model was trained in this repository, and written on its card. "
        "None of these models was published elsewhere, so there are no published numbers of them; "
        "published numbers of other models are on the page Runs, in runs of compare_published and "
        "compare_choices, in columns of their own."
    )
    st.dataframe(model_table(), hide_index=True)
    kinds = list(dict.fromkeys(entry["corpus"] for entry in entries()))
    kind = state.select(
        "Accuracies of models trained on",
        state.Choice("tasks", kinds, "mixed"),
        help="Models that were trained on different kinds of text are scored on different tasks.",
    )
    st.caption(
        "Share of right answers on held-out prompts, beside those of the dense control that was "
        "trained on the same text. Cards have no intervals of these; where one says how many "
        "answers were scored, it stands beside the accuracy."
    )
    st.dataframe(accuracy_table(kind), hide_index=True, height=260)
    with st.expander("All architectures, with their papers"):
        st.dataframe(variant_table(), hide_index=True)


@st.fragment
def _compared(names: tuple[str, ...]) -> None:
    """Figure, configs and measured numbers of the chosen models."""
    framed(lambda: _side_by_side(names))


def _side_by_side(names: tuple[str, ...]) -> None:
    show_figure(comparison_figure(names), "comparison")
    with st.expander("Copy as Python or as a command"):
        st.caption("The script gives the same arrays; the command prints the same numbers.")
        st.code(model_comparison_script(names), language="python")
        st.code("mechbench models --json", language="bash")
    st.subheader("Settings side by side", anchor=False)
    result = comparison(names)
    st.caption(plain(f"{len(result.differing())} of {len(result.settings())} settings differ."))
    st.dataframe(config_table(result))
    measured = measured_table(names)
    if len(measured):
        st.subheader("Measured with the analyses", anchor=False)
        st.caption("With the interval that the analysis reports (low to high) and its prompts.")
        st.dataframe(measured, hide_index=True, height=260)


def _caches(names: tuple[str, ...], run: Run | None) -> None:
    """What generation keeps, measured now: a job."""
    st.header("Caches, measured", anchor=False)
    spec = caches_spec(names)
    st.caption(
        "Runs the chosen models token by token on random tokens, up to their contexts, and puts "
        "the bytes that they keep beside their formulas."
    )
    run = run_button(spec, "Measure the caches") or run
    if run is None:
        show_copies(spec)
        return
    st.caption(plain(f"{run.run_id}: {run.spec['title']}"))
    show_state(run)
    result = finished_result(run, CACHES)
    if isinstance(result, CacheSizes):
        show_figure(cache_sizes_figure(result), run.run_id)
    show_copies(ExperimentSpec.model_validate(run.spec))


@st.fragment
def _one(names: list[str]) -> None:
    """The card, the hook points and the circuit graph of one model."""
    st.header("One model", anchor=False)
    name = state.select(
        "Card and parts of",
        state.Choice("card", names, "mixed-gpt2"),
        help="A card says how a model was made and what was measured on it. Parts are read from "
        "its config; its weights are not loaded.",
    )
    found = parts(name)
    for column, (label, value) in zip(
        st.columns(4),
        {
            "Hook points": found.n_hooks,
            "Writers of the circuit graph": len(found.writers),
            "Readers": len(found.readers),
            "Edges": found.n_edges,
        }.items(),
        strict=True,
    ):
        column.metric(label, f"{value:,}")
    if found.no_graph:
        st.caption(plain(found.no_graph))
    with st.expander("Hook points, with their axes"):
        st.dataframe(
            [
                {
                    "name": point.name,
                    "layers": ", ".join(map(str, point.layers)) or "–",
                    "axes": point.axes,
                }
                for point in found.hooks
            ],
            hide_index=True,
        )
    with st.expander("Nodes of the circuit graph"):
        st.write(plain("Writers: " + ", ".join(found.writers)))
        st.write(plain("Readers: " + ", ".join(found.readers)))
    with st.container(border=True):
        st.markdown(card(name))


framed(draw)
