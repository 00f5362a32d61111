"""What the page Patching loads: a sweep as far as it is done, and the specs of the close looks."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from apps.common.specs import SWEEP, one_step
from apps.common.work import finished_result
from apps.components.heatmap import Cell
from mechbench.experiments.saved import partial_result
from mechbench.experiments.spec import ExperimentSpec
from mechbench.figures.limits import Range, colour_limits
from mechbench.figures.patch_sweep import Shown, patch_sweep_figure
from mechbench.figures.spec import FigureSpec, Heatmap
from mechbench.results.patch_sweep import PatchSweep
from mechbench.results.run import Run

HEAD_SITES = ("z", "q", "k", "v")
SITES = (*HEAD_SITES, "resid_pre", "resid_mid", "attn_out", "mlp_out")


def sweep_so_far(run: Run) -> PatchSweep | None:
    """The sweep, or its finished rows; None where there are none."""
    found = finished_result(run, SWEEP) or partial_result(run, SWEEP)
    return found if isinstance(found, PatchSweep) else None


def sweep_figure(run: Run, result: PatchSweep, shown: Shown) -> FigureSpec:
    """The map of a sweep as a figure."""
    if not result.done:
        return patch_sweep_figure(result, shown=shown)
    return _figure(run.run_id, shown, result)


def sweep_map(run: Run, result: PatchSweep, shown: Shown) -> tuple[Heatmap, Range]:
    """The panel of the figure, and the range of its colours."""
    figure = sweep_figure(run, result, shown)
    (panel,) = figure.panels
    assert isinstance(panel, Heatmap)
    return panel, colour_limits(figure)[0]


def cell_names(result: PatchSweep) -> list[str]:
    """All cells as the address names them, "layer.place"."""
    n_layers, n_places = result.effect.shape[:2]
    return [cell_name((layer, place)) for layer in range(n_layers) for place in range(n_places)]


def cell_name(cell: Cell) -> str:
    """ "layer.place"."""
    return f"{cell[0]}.{cell[1]}"


def named_cells(names: Sequence[str]) -> list[Cell]:
    """The cells of names."""
    pairs = [name.split(".") for name in names]
    return [(int(layer), int(place)) for layer, place in pairs]


def cell_spec(
    sweep: ExperimentSpec, result: PatchSweep, cell: Cell, prompt: int, attention: Cell | None
) -> ExperimentSpec:
    """The experiment that looks at one cell of a sweep; ``attention`` is another head to look at.

    Without it the attention is that of the patched head.
    """
    layer, place = cell
    seen = {} if attention is None else dict(zip(_SEEN, attention, strict=True))
    params = {"layer": layer, result.place: place, "prompt": prompt, **seen}
    title = f"Patch of layer {layer}, {result.place} {place}"
    return _close_look(sweep, "patched_cell", title, params)


def joint_spec(sweep: ExperimentSpec, cells: Sequence[Cell]) -> ExperimentSpec:
    """The experiment that patches several cells of a sweep together."""
    given = [list(cell) for cell in sorted(cells)]
    return _close_look(sweep, "joint_patch", f"{len(cells)} cells together", {"cells": given})


_SEEN = ("attention_layer", "attention_head")


def _close_look(
    sweep: ExperimentSpec, analysis: str, title: str, params: dict[str, Any]
) -> ExperimentSpec:
    """A spec on the model, the prompts and the patches of a sweep."""
    kept = {k: v for k, v in sweep.steps[0].params.items() if k != "control"}
    name = analysis.replace("_", "-")
    task = sweep.task.model_dump()
    spec = one_step(name, title, sweep.model.name, task, analysis, **{**kept, **params})
    return spec.model_copy(update={"model": sweep.model, "seed": sweep.seed})


@st.cache_resource(show_spinner=False, max_entries=64)
def _figure(run_id: str, shown: Shown, _result: PatchSweep) -> FigureSpec:
    return patch_sweep_figure(_result, shown=shown)
