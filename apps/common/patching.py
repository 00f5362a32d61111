"""What the page Patching loads: a sweep as far as it is done, and the close look at a cell."""

from pathlib import Path

import streamlit as st

from apps.common.session import pool
from apps.common.specs import SWEEP, one_step
from mechbench.experiments.saved import partial_result
from mechbench.experiments.spec import ExperimentSpec
from mechbench.figures.patched_cell import patched_cell_figure
from mechbench.figures.spec import FigureSpec
from mechbench.results.base import Result
from mechbench.results.patch_sweep import PatchSweep
from mechbench.results.run import Run, open_run


def sweep_so_far(run: Run) -> PatchSweep | None:
    """The sweep, or its finished rows; None where there are none."""
    found = _finished(str(run.path)) if run.has(SWEEP) else partial_result(run, SWEEP)
    return found if isinstance(found, PatchSweep) else None


@st.cache_resource(show_spinner=False, max_entries=32)
def _finished(path: str) -> Result:
    """A result that will not change; shared, so nobody writes into it."""
    return open_run(Path(path)).load_result(SWEEP)


def cell_spec(
    sweep: ExperimentSpec, result: PatchSweep, cell: tuple[int, int], prompt: int
) -> ExperimentSpec:
    """The experiment that looks at one cell of a sweep."""
    layer, place = cell
    params = {**sweep.steps[0].params, "layer": layer, result.place: place, "prompt": prompt}
    params.pop("control", None)
    spec = one_step(
        "patched-cell",
        f"Patch of layer {layer}, {result.place} {place}",
        sweep.model.name,
        sweep.task.model_dump(),
        "patched_cell",
        **params,
    )
    return spec.model_copy(update={"model": sweep.model, "seed": sweep.seed})


@st.cache_data(show_spinner="Patching one cell", max_entries=256)
def cell_figure(spec_json: str) -> FigureSpec:
    """The figure of a spec of ``cell_spec``; computed once, then kept."""
    from mechbench.analyses.patched_cell import patched_cell
    from mechbench.tasks.registry import build_task

    spec = ExperimentSpec.model_validate_json(spec_json)
    (step,) = spec.steps
    with pool().use(spec.model, spec.device) as model:
        options = step.task_options(spec.task)
        task = build_task(spec.task.name, model.tokenizer, **options)
        return patched_cell_figure(patched_cell(model, task, seed=spec.seed, **step.params))
