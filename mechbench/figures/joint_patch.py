"""Bars of single effects, of their sum and of the joint effect."""

import numpy as np

from mechbench.figures.evidence import ESTIMATE, evidence, provenance_of
from mechbench.figures.spec import Bars, FigureSpec, Reference, Series
from mechbench.results.joint_patch import CELL, JointPatch


def joint_patch_figure(result: JointPatch) -> FigureSpec:
    """One bar for each cell, then their sum, all of them together, and the control."""
    noise = result.direction == "noise"
    written, into = ("corrupted", "clean") if noise else ("clean", "corrupted")
    mean, low, high = (float(result.beyond.sel({ESTIMATE: e})) for e in ("mean", "low", "high"))
    units = result.joint.attrs["units"]
    wholes = (result.total, result.joint_summary, result.control)
    values = np.concatenate([result.single_summary.values, np.stack(wholes, axis=1)], axis=1)
    cells = tuple(str(cell) for cell in result.single[CELL].values)
    return FigureSpec(
        name="joint-patch",
        title=f"Patching {len(cells)} cells of {result.site} together",
        caption=(
            f"{result.site} of the {written} run is written into the {into} run at each cell "
            f"(layer.{result.place}), and at all of them. Bars: change of the "
            f"{result.metric_name.replace('_', ' ')}. Together minus the sum of the single "
            f"effects: {mean:+.3f} [{low:+.3f}, {high:+.3f}] {units}; control: random directions "
            "of the same lengths at all cells. " + evidence(result)
        ),
        panels=(
            Bars(
                groups=(*cells, "sum", "together", "control"),
                series=(Series(label="change", values=values[0], low=values[1], high=values[2]),),
                references=(Reference(value=0.0),),
                x_title=f"layer.{result.place}",
                y_title=f"change ({units})",
            ),
        ),
        provenance=provenance_of(result),
    )
