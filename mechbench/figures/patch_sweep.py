"""A sweep of patches as a heat map, layer by head or by position."""

from typing import Literal

from mechbench.errors import MechbenchError
from mechbench.figures.evidence import INTERVAL, evidence, mean_of, provenance_of
from mechbench.figures.spec import Diverging, FigureSpec, Heatmap
from mechbench.results.patch_sweep import PatchSweep
from mechbench.shapes import LAYER, POSITION

Shown = Literal["effect", "share", "control"]


def patch_sweep_figure(result: PatchSweep, *, shown: Shown = "effect") -> FigureSpec:
    """Means over prompts of the ``effect`` of each patch, of its ``share``, or of the ``control``.

    The share is that of the way from the unpatched to the other run; the control, the effect of
    random directions, has the colours of the effect.

    Raises:
        MechbenchError: the control of a sweep that has none.
    """
    noise = result.direction == "noise"
    written, into = ("corrupted", "clean") if noise else ("clean", "corrupted")
    units = result.effect.attrs["units"]
    metric = result.metric_name.replace("_", " ")
    control = (
        ""
        if result.control is None
        else " Random directions of the same length reach at most "
        f"{float(abs(mean_of(result.control)).max()):.2f}."
    )
    colour = "share of the way to that run" if shown == "share" else "patched minus unpatched"
    return FigureSpec(
        name="patch-sweep",
        title=_title(result, shown, f"{written} into {into}"),
        caption=(
            f"{_written(result, shown, written)} written into the {into} run; "
            f"colour is the {metric}, {colour}, the mean over prompts. Unpatched it is "
            f"{float(result.base.mean()):.2f}, in the other run {float(result.other.mean()):.2f} "
            f"{units}.{control} " + evidence(result, interval=f"{INTERVAL} are in the result")
        ),
        panels=(_panel(result, shown),),
        provenance=provenance_of(result),
    )


def _title(result: PatchSweep, shown: Shown, way: str) -> str:
    if shown == "control":
        return f"Control of patching {result.site}: random directions"
    return f"Patching {result.site}: {way}"


def _written(result: PatchSweep, shown: Shown, written: str) -> str:
    about = f"{result.site} of the {written} run ({result.corruption.replace('_', ' ')})"
    if shown == "control":
        return f"A random direction, as long as the difference to {about}, is"
    return f"{about} is"


def _panel(result: PatchSweep, shown: Shown) -> Heatmap:
    estimates = {"effect": result.summary, "share": result.share, "control": result.control}[shown]
    if estimates is None:
        raise MechbenchError("This sweep has no control: run it with one, or show its effect.")
    values = mean_of(estimates).transpose(LAYER, result.place)
    limit = None
    if shown == "control":
        limit = float(abs(mean_of(result.summary)).max()) or None
    cols = tuple(str(label) for label in values[result.place].values)
    if result.place == POSITION:
        cols = tuple(f"{i} {c}" if c != str(i) else c for i, c in enumerate(cols))
    return Heatmap(
        values=values.values,
        rows=tuple(str(layer) for layer in values[LAYER].values),
        cols=cols,
        x_title=result.place,
        y_title="layer",
        value_title="share" if shown == "share" else f"change ({result.effect.attrs['units']})",
        colour=Diverging(limit=limit),
        first_row="bottom",
    )
