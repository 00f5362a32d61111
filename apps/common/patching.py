"""What the page Patching loads: a sweep as far as it is done, and the spec of the close look."""

from apps.common.specs import SWEEP, one_step
from apps.common.work import finished_result
from mechbench.experiments.saved import partial_result
from mechbench.experiments.spec import ExperimentSpec
from mechbench.results.patch_sweep import PatchSweep
from mechbench.results.run import Run


def sweep_so_far(run: Run) -> PatchSweep | None:
    """The sweep, or its finished rows; None where there are none."""
    found = finished_result(run, SWEEP) or partial_result(run, SWEEP)
    return found if isinstance(found, PatchSweep) else None


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
