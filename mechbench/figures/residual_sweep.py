"""Residual-stream patching as heat maps, one panel per letter."""

import xarray as xr

from mechbench.figures.evidence import INTERVAL, evidence, mean_of, provenance_of
from mechbench.figures.spec import FigureSpec, Heatmap
from mechbench.results.residual_sweep import ResidualSweep
from mechbench.shapes import ANSWER, LAYER, POSITION


def residual_sweep_figure(result: ResidualSweep, *, control: bool = False) -> FigureSpec:
    """Mean effect by layer and position; with ``control`` a second row of panels shows it."""
    shown = [(mean_of(result.summary), "")]
    if control and result.control is not None:
        shown.append((mean_of(result.control), ", random direction"))
    letters = [str(a) for a in result.effect[ANSWER].values]
    about = (
        ""
        if result.control is None
        else (
            " The control, a random direction of the same length, reaches at most "
            f"{float(abs(mean_of(result.control)).max()):.2f}."
        )
    )
    return FigureSpec(
        name="residual-sweep",
        title=f"Residual stream, {result.corruption.replace('_', ' ')} corrupted",
        caption=(
            f"Noising: resid_pre of the corrupted run ({result.method}) is written into the clean "
            "run at one layer and position; colour is LD patched minus LD clean, the mean over "
            f"prompts, negative is damage.{about} "
            + evidence(result, interval=f"{INTERVAL} are in the result")
        ),
        panels=tuple(_panel(v.sel({ANSWER: a}), a + name) for v, name in shown for a in letters),
        columns=len(letters),
        provenance=provenance_of(result),
    )


def _panel(values: xr.DataArray, title: str) -> Heatmap:
    values = values.transpose(LAYER, POSITION)
    return Heatmap(
        values=values.values,
        rows=tuple(str(i) for i in values[LAYER].values),
        cols=tuple(values[POSITION].values),
        title=title,
        x_title="position",
        y_title="layer",
        value_title="ΔLD (logits)",
        first_row="bottom",
    )
