"""Routers and experts: which tokens go where, and what happens when they go elsewhere."""

from typing import Any

import streamlit as st

from apps.common import state
from apps.common.copying import show_copies
from apps.common.figures import show_figure
from apps.common.frame import framed
from apps.common.subject import subject
from apps.common.text import plain
from apps.common.work import run_button, show_state
from apps.parts.routers import Parts, routed_models, survey, survey_run
from apps.parts.routers_experts import show_experts
from apps.parts.routers_routes import show_routes
from mechbench.experiments.saved import saved_figures
from mechbench.experiments.spec import ExperimentSpec
from mechbench.results.run import Run

_TASKS = ("acronyms", "induction", "ioi", "pairs")
_USUAL = {"model": "mixed-mod", "task": "induction", "n": 8, "seed": 0}


def draw() -> None:
    """The page."""
    st.title("Routers and experts")
    run = survey_run()
    found = routed_models()
    st.caption(
        "Offered are models that send tokens through or past blocks (Mixture-of-Depths, Raposo et "
        "al. 2024) or have experts (DeepSeek-AI 2024; Lory, Zhong et al. 2024). The others have "
        "no routers or experts, so there is nothing to show of them."
    )
    model, task = subject(run, tasks=_TASKS, offered=list(found), usual=_USUAL)
    parts = found[model]
    if parts.routed:
        show_routes(model, task, parts.routed)
    if parts.experts:
        show_experts(model, task, merged="merged_experts" in parts.surveys)
    _all(model, task, parts, run)


def _all(model: str, task: dict[str, Any], parts: Parts, run: Run | None) -> None:
    """Every decision or expert, one after another, as a job."""
    if not parts.surveys:
        return
    st.header("All of them", anchor=False)
    spec = survey(model, task, parts.surveys)
    st.caption(plain(f"One after another, with their controls: {', '.join(parts.surveys)}."))
    run = run_button(spec, "Run them all") or run
    if run is None:
        show_copies(spec)
        return
    stored = ExperimentSpec.model_validate(run.spec)
    st.caption(plain(f"{run.run_id}: {stored.model.name}, {stored.task.name}"))
    show_state(run)
    figures = saved_figures(run)
    if figures:
        step = state.select(
            "Figure",
            state.Choice("step", list(figures), next(iter(figures))),
            help="The job's analyses; each has a row in the README.",
        )
        show_figure(figures[step], f"{run.run_id}-{step}")
    show_copies(stored)


framed(draw)
