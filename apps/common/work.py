"""Work of a page that takes longer: a run of the store, named by the address."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from apps.common import state
from apps.common.jobs import follow, outcome, start, under_way
from apps.common.session import store
from apps.common.text import plain
from mechbench.errors import StoreError
from mechbench.experiments.listing import open_exactly
from mechbench.experiments.spec import ExperimentSpec
from mechbench.results.base import Result
from mechbench.results.run import Run, open_run


def named_run(steps: Sequence[str]) -> Run | None:
    """The run that the address names, where it has all these steps; else a warning and None."""
    name = st.query_params.get("run")
    if not name:
        return None
    try:
        run = open_exactly(store(), name)
    except StoreError as error:
        st.warning(plain(str(error)))
        return None
    missing = [step for step in steps if step not in [found["id"] for found in run.spec["steps"]]]
    if missing:
        st.warning(
            plain(f"The run {name} has no {', '.join(missing)}; the page Runs shows what it has.")
        )
        return None
    return run


def run_button(spec: ExperimentSpec, label: str, *, clears: Sequence[str] = ()) -> Run | None:
    """A button that starts the spec as a job; the run where it was pressed just now.

    The address then names the run; its parameters in ``clears`` belonged to the one before.
    """
    if not st.button(label, type="primary", help="It works in the background, and can be resumed."):
        return None
    run = start(spec)
    state.write(run=run.run_id, **dict.fromkeys(clears))
    return run


def show_state(run: Run) -> bool:
    """Progress of a job, or a word about one that did not finish; True while it is under way."""
    if under_way(run.run_id):
        follow(run.run_id)
        return True
    outcome(run.run_id)
    return False


def finished_result(run: Run, step: str) -> Result | None:
    """A step's result; None where it is not finished. Shared, so nobody writes into it."""
    return _loaded(str(run.path), step) if run.has(step) else None


@st.cache_resource(show_spinner=False, max_entries=64)
def _loaded(path: str, step: str) -> Result:
    return open_run(Path(path)).load_result(step)
