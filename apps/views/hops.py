"""Multi-hop: which pairs of layers rescue a failed answer, what the model then says, and why."""

import streamlit as st

from apps.common import state
from apps.common.frame import framed
from apps.common.text import plain
from apps.common.work import named_run
from apps.parts.hops import BACK, STAGES
from apps.parts.hops_grid import grid_view
from apps.parts.hops_queries import queries
from apps.parts.hops_scope import scope_view
from apps.parts.hops_views import evidence_view, labels_view, stages_view
from mechbench.results.run import Run

_GRID, _STAGES = "back-patching", "stages"
_VIEWS = {
    _GRID: grid_view,
    "hop labels": labels_view,
    _STAGES: stages_view,
    "what states say": scope_view,
    "what writes them": evidence_view,
}
_STEPS = {_GRID: BACK, _STAGES: STAGES}  # of the views that are jobs


def draw() -> None:
    """The page."""
    left, right = st.columns([2, 1])
    left.title("Multi-hop")
    with right:
        view = state.select(
            "View",
            state.Choice("view", list(_VIEWS), _GRID),
            help="back-patching: write later states into earlier layers and read what the model "
            "says (Biran et al. 2024). hop labels: which queries it answers. stages: at which "
            "layers. what states say: Patchscopes (Ghandeharioun et al. 2024).",
        )
    run = _run(view)
    chosen = queries(run)
    if chosen is not None:
        _VIEWS[view](*chosen, run)


def _run(view: str) -> Run | None:
    """The run that the address names, where it has what the view shows."""
    run = named_run([])
    if run is None or view not in _STEPS:
        return None
    steps = {step["id"] for step in run.spec["steps"]}
    if _STEPS[view] in steps:
        return run
    if not steps & set(_STEPS.values()):
        st.warning(
            plain(f"The run {run.run_id} has no {_STEPS[view]}; the page Runs shows what it has.")
        )
    return None


framed(draw)
